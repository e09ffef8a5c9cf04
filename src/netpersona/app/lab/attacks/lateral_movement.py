"""Reaches for the other VMs: a session at port 22, then a file copied to ports 445 and 5985, as intruders spread."""

from __future__ import annotations

import socket

from netpersona.app.lab.attacks.brute_force import log_in
from netpersona.app.lab.attacks.order import Order, Tally, connected
from netpersona.app.lab.layout import others

_FILE = bytes(range(200)) * 3_500  # 700,000 bytes


def run(order: Order, tally: Tally) -> str:
    """Go round the other VMs in each turn; what was done, in words."""
    for _ in order.turns():
        for family in order.families:
            for target in others(order.vm):
                for port in (22, 445, 5985):
                    _reach(target.address(family), port, order.ssh, tally)
    return "sessions with the other VMs, ports 22, 445 and 5985"


def _reach(address: str, port: int, ssh: str | None, tally: Tally) -> None:
    try:
        log_in(address, ssh) if port == 22 else _copy(address, port)
        tally.answer()
    except OSError as error:
        tally.failure(error)


def _copy(address: str, port: int) -> None:
    with connected(address, port) as line:
        line.sendall(_FILE)
        line.shutdown(socket.SHUT_WR)
        if not line.recv(64):
            raise ConnectionResetError
