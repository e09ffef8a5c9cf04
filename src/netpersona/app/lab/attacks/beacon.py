"""Calls a peer that no feed lists, with the same few bytes at the same interval: only the rhythm can tell."""

from __future__ import annotations

from netpersona.app.lab.attacks.order import Order, Tally, connected
from netpersona.app.lab.layout import RENDEZVOUS

PORT = 4444
_REQUEST = b"POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 64\r\nConnection: close\r\n\r\n" + bytes(64)


def run(order: Order, tally: Tally) -> str:
    """Call; what was done, in words.  One family has the whole rhythm: a peer is one address."""
    family = order.families[0]
    for _ in order.turns():
        try:
            with connected(RENDEZVOUS.address(family), PORT) as line:
                line.sendall(_REQUEST)
                while line.recv(4_096):
                    pass
            tally.answer()
        except OSError as error:
            tally.failure(error)
    return f"calls to {RENDEZVOUS.address(family)}, tcp port {PORT}, one each {order.every:g} s"
