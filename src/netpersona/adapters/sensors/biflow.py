"""Unidirectional flow records become flows: which records belong together.

Two records belong to one flow when they have the same observer and the same two ends, and overlap or
follow each other within an idle time (300 s for TCP, 60 s for the rest); long flows that an exporter cut
at its active timeout are one flow again.  A TCP record with a SYN that starts after everything before it
ended, and after a FIN or RST, opens a new flow (RFC 7011 leaves this to the reader; the rule is the one
of the packet sensor, applied to records).

Who opened a conversation, and how it ended, is decided in `biflow_ends`.  Bytes and packets are sums of the
records': nothing is scaled by a sampling rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import polars as pl

from netpersona.adapters.sensors.biflow_ends import FIN, RST, SIDES, SYN, oriented
from netpersona.adapters.sensors.flow_records import (
    BATCH_ROWS,
    RECORD_SCHEMA,
    ExportTally,
    no_records,
)
from netpersona.flow.table import FLOW_SCHEMA, FlowBatch
from netpersona.flow.window import MINUTE, SECOND

TCP_IDLE = 300 * SECOND
OTHER_IDLE = 60 * SECOND
_LATE = MINUTE  # a record may come this much after one that ended later
_CUT = 55 * SECOND  # an open flow at least this long may have been cut by an active timeout ...
_RESUMED = 31 * MINUTE  # ... and its next part comes when that expires once more (exporters: 1 to 30 minutes)

_ENDS = ["low_end", "high_end", "group"]
_IDLE = pl.when(pl.col("protocol") == 6).then(TCP_IDLE).otherwise(OTHER_IDLE).cast(pl.Int64)  # else 32 bits wrap


def flows_of(records: Iterable[pl.DataFrame], tally: ExportTally, sensor: str) -> Iterator[FlowBatch]:
    """The flows that the record tables (RECORD_SCHEMA) make up, in batches of bounded size.

    Records may come in any order within one call's first quarter of a million; beyond, those that come more
    than a minute late may open a flow of their own.
    """
    pairing = Pairing()
    for some in records:
        tally.records += some.height
        yield from _batches(pairing.add(some), tally, sensor)
    yield from _batches(pairing.finish(), tally, sensor)
    if tally.skipped:
        yield from _last_word(tally)


def _batches(conversations: pl.DataFrame, tally: ExportTally, sensor: str) -> Iterator[FlowBatch]:
    for part in conversations.iter_slices(BATCH_ROWS):
        if part.height:
            yield tally.batch(oriented(part).with_columns(sensor=pl.lit(sensor)))


def _last_word(tally: ExportTally) -> Iterator[FlowBatch]:
    rest = tally.batch(pl.DataFrame(schema=FLOW_SCHEMA))
    if rest.skipped:
        yield rest


class Pairing:
    """Keeps the records of conversations that may go on; gives up those that cannot.

    They are settled whenever `rows` new records have come.  Memory is bounded: past four times as many open
    conversations the oldest half is given up.
    """

    def __init__(self, rows: int = BATCH_ROWS) -> None:
        self._rows = rows
        self._open = no_records()
        self._fresh: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, records: pl.DataFrame) -> pl.DataFrame:
        """Take these records; the conversations that are over by now (see `conversations`)."""
        self._fresh.append(records)
        self._waiting += records.height
        return self._settle() if self._waiting >= self._rows else _nothing()

    def finish(self) -> pl.DataFrame:
        """All conversations that are left."""
        everything = conversations(self._take())
        self._open = no_records()
        return everything

    def _take(self) -> pl.DataFrame:
        together = pl.concat([self._open, *self._fresh])
        self._fresh, self._waiting = [], 0
        return together

    def _settle(self) -> pl.DataFrame:
        # A high quantile, not the maximum: one record from the far future must not close every conversation.
        fresh_ends = pl.concat([some["end"] for some in self._fresh])
        now = cast("float", fresh_ends.quantile(0.99, "lower"))
        known = conversations(self._take())
        over = known.select(is_over(int(now)))["over"]
        if known.height - int(over.sum()) > 4 * self._rows:
            over = over | (known["end"].rank("ordinal") <= known.height // 2)
        self._open = _records_again(known.filter(~over))
        return known.filter(over)


def is_over(now: int) -> pl.Expr:
    """Whether nothing that may still come (at `now`, µs) belongs to this conversation."""
    flags = pl.col("tcp_flags_low").fill_null(0) | pl.col("tcp_flags_high").fill_null(0)
    cut = ((pl.col("end") - pl.col("start")) >= _CUT) & ((flags & (FIN | RST)) == 0)
    wait = _IDLE + pl.when(cut).then(_RESUMED).otherwise(_LATE).cast(pl.Int64)
    return (pl.col("end") + wait < now).alias("over")


def conversations(records: pl.DataFrame) -> pl.DataFrame:
    """The records, summed by conversation and side.

    Columns: protocol, observer, low, low_port, high, high_port (the two ends, in the order of their text),
    start, end (µs) and for each side S: records_S, bytes_S, packets_S, start_S, end_S, tcp_flags_S,
    forward_S, denied_S (all its records).
    """
    if not records.height:
        return _nothing()
    addresses = pl.concat([records["source"], records["destination"]]).unique().sort()
    observers = records["observer"].unique().sort()
    ordered = _by_ends(records, addresses, observers)
    ordered = ordered.with_columns(_conversation_numbers(ordered))
    summed = ordered.group_by("conversation", maintain_order=True).agg(
        pl.col(*_ENDS, "protocol").first(),
        pl.col("start").min(),
        pl.col("end").max(),
        *(sums for number, side in enumerate(SIDES) for sums in _side_sums(number, side)),
    )
    named = summed.with_columns(
        observers.gather(summed["group"] // 256).alias("observer"),
        *(addresses.gather(summed[f"{side}_end"] // 65536).alias(side) for side in SIDES),
        *((pl.col(f"{side}_end") % 65536).alias(f"{side}_port") for side in SIDES),
    )
    return named.select(pl.col(name).cast(dtype) for name, dtype in _CONVERSATION_SCHEMA.items())


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema=_CONVERSATION_SCHEMA)


def _by_ends(records: pl.DataFrame, addresses: pl.Series, observers: pl.Series) -> pl.DataFrame:
    """The records with their ends in the order of text, sorted by ends and time; `side` is who sent.

    An end is one number, its address's place among all addresses and its port: sorting and comparing numbers
    costs a third of what text does.  `group` is the observer's place and the protocol; `ends` counts up.
    """
    place = pl.Enum(addresses)
    ends = records.with_columns(
        sender=_place("source", place) * 65536 + pl.col("source_port"),
        receiver=_place("destination", place) * 65536 + pl.col("destination_port"),
        group=_observer_place(observers) * 256 + pl.col("protocol"),
    ).with_columns(
        side=(pl.col("sender") > pl.col("receiver")).cast(pl.UInt8),
        low_end=pl.min_horizontal("sender", "receiver"),
        high_end=pl.max_horizontal("sender", "receiver"),
    )
    ordered = ends.sort(*_ENDS, "start", "end")
    changed = pl.any_horizontal(pl.col(name) != pl.col(name).shift(1) for name in _ENDS).fill_null(value=False)
    return ordered.with_columns(ends=changed.cum_sum())


def _place(name: str, places: pl.Enum) -> pl.Expr:
    return pl.col(name).cast(places).to_physical().cast(pl.Int64)


def _observer_place(observers: pl.Series) -> pl.Expr:
    """Null, one observer, is the first."""
    told = observers.drop_nulls()
    return (
        pl.col("observer").cast(pl.Enum(told)).to_physical().cast(pl.Int64) + int(observers.null_count() > 0)
    ).fill_null(0)


def _conversation_numbers(ordered: pl.DataFrame) -> pl.Series:
    """Which conversation each record belongs to, for records sorted by ends and time.

    A burst is a run of records that overlap; the gaps between bursts, and their flags, divide conversations.
    """
    flags = pl.when(pl.col("protocol") == 6).then(pl.col("tcp_flags").fill_null(0)).otherwise(0)
    before = pl.col("before")
    timed = (
        ordered.with_columns(_latest_end_before(ordered))
        .select(
            flags=flags,
            fresh=(pl.col("start") > before).fill_null(value=True),
            idle=(pl.col("start") - before > _IDLE).fill_null(value=True),
        )
        .with_columns(burst=pl.col("fresh").cum_sum() - 1)
    )
    bursts = (
        timed.group_by("burst", maintain_order=True)
        .agg(pl.col("idle").first(), seen=pl.col("flags").bitwise_or())
        .with_columns(opens=(pl.col("seen") & SYN) > 0, closes=(pl.col("seen") & (FIN | RST)) > 0)
        .with_row_index("at")
    )
    last_idle = _latest("idle")
    last_opening = _latest("opens").shift(1, fill_value=-1)
    last_closing = _latest("closes").shift(1, fill_value=-1)
    reopened = pl.col("opens") & (last_closing >= pl.max_horizontal(last_idle, last_opening))
    numbers = bursts.select((pl.col("idle") | reopened).cum_sum().alias("conversation"))["conversation"]
    return numbers.gather(timed["burst"]).alias("conversation")


def _latest_end_before(ordered: pl.DataFrame) -> pl.Series:
    """The latest end (µs) of the records before each with the same ends; null for the first.

    A running maximum over all rows, of (ends, place of the end among all ends): window functions cost ten
    times as much with as many groups.
    """
    ends = ordered["ends"].to_numpy().astype(np.int64)
    moments, place = np.unique(ordered["end"].to_numpy(), return_inverse=True)
    running = np.maximum.accumulate(ends * len(moments) + place)
    before = np.concatenate([moments[:1], moments[running[:-1] % len(moments)]])
    same = np.concatenate([[False], ends[1:] == ends[:-1]])
    return pl.select(pl.when(pl.Series(same)).then(pl.Series(before)).alias("before")).to_series()


def _latest(what: str) -> pl.Expr:
    """The number of the latest burst, up to this one, for which `what` holds; -1 before the first."""
    return pl.when(pl.col(what)).then(pl.col("at").cast(pl.Int64)).otherwise(-1).cum_max()


def _side_sums(number: int, side: str) -> list[pl.Expr]:
    mine = pl.col("side") == number
    return [
        mine.sum().cast(pl.Int64).alias(f"records_{side}"),
        *(pl.when(mine).then(name).otherwise(0).sum().alias(f"{name}_{side}") for name in ("bytes", "packets")),
        pl.when(mine).then("start").min().alias(f"start_{side}"),
        pl.when(mine).then("end").max().alias(f"end_{side}"),
        pl.when(mine & pl.col("tcp_flags").is_not_null())
        .then("tcp_flags")
        .otherwise(0)
        .bitwise_or()
        .alias(f"tcp_flags_{side}"),
        (mine & pl.col("tcp_flags").is_not_null()).any().alias(f"flagged_{side}"),
        pl.when(mine).then("forward").max().alias(f"forward_{side}"),
        pl.when(mine).then(pl.col("denied").fill_null(value=False)).min().alias(f"denied_{side}"),
    ]


_SIDE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "records": pl.Int64,
    "bytes": pl.Int64,
    "packets": pl.Int64,
    "start": pl.Int64,
    "end": pl.Int64,
    "tcp_flags": pl.UInt8,
    "flagged": pl.Boolean,
    "forward": pl.Boolean,
    "denied": pl.Boolean,
}
_CONVERSATION_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "protocol": pl.UInt8,
    "observer": pl.String,
    "low": pl.String,
    "low_port": pl.UInt16,
    "high": pl.String,
    "high_port": pl.UInt16,
    "start": pl.Int64,
    "end": pl.Int64,
    **{f"{name}_{side}": dtype for side in SIDES for name, dtype in _SIDE_SCHEMA.items()},
}


def _records_again(known: pl.DataFrame) -> pl.DataFrame:
    """One record for each side that sent: conversing again, with later records, gives what all would have given."""
    parts = []
    for mine, other in (SIDES, SIDES[::-1]):
        flags = pl.when(pl.col(f"flagged_{mine}")).then(f"tcp_flags_{mine}")
        parts.append(
            known.filter(pl.col(f"records_{mine}") > 0).select(
                pl.col(f"start_{mine}").alias("start"),
                pl.col(f"end_{mine}").alias("end"),
                "protocol",
                pl.col(mine).alias("source"),
                pl.col(f"{mine}_port").alias("source_port"),
                pl.col(other).alias("destination"),
                pl.col(f"{other}_port").alias("destination_port"),
                pl.col(f"bytes_{mine}").alias("bytes"),
                pl.col(f"packets_{mine}").alias("packets"),
                flags.alias("tcp_flags"),
                pl.col(f"forward_{mine}").alias("forward"),
                pl.col(f"denied_{mine}").alias("denied"),
                "observer",
            )
        )
    return pl.concat(parts).select(list(RECORD_SCHEMA))
