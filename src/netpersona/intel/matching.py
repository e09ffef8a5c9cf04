"""Which indicators cover which peers and names: every pair, for all of them at once.

Prefixes that contain an address are found length by length: few lengths occur, and for each one the
address with its host bits cleared is looked up in a sorted array.  A listed domain covers itself and every
name below it, and ends at a dot: example.com covers a.example.com and never badexample.com.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from netpersona.intel.lookup import Listed4, Listed6, flatten4, flatten6
from netpersona.intel.prefix import masked, prefixes

_LONGEST_NAME = 253  # characters of a domain name, RFC 1035
NO_PAIRS = pl.DataFrame(schema={"id": pl.UInt32, "indicator": pl.UInt32})


class _Level(NamedTuple):
    """The indicators of one version and prefix length, sorted by (hi, lo)."""

    version: int
    length: int
    table: pl.DataFrame

    @property
    def half(self) -> str | None:
        """The column that alone tells these prefixes apart; None: it takes both."""
        if self.version == 4:
            return "lo"
        return "hi" if self.length <= 64 else None


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
        pairs = [self._pairs(level, points) for level in self._levels]
        return pl.concat([NO_PAIRS, *pairs])

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
        ordered = self.table.sort("version", "length", "hi", "lo", "indicator")
        groups = ordered.partition_by("version", "length", maintain_order=True)
        return [_Level(int(group["version"][0]), int(group["length"][0]), group) for group in groups]

    def _pairs(self, level: _Level, points: pl.DataFrame) -> pl.DataFrame:
        hi, lo = masked(level.length, level.version)
        reachable = points.filter((pl.col("version") == level.version) & (pl.col("length") >= level.length))
        wanted = reachable.select("id", hi, lo)
        if level.half is None:
            return wanted.join(level.table, on=["hi", "lo"], how="inner").select("id", "indicator")
        keys, half = level.table[level.half].to_numpy(), wanted[level.half].to_numpy()
        first = np.searchsorted(keys, half, side="left")
        count = np.searchsorted(keys, half, side="right") - first
        places = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        ids = np.repeat(wanted["id"].to_numpy(), count).astype(np.uint32)
        rows = level.table["indicator"].to_numpy()[places]
        return pl.DataFrame({"id": ids, "indicator": rows}, schema=NO_PAIRS.schema)


def address_matcher(table: pl.DataFrame) -> AddressMatcher:
    """A matcher for the addresses and networks among the rows of a table of indicators."""
    numbered = table.select("value", "type").with_row_index("indicator")
    rows = numbered.filter(pl.col("type").is_in(["address", "network"]))
    numbers = prefixes(rows["value"])
    return AddressMatcher(pl.concat([numbers, rows.select("indicator")], how="horizontal").drop_nulls("version"))


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
