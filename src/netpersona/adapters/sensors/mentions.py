"""What applications' records know of flows, by uid: told to the flows that have a record, else flows of their own.

Held in memory: one row for each uid that is mentioned.  The flows' own records stream past.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

_TOGETHER = 500_000  # rows: so many mentions wait before they are merged
_SLICE = 250_000  # rows of a batch
_ENDS = (
    "start",
    "transport",
    "originator",
    "originator_port",
    "responder",
    "responder_port",
    "application",
    "sensor",
    "source",
    "uid",
)
_TOLD = ("server_name", "tls_fingerprint", "auth_success")
_OWN = ("state", "payload_orig", "payload_resp")  # which flows that have a record know better


class Mentions:
    """The flows that applications' records mention, each once, with what all of them together say of it.

    A name is that of the first row in time that has one; the outcome is the same in any order of adding.
    """

    def __init__(self) -> None:
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0
        self._met: list[pl.Series] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows: a flow's ends (`_ENDS`), what is known of it (`_TOLD`) and its payload bytes each way.

        A `state` may be left out.
        """
        if rows.is_empty():
            return
        if "state" not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.String).alias("state"))
        ends = [pl.col(name).cast(pl.String).fill_null("") for name in _ENDS[1:6]]
        own = pl.when(pl.col("uid").is_null()).then(pl.concat_str(pl.lit("\0"), *ends, separator=" ")).otherwise("uid")
        timed = rows.with_columns(
            own.alias("key"),
            pl.col("start").alias("last"),
            pl.when(pl.col("server_name").is_not_null()).then("start").alias("named_at"),
        )
        self._waiting.append(_merged(timed))
        self._rows += self._waiting[-1].height
        if self._rows > _TOGETHER:
            self._known()

    def _known(self) -> pl.DataFrame:
        if len(self._waiting) > 1:
            self._waiting = [_merged(pl.concat(self._waiting))]
        self._rows = 0
        return self._waiting[0]

    def tell(self, flows: pl.DataFrame) -> pl.DataFrame:
        """The flows with the names, fingerprints and log-in outcomes of their uids; notes which uids were met."""
        if not self._waiting:
            return flows
        # The many known are looked up in the few flows, not the other way round: no block pays for all of them.
        known = self._known().select("key", *_TOLD)
        matched = known.join(flows.select("uid"), left_on="key", right_on="uid", how="semi")
        self._met.append(matched["key"])
        return flows.join(matched, left_on="uid", right_on="key", how="left")

    def flows(self) -> Iterator[pl.DataFrame]:
        """The mentioned flows that no record of their own told of, in tables of bounded size."""
        if not self._waiting:
            return
        rest = self._known()
        if self._met:
            rest = rest.join(pl.concat(self._met).to_frame("key"), on="key", how="anti")
        own = rest.sort("start", "key").with_columns((pl.col("last") - pl.col("start")).alias("duration"))
        yield from own.drop("key", "last", "named_at").iter_slices(_SLICE)


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each key."""
    if rows["key"].n_unique() == rows.height:
        return rows.select("key", "last", "named_at", *_ENDS, *_TOLD, *_OWN)
    ends = rows.select("key", *_ENDS).sort(["key", *_ENDS]).unique("key", keep="first", maintain_order=True)
    named = rows.drop_nulls("server_name").select("key", "named_at", "server_name")
    names = named.sort("key", "named_at", "server_name").unique("key", keep="first", maintain_order=True)
    sums = rows.group_by("key").agg(
        pl.col("last", "auth_success").max(),
        pl.col("tls_fingerprint", "state").min(),
        *(
            pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name)
            for name in ("payload_orig", "payload_resp")
        ),
    )
    whole = sums.join(ends, on="key", how="left").join(names, on="key", how="left")
    return whole.select("key", "last", "named_at", *_ENDS, *_TOLD, *_OWN)
