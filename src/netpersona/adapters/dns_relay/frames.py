"""Ethernet frames with DNS in them, taken apart and, for one purpose, made: IPv4 and IPv6, UDP and TCP.

A frame is hostile: every length in it is checked before it is believed.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

ETHERNET = 14
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP, _UDP = 6, 17
_FRAGMENT = 44
_EXTENSIONS = frozenset((0, 43, 60))  # hop-by-hop, routing, destination options
_MOST_EXTENSIONS = 8
_SYN, _RST = 2, 4


class Ends(NamedTuple):
    """From whom to whom: packed addresses and ports."""

    source: bytes
    sport: int
    target: bytes
    dport: int

    @property
    def back(self) -> Ends:
        """The other direction."""
        return Ends(self.target, self.dport, self.source, self.sport)

    @property
    def sender(self) -> str:
        """The source's address as text."""
        return _text(self.source)


class Datagram(NamedTuple):
    """A UDP datagram; of one that was sent in fragments only the first, `cut`."""

    ends: Ends
    payload: bytes
    cut: bool


class Segment(NamedTuple):
    """A TCP segment."""

    ends: Ends
    sequence: int
    opens: bool  # SYN: the payload, if any, begins one further
    resets: bool
    payload: bytes


class _Packet(NamedTuple):
    source: bytes
    target: bytes
    protocol: int
    payload: bytes
    cut: bool


def dissect(frame: bytes) -> Datagram | Segment | None:
    """What the frame carries; None: neither UDP nor TCP, or damaged."""
    try:
        packet = _packet(frame)
        if packet is None:
            return None
        return _datagram(packet) if packet.protocol == _UDP else _segment(packet)
    except (struct.error, IndexError):
        return None


def answer_in_place(frame: bytes, payload: bytes) -> bytes | None:
    """A frame with another UDP payload between the same ends, for the first fragment of a datagram."""
    packet = _packet(frame)
    if packet is None or packet.protocol != _UDP:
        return None
    length = 8 + len(payload)
    ports = packet.payload[:4]
    pseudo = packet.source + packet.target + struct.pack(">IBBBB", length, 0, 0, 0, _UDP)
    checked = _checksum(pseudo + ports + struct.pack(">HH", length, 0) + payload) or 0xFFFF
    datagram = ports + struct.pack(">HH", length, checked) + payload
    link, limit = frame[:ETHERNET], frame[ETHERNET + (8 if len(packet.source) == 4 else 7)]
    if len(packet.source) == 4:
        first = struct.pack(">BBHHHBB", 0x45, 0, 20 + length, 0, 0x4000, limit, _UDP)
        check = _checksum(first + b"\0\0" + packet.source + packet.target)
        return link + first + struct.pack(">H", check) + packet.source + packet.target + datagram
    return link + struct.pack(">IHBB", 6 << 28, length, _UDP, limit) + packet.source + packet.target + datagram


def _packet(frame: bytes) -> _Packet | None:
    kind = int.from_bytes(frame[12:ETHERNET], "big")
    if kind == _IPV4:
        return _ipv4(frame)
    return _ipv6(frame) if kind == _IPV6 else None


def _ipv4(frame: bytes) -> _Packet | None:
    first, length, fragment, protocol = struct.unpack_from(">BxHxxHxB", frame, ETHERNET)
    head = (first & 15) * 4
    end = ETHERNET + length
    if first >> 4 != 4 or head < 20 or length < head or end > len(frame) or fragment & 0x1FFF:
        return None
    source, target = frame[ETHERNET + 12 : ETHERNET + 16], frame[ETHERNET + 16 : ETHERNET + 20]
    return _Packet(source, target, protocol, frame[ETHERNET + head : end], bool(fragment & 0x2000))


def _ipv6(frame: bytes) -> _Packet | None:
    length, protocol = struct.unpack_from(">HB", frame, ETHERNET + 4)
    at, cut = ETHERNET + 40, False
    end = at + length
    if frame[ETHERNET] >> 4 != 6 or end > len(frame):
        return None
    for _ in range(_MOST_EXTENSIONS):
        if protocol == _FRAGMENT:
            protocol, fragment = struct.unpack_from(">BxH", frame, at)
            if fragment & 0xFFF8:
                return None
            at, cut = at + 8, bool(fragment & 1)
        elif protocol in _EXTENSIONS:
            protocol, size = struct.unpack_from(">BB", frame, at)
            at += (size + 1) * 8
        else:
            break
    if at > end:
        return None
    source, target = frame[ETHERNET + 8 : ETHERNET + 24], frame[ETHERNET + 24 : ETHERNET + 40]
    return _Packet(source, target, protocol, frame[at:end], cut)


def _datagram(packet: _Packet) -> Datagram | None:
    sport, dport, length = struct.unpack_from(">HHH", packet.payload)
    if length < 8 or (length > len(packet.payload) and not packet.cut):
        return None
    return Datagram(Ends(packet.source, sport, packet.target, dport), packet.payload[8:length], packet.cut)


def _segment(packet: _Packet) -> Segment | None:
    if packet.protocol != _TCP or packet.cut:
        return None
    sport, dport, sequence, head, flags = struct.unpack_from(">HHI4xBB", packet.payload)
    head = (head >> 4) * 4
    if head < 20 or head > len(packet.payload):
        return None
    ends = Ends(packet.source, sport, packet.target, dport)
    return Segment(ends, sequence, bool(flags & _SYN), bool(flags & _RST), packet.payload[head:])


@lru_cache(maxsize=4096)
def _text(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
