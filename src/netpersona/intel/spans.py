"""Ranges of addresses as numbers: their union, their difference, and the fewest prefixes that cover them.

IPv4 addresses are int64; IPv6 addresses, for which there is no machine type, are Python ints in arrays of objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.intel.prefix import WIDTH

Network = IPv4Network | IPv6Network
Numbers = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

_NUMBER: dict[int, type] = {4: np.int64, 6: object}
_LAST = {4: (1 << 32) - 1, 6: (1 << 128) - 1}


@dataclass(frozen=True, slots=True)
class Spans:
    """Disjoint ranges of addresses of one IP version, both ends included, ascending."""

    starts: Numbers
    ends: Numbers

    def __len__(self) -> int:
        return len(self.starts)

    def holds(self, addresses: Numbers) -> Bools:
        """For each address, whether any range holds it."""
        if not len(self):
            return np.zeros(len(addresses), dtype=np.bool_)
        place = np.searchsorted(self.starts, addresses, side="right") - 1
        held: Bools = (place >= 0) & (addresses <= self.ends[place])
        return held

    def overlap(self, other: Spans) -> Spans:
        """What lies in both."""
        first = np.searchsorted(other.ends, self.starts, side="left")
        count = np.maximum(np.searchsorted(other.starts, self.ends, side="right") - first, 0)
        own = np.repeat(np.arange(len(self)), count)
        theirs = np.arange(len(own)) + np.repeat(first - (np.cumsum(count) - count), count)
        starts = np.maximum(self.starts[own], other.starts[theirs])
        return Spans(starts, np.minimum(self.ends[own], other.ends[theirs]))

    def outside(self, version: int) -> Spans:
        """Every address of this IP version that lies in no range."""
        starts = np.concatenate([np.array([0], self.starts.dtype), self.ends + 1])
        ends = np.concatenate([self.starts - 1, np.array([_LAST[version]], self.ends.dtype)])
        some = starts <= ends
        return Spans(starts[some], ends[some])


def union(starts: Numbers, ends: Numbers) -> Spans:
    """The ranges (by ascending start) as disjoint ones; those that touch become one."""
    if not len(starts):
        return Spans(starts, ends)
    reach = np.maximum.accumulate(ends)
    opens = np.ones(len(starts), dtype=np.bool_)
    opens[1:] = starts[1:] > reach[:-1] + 1
    return Spans(starts[opens], reach[np.append(opens[1:], True)])


def spans_of(networks: Sequence[Network], version: int) -> Spans:
    """The networks of this IP version, in any order, as ranges."""
    own = sorted((int(n.network_address), int(n.broadcast_address)) for n in networks if n.version == version)
    starts, ends = zip(*own, strict=True) if own else ((), ())
    return union(np.array(starts, _NUMBER[version]), np.array(ends, _NUMBER[version]))


def bounds(table: pl.DataFrame, version: int) -> tuple[Numbers, Numbers]:
    """The first and the last address of each prefix (hi, lo, length) of one IP version."""
    host: Numbers = WIDTH[version] - table["length"].to_numpy().astype(_NUMBER[version])
    starts: Numbers = table["lo"].to_numpy().astype(_NUMBER[version])
    if version == 6:
        starts = starts | table["hi"].to_numpy().astype(object) << 64
    return starts, starts + (1 << host) - 1


def blocks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest aligned blocks that cover a range, in order: (first address, number of bits that vary)."""
    while start <= end:
        bits = (end - start + 1).bit_length() - 1
        if start:
            bits = min(bits, (start & -start).bit_length() - 1)
        yield start, bits
        start += 1 << bits
