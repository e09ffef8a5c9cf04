"""What the open windows hold so far: a live sensor's reports put together, until each window is closed.

A report's flow rows replace those of the same (uid, part), its transactions are added, and what was asked stands in
until its answer comes.  So a window's tables can be read at any moment as they stand, and when it closes they are
final.  Rows are kept by interface, so that reading what one VM did costs what it did; new ones are only laid beside
the old ones, and put together when they are read, or when there are as many new rows as old ones.

Of one interface a window holds its share of MOST rows.  When that is full, rows of flows that it has still take the
place of the ones before; others are left out and counted.  So a VM that floods hides none but its own flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.flow.table import FlowBatch, batch, no_flows, no_transactions
from netpersona.flow.window import WINDOW

MOST = 500_000  # flow rows, and transactions, of one window; some 500 bytes each

_FLOW = ["uid", "part"]
_QUESTION = ["uid", "start", "kind", "name", "detail"]
_LATE = "row of a window that was closed"
_TOO_MANY = "row left out: too many of one interface in one window"
_AT_ONCE = 2_000  # new rows that may wait, however few there are


@dataclass(slots=True)
class _Rows:
    """Rows of which those with one `key` count once, the last ones; no key: all count."""

    whole: pl.DataFrame
    key: list[str] | None
    new: list[pl.DataFrame] = field(default_factory=list)
    waiting: int = 0  # rows in `new`
    full: bool = False

    def add(self, rows: pl.DataFrame, most: int) -> int:
        """Lay rows beside the others; how many had to be left out."""
        left_out = 0
        if self.full:
            known = rows.clear() if self.key is None else rows.join(self.whole, on=self.key, how="semi")
            left_out, rows = rows.height - known.height, known
        self.new.append(rows)
        self.waiting += rows.height
        if self.waiting > max(self.whole.height, _AT_ONCE):
            left_out += self._bounded(most)
        return left_out

    def put_together(self) -> pl.DataFrame:
        """One table of them."""
        if self.waiting:
            rows = pl.concat([self.whole, *self.new])
            self.whole = rows.unique(self.key, keep="last", maintain_order=True) if self.key else rows
        self.new, self.waiting = [], 0
        return self.whole

    def _bounded(self, most: int) -> int:
        rows = self.put_together()
        self.full = rows.height >= most
        if rows.height > most:
            self.whole = rows.sort("start", "uid").head(most)
        return rows.height - self.whole.height


_Tables = dict[str | None, _Rows]  # by the interface; None: of no interface (flows that a store had)


@dataclass(slots=True)
class _Window:
    flows: _Tables = field(default_factory=dict)
    said: _Tables = field(default_factory=dict)
    asked: _Tables = field(default_factory=dict)


class OpenWindows:
    """The tables of the windows that are not closed yet; about `most` rows of a kind in each."""

    def __init__(self, window: int = WINDOW, most: int = MOST) -> None:
        self._length, self._most = window, most
        self._windows: dict[int, _Window] = {}
        self._until: int | None = None  # windows that end here or before are closed
        self.skipped: Counter[str] = Counter()  # rows that came to nothing, by reason

    def add(self, report: Report) -> list[tuple[int, FlowBatch]]:
        """Take a report; the windows that are complete with it (their start, µs), in order, which are closed now."""
        for start, source, rows in self._parts(report.batch.flows):
            self._put(self._windows.setdefault(start, _Window()).flows, source, rows, _FLOW)
        for start, source, rows in self._parts(report.batch.transactions):
            self._put(self._windows.setdefault(start, _Window()).said, source, rows, None)
        for start, source, rows in self._parts(report.asked):
            self._put(self._windows.setdefault(start, _Window()).asked, source, rows, _QUESTION)
        self._until = max(report.until - report.until % self._length, self._until or 0)
        done = [(start, self._windows.pop(start)) for start in self.starts() if start < self._until]
        return [
            (start, batch(_whole(window.flows, None, no_flows()), _whole(window.said, None, no_transactions())))
            for start, window in done
        ]

    def starts(self) -> list[int]:
        """The windows that hold anything (their starts, µs), in order."""
        return sorted(self._windows)

    def table(self, start: int, sources: Collection[str] | None = None) -> FlowBatch:
        """The window that starts then (µs), as it stands: of these interfaces, or of all where none are named."""
        window = self._windows.get(start, _Window())
        said = _whole(window.said, sources, no_transactions())
        asked = _whole(window.asked, sources, no_transactions())
        unanswered = asked.join(said, on=_QUESTION, how="anti", nulls_equal=True, maintain_order="left")
        return batch(_whole(window.flows, sources, no_flows()), pl.concat([said, unanswered]))

    def _parts(self, rows: pl.DataFrame) -> list[tuple[int, str | None, pl.DataFrame]]:
        """The rows by window and interface; those of closed windows are counted."""
        if not rows.height:
            return []
        known = rows.with_columns(window=pl.col("start") - pl.col("start") % self._length)
        parts = known.partition_by("window", "source", as_dict=True, maintain_order=True)
        found = []
        for (start, source), part in parts.items():
            if self._until is not None and start < self._until:
                self.skipped[_LATE] += part.height
            else:
                found.append((start, source, part.drop("window")))
        return found

    def _put(self, tables: _Tables, source: str | None, rows: pl.DataFrame, key: list[str] | None) -> None:
        if source not in tables:
            tables[source] = _Rows(rows.clear(), key)
        left_out = tables[source].add(rows, self._most // len(tables))
        if left_out:
            self.skipped[_TOO_MANY] += left_out


def _whole(tables: _Tables, sources: Collection[str] | None, none: pl.DataFrame) -> pl.DataFrame:
    chosen = sorted(tables, key=lambda source: source or "")
    parts = [tables[source].put_together() for source in chosen if sources is None or source in sources]
    return pl.concat([none, *parts])
