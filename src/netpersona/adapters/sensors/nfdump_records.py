"""The records of one nfdump data block in columns: nfdump 1.6 (common record, extension map) and 1.7 (V3).

The layouts are those of nfdump's nffile.h, nfx.c and nfxV3.h, little-endian.  Records differ in length, so
that one walk over a block finds where each begins; all else is done for all records at once.  "Out" counters
are taken for the answer's, as nfdump itself shows them.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.adapters.sensors.flow_records import as_records, no_records, sound, v4_text, v6_text

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, Any]

BROKEN, EVENT = "broken record", "firewall or NAT event, not a flow"
NO_ADDRESSES, NO_MAP = "record without addresses", "record of an unknown extension map"

_RECORD_HEADER = struct.Struct("<HH")  # type, size
_MAP, _V3, _V3_HEADER = 2, 11, 12
_COMMON_HEADERS = {1: 28, 10: 32}  # bytes before the addresses, by record type
_COMMON_IPV6, _COMMON_LONG_PACKETS, _COMMON_LONG_BYTES, _COMMON_EVENT = 1, 2, 4, 64
_COMMON_FLAGS = _COMMON_IPV6 | _COMMON_LONG_PACKETS | _COMMON_LONG_BYTES | _COMMON_EVENT
_MOST_MAPS = 256  # reading costs by the map; collectors write a few
# Bytes of each optional extension of a 1.6 record, by its number in the map (nfx.c).
_EXTENSIONS = {
    4: 4, 5: 8, 6: 4, 7: 8, 8: 4, 9: 4, 10: 16, 11: 4, 12: 16, 13: 4, 14: 4, 15: 8, 16: 4, 17: 8, 18: 4, 19: 8, 20: 16,
    21: 16, 22: 40, 23: 4, 24: 16, 25: 4, 26: 8, 27: 8, 37: 20, 38: 4, 39: 8, 40: 32, 41: 24, 42: 24, 43: 72, 45: 24,
    46: 12, 48: 8,
}  # fmt: skip
_OUT_PACKETS, _OUT_BYTES, _EVENT_EXTENSIONS = (14, 15), (16, 17), {37, 46}

_GENERIC, _IPV4, _IPV6, _MISC, _COUNTS = 1, 2, 3, 4, 5
_ELEMENT_BYTES = {_GENERIC: 48, _IPV4: 8, _IPV6: 32, _MISC: 15, _COUNTS: 24}
_MOST_ELEMENTS = 64


class RecordReader:
    """Reads blocks one after the other: a block's records may need the extension maps of those before."""

    def __init__(self, skipped: Counter[str]) -> None:
        self._skipped = skipped
        self._maps: dict[int, tuple[int, ...]] = {}

    def read(self, blocks: Sequence[bytes]) -> pl.DataFrame:
        """The blocks' records (RECORD_SCHEMA); a record with "out" counters gives two, one each way."""
        starts = np.cumsum([0, *(len(block) for block in blocks)])[:-1].tolist()
        walked = [self._walk(block) + start for start, block in zip(starts, blocks, strict=True)]
        places = np.concatenate([np.zeros(0, dtype=np.int64), *walked])
        data = np.frombuffer(b"".join(blocks), dtype=np.uint8)
        kinds = _take(data, places, "<u2")
        tables = [no_records(), self._v3(data, places[kinds == _V3])]
        for kind, header in _COMMON_HEADERS.items():
            tables.extend(self._common(data, places[kinds == kind], header))
        return sound(pl.concat(tables), self._skipped)

    def _walk(self, block: bytes) -> Places:
        """Where each record begins.  A broken length ends the walk: nothing after it can be found."""
        places: list[int] = []
        at, end = 0, len(block)
        header = _RECORD_HEADER.unpack_from
        while at + 4 <= end:
            kind, size = header(block, at)
            if size < 4 or size & 1 or at + size > end:
                self._skipped[BROKEN] += 1
                break
            if kind == _MAP:
                self._learn(np.frombuffer(block, dtype="<u2", count=size // 2, offset=at).tolist())
            places.append(at)
            at += size
        return np.array(places, dtype=np.int64)

    def _learn(self, words: list[int]) -> None:
        """An extension map: type, size, its number, the extensions' size, then their numbers up to a zero."""
        if len(words) > 4 and (words[2] in self._maps or len(self._maps) < _MOST_MAPS):
            numbers = words[4:]
            self._maps[words[2]] = tuple(numbers[: numbers.index(0)] if 0 in numbers else numbers)

    def _only(self, places: Places, good: Mask, reason: str) -> Places:
        if not good.all():
            self._skipped[reason] += int((~good).sum())
        return places[good]

    def _v3(self, data: Bytes, places: Places) -> pl.DataFrame:
        places = self._only(places, _take(data, places, "<u2", 2) >= _V3_HEADER, BROKEN)
        places = self._only(places, data[places + 10] & 1 == 0, EVENT)
        found = _elements(data, places)
        whole = (found[_GENERIC] >= 0) & ((found[_IPV4] >= 0) | (found[_IPV6] >= 0))
        self._only(places, whole, NO_ADDRESSES)
        at = {element: where[whole] for element, where in found.items()}
        flow = at[_GENERIC]
        forward = {
            "start": _microseconds(_take(data, flow, "<u8", 0)),
            "end": _microseconds(_take(data, flow, "<u8", 8)),
            "packets": _take(data, flow, "<u8", 24),
            "bytes": _take(data, flow, "<u8", 32),
            "source_port": _take(data, flow, "<u2", 40),
            "destination_port": _take(data, flow, "<u2", 42),
            "protocol": data[flow + 44],
            "tcp_flags": data[flow + 45],
            "denied": data[flow + 46] >> 6 == 2,
        } | _v3_addresses(data, at[_IPV4], at[_IPV6])
        answer = {
            "packets": _optional(data, at[_COUNTS], "<u8", 8),
            "bytes": _optional(data, at[_COUNTS], "<u8", 16),
            "tcp_flags": _optional(data, at[_MISC], "u1", 14),
        }
        return _both_ways(forward, answer)

    def _common(self, data: Bytes, places: Places, header: int) -> list[pl.DataFrame]:
        """The records by extension map and flags: of those alike, all fields lie at the same places."""
        places = self._only(places, _take(data, places, "<u2", 2) >= header, BROKEN)
        maps, flags = _take(data, places, "<u2", 6), data[places + 4] & _COMMON_FLAGS
        kinds = np.unique(np.stack([maps, flags.astype(np.uint16)], axis=1), axis=0).tolist()
        return [self._alike(data, places[(maps == m) & (flags == f)], m, f, header) for m, f in kinds]

    def _alike(self, data: Bytes, places: Places, number: int, flags: int, header: int) -> pl.DataFrame:
        extensions = self._maps.get(number)
        if extensions is None or not _EXTENSIONS.keys() >= set(extensions):
            self._skipped[NO_MAP] += len(places)
            return no_records()
        if flags & _COMMON_EVENT or _EVENT_EXTENSIONS.intersection(extensions):
            self._skipped[EVENT] += len(places)
            return no_records()
        packets_at = header + (32 if flags & _COMMON_IPV6 else 8)
        bytes_at = packets_at + (8 if flags & _COMMON_LONG_PACKETS else 4)
        end = bytes_at + (8 if flags & _COMMON_LONG_BYTES else 4)
        where: dict[int, int] = {}
        for extension in extensions:
            where[extension] = end
            end += _EXTENSIONS[extension]
        places = self._only(places, _take(data, places, "<u2", 2) >= end, BROKEN)
        forward = {
            "start": _clock(data, places, 12, 8),
            "end": _clock(data, places, 16, 10),
            "packets": _take(data, places, "<u8" if flags & _COMMON_LONG_PACKETS else "<u4", packets_at),
            "bytes": _take(data, places, "<u8" if flags & _COMMON_LONG_BYTES else "<u4", bytes_at),
            "source_port": _take(data, places, "<u2", 24),
            "destination_port": _take(data, places, "<u2", 26),
            "protocol": data[places + 22],
            "tcp_flags": data[places + 21],
            "denied": data[places + 20] >> 6 == 2,
        } | _addresses(data, places + header, wide=bool(flags & _COMMON_IPV6))
        answer = {
            "packets": _extension(data, places, where, _OUT_PACKETS),
            "bytes": _extension(data, places, where, _OUT_BYTES),
            "tcp_flags": np.zeros(len(places), dtype=np.uint8),
        }
        return _both_ways(forward, answer)


def _take(data: Bytes, places: Places, kind: str, offset: int = 0) -> npt.NDArray[Any]:
    """The numbers of this kind at these places, which need not be aligned."""
    width = np.dtype(kind).itemsize
    if not len(places):
        return np.zeros(0, dtype=kind)
    return np.lib.stride_tricks.sliding_window_view(data, width)[places + offset].view(kind)[:, 0]


def _optional(data: Bytes, places: Places, kind: str, offset: int) -> npt.NDArray[Any]:
    """The same, and 0 where the place is negative: not there."""
    values = np.zeros(len(places), dtype=kind)
    there = places >= 0
    values[there] = _take(data, places[there], kind, offset)
    return values


def _extension(data: Bytes, places: Places, where: dict[int, int], wanted: Sequence[int]) -> npt.NDArray[Any]:
    for extension in wanted:
        if extension in where:
            return _take(data, places, f"<u{_EXTENSIONS[extension]}", where[extension])
    return np.zeros(len(places), dtype=np.uint64)


def _elements(data: Bytes, places: Places) -> dict[int, Places]:
    """Where the body of each known element of each V3 record begins; -1 where the record has none (or a short one)."""
    found = {element: np.full(len(places), -1, dtype=np.int64) for element in _ELEMENT_BYTES}
    ends = places + _take(data, places, "<u2", 2)
    left = np.minimum(_take(data, places, "<u2", 4), _MOST_ELEMENTS).astype(np.int64)
    at = places + _V3_HEADER
    rows = np.flatnonzero((left > 0) & (at + 4 <= ends))
    while len(rows):
        here = at[rows]
        kinds, lengths = _take(data, here, "<u2"), _take(data, here, "<u2", 2).astype(np.int64)
        inside = (lengths >= 4) & (here + lengths <= ends[rows])
        for element, least in _ELEMENT_BYTES.items():
            mine = inside & (kinds == element) & (lengths - 4 >= least)
            found[element][rows[mine]] = here[mine] + 4
        at[rows] += lengths
        left[rows] -= 1
        rows = rows[inside & (left[rows] > 0) & (at[rows] + 4 <= ends[rows])]
    return found


def _v3_addresses(data: Bytes, narrow: Places, wide: Places) -> Columns:
    """Of records that have either family."""
    is_wide = wide >= 0
    four, six = _addresses(data, narrow[~is_wide], wide=False), _addresses(data, wide[is_wide], wide=True)
    order = pl.Series(np.argsort(np.concatenate([np.flatnonzero(~is_wide), np.flatnonzero(is_wide)])), dtype=pl.UInt32)
    return {end: pl.concat([four[end], six[end]]).gather(order) for end in ("source", "destination")}


def _addresses(data: Bytes, places: Places, *, wide: bool) -> Columns:
    """Source and destination text: one after the other, each a number (IPv6: two) in host order."""
    if wide:
        halves = [_take(data, places, "<u8", offset) for offset in (0, 8, 16, 24)]
        return {"source": v6_text(halves[0], halves[1]), "destination": v6_text(halves[2], halves[3])}
    return {"source": v4_text(_take(data, places, "<u4")), "destination": v4_text(_take(data, places, "<u4", 4))}


def _clock(data: Bytes, places: Places, seconds: int, milliseconds: int) -> npt.NDArray[Any]:
    whole = _take(data, places, "<u4", seconds).astype(np.int64) * 1_000_000
    whole += _take(data, places, "<u2", milliseconds).astype(np.int64) * 1000
    return whole


def _microseconds(milliseconds: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return milliseconds.clip(max=1 << 52).astype(np.int64) * 1000


def _both_ways(forward: Columns, answer: Columns) -> pl.DataFrame:
    """The records, and one more for each that counted an answer: that one says who asked."""
    answered = pl.Series((answer["packets"] > 0) | (answer["bytes"] > 0), dtype=pl.Boolean)
    asked = as_records(forward | {"forward": answered})
    back = as_records(
        forward
        | answer
        | {
            "source": forward["destination"],
            "source_port": forward["destination_port"],
            "destination": forward["source"],
            "destination_port": forward["source_port"],
            "forward": ~answered,
        }
    )
    asked = asked.with_columns(forward=pl.when("forward").then(statement=True))
    return pl.concat([asked, back.filter(answered)])
