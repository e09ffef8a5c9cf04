"""How bad the feeds together say that something is.

    freshness  = 2^-(age / half_life), 1 where age or half-life is unknown
    family     = the maximum of confidence × freshness over a family's listings in force
    malice     = 1 - product over families of (1 - family)          (noisy or)
    reputation = 1 - malice: 1 where nothing is known, 0 where somebody is certain

So feeds that copy each other count once, independent feeds add up, and more listings never raise a
reputation.  Noisy or: J. Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, ch. 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

WEIGHT = ["family", "confidence", "valid_from", "valid_until", "half_life"]
"""The columns of a listing that its weight depends on."""


def in_force(at: int) -> pl.Expr:
    """Whether a listing holds at the instant `at` (µs): from valid_from up to, but not with, valid_until."""
    begun = pl.col("valid_from").is_null() | (pl.col("valid_from") <= at)
    return begun & (pl.col("valid_until").is_null() | (pl.col("valid_until") > at))


def freshness(at: int) -> pl.Expr:
    """What is left of a listing's weight at the instant `at`: 0 to 1; a start in the future counts as now."""
    age = (pl.lit(at) - pl.col("valid_from")).clip(lower_bound=0)
    fading = (-(age.cast(pl.Float64) / pl.col("half_life")) * pl.lit(2.0).log()).exp()
    return fading.fill_null(1.0).alias("freshness")


def reputations(pairs: pl.DataFrame, key: str, at: int) -> pl.DataFrame:
    """(key, reputation) for every key of `pairs` that a listing in force covers, sorted by key.

    `pairs` has the key and the columns WEIGHT.
    """
    held = pairs.filter(in_force(at)).sort(key)
    number = held.select(pl.col(key).rle_id()).to_series()
    found = combined(number.to_numpy(), held, at)
    return held.filter(number.is_first_distinct()).select(key, pl.Series("reputation", found))


def combined(numbers: npt.NDArray[np.integer[Any]], listings: pl.DataFrame, at: int) -> npt.NDArray[np.float64]:
    """The reputation of each of the things numbered from 0; row i of the listings, all in force, is one of numbers[i].

    Multiplied in the order of the families' names, so that the last bit does not depend on the order of rows.
    """
    if listings.is_empty():
        return np.ones(0)
    names = listings["family"].fill_null("")
    families = names.cast(pl.Enum(names.unique().sort())).to_physical().to_numpy()
    weights = listings.select(pl.col("confidence") * freshness(at)).to_series().to_numpy()
    order = np.lexsort((numbers, families))
    number, family = numbers[order], families[order]
    opens = np.ones(len(order), dtype=np.bool_)
    opens[1:] = (number[1:] != number[:-1]) | (family[1:] != family[:-1])
    best = np.maximum.reduceat(weights[order], np.flatnonzero(opens))
    found = np.ones(int(numbers.max()) + 1)
    np.multiply.at(found, number[opens], 1.0 - best)
    return found
