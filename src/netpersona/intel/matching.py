"""Which indicators cover which peers and names: every pair, for all of them at once.

Prefixes that contain an address are found length by length: few lengths occur, and for each one the
address with its host bits cleared is looked up in a sorted array.  A listed domain covers itself and every
name below it, and ends at a dot: example.com covers a.example.com and never badexample.com.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.intel.lookup import Listed4, Listed6, flatten4, flatten6
from netpersona.intel.prefix import network_keys, prefixes

_LONGEST_NAME = 253  # characters of a domain name, RFC 1035
NO_PAIRS = pl.DataFrame(schema={"id": pl.UInt32, "indicator": pl.UInt32})


class _Level(NamedTuple):
    """The prefixes of one IP version and length, ascending, and the indicator of each."""

    version: int
    length: int
    keys: npt.NDArray[Any]  # see network_keys
    indicators: npt.NDArray[np.uint32]


@dataclass(frozen=True)
class AddressMatcher:
    """Matches addresses against the prefixes of `table`: version, hi, lo, length, and `indicator` (row number)."""

    table: pl.DataFrame

    def listed(self, points: pl.DataFrame) -> pl.Series:
        """For each row of a table of prefixes, whether its first address is covered by any indicator."""
        found = np.zeros(points.height, dtype=np.bool_)
        version = points["version"].fill_null(0).to_numpy()
        v4, v6 = version == 4, version == 6
        found[v4] = self.v4.listed(points["lo"].fill_null(0).to_numpy()[v4].astype(np.uint32))
        if v6.any():
            hi, lo = points["hi"].fill_null(0).to_numpy(), points["lo"].fill_null(0).to_numpy()
            found[v6] = self.v6.listed(hi[v6], lo[v6])
        return pl.Series("listed", found)

    def covering(self, points: pl.DataFrame) -> pl.DataFrame:
        """(id, indicator) for every indicator whose prefix contains the prefix of a point; points have an `id`."""
        version, length, hi, lo = (points[name].fill_null(0).to_numpy() for name in ("version", "length", "hi", "lo"))
        ids = points["id"].to_numpy()
        pairs = [NO_PAIRS]
        for level in self._levels:
            reached = np.flatnonzero((version == level.version) & (length >= level.length))
            wanted = network_keys(level.length, level.version, hi[reached], lo[reached])
            first = np.searchsorted(level.keys, wanted, side="left")
            count = np.searchsorted(level.keys, wanted, side="right") - first
            found = level.indicators[np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())]
            pairs.append(pl.DataFrame({"id": ids[np.repeat(reached, count)], "indicator": found}, NO_PAIRS.schema))
        return pl.concat(pairs)

    @cached_property
    def v4(self) -> Listed4:
        """What is listed of IPv4."""
        return flatten4(self.table.filter(pl.col("version") == 4))

    @cached_property
    def v6(self) -> Listed6:
        """What is listed of IPv6."""
        return flatten6(self.table.filter(pl.col("version") == 6))

    @cached_property
    def _levels(self) -> list[_Level]:
        version, length, hi, lo, indicator = (
            self.table[name].to_numpy() for name in ("version", "length", "hi", "lo", "indicator")
        )
        found = []
        for v, n in self.table.select("version", "length").unique().sort("version", "length").rows():
            own = (version == v) & (length == n)
            keys = network_keys(n, v, hi[own], lo[own])
            order = np.argsort(keys, kind="stable")
            found.append(_Level(v, n, keys[order], indicator[own][order]))
        return found


def address_matcher(table: pl.DataFrame) -> AddressMatcher:
    """A matcher for the addresses and networks among the rows of a table of indicators, in numeric order."""
    numbered = table.select("value", "type").with_row_index("indicator")
    rows = numbered.filter(pl.col("type").is_in(["address", "network"]))
    numbers = prefixes(rows["value"])
    table = pl.concat([numbers, rows.select("indicator")], how="horizontal").drop_nulls("version")
    order = np.lexsort([table[name].to_numpy() for name in ("length", "lo", "hi", "version")])  # equal ones stay so
    return AddressMatcher(table[order])


def match_names(names: pl.Series, domains: pl.DataFrame) -> pl.DataFrame:
    """(name, indicator) for every domain (value, indicator) that is the name or stands above it."""
    unique = names.drop_nulls().unique(maintain_order=True).alias("name").to_frame()
    left = unique.with_columns(_bounded(pl.col("name").str.to_lowercase().str.strip_chars_end(".")).alias("rest"))
    found = []
    while left.height and domains.height:
        found.append(left.join(domains, left_on="rest", right_on="value", how="inner").select("name", "indicator"))
        left = left.filter(pl.col("rest").str.contains(".", literal=True))
        left = left.with_columns(pl.col("rest").str.splitn(".", 2).struct.field("field_1").alias("rest"))
    return pl.concat([pl.DataFrame(schema={"name": pl.String, "indicator": pl.UInt32}), *found])


def _bounded(name: pl.Expr) -> pl.Expr:
    """The end of a name that is longer than any name can be, from a label's start."""
    tail = name.str.tail(_LONGEST_NAME + 1).str.splitn(".", 2).struct.field("field_1")
    return pl.when(name.str.len_chars() <= _LONGEST_NAME).then(name).otherwise(tail)
