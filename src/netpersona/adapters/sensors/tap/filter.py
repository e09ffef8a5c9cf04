"""Which packets the kernel puts into the ring, and how much of each: a classic BPF program (Linux filter.txt).

First the interface: a search tree over the indices, so a packet of an interface that is not watched costs a few
jumps.  Then how many bytes are kept.  What is read of payloads needs whole packets; of bulk traffic the headers do, and
a ring that holds headers only lasts ten times as long.  Kept whole are: what is not plain IPv4 or IPv6 with TCP or
UDP, TCP and UDP on DNS's ports, TCP whose payload begins like a TLS record of a handshake, an HTTP head or SSH; TCP
segments that end what was written (PSH) up to PUSHED bytes, since there the rest of a hello stands; other UDP up to
DATAGRAM bytes but for QUIC's port.  Of all else HEAD bytes are kept.  A hello of three segments and more may so be read
without its middle: then its fingerprint is not known.

A load beyond the packet's end would end the program with "nothing", so lengths are asked first.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from netpersona.adapters.sensors.packets.http import METHODS

WHOLE, PUSHED, DATAGRAM, HEAD = 1 << 18, 2048, 1500, 192  # bytes kept
MOST_INTERFACES = 3_500

_ETHERNET, _TCP, _UDP = 14, 6, 17
_DNS, _QUIC = (53, 5353, 5355), 443
_LEAF = 32  # interfaces compared one after the other
_AD_IFINDEX = 0xFFFFF000 + 8

_LD_W_ABS, _LD_H_ABS, _LD_B_ABS = 0x20, 0x28, 0x30
_LD_W_IND, _LD_H_IND, _LD_B_IND = 0x40, 0x48, 0x50
_LD_LEN, _LDX_IMM, _LDX_IP_HEADER = 0x80, 0x01, 0xB1
_JA, _JEQ, _JGE, _JSET, _RET = 0x05, 0x15, 0x35, 0x45, 0x06
_SUB_X, _ADD_X, _AND, _RSH, _TAX = 0x1C, 0x0C, 0x54, 0x74, 0x07


class Step(NamedTuple):
    """One instruction: struct sock_filter."""

    code: int
    true: int
    false: int
    k: int


def program(indices: Sequence[int]) -> list[Step]:
    """The filter for the interfaces of these indices; for none it takes nothing.

    Raises ValueError for more than MOST_INTERFACES.
    """
    if len(indices) > MOST_INTERFACES:
        raise ValueError(f"{len(indices)} interfaces in one ring; at most {MOST_INTERFACES} fit its filter")
    if not indices:
        return [_do(_RET, 0)]
    tree = _tree(sorted(indices))
    # _JA to `found` stands in the tree with its own place as k: it jumps to the end
    search = [step._replace(k=len(tree) - place - 1) if step.k < 0 else step for place, step in enumerate(tree)]
    return [_do(_LD_W_ABS, _AD_IFINDEX), *search, *_bytes_kept()]


def packed(steps: Sequence[Step]) -> bytes:
    """The program as an array of struct sock_filter."""
    return b"".join([struct.pack("=HBBI", *step) for step in steps])


def _do(code: int, k: int) -> Step:
    return Step(code, 0, 0, k)


def _tree(indices: Sequence[int]) -> list[Step]:
    """Compare the index in A with these (sorted): found ones go on behind the whole tree, others end."""
    if len(indices) <= _LEAF:
        tests = [Step(_JEQ, len(indices) - place, 0, index) for place, index in enumerate(indices)]
        return [*tests, _do(_RET, 0), _do(_JA, -1)]
    middle = len(indices) // 2
    upper, lower = _tree(indices[middle:]), _tree(indices[:middle])
    return [Step(_JGE, 1, 0, indices[middle]), _do(_JA, len(upper)), *upper, *lower]


def _bytes_kept() -> list[Step]:
    """How much of an Ethernet frame is kept."""
    # pieces are put together from the end, as jumps go forward by the length of what lies between
    tcp, udp = _tcp(), _udp()
    # A: the protocol, X: the length of the IP header
    branch = [Step(_JEQ, 2, 0, _TCP), Step(_JEQ, 0, 2, _UDP), _do(_JA, len(tcp) + 2), _do(_JA, 1), _do(_RET, HEAD)]
    transport = [*branch, *tcp, *udp]
    ipv6 = [
        _do(_LDX_IMM, 40),
        _do(_LD_B_ABS, _ETHERNET + 6),
        Step(_JEQ, 2, 0, _TCP),
        Step(_JEQ, 1, 0, _UDP),
        _do(_RET, WHOLE),  # extension headers
    ]
    ipv4 = [
        _do(_LD_H_ABS, _ETHERNET + 6),
        Step(_JSET, 0, 1, 0x1FFF),
        _do(_RET, HEAD),  # a later fragment
        _do(_LDX_IP_HEADER, _ETHERNET),
        _do(_LD_B_ABS, _ETHERNET + 9),
        _do(_JA, len(ipv6)),
    ]
    return [
        _do(_LD_LEN, 0),
        Step(_JGE, 1, 0, HEAD),
        _do(_RET, WHOLE),  # short ones are kept anyway; from here on all headers are there
        _do(_LD_H_ABS, 12),
        Step(_JEQ, 2, 0, 0x0800),
        Step(_JEQ, 1 + len(ipv4), 0, 0x86DD),
        _do(_RET, WHOLE),
        *ipv4,
        *ipv6,
        *transport,
    ]


def _tcp() -> list[Step]:
    words = [int.from_bytes(f"{method} "[:4].encode(), "big") for method in METHODS]
    words += [int.from_bytes(word, "big") for word in (b"HTTP", b"SSH-")]
    begins = [
        _do(_LD_W_IND, _ETHERNET),  # A: the first bytes of the payload
        *[Step(_JEQ, len(words) + 2 - place, 0, word) for place, word in enumerate(words)],
        _do(_RSH, 16),
        Step(_JEQ, 1, 0, 0x1603),
        _do(_JA, 1),
        _do(_RET, WHOLE),
    ]
    # the words jump to the last step, all else falls through behind it
    ports = _on_ports(_DNS[:1])
    return [
        *ports,
        _do(_LD_B_IND, _ETHERNET + 13),
        Step(_JSET, 0, 1, 8),
        _do(_RET, PUSHED),
        _do(_LD_B_IND, _ETHERNET + 12),
        _do(_AND, 0xF0),
        _do(_RSH, 2),
        _do(_ADD_X, 0),
        _do(_TAX, 0),  # X: where the payload begins
        _do(_LD_LEN, 0),
        _do(_SUB_X, 0),
        Step(_JGE, 1, 0, _ETHERNET + 4),
        _do(_RET, HEAD),
        *begins,
        _do(_RET, HEAD),
    ]


def _udp() -> list[Step]:
    quic = [
        _do(_LD_H_IND, _ETHERNET),
        Step(_JEQ, 3, 0, _QUIC),
        _do(_LD_H_IND, _ETHERNET + 2),
        Step(_JEQ, 1, 0, _QUIC),
        _do(_RET, DATAGRAM),
        _do(_RET, HEAD),
    ]
    return [*_on_ports(_DNS), *quic]


def _on_ports(ports: Sequence[int]) -> list[Step]:
    """Packets from or to one of these are kept whole; others go on behind."""
    count = len(ports)
    from_port = [Step(_JEQ, 2 * count + 1 - place, 0, port) for place, port in enumerate(ports)]
    to_port = [Step(_JEQ, count - place, 0, port) for place, port in enumerate(ports)]
    return [
        _do(_LD_H_IND, _ETHERNET),
        *from_port,
        _do(_LD_H_IND, _ETHERNET + 2),
        *to_port,
        _do(_JA, 1),
        _do(_RET, WHOLE),
    ]
