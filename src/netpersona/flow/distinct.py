"""One flow counts once, however many sensors saw it and however often it was given.

Two rows are the same flow where the five-tuple agrees, the starts lie within TOLERANCE, and

  - the sensors have different names, or
  - the sensor gave each of them its own uid, and the counters agree (two sensors that share a name).

Without ports (ICMP) the five-tuple says less, so the counters must agree there too.  Retries of a refused TCP
connection from the same port are half a second apart in every common stack, well outside the tolerance.
"""

from __future__ import annotations

import polars as pl

TOLERANCE = 100_000  # µs; two taps on one path are milliseconds apart
_FIVE_TUPLE = ["transport", "originator", "originator_port", "responder", "responder_port"]
_COUNTERS = ["payload_orig", "payload_resp", "packets_orig", "packets_resp", "state"]


def distinct(flows: pl.DataFrame) -> pl.DataFrame:
    """The flows with every further sight of the same flow left out, in canonical order."""
    if flows.height < 2:
        return flows
    flows = flows.sort([*_FIVE_TUPLE, "start", "sensor", "uid"], nulls_last=True)
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _FIVE_TUPLE)
    near = (pl.col("start") - pl.col("start").shift()) <= TOLERANCE
    alike = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _COUNTERS)
    named_apart = pl.col("sensor").ne_missing(pl.col("sensor").shift())
    numbered_apart = (pl.col("uid") != pl.col("uid").shift()).fill_null(value=False)
    portless = pl.col("originator_port").is_null()
    same = again & near & ((named_apart & (alike | ~portless)) | (numbered_apart & alike))
    return flows.filter(~same.fill_null(value=False))


def union(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Both tables' rows, where a row that both hold counts as often as the table that holds it more often says.

    So flows that were replayed before and are given again change nothing.
    """
    if not first.height or not second.height:
        return pl.concat([first, second])
    columns = [name for name, dtype in first.schema.items() if dtype != pl.List(pl.String)]
    nth = pl.int_range(pl.len()).over(columns).alias("nth")
    rows = pl.concat([first.with_columns(nth), second.with_columns(nth)])
    return rows.unique([*columns, "nth"], keep="first", maintain_order=True).drop("nth")
