"""Which rows are new: a replay may be given again, or was interrupted and is begun anew."""

from __future__ import annotations

import polars as pl

# How a row came here; the same flow may come from a file of another name, or after a restart with another uid.
_WAY = {"uid", "sensor", "source"}


def unknown(now: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The rows of `now` that `before` does not have; of equal ones, as many as it has fewer."""
    columns = [name for name, dtype in now.schema.items() if name not in _WAY and dtype != pl.List(pl.String)]
    nth = pl.int_range(pl.len()).over(columns).alias("nth")
    known = before.select(*columns, nth)
    return now.with_columns(nth).join(known, on=[*columns, "nth"], how="anti", nulls_equal=True).drop("nth")
