"""A History that lasts as long as the process: for one replay, and for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import polars as pl

from netpersona.adapters.history.once import unknown
from netpersona.adapters.history.parquet import KEEP, MAX_SIZE, TOO_MUCH, TOO_OLD
from netpersona.flow.table import FLOW_SCHEMA, FlowBatch, batch
from netpersona.flow.window import DAY
from netpersona.intel.rollup import Rollup, rolled_up, together
from netpersona.ports import HistoryExtent


@dataclass(slots=True)
class MemoryHistory:
    """A History in memory; `keep` (µs) and `most` (bytes) bound it by whole days."""

    keep: int = KEEP
    most: int = MAX_SIZE
    _rows: dict[int, FlowBatch] = field(default_factory=dict)  # day (its start, µs) -> what was seen
    _rollups: dict[int, Rollup] = field(default_factory=dict)
    _added: list[tuple[FlowBatch, Callable[[FlowBatch], FlowBatch]]] = field(default_factory=list)
    _let_go: Counter[str] = field(default_factory=Counter)

    def add(self, rows: FlowBatch, view: Callable[[FlowBatch], FlowBatch]) -> int:
        """Take flows and what was said in them; those that are held already count once."""
        taken = 0
        for day in self._days_of(rows):
            held = self._rows.get(day, batch())
            now = _within(rows, day)
            new = FlowBatch(unknown(now.flows, held.flows), unknown(now.transactions, held.transactions))
            self._added.append((new, view))
            taken += new.flows.height
        return taken

    def close(self, until: int) -> None:
        """Keep what was added, and let go what is too old at `until` (µs), or too much."""
        for rows, view in self._added:
            seen = view(rows)
            for day in self._days_of(rows):
                held, rollup = self._rows.get(day, batch()), rolled_up(seen.flows, seen.transactions)
                self._rows[day] = FlowBatch(
                    pl.concat([held.flows, rows.flows]), pl.concat([held.transactions, rows.transactions])
                )
                self._rollups[day] = together([self._rollups[day], rollup]) if day in self._rollups else rollup
        self._added.clear()
        newest = max([until, *(_last(rows) for rows in self._rows.values())])
        for day in sorted(self._rows):
            old = _last(self._rows[day]) < newest - self.keep
            if old or self._octets() > self.most:
                self._let_go[TOO_OLD if old else TOO_MUCH] += self._rows.pop(day).flows.height
                del self._rollups[day]

    def days(self, since: int | None = None, until: int | None = None) -> Iterator[Rollup]:
        """The days that reach into the time from `since` up to `until` (µs), in order."""
        for day in sorted(self._rollups):
            if (since is None or day + DAY > since) and (until is None or day < until):
                yield self._rollups[day]

    def flows(self, since: int, until: int) -> pl.LazyFrame:
        """The flows (FLOW_SCHEMA) that start from `since` up to `until` (µs)."""
        frames = [pl.DataFrame(schema=FLOW_SCHEMA), *(self._rows[day].flows for day in sorted(self._rows))]
        return pl.concat(frames).lazy().filter(pl.col("start").is_between(since, until, closed="left"))

    def extent(self) -> HistoryExtent:
        """How much there is, and what was let go."""
        return HistoryExtent(
            first=min((_first(rows) for rows in self._rows.values()), default=None),
            last=max((_last(rows) for rows in self._rows.values()), default=None),
            flows=sum(rows.flows.height for rows in self._rows.values()),
            octets=self._octets(),
            let_go=dict(self._let_go),
        )

    def _octets(self) -> int:
        tables = [table for rows in self._rows.values() for table in (rows.flows, rows.transactions)]
        return sum(int(table.estimated_size()) for table in tables)

    def _days_of(self, rows: FlowBatch) -> list[int]:
        day = pl.col("start") - pl.col("start") % DAY
        return pl.concat([rows.flows.select(day), rows.transactions.select(day)])["start"].unique().sort().to_list()


def _within(rows: FlowBatch, day: int) -> FlowBatch:
    inside = pl.col("start").is_between(day, day + DAY, closed="left")
    return FlowBatch(rows.flows.filter(inside), rows.transactions.filter(inside))


def _first(rows: FlowBatch) -> int:
    return int(pl.concat([rows.flows["start"], rows.transactions["start"]]).min())  # type: ignore[arg-type]


def _last(rows: FlowBatch) -> int:
    return int(pl.concat([rows.flows["start"], rows.transactions["start"]]).max())  # type: ignore[arg-type]
