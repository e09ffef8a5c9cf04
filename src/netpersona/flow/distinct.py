"""One flow counts once, however many sensors saw it and however often it was given.

Two rows of different sources are near where their five-tuples agree and their starts lie within TOLERANCE.  An answered
flow cannot happen twice so fast on one five-tuple, so near rows that were both answered prove that their sources watch
the same traffic; then all their near rows are the same flows.  Where nobody answers, it proves the same that nearly
all of what one source holds is near to rows of the other.  Sources that only hold parts of one sensor's log give no
such proof, and nothing is taken from them; within one source every row counts but for exact copies.

Without ports (ICMP) the five-tuple says less, so the counters must agree there too.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from netpersona.flow.orient import answered_by_responder

TOLERANCE = 100_000  # µs; two taps on one path are milliseconds apart
ENOUGH = 10  # five-tuples on which two sources must be near, where nothing near was answered
SHARE = 0.75  # of the rows of that source which has fewer; random parts of a log with twin rows share a half at most
_FIVE_TUPLE = ["transport", "originator", "originator_port", "responder", "responder_port"]
_COUNTERS = ["payload_orig", "payload_resp", "packets_orig", "packets_resp", "state"]


def uncopied(flows: pl.DataFrame) -> pl.DataFrame:
    """The flows without exact copies: no two flows agree in all, to the microsecond, but a log may be written twice."""
    if not flows["start"].is_duplicated().any():
        return flows
    alike = flows.select(pl.struct("start", *_FIVE_TUPLE).is_duplicated()).to_series()
    return pl.concat([flows.filter(~alike), flows.filter(alike).unique()]) if alike.any() else flows


def distinct(flows: pl.DataFrame) -> pl.DataFrame:
    """The flows with every further sight of the same flow left out; the order of the rows may change.

    Few rows have a neighbour at all, so these are found by hash first and only they are compared.
    """
    if flows["source"].n_unique() < 2:
        return flows
    marked = flows.with_columns(group=pl.struct(_FIVE_TUPLE).hash()).sort("group", "start")
    near = (pl.col("group") == pl.col("group").shift()) & (pl.col("start") - pl.col("start").shift() <= TOLERANCE)
    marked = marked.with_columns(near=near.fill_null(value=False))
    neighbour = pl.col("near") | pl.col("near").shift(-1).fill_null(value=False)
    close = marked.filter(neighbour)
    if not close.height:
        return flows
    far = marked.filter(~neighbour).drop("group", "near")
    sizes = dict(flows.group_by("source").len().iter_rows())
    return pl.concat([far, _compared(close.drop("group", "near"), sizes)])


def _compared(flows: pl.DataFrame, sizes: Mapping[str, int]) -> pl.DataFrame:
    """The rows that have a neighbour, without further sights; `sizes` says how many rows each source has in all."""
    order = [*_FIVE_TUPLE, "start", "source"]
    rest = sorted(set(flows.columns) - set(order))  # which of two goes must not depend on how they came
    flows = flows.sort([*order, *rest], nulls_last=True)
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _FIVE_TUPLE)
    near = (pl.col("start") - pl.col("start").shift()) <= TOLERANCE
    alike = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in _COUNTERS)
    elsewhere = pl.col("source") != pl.col("source").shift()
    answered = answered_by_responder()
    flows = flows.with_columns(
        near=(again & near & elsewhere & (alike | pl.col("originator_port").is_not_null())).fill_null(value=False),
        proof=answered & answered.shift(),
        one=pl.min_horizontal("source", pl.col("source").shift()),
        other=pl.max_horizontal("source", pl.col("source").shift()),
    )
    twice = _watched_twice(flows.filter("near"), sizes)
    same = flows.join(twice.with_columns(twice=True), on=["one", "other"], how="left", maintain_order="left")
    return same.filter(~(pl.col("near") & pl.col("twice").fill_null(value=False))).drop(
        "near", "proof", "one", "other", "twice"
    )


def _watched_twice(near: pl.DataFrame, sizes: Mapping[str, int]) -> pl.DataFrame:
    """The pairs of sources (one, other) whose near rows prove that they watch the same traffic."""
    pairs = near.group_by("one", "other").agg(
        pl.col("proof").any(), rows=pl.len(), places=pl.struct(_FIVE_TUPLE).n_unique()
    )
    fewer = pl.min_horizontal(pl.col(end).replace_strict(sizes, return_dtype=pl.Int64) for end in ("one", "other"))
    most = (pl.col("places") >= ENOUGH) & (pl.col("rows") >= SHARE * fewer)
    return pairs.filter(pl.col("proof") | most).select("one", "other")


def union(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Both tables' rows, where a row that both hold counts as often as the table that holds it more often says.

    So flows that were replayed before and are given again change nothing.
    """
    if not first.height or not second.height:
        return first if first.height else second
    columns = [name for name, dtype in first.schema.items() if dtype != pl.List(pl.String)]
    nth = pl.int_range(pl.len()).over(columns).alias("nth")
    rows = pl.concat([first.with_columns(nth), second.with_columns(nth)])
    return rows.unique([*columns, "nth"], keep="first", maintain_order=True).drop("nth")
