"""Netlink attributes: the one place where numbers and names become the kernel's bytes, and are read again.

An attribute is a length (header included), a type and a payload, padded to four bytes (linux/netlink.h).  nf_tables
reads its numbers in network byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

NESTED = 0x8000
_TYPE = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_HEAD = struct.Struct("=HH")
_U16, _U32, _U64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")


def attribute(kind: int, payload: bytes) -> bytes:
    """An attribute of this type.  Raises struct.error for a payload of 64 KiB or more."""
    return _HEAD.pack(4 + len(payload), kind) + payload + _PAD[len(payload) & 3]


def nest(kind: int, *inner: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(inner))


def text(kind: int, value: str) -> bytes:
    """A name, ended by a zero byte."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """A number of one byte."""
    return attribute(kind, bytes([value]))


def u16(kind: int, value: int) -> bytes:
    """A number of two bytes."""
    return attribute(kind, _U16.pack(value))


def u32(kind: int, value: int) -> bytes:
    """A number of four bytes."""
    return attribute(kind, _U32.pack(value & 0xFFFFFFFF))


def u64(kind: int, value: int) -> bytes:
    """A number of eight bytes."""
    return attribute(kind, _U64.pack(value))


def read(data: bytes, start: int = 0, end: int | None = None) -> dict[int, bytes]:
    """The attributes of a message by type; of several of one type the last."""
    return dict(each(data, start, end))


def each(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Every attribute in its order; what is cut off at the end is left out."""
    at, stop = start, len(data) if end is None else end
    while at + 4 <= stop:
        length, kind = _HEAD.unpack_from(data, at)
        if length < 4 or at + length > stop:
            return
        yield kind & _TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def number(payload: bytes) -> int:
    """A number in network byte order, of any width."""
    return int.from_bytes(payload, "big")


def name(payload: bytes) -> str:
    """A name up to its zero byte."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")
