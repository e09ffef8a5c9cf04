"""Sorts any amount of flows into hours of event time, with bounded memory.

Sensors report in no particular order: logs are written when flows end, files overlap, captures are shuffled.  So
everything is read first, kept by hour (in memory while it is little, on disk from then on), and judged in order.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import polars as pl

from netpersona.flow.distinct import TOLERANCE, distinct, uncopied, union
from netpersona.flow.table import (
    FLOW_SCHEMA,
    TRANSACTION_SCHEMA,
    FlowBatch,
    conform,
    latest_banners,
    no_banners,
    telling,
)
from netpersona.flow.window import DAY, HOUR

_FLOWS, _TRANSACTIONS = "flows", "transactions"
_FLOWS_BEFORE, _TRANSACTIONS_BEFORE = "flows-before", "transactions-before"
IN_MEMORY = 1_200_000  # flows, some 300 MB; beyond this the spool goes to disk
_HEAVY = 3  # flows that take the memory of one transaction, which has long texts
FAR = 1_000 * DAY  # from the middle of all rows, or from what the store holds: no traffic, but a clock that was wrong
_FEW, _SHARE = 100, 0.1  # rows that are taken for astray; more of them are taken for traffic of another time


class Slice(NamedTuple):
    """All flows and transactions that start within one hour, each flow once."""

    start: int  # µs
    flows: pl.DataFrame
    transactions: pl.DataFrame


class Spool:
    """Takes batches in any order, gives hours in order.  A context manager: its files go when it ends.

    Beyond `limit` flows, or what weighs as much, it goes to disk, below `directory` (the system's own for temporary
    files, where none is given).
    """

    def __init__(self, directory: Path | None = None, limit: int = IN_MEMORY) -> None:
        self._parent = directory
        self._limit = limit
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._held: dict[tuple[str, int], list[pl.DataFrame]] = defaultdict(list)
        self._files: dict[tuple[str, int], list[Path]] = defaultdict(list)
        self._rows = 0  # held, transactions weighted
        self._counts: Counter[int] = Counter()  # rows by hour
        self.first: int | None = None  # µs: the earliest start
        self.last: int | None = None  # µs: the latest start
        self.total = 0  # rows taken
        self.banners = no_banners()  # the last of each server
        self.repeated = 0  # flows that came more than once: seen by two sensors, or given before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._directory is not None:
            self._directory.cleanup()

    def add(self, batch: FlowBatch) -> None:
        """Take one batch of what a sensor saw."""
        self._keep(_FLOWS, batch.flows)
        self._keep(_TRANSACTIONS, batch.transactions)
        if batch.banners.height:
            self.banners = latest_banners(pl.concat([self.banners, batch.banners]))
        if self._rows > self._limit:
            self._spill()

    def resume(self, pending: FlowBatch) -> None:
        """Take what a former run left open; a row that comes again from a sensor counts once."""
        self._keep(_FLOWS_BEFORE, pending.flows)
        self._keep(_TRANSACTIONS_BEFORE, pending.transactions)

    def discard_astray(self, known: int | None) -> int:
        """Leave out the few rows whose clock was wrong, and say how many: one such row would close the store for years.

        `known` (µs) is the time up to which the store holds traffic.  Rows are astray where they start FAR from it, or
        from the middle of all rows, and are few.  More that lie close together before all others close nothing: they
        are a recording of another time.
        """
        rows = sorted(self._counts.items())
        middle = known if known is not None else _middle(rows)
        far = [hour for hour, _ in rows if abs(hour - middle) > FAR]
        count = sum(self._counts[hour] for hour in far)
        if count >= _SHARE * self.total and (known is None or count > _FEW):
            return 0
        earlier = [hour for hour in far if hour < middle]
        if known is None and self._dense(earlier):
            far = far[len(earlier) :]
        if not far:
            return 0
        for table, hour in [*self._held, *self._files]:
            if hour in far:
                self._held.pop((table, hour), None)
                self._files.pop((table, hour), None)
        kept = [hour for hour, _ in rows if hour not in far]
        self.first = max(kept[0], self.first or 0) if kept else None
        self.last = min(kept[-1] + HOUR - 1, self.last or 0) if kept else None
        return sum(self._counts[hour] for hour in far)

    def _dense(self, hours: Sequence[int]) -> bool:
        """Whether these hours (in order) hold more than a few rows, and more than one a day: what a sensor recorded."""
        count = sum(self._counts[hour] for hour in hours)
        return count > _FEW and hours[-1] - hours[0] < count * DAY

    def hours(self) -> Iterator[Slice]:
        """The hours that hold anything, in order; a flow that two sensors saw comes once."""
        tail = pl.DataFrame(schema=FLOW_SCHEMA)
        for hour in sorted({hour for _, hour in (*self._held, *self._files)}):
            new, before = self._load(_FLOWS, hour, FLOW_SCHEMA), self._load(_FLOWS_BEFORE, hour, FLOW_SCHEMA)
            flows = union(before, new)
            once = _once(tail, flows)
            self.repeated += new.height + before.height - once.height
            tail = once.filter(pl.col("start") >= hour + HOUR - TOLERANCE)
            said = union(
                self._load(_TRANSACTIONS_BEFORE, hour, TRANSACTION_SCHEMA),
                self._load(_TRANSACTIONS, hour, TRANSACTION_SCHEMA),
            )
            yield Slice(hour, once, said)

    def _keep(self, table: str, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        first, last = frame["start"].min(), frame["start"].max()
        assert isinstance(first, int)
        assert isinstance(last, int)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        self._rows += frame.height * (1 if table in {_FLOWS, _FLOWS_BEFORE} else _HEAVY)
        self.total += frame.height
        for hour, part in _by_hour(frame):
            self._held[table, hour].append(part)
            self._counts[hour] += part.height

    def _spill(self) -> None:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="netpersona-", dir=self._parent)
        for (table, hour), parts in self._held.items():
            path = Path(self._directory.name) / f"{table}-{hour}-{len(self._files[table, hour])}.arrow"
            telling(pl.concat(parts)).write_ipc(path, compression="uncompressed")
            self._files[table, hour].append(path)
        self._held.clear()
        self._rows = 0

    def _load(self, table: str, hour: int, schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
        """What is kept of an hour's table; it is kept no longer."""
        parts = []
        for path in self._files.pop((table, hour), []):
            parts.append(conform(pl.read_ipc(path), schema))
            path.unlink()
        parts += self._held.pop((table, hour), [])
        return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def _by_hour(frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """The frame's rows by the hour in which they start; nothing is copied where the hours are in order."""
    hours = frame["start"] - frame["start"] % HOUR
    if not hours.is_sorted():
        parts = frame.with_columns(hour=hours).partition_by("hour", as_dict=True, include_key=False)
        yield from ((hour, part) for (hour,), part in parts.items())
        return
    begin = 0
    for hour, rows in hours.rle().struct.unnest().select("value", "len").iter_rows():
        yield hour, frame.slice(begin, rows)
        begin += rows


def _once(tail: pl.DataFrame, flows: pl.DataFrame) -> pl.DataFrame:
    """An hour's flows, each once, where `tail` are the last flows of the hour before."""
    flows = uncopied(flows)
    if pl.concat([tail["source"], flows["source"]]).n_unique() < 2:
        return flows  # as distinct() has it, and nothing is copied
    whole = pl.concat([tail.with_columns(carried=True), flows.with_columns(carried=False)])
    return distinct(whole).filter(~pl.col("carried")).drop("carried")


def _middle(rows: Sequence[tuple[int, int]]) -> int:
    """The hour in which the middle one of all rows starts."""
    half = sum(count for _, count in rows) / 2
    seen = 0
    for hour, count in rows:
        seen += count
        if seen >= half:
            return hour
    return 0
