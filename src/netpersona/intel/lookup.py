"""Is this address listed at all?  Asked of millions of addresses, so the listings are flattened once.

IPv4: all listed prefixes become one bitmap of two levels.  The first has an entry for each /24: nothing
listed, all listed, or the number of a block of 256 bits.  Two array reads answer an address, whatever the
number of listings.  (P. Gupta, S. Lin, N. McKeown: Routing Lookups in Hardware at Memory Access Speeds,
INFOCOM 1998.)  IPv6: disjoint intervals and a binary search.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.intel.prefix import last_of, wide_keys

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_MANY = 1 << 18  # addresses from which on building the bitmap pays
_FEW = 1 << 12  # intervals that a binary search finds as quickly
_CHUNK = 1 << 17  # addresses looked up at a time: what fits a core's cache
_FULL = 1  # the block of a /24 that is listed whole
_SPREAD = 1 << 22  # addresses written into the bitmap at a time


@dataclass(frozen=True)
class Listed4:
    """The listed part of IPv4 as disjoint intervals, both ends included, ascending."""

    starts: U32
    ends: U32

    def listed(self, addresses: U32) -> Bools:
        """For each address (host byte order), whether any interval holds it."""
        if len(self.starts) < _FEW or (len(addresses) < _MANY and "_bitmap" not in self.__dict__):
            return self._searched(addresses)
        found = np.empty(len(addresses), dtype=np.bool_)
        for begin in range(0, len(addresses), _CHUNK):
            part = addresses[begin : begin + _CHUNK]
            found[begin : begin + _CHUNK] = self._read(part)
        return found

    def _searched(self, addresses: U32) -> Bools:
        if not len(self.starts):
            return np.zeros(len(addresses), dtype=np.bool_)
        place = np.searchsorted(self.starts, addresses, side="right") - 1
        held: Bools = (place >= 0) & (addresses <= self.ends[place])
        return held

    def _read(self, addresses: U32) -> Bools:
        blocks, bits = self._bitmap
        block = blocks[addresses >> np.uint32(8)].astype(np.int64)
        byte = bits[(block << 5) | ((addresses & np.uint32(255)) >> np.uint32(3))]
        bit: npt.NDArray[np.uint8] = (byte >> (addresses & np.uint32(7)).astype(np.uint8)) & np.uint8(1)
        return bit.view(np.bool_)

    @cached_property
    def _bitmap(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """The block number of each /24, and the blocks: 32 bytes each."""
        starts, ends = self.starts.astype(np.int64), self.ends.astype(np.int64)
        blocks = np.zeros(1 << 24, dtype=np.int32)
        for first, last in zip(((starts + 255) >> 8).tolist(), ((ends + 1) >> 8).tolist(), strict=True):
            if first < last:
                blocks[first:last] = _FULL
        begin, length = _edges(starts, ends)
        touched = np.unique(begin >> 8)
        blocks[touched] = np.arange(2, len(touched) + 2, dtype=np.int32)
        bits = np.zeros((len(touched) + 2) << 5, dtype=np.uint8)
        bits[_FULL << 5 : (_FULL + 1) << 5] = 255
        for chosen in _batches(length):
            addresses = _spread(begin[chosen], length[chosen])
            place = (blocks[addresses >> 8].astype(np.int64) << 5) | ((addresses & 255) >> 3)
            np.bitwise_or.at(bits, place, np.left_shift(1, addresses & 7).astype(np.uint8))
        return blocks, bits


@dataclass(frozen=True)
class Listed6:
    """The listed part of IPv6 as disjoint intervals, both ends included, ascending; hi and lo are 64 bits each."""

    start_hi: U64
    start_lo: U64
    end_hi: U64
    end_lo: U64

    def listed(self, hi: U64, lo: U64) -> Bools:
        """For each address, whether any interval holds it."""
        if not len(self.start_hi):
            return np.zeros(len(hi), dtype=np.bool_)
        place = np.searchsorted(self.start_hi, hi, side="right") - 1
        reached = place >= 0
        late = reached & (self.start_hi[place] == hi) & (self.start_lo[place] > lo)
        place[late] = self._before(hi[late], lo[late])
        reached = place >= 0
        end_hi, end_lo = self.end_hi[place], self.end_lo[place]
        held: Bools = reached & ((hi < end_hi) | ((hi == end_hi) & (lo <= end_lo)))
        return held

    def _before(self, hi: U64, lo: U64) -> npt.NDArray[np.int64]:
        """The last interval that starts at or before each address, where many start in one /64."""
        return np.searchsorted(self._starts, wide_keys(hi, lo), side="right") - 1

    @cached_property
    def _starts(self) -> npt.NDArray[np.bytes_]:
        return wide_keys(self.start_hi, self.start_lo)


def flatten4(table: pl.DataFrame) -> Listed4:
    """The union of a table of IPv4 prefixes; adjacent intervals become one."""
    size = np.left_shift(np.int64(1), 32 - table["length"].to_numpy().astype(np.int64))
    starts = table["lo"].to_numpy().astype(np.int64)
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate((starts + size - 1)[order])
    opens = np.ones(len(starts), dtype=np.bool_)
    opens[1:] = starts[1:] > reach[:-1] + 1
    closes = np.append(opens[1:], True) if len(opens) else opens
    return Listed4(starts[opens].astype(np.uint32), reach[closes].astype(np.uint32))


def flatten6(table: pl.DataFrame) -> Listed6:
    """The union of a table of IPv6 prefixes: those that no earlier one contains, wide ones first at one start.

    Two prefixes are disjoint or nested, so 64 bits suffice: a /64 or wider one is seen in the upper half
    alone, and a narrower one lies with its fellows in one /64.
    """
    end_hi, end_lo = last_of(table)
    ends = table.select("hi", "lo", "length").with_columns(pl.Series("end_hi", end_hi), pl.Series("end_lo", end_lo))
    wide = pl.col("length") <= 64
    reach_hi = pl.when(wide).then("end_hi").cum_max().shift(1).forward_fill()
    reach_lo = pl.when(~wide).then("end_lo").cum_max().shift(1).forward_fill().over("hi")
    covered = (pl.col("hi") <= reach_hi) | (~wide & (pl.col("lo") <= reach_lo))
    top = ends.sort("hi", "lo", "length").filter(~covered.fill_null(value=False))
    return Listed6(*(top[name].to_numpy() for name in ("hi", "lo", "end_hi", "end_lo")))


def _edges(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The pieces of the intervals that do not fill a /24: where each begins and how long it is (within one /24)."""
    same = (starts >> 8) == (ends >> 8)
    whole = same & ((starts & 255) == 0) & ((ends & 255) == 255)
    head = ~same & ((starts & 255) != 0)
    tail = ~same & ((ends & 255) != 255)
    inside = same & ~whole
    begin = np.concatenate([starts[inside], starts[head], ends[tail] & ~np.int64(255)])
    end = np.concatenate([ends[inside], starts[head] | 255, ends[tail]])
    return begin, end - begin + 1


def _batches(length: npt.NDArray[np.int64]) -> list[slice]:
    """Cuts of the pieces, each of about _SPREAD addresses."""
    total = np.cumsum(length)
    if not len(total):
        return []
    cuts = np.searchsorted(total, np.arange(_SPREAD, int(total[-1]) + _SPREAD, _SPREAD))
    bounds = [0, *(min(int(cut) + 1, len(length)) for cut in cuts)]
    return [slice(a, b) for a, b in pairwise(bounds) if a < b]


def _spread(begin: npt.NDArray[np.int64], length: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Every address of the pieces."""
    offset = np.arange(int(length.sum()), dtype=np.int64) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(begin, length) + offset
