"""How bad the feeds together say that something is.

    freshness  = 2^-(age / half_life), 1 where age or half-life is unknown
    family     = the maximum of confidence × freshness over a family's listings in force
    malice     = 1 - product over families of (1 - family)          (noisy or)
    reputation = 1 - malice: 1 where nothing is known, 0 where somebody is certain

So feeds that copy each other count once, independent feeds add up, and more listings never raise a
reputation.  Noisy or: J. Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, ch. 4.
"""

from __future__ import annotations

import polars as pl


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
    """(key, reputation) for every key of `pairs` that a listing in force covers.

    `pairs` has the key and the columns family, confidence, valid_from, valid_until, half_life.  Sorted by
    key and multiplied in the order of the families, so that the last bit does not depend on the order of rows.
    """
    weighed = pairs.filter(in_force(at)).select(key, "family", (pl.col("confidence") * freshness(at)).alias("weight"))
    alone = pl.col(key).is_unique()
    once = weighed.filter(alone).select(key, (1.0 - pl.col("weight")).alias("reputation"))
    families = weighed.filter(~alone).group_by(key, "family").agg(pl.col("weight").max()).sort(key, "family")
    more = families.group_by(key, maintain_order=True).agg((1.0 - pl.col("weight")).product().alias("reputation"))
    return pl.concat([once, more]).sort(key)
