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
from netpersona.app.lab.attacks.order import Order, Tally

_FAMILIES = {"4": (4,), "6": (6,), "both": (4, 6)}


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
    parser.add_argument("--family", choices=sorted(_FAMILIES), default="both")
    parser.add_argument("--ssh")
    said = parser.parse_args()
    attack = ATTACKS[said.name]
    order = Order(
        vm=said.vm,
        count=min(attack.count if said.count is None else said.count, attack.most),
        every=attack.every if said.every is None else said.every,
        families=_FAMILIES[said.family],
        ssh=said.ssh,
    )
    for sign in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _stop)
    signal.alarm(attack.limit)
    tally = Tally()
    try:
        what = importlib.import_module(attack.module).run(order, tally)
    except _Enough:
        what = f"{attack.unit}, until it was broken off"
    result = {"attack": attack.name, "vm": order.vm, "what": what, "tried": tally.tried, "answered": tally.answered}
    sys.stdout.write(json.dumps({**result, "failed": dict(tally.failed)}) + "\n")


if __name__ == "__main__":
    main()
