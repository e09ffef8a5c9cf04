"""A batch of packets as one byte buffer with columns beside it, and how numbers are gathered from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]
Flags: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]


SLACK = 16  # bytes
BLOCK = 16 << 20  # bytes of a file that are read at once
TAPS = 1 << 21  # interfaces that can be told apart
LONGEST = 1 << 18  # bytes in a packet; what tcpdump and Wireshark hold to be the most


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets in the order in which they were captured; all columns have one row for each packet.

    `data` may hold more than the packets; it must end with SLACK bytes that belong to no packet, so that a
    gather at a packet's last byte stays inside.
    """

    data: Bytes
    offset: Ints  # where in data the packet begins
    captured: Ints  # bytes of it that are in data
    length: Ints  # bytes of it that were on the wire
    time: Ints  # µs since the epoch
    link: Ints  # link type (LINKTYPE_ of tcpdump.org)
    vlan: Ints | None = None  # the outer tag where the kernel took it off the frame; -1: none
    tap: Ints | None = None  # number of the interface it was seen on, below TAPS; None: all on number 0

    def __len__(self) -> int:
        """How many packets."""
        return len(self.offset)

    def parts(self, rows: int) -> Iterator[Packets]:
        """The same packets in batches of at most so many rows, over the same buffer."""
        for first in range(0, len(self), rows):
            yield self.at(slice(first, first + rows))

    def at(self, which: slice | Ints) -> Packets:
        """Some of the packets, over the same buffer."""
        return Packets(
            data=self.data,
            offset=self.offset[which],
            captured=self.captured[which],
            length=self.length[which],
            time=self.time[which],
            link=self.link[which],
            vlan=None if self.vlan is None else self.vlan[which],
            tap=None if self.tap is None else self.tap[which],
        )


def u8(data: Bytes, at: Ints) -> Ints:
    """The bytes at those places."""
    return data[at].astype(np.int64)


def u16(data: Bytes, at: Ints) -> Ints:
    """The big-endian 16-bit numbers at those places."""
    return _view(data, ">u2")[at].astype(np.int64)


def u32(data: Bytes, at: Ints, order: str = ">") -> Ints:
    """The 32-bit numbers at those places, big-endian unless told."""
    return _view(data, f"{order}u4")[at].astype(np.int64)


def u64(data: Bytes, at: Ints) -> Words:
    """The big-endian 64-bit numbers at those places."""
    return _view(data, ">u8")[at].astype(np.uint64)


def _view(data: Bytes, dtype: str) -> NDArray[Any]:
    """Every place of the buffer read as a number: unaligned and overlapping, so a gather needs one index only."""
    size = np.dtype(dtype).itemsize
    return np.ndarray((max(len(data) - size + 1, 0),), dtype=dtype, buffer=data, strides=(1,))
