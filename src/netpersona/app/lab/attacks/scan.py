"""Looks for open ports: many of one host (vertical), then one of many (horizontal), which refuse or are silent."""

from __future__ import annotations

from netpersona.app.lab.attacks.order import Order, Tally, connected
from netpersona.app.lab.layout import VMS, others

_SMALLEST = (20, 21, 22, 23, 25, 53, 80, 88, 110, 111, 135, 139, 143, 389, 443, 445, 587, 631, 636, 873)
_PORT = 445
_QUICK = 0.25  # seconds: a scanner does not wait long


def run(order: Order, tally: Tally) -> str:
    """Scan; what was done, in words.  The second half goes to hosts of the visitors' range outside."""
    target = next(others(order.vm), VMS[0])
    vertical = (order.count + 1) // 2
    for number, family in order.turns():
        if number < vertical:
            address, port = target.address(family), _port(number // len(order.families))
        else:
            host = 120 + (number - vertical) // len(order.families) % 100  # up to 127: refuses
            address, port = (f"198.51.100.{host}" if family == 4 else _host6(host)), _PORT
        try:
            connected(address, port, _QUICK).close()
            tally.answer()
        except OSError as error:
            tally.failure(error)
    return f"connections: {vertical} to ports of {target.name}, the rest to port {_PORT} of hosts outside"


def _port(number: int) -> int:
    return _SMALLEST[number] if number < len(_SMALLEST) else 1_000 + number


def _host6(host: int) -> str:
    return f"2001:db8:2::{host}" if host < 128 else f"2001:db8:dead::{host}"
