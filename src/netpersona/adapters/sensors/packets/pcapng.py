"""pcapng (draft-ietf-opsawg-pcapng): sections, interfaces and the three kinds of packet block.

Each interface has its own link type, clock unit (if_tsresol) and clock offset (if_tsoffset); each section its own
byte order.  A simple packet block has no time: it takes the time of the packet before it in the file.

Every block has its length at its beginning and at its end.  Where these differ or cannot be, the block is damaged: it
is counted, and reading goes on at the next block whose lengths agree and that another block follows.  Interfaces that
are described behind damage may have lost their number, or belong to a section whose header was lost: from there to the
next section, packets are of no interface that is known, and are counted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from netpersona.adapters.sensors.packets.packets import (
    BLOCK,
    LONGEST,
    SLACK,
    Bytes,
    Flags,
    Ints,
    Packets,
    Words,
    u16,
    u32,
)
from netpersona.errors import SourceError

LONGEST_BLOCK = 16 << 20  # bytes; Wireshark's limit for a block
INTERFACES = 1 << 16  # in one file
REPAIRS = 64  # damaged places after which the rest of a file is given up

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_KINDS = 11  # of blocks that carry data; they are numbered from 1
_LONGEST_FOUND = LONGEST + 4096  # bytes in a block that is found behind damage: a packet, and what is said of it
_SEARCHED = 1 << 20  # bytes in which a block is looked for at once
_SHORTEST = {_SECTION: 28, _INTERFACE: 20, _OLD_PACKET: 32, _SIMPLE: 16, _ENHANCED: 32}
_DAMAGED = "damaged pcapng block"
_GIVEN_UP = "rest of the file unreadable after a damaged pcapng block"
_CUT_SHORT = "packet cut short by the end of the file"
_NO_INTERFACE = "packet of an interface that was not described"


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    snap: int
    ticks: int  # in a second
    offset: int  # s


def read_pcapng(stream: BinaryIO, name: str, skipped: Counter[str]) -> Iterator[Packets]:
    """The packets of a pcapng file whose first four bytes were read already, in batches.

    Raises SourceError where the first section header is wrong.
    """
    reader = _Pcapng()
    rest = struct.pack("<I", _SECTION)
    first = stream.read(24)
    if len(first) < 24 or reader.open_section(rest + first, 0) is None:
        raise SourceError(f"{name}: its section header is damaged; expected a pcapng section of version 1")
    rest += first
    while True:
        block = stream.read(BLOCK)
        buffer = rest + block + bytes(SLACK)
        end = len(buffer) - SLACK
        at = reader.walk(buffer, end, skipped, is_last=not block)
        packets = reader.take(np.frombuffer(buffer, np.uint8), skipped)
        if len(packets):
            yield packets
        if reader.repairs > REPAIRS:
            skipped[_GIVEN_UP] += 1
            return
        if not block:
            if at < end and not reader.lost:
                skipped[_CUT_SHORT] += 1
            return
        rest = buffer[at:end]


class _Pcapng:
    """Where one file's packet blocks begin, and the interfaces described so far."""

    def __init__(self) -> None:
        self.order = "<"
        self.interfaces: list[_Interface] = []  # of all sections
        self.base = 0  # the first one of this section
        self.time = 0  # of the last packet, µs
        self.places: list[int] = []  # where packet blocks begin
        self.spans: list[tuple[int, bool, int, int]] = []  # from which packet on: big-endian, base, interfaces
        self.repairs = 0
        self.lost = False  # behind damage, and no sound block was found yet
        self.repaired = False  # this section was damaged

    def open_section(self, buffer: bytes, at: int) -> int | None:
        """Begin the section whose header stands there; its length, or None where it is not a header."""
        mark = buffer[at + 8 : at + 12]
        if mark not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
            return None
        self.order = "<" if mark == b"\x4d\x3c\x2b\x1a" else ">"
        length, _mark, major = struct.unpack_from(f"{self.order}IIH", buffer, at + 4)
        self._forget_interfaces()
        self.repaired = False
        return int(length) if major == 1 else None

    def walk(self, buffer: bytes, end: int, skipped: Counter[str], *, is_last: bool) -> int:
        """Note the packet blocks of this buffer; where the first block that is not whole begins."""
        at = self._next_block(buffer, 0, end) if self.lost else 0
        while not self.lost and at <= end - 12:
            at, is_sound = self._run(buffer, at, end, skipped)
            if at > end - 12 or (is_sound and not is_last):
                break
            after = self._next_block(buffer, at + 1, end)
            if is_sound and self.lost:  # a block that the file's end cut short, and nothing behind its beginning
                self.lost = False
                break
            self.repairs, self.repaired = self.repairs + 1, True
            skipped[_DAMAGED] += 1
            at = after
            if self.repairs > REPAIRS:
                break
        return at

    def _run(self, buffer: bytes, at: int, end: int, skipped: Counter[str]) -> tuple[int, bool]:
        """Note the packet blocks from there on; where they end, and whether only the buffer ends there."""
        note = self.places.append
        both, one = (struct.Struct(f"{self.order}{form}").unpack_from for form in ("II", "I"))
        while at <= end - 12:
            kind, stated = both(buffer, at)
            if kind == _SECTION:
                if at > end - 28:
                    break
                opened = self.open_section(buffer, at)
                if opened is None:
                    self._forget_interfaces()
                    return at, False
                stated = opened
                both, one = (struct.Struct(f"{self.order}{form}").unpack_from for form in ("II", "I"))
            length = (stated + 3) & ~3
            if length < _SHORTEST.get(kind, 12) or length > LONGEST_BLOCK:
                return at, False
            if at + length > end:
                break
            if stated == length and one(buffer, at + length - 4)[0] != length:
                return at, False
            if kind in (_ENHANCED, _OLD_PACKET, _SIMPLE):
                note(at)
            elif kind == _INTERFACE:
                self._describe(buffer, at, length, skipped)
            at += length
        return at, True

    def _next_block(self, buffer: bytes, first: int, end: int) -> int:
        """Where the first sound block from `first` on begins; `lost` says that there is none, but may be from there."""
        for start in range(first, end - 12, _SEARCHED):
            for at in self._candidates(buffer, start, min(start + _SEARCHED, end - 12)):
                after = at + (self._sound_length(buffer, at, end) or _LONGEST_FOUND)
                if after <= end and (after > end - 12 or self._sound_length(buffer, after, end)):
                    self.lost = False
                    return at
        self.lost = True
        return max(first, end - _LONGEST_FOUND)

    def _candidates(self, buffer: bytes, first: int, end: int) -> list[int]:
        """Where a block of a known kind and of a length that can be may begin, in order."""
        found = []
        for start in range(first, min(first + 4, end)):
            words = np.frombuffer(buffer, f"{self.order}u4", (end - start + 3) // 4 + 1, start)
            kinds, lengths = words[:-1], words[1:]
            known = (kinds - np.uint32(1) < _KINDS) & (lengths % 4 == 0) & (lengths >= 12) & (lengths <= _LONGEST_FOUND)
            found += (start + 4 * np.flatnonzero(known | (kinds == _SECTION))).tolist()
        return sorted(found)

    def _sound_length(self, buffer: bytes, at: int, end: int) -> int | None:
        """The length of the block that begins there, where it says the same at its end as far as that can be seen."""
        kind, length = struct.unpack_from(f"{self.order}II", buffer, at)
        if kind == _SECTION:
            order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(buffer[at + 8 : at + 12])
            if order is None:
                return None
            (length,) = struct.unpack_from(f"{order}I", buffer, at + 4)
        else:
            order = self.order
        if length % 4 or not _SHORTEST.get(kind, 12) <= length <= LONGEST_BLOCK:
            return None
        is_whole = at + length <= end
        return None if is_whole and struct.unpack_from(f"{order}I", buffer, at + length - 4)[0] != length else length

    def _forget_interfaces(self) -> None:
        """From here on no interface is known."""
        self.base = len(self.interfaces)
        self._begin_span()

    def _begin_span(self) -> None:
        self.spans.append((len(self.places), self.order == ">", self.base, len(self.interfaces) - self.base))

    def _describe(self, buffer: bytes, at: int, length: int, skipped: Counter[str]) -> None:
        if self.repaired:
            self._forget_interfaces()
            return
        if len(self.interfaces) >= INTERFACES:
            skipped["interface beyond the most a file may have"] += 1
            return
        link, _reserved, snap = struct.unpack_from(f"{self.order}HHI", buffer, at + 8)
        ticks, offset = 1_000_000, 0
        for code, value in self._options(buffer, at + 16, at + length - 4):
            if code == 9 and len(value) == 1:
                ticks = _ticks(value[0])
            elif code == 14 and len(value) == 8:
                offset = struct.unpack(f"{self.order}q", value)[0]
        self.interfaces.append(_Interface(link, snap or LONGEST, ticks, offset))
        self._begin_span()

    def _options(self, buffer: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        while at + 4 <= end:
            code, length = struct.unpack_from(f"{self.order}HH", buffer, at)
            if code == 0 or at + 4 + length > end:
                return
            yield code, buffer[at + 4 : at + 4 + length]
            at += 4 + (length + 3 & ~3)

    def take(self, data: Bytes, skipped: Counter[str]) -> Packets:
        """The packets noted since the last call, gathered from the buffer that was walked."""
        at = np.array(self.places, np.int64)
        first, bigs, starts, numbers = (np.array(column) for column in zip(*self.spans, strict=True))
        span = np.searchsorted(first, np.arange(len(at)), side="right") - 1
        big, bases, counts = bigs[span], starts[span], numbers[span]
        self.places = []
        self.spans = [(0, *self.spans[-1][1:])]
        kind = _number(data, at, big)
        simple, old = kind == _SIMPLE, kind == _OLD_PACKET
        length = _number(data, np.where(simple, at + 8, at + 24), big)
        captured = np.where(simple, length, _number(data, np.where(simple, at, at + 20), big))
        interface = np.where(simple, 0, _number(data, np.where(simple, at, at + 8), big))
        half = np.where(big, u16(data, at + 8), u16(data, at + 8).astype(np.uint16).byteswap().astype(np.int64))
        interface = np.where(old, half, interface)
        known = interface < counts
        if len(at) and not known.all():
            skipped[_NO_INTERFACE] += int((~known).sum())
        return self._packets(data, at, big, simple, captured, length, np.where(known, bases + interface, -1), skipped)

    def _packets(
        self,
        data: Bytes,
        at: Ints,
        big: Flags,
        simple: Flags,
        captured: Ints,
        length: Ints,
        which: Ints,
        skipped: Counter[str],
    ) -> Packets:
        table = np.array([(i.link, i.snap, i.ticks, i.offset) for i in self.interfaces] or [(0, 0, 1, 0)], np.int64)
        link, snap, ticks, offset = table[which].T
        captured = np.where(simple, np.minimum(captured, snap), captured)
        space = _number(data, at + 4, big) - np.where(simple, 16, 32)
        fits = (captured <= space) & (captured <= LONGEST)
        if not fits.all():
            skipped[_DAMAGED] += int((~fits & (which >= 0)).sum())
        raw = (_number(data, at + 12, big).astype(np.uint64) << np.uint64(32)) | _number(data, at + 16, big).astype(
            np.uint64
        )
        time = self._times(np.where(simple, np.uint64(0), raw), ticks, offset, simple)
        good = np.flatnonzero(fits & (which >= 0))
        begin = at + np.where(simple, 12, 28)
        captured, length = captured[good], np.maximum(length, captured)[good]
        return Packets(data, begin[good], captured, length, time[good], link[good])

    def _times(self, raw: Words, ticks: Ints, offset: Ints, simple: Flags) -> Ints:
        """Clock ticks as µs; a packet without a time takes the one before it."""
        unit = ticks.astype(np.uint64)
        seconds = np.clip((raw // unit).astype(np.int64) + np.clip(offset, -(1 << 40), 1 << 40), 0, 1 << 42)
        fraction = raw % unit
        coarse = ticks <= 10**12
        exact = np.where(coarse, fraction, 0) * np.uint64(1_000_000) // unit
        time = seconds * 1_000_000 + np.where(coarse, exact, fraction / ticks * 1e6).astype(np.int64)
        if len(time):
            last = np.maximum.accumulate(np.where(simple, -1, np.arange(len(time))))
            time = np.where(last < 0, self.time, time[np.maximum(last, 0)])
            self.time = int(time[-1])
        return time


def _ticks(resolution: int) -> int:
    """Ticks in a second for an if_tsresol: a power of ten, or of two where the top bit is set."""
    ticks = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    return ticks if ticks < 1 << 62 else 1_000_000


def _number(data: Bytes, at: Ints, big: Flags) -> Ints:
    """The 32-bit numbers there, each in its section's byte order."""
    if not big.any():
        return u32(data, at, "<")
    return np.where(big, u32(data, at), u32(data, at, "<"))
