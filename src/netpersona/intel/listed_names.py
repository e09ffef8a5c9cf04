"""Which of many names a listing may cover: a look-up that costs no more with a million listed domains.

Every listed domain is one 64-bit hash, in order.  A name is looked up with every name above it.  So no listed name is
ever missed; whoever needs to be certain of a name that was found asks the table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    from netpersona.intel.indicators import IndicatorSet

_SHOWN = 80  # characters of outside text in a sentence
_KEPT = 1 << 14  # names of which is kept whether they are listed


@dataclass(frozen=True, eq=False)
class ListedNames:
    """The listed domains, as hashes in ascending order."""

    hashes: npt.NDArray[np.uint64]
    _known: dict[str, bool] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, domains: pl.Series) -> ListedNames:
        """Those of these domains (lower case)."""
        return cls(np.sort(domains.cast(pl.String).hash().to_numpy()))

    def may_hold(self, name: str) -> bool:
        """Whether this name is listed, or stands below what is: for one after the other, as VMs ask them again."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[name] = bool(self.among((name,)))
        return known

    def among(self, names: Collection[str]) -> set[str]:
        """The names that are listed, or stand below what is."""
        if not self.hashes.size or not names:
            return set()
        told = list(names)
        above = [_itself_and_above(name) for name in told]
        counts = np.fromiter(map(len, above), np.int64, len(above))
        asked = pl.Series([each for each_above in above for each in each_above], dtype=pl.String).hash().to_numpy()
        place = np.searchsorted(self.hashes, asked)
        found = self.hashes[np.minimum(place, self.hashes.size - 1)] == asked
        return {told[owner] for owner in np.repeat(np.arange(len(told)), counts)[found]}


def listed_as(names: pl.Series, intel: IndicatorSet, at: int) -> dict[str, str]:
    """What lists these unique names at `at` (µs): `evil.example, which feodo:7 lists as c2 (0.90)`; the surest."""
    pairs = intel.match_names(names, at)
    said = intel.table.select("value", "feed", "line", "label", "category", "confidence")[pairs["indicator"]]
    rows = pl.concat([pairs, said], how="horizontal").sort("name", "confidence", "feed", "line", descending=_SUREST)
    found = {}
    for row in rows.unique("name", keep="first", maintain_order=True).iter_rows(named=True):
        name, value = row["name"], row["value"]
        whose = f"{name}, which" if name == value else f"{name}, whose {value}"
        what = _plain(row["label"] or row["category"] or "malicious")
        found[name] = f"{whose} {row['feed']}:{row['line']} lists as {what} ({row['confidence']:.2f})"
    return found


_SUREST = [False, True, False, False]


def _plain(text: str) -> str:
    """Outside text made fit to show."""
    return "".join(ch if " " <= ch <= "~" else "?" for ch in text[:_SHOWN])


def _itself_and_above(name: str) -> list[str]:
    rest = name.lower().rstrip(".")
    found = [rest]
    while "." in rest:
        rest = rest.partition(".")[2]
        found.append(rest)
    return found
