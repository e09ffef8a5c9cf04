"""Which of many names a listing may cover: a look-up that costs no more with a million listed domains.

Every listed domain is one 64-bit hash, in order.  A name is looked up with every name above it.  So no listed name is
ever missed; whoever needs to be certain of a name that was found asks the table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

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


def _itself_and_above(name: str) -> list[str]:
    rest = name.lower().rstrip(".")
    found = [rest]
    while "." in rest:
        rest = rest.partition(".")[2]
        found.append(rest)
    return found
