"""What the feeds say at one instant: every address and network that is listed then, once, with its reputation.

The peers below a threshold, of a feed or of a category are then a choice among these.  Where listings overlap, the
inner one combines all that cover it, so it is never better than what is around it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.intel.allow import AllowList
from netpersona.intel.groups import PeerGroup, Prefixes
from netpersona.intel.matching import AddressMatcher
from netpersona.intel.reputation import WEIGHT, combined, in_force
from netpersona.intel.spans import Bools, Network, bounds, spans_of


@dataclass(frozen=True)
class Standing:
    """The prefixes listed at one instant, IPv4 before IPv6, each with its reputation.

    `listings` are those in force then: feed and category; `prefix` is the number of the prefix of each.
    """

    versions: tuple[Prefixes, ...]
    reputation: npt.NDArray[np.float64]
    listings: pl.DataFrame
    prefix: npt.NDArray[np.int64]

    def below(self, threshold: float) -> PeerGroup:
        """Every address and network whose reputation is below the threshold."""
        return self._group(self.reputation < threshold)

    def in_feeds(self, names: Collection[str]) -> PeerGroup:
        """Every address and network that one of these feeds lists."""
        return self._with("feed", names)

    def in_categories(self, names: Collection[str]) -> PeerGroup:
        """Every address and network that is listed under one of these categories."""
        return self._with("category", names)

    def _with(self, column: str, names: Collection[str]) -> PeerGroup:
        named = self.listings[column].is_in(list(names)).fill_null(value=False).to_numpy()
        chosen = np.zeros(len(self.reputation), dtype=np.bool_)
        chosen[self.prefix[named]] = True
        return self._group(chosen)

    def _group(self, chosen: Bools) -> PeerGroup:
        v4, v6 = self.versions
        first, second = v4.group(chosen[: len(v4)]), v6.group(chosen[len(v4) :])
        return PeerGroup(first.addresses + second.addresses, first.networks + second.networks)


def standing(table: pl.DataFrame, matcher: AddressMatcher, allow: AllowList, at: int) -> Standing:
    """What a table of indicators says at the instant `at` (µs); `matcher` is its address_matcher."""
    held = table.select(in_force(at)).to_series()
    rows = matcher.table.filter(held[matcher.table["indicator"]])
    prefix = rows.select(pl.struct("version", "hi", "lo", "length").rle_id().alias("id")).to_series()
    nodes = rows.with_columns(prefix).filter(prefix.is_first_distinct())
    v4, v6 = (_prefixes(nodes, table, allow.networks(at), version) for version in (4, 6))
    nested = nodes.filter(pl.Series(np.concatenate([v4.nested, v6.nested])))
    around = matcher.covering(nested)
    around = around.filter(held[around["indicator"]])
    pairs = pl.concat([rows.select(prefix, "indicator"), around])
    reputation = combined(pairs["id"].to_numpy(), table.select(WEIGHT)[pairs["indicator"]], at)
    return Standing((v4, v6), reputation, table.select("feed", "category")[rows["indicator"]], prefix.to_numpy())


def _prefixes(nodes: pl.DataFrame, table: pl.DataFrame, allowed: Sequence[Network], version: int) -> Prefixes:
    own = nodes.filter(pl.col("version") == version)
    texts = np.array(table["value"].gather(own["indicator"]).to_list(), dtype=np.object_)
    return Prefixes(version, *bounds(own, version), texts, spans_of(allowed, version).outside(version))
