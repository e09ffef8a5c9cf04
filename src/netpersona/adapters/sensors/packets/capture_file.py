"""Capture files into batches of packets: what is told apart, and how far a damaged one is read.

pcap (µs and ns, both byte orders; draft-ietf-opsawg-pcap) is read here, pcapng in `pcapng`.  A file is read in
blocks of BLOCK bytes, so memory does not grow with it.  Finding where records begin is the one step that must be
sequential: it is kept to one number read per record, and all else is gathered in columns.

A record whose length cannot be is damage: it is counted, and reading goes on at the next place where two plausible
records, of about the time of the last good one, follow each other.  A file cut short in its last record loses that
record, which is counted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from netpersona.adapters.sensors.packets.packets import BLOCK, LONGEST, SLACK, Bytes, Flags, Ints, Packets, u32
from netpersona.adapters.sensors.packets.pcapng import read_pcapng
from netpersona.errors import SourceError

REPAIRS = 64  # damaged places after which the rest of a file is given up

_NEAR = 86_400  # s that a record after damage may be away from the last good one

_CUT_SHORT = "packet cut short by the end of the file"
_DAMAGED = "damaged packet record"
_GIVEN_UP = "rest of the file unreadable after a damaged packet record"

_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
_PCAPNG = b"\x0a\x0d\x0d\x0a"


def is_capture(head: bytes) -> bool:
    """Whether a file that begins so is a capture: pcap's magic, or a pcapng section header with its own."""
    pcapng = head[:4] == _PCAPNG and head[8:12] in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")
    return pcapng or head[:4] in _MAGIC


def read_capture(stream: BinaryIO, name: str, skipped: Counter[str]) -> Iterator[Packets]:
    """The packets of a capture, in batches; records that cannot be read are counted in `skipped` by reason.

    Raises SourceError where the file's header is wrong; `name` is for its message.
    """
    magic = stream.read(4)
    if magic == _PCAPNG:
        yield from read_pcapng(stream, name, skipped)
        return
    if magic not in _MAGIC:
        raise SourceError(f"{name}: starts with {magic.hex() or 'nothing'}; expected the magic of pcap or pcapng")
    order, ticks = _MAGIC[magic]
    head = stream.read(20)
    if len(head) < 20:
        raise SourceError(f"{name}: ends after {4 + len(head)} bytes; expected a pcap header of 24")
    major, _minor, _zone, _figures, snap, link = struct.unpack(f"{order}HHiIII", head)
    if major != 2:
        raise SourceError(f"{name}: is pcap version {major}; expected version 2")
    yield from _Pcap(order, ticks, max(min(snap, LONGEST), 1 << 16), link & 0xFFFF).batches(stream, skipped)


class _Pcap:
    """One pcap file's records."""

    def __init__(self, order: str, ticks: int, longest: int, link: int) -> None:
        self.order, self.ticks, self.longest, self.link = order, ticks, longest, link
        self.repairs = 0
        self.seen: int | None = None  # the time of the last good record of the block before, s

    def batches(self, stream: BinaryIO, skipped: Counter[str]) -> Iterator[Packets]:
        rest = b""
        while True:
            block = stream.read(BLOCK)
            buffer = rest + block + bytes(SLACK)
            end = len(buffer) - SLACK
            data = np.frombuffer(buffer, np.uint8)
            starts, at = self._walk(buffer, data, end, skipped)
            if starts:
                yield self._gather(data, np.array(starts, np.int64))
            if not block or self.repairs > REPAIRS:
                if at < end:
                    skipped[_CUT_SHORT if self.repairs <= REPAIRS else _GIVEN_UP] += 1
                return
            rest = buffer[at:end]

    def _walk(self, buffer: bytes, data: Bytes, end: int, skipped: Counter[str]) -> tuple[list[int], int]:
        """Where the whole records of this block begin, and where the first record that is not whole does."""
        starts: list[int] = []
        note = starts.append
        captured = struct.Struct(f"{self.order}I").unpack_from
        at, longest, last = 0, self.longest, end - 16
        while at <= last:
            size = captured(buffer, at + 8)[0]
            if size > longest:
                skipped[_DAMAGED] += 1
                self.repairs += 1
                self._remember(data, starts)
                found = self._next_record(data, at + 1, end) if self.repairs <= REPAIRS else None
                if found is None:
                    return starts, (at if self.repairs > REPAIRS else max(at + 1, end - self.longest))
                at = found
                continue
            following = at + 16 + size
            if following > end:
                break
            note(at)
            at = following
        self._remember(data, starts)
        return starts, at

    def _remember(self, data: Bytes, starts: list[int]) -> None:
        if starts:
            self.seen = int(u32(data, np.array(starts[-1:]), self.order)[0])

    def _next_record(self, data: Bytes, first: int, end: int) -> int | None:
        """The first place from `first` on where one plausible record follows another, looking one record far."""
        places = np.arange(first, min(first + self.longest, end - 32), dtype=np.int64)
        if not len(places):
            return None
        good = self._plausible(data, places)
        places = places[good]
        following = places + 16 + u32(data, places + 8, self.order)
        inside = following <= end - 16
        good = inside & self._plausible(data, np.where(inside, following, 0))
        return int(places[good][0]) if good.any() else None

    def _plausible(self, data: Bytes, at: Ints) -> Flags:
        size, length = u32(data, at + 8, self.order), u32(data, at + 12, self.order)
        fraction, seconds = u32(data, at + 4, self.order), u32(data, at, self.order)
        near = True if self.seen is None else np.abs(seconds - self.seen) <= _NEAR
        return near & (fraction < 1_000_000 * self.ticks) & (size >= 14) & (size <= self.longest) & (size <= length)

    def _gather(self, data: Bytes, at: Ints) -> Packets:
        captured = u32(data, at + 8, self.order)
        return Packets(
            data=data,
            offset=at + 16,
            captured=captured,
            length=np.maximum(u32(data, at + 12, self.order), captured),
            time=u32(data, at, self.order) * 1_000_000 + u32(data, at + 4, self.order) // self.ticks,
            link=np.full(len(at), self.link, np.int64),
        )
