"""Tracked flows made by message, thousands of them, without a packet."""

import socket
from collections.abc import Iterable
from ipaddress import ip_address

import pytest

from kernel.private_net import run
from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import wire

UDP = 17
_AT_ONCE = 100
TRACKING = "table inet np_track { chain c { type filter hook forward priority 0; ct state invalid counter; }; }\n"


def track(made: Iterable[tuple[str, str, int, int]], zone: int = 0) -> None:
    """Have this thread's namespace track these answered UDP flows: source, destination and their ports."""
    run("nft", "-f", "-", text=TRACKING)
    to = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, wire.NETFILTER)
    to.bind((0, 0))
    messages = [_new(*each, zone) for each in made]
    for at in range(0, len(messages), _AT_ONCE):
        to.send(b"".join(messages[at : at + _AT_ONCE]))
    with pytest.raises(BlockingIOError):  # only what is wrong is told
        to.recv(1 << 16, socket.MSG_DONTWAIT)
    to.close()


def _new(source: str, destination: str, here: int, there: int, zone: int) -> bytes:
    ends = _tuple(1, source, destination, [here, there]) + _tuple(2, destination, source, [there, here])
    lasts = a.u32(7, 600) + a.u32(3, 1 << 3 | 1 << 1) + (a.u16(18, zone) if zone else b"")  # confirmed, answered
    return wire.message(0, 10 if ":" in source else 2, ends + lasts, wire.CREATE | wire.EXCL, 1)


def _tuple(kind: int, source: str, destination: str, ports: list[int]) -> bytes:
    first = 3 if ":" in source else 1
    ends = [a.attribute(first + place, ip_address(each).packed) for place, each in enumerate((source, destination))]
    return a.nest(kind, a.nest(1, *ends), a.nest(2, a.u8(1, UDP), a.u16(2, ports[0]), a.u16(3, ports[1])))
