"""Feeds that copy each other: found by what they share, and counted once.

A feed is a copy of another, its source, where it holds most of what that one lists: at least COPIED of it, and at
least LEAST indicators.  Of two that hold each other the smaller is the source.  What a copy lists and its source lists
too counts to the source's family; what only the copy lists stays its own.  So two lists that one collection gathered
remain two witnesses, and the collection is no third one.  Between feeds to which the operator gave families himself,
what he said counts.

Independent feeds share little: of 24 public address feeds most shared under a tenth with any other, and high overlap
came of one taking in the other (V. G. Li et al., Reading the Tea Leaves, USENIX Security 2019, 4.2).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

COPIED = 0.8  # share of the source that a copy holds
LEAST = 25  # indicators that both list: fewer may be chance


@dataclass(frozen=True)
class Overlap:
    """How many values each feed lists, and how many each two of them list both; feeds in the order of their names."""

    feeds: tuple[str, ...]
    shared: Ints  # (feed, feed): values that both list; on the diagonal all that one lists
    alone: Ints  # by feed: values that no other one lists

    def size(self, feed: str) -> int:
        """How many values a feed lists."""
        place = self.feeds.index(feed)
        return int(self.shared[place, place])

    def unique(self, feed: str) -> float:
        """Which share of a feed's values no other one lists, 0 to 1."""
        size = self.size(feed)
        return int(self.alone[self.feeds.index(feed)]) / size if size else 0.0

    def with_others(self, feed: str) -> dict[str, int]:
        """The feeds that share values with this one, and how many, the most first."""
        place = self.feeds.index(feed)
        counts = {other: int(n) for other, n in zip(self.feeds, self.shared[place], strict=True) if n and other != feed}
        return dict(sorted(counts.items(), key=lambda of: (-of[1], of[0])))

    def sources(self, feed: str) -> tuple[str, ...]:
        """The feeds that this one is a copy of, the smallest first."""
        place = self.feeds.index(feed)
        found = [place_of for place_of in self.order.tolist() if self.copies[place, place_of]]
        return tuple(self.feeds[place_of] for place_of in found)

    @cached_property
    def order(self) -> Ints:
        """The places of the feeds, the smallest feed first."""
        return np.argsort(np.diagonal(self.shared), kind="stable")

    @cached_property
    def copies(self) -> Bools:
        """(copy, source): whether the one holds most of the other."""
        size, rank = np.diagonal(self.shared), np.argsort(self.order)
        holds = (self.shared >= COPIED * size[np.newaxis, :]) & (self.shared >= LEAST)
        found: Bools = holds & (rank[:, np.newaxis] > rank[np.newaxis, :])
        return found


def overlap(table: pl.DataFrame) -> Overlap:
    """What the feeds of a table of indicators share; its rows are sorted by type and value."""
    return _Rows(table).overlap


def with_families(table: pl.DataFrame, stated: Collection[str]) -> pl.DataFrame:
    """The table with the family of each listing: of what a copy took over, that of its source.

    The rows are sorted by type and value.  `stated` are the feeds whose families the operator gave: of two such feeds
    neither is taken for a copy.
    """
    if table["feed"].n_unique() < 2:
        return table
    rows = _Rows(table)
    copies = rows.overlap.copies.copy()
    named = np.array([feed in stated for feed in rows.overlap.feeds], dtype=np.bool_)
    copies[np.ix_(named, named)] = False
    if not copies.any():
        return table
    origin = rows.origins(copies)
    return table.with_columns(table["family"].gather(origin))


class _Rows:
    """The rows of a table as numbers: which value each is about, and which feed it is of."""

    def __init__(self, table: pl.DataFrame) -> None:
        self._value = table.select(pl.struct("type", "value").rle_id()).to_series().to_numpy().astype(np.int64)
        names = table["feed"].unique().sort()
        self._feeds = tuple(names.to_list())
        self._feed: Ints = table["feed"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)

    @cached_property
    def overlap(self) -> Overlap:
        """What the feeds share."""
        count = len(self._feeds)
        first = self._first()
        value, feed = self._value[first], self._feed[first]
        shared = np.zeros(count * count, dtype=np.int64)
        met = np.zeros(len(value), dtype=np.bool_)
        for one, other in _neighbours(value):
            shared += np.bincount(feed[one] * count + feed[other], minlength=count * count)
            met[one] = met[other] = True
        both = shared.reshape(count, count)
        both = both + both.T + np.diag(np.bincount(feed, minlength=count))
        return Overlap(self._feeds, both, np.bincount(feed[~met], minlength=count))

    def origins(self, copies: Bools) -> Ints:
        """For each row the row of the same value whose family it takes: its own, or that of the smallest source."""
        rank = np.argsort(self.overlap.order)
        origin = np.arange(len(self._value))
        best = rank[self._feed].copy()
        for one, other in _neighbours(self._value):
            for copy, source in ((one, other), (other, one)):
                better = copies[self._feed[copy], self._feed[source]] & (rank[self._feed[source]] < best[copy])
                origin[copy[better]], best[copy[better]] = source[better], rank[self._feed[source[better]]]
        while (further := origin[origin] != origin).any():
            origin[further] = origin[origin[further]]
        return origin

    def _first(self) -> Bools:
        """The first row of each feed about a value."""
        found = np.ones(len(self._value), dtype=np.bool_)
        order = np.lexsort((self._feed, self._value))
        value, feed = self._value[order], self._feed[order]
        found[order[1:]] = (value[1:] != value[:-1]) | (feed[1:] != feed[:-1])
        return found


def _neighbours(value: Ints) -> list[tuple[Ints, Ints]]:
    """Every two rows of one value, as pairs of arrays: rows next to each other, then those two apart, and so on."""
    pairs = []
    for apart in range(1, len(value)):
        one = np.flatnonzero(value[apart:] == value[:-apart])
        if not len(one):
            break
        pairs.append((one, one + apart))
    return pairs
