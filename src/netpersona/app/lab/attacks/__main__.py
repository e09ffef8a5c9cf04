"""Runs one attack on the machine where it is started, and says what came of it.

python -m netpersona.app.lab.attacks NAME --vm VM [--count N] [--every S] [--family 4|6|both]
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from typing import NoReturn

from netpersona.app.lab.attacks.catalogue import ATTACKS
from netpersona.app.lab.attacks.order import Tally, ordered


class _Enough(Exception):  # noqa: N818 - a bound that was reached, not an error
    """The attack's time is over, or somebody stopped it."""


def _stop(*_: object) -> NoReturn:
    raise _Enough


def main() -> None:
    """Attack; one line of JSON says what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(ATTACKS))
    parser.add_argument("--vm", required=True)
    parser.add_argument("--count", type=int)
    parser.add_argument("--every", type=float)
    parser.add_argument("--family", choices=["4", "6", "both"], default="both")
    parser.add_argument("--ssh")
    said = parser.parse_args()
    attack = ATTACKS[said.name]
    order = ordered(attack, said.vm, said.count, said.every, said.family, said.ssh)
    for sign in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _stop)
    signal.alarm(attack.limit)
    tally = Tally()
    try:
        what = importlib.import_module(attack.module).run(order, tally)
    except _Enough:
        what = f"{attack.unit}, until it was broken off"
    sys.stdout.write(json.dumps(tally.told(attack.name, order.vm, what)) + "\n")


if __name__ == "__main__":
    main()
