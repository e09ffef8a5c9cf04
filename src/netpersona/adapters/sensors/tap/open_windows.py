"""What the open windows hold so far: a live sensor's reports put together, until each window is closed.

A report's flow rows replace those of the same (uid, part), its transactions are added, and what was asked stands in
until its answer comes.  So a window's tables can be read at any moment as they stand, and when it closes they are
final.  Rows are kept by interface, so that reading what one VM did costs what it did; new ones are only laid beside
the old ones, and put together when they are read, or when there are as many new rows as old ones.

A window holds about MOST rows.  One interface may have half of them; when all are taken, those that have FEW and more
are full.  For one that is full, rows of flows that it has still take the place of the ones before; others are left out
and counted.  So a VM that floods hides none but its own flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from netpersona.adapters.sensors.packets.window_meter import STEP, Report
from netpersona.flow.table import FlowBatch, batch, no_flows, no_transactions
from netpersona.flow.window import WINDOW

MOST = 500_000  # flow rows, and transactions, of one window; some 500 bytes each
FEW = 5_000  # of them, which each interface may have in any case

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

    def __len__(self) -> int:
        """How many rows there are at most."""
        return self.whole.height + self.waiting

    def add(self, rows: pl.DataFrame, most: int) -> int:
        """Lay rows beside the others, of which there may be so many; how many had to be left out."""
        left_out = 0
        if self.full:
            known = rows.clear() if self.key is None else rows.join(self.whole, on=self.key, how="semi")
            left_out, rows = rows.height - known.height, known
        self.new.append(rows)
        self.waiting += rows.height
        overflows = not self.full and len(self) > most
        if overflows or self.waiting > max(self.whole.height, _AT_ONCE):
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


@dataclass(slots=True)
class _Tables:
    """Rows by interface (None: of no interface, as those that a store had)."""

    key: list[str] | None
    by_source: dict[str | None, _Rows] = field(default_factory=dict)
    total: int = 0

    def add(self, source: str | None, rows: pl.DataFrame, most: int) -> int:
        """Take rows of an interface; how many had to be left out."""
        if source not in self.by_source:
            self.by_source[source] = _Rows(rows.clear(), self.key)
        known = self.by_source[source]
        before = len(known)
        free = max(most - self.total, 0)
        left_out = known.add(rows, min(max(before + free, min(FEW, most)), most // 2))
        self.total += len(known) - before
        return left_out

    def rows(self, sources: Collection[str] | None, none: pl.DataFrame) -> pl.DataFrame:
        """The rows of these interfaces, or of all, in one table."""
        chosen = sorted(self.by_source, key=lambda source: source or "")
        parts = [self.by_source[source].put_together() for source in chosen if sources is None or source in sources]
        return pl.concat([none, *parts])


@dataclass(slots=True)
class _Window:
    flows: _Tables = field(default_factory=lambda: _Tables(_FLOW))
    said: _Tables = field(default_factory=lambda: _Tables(None))
    asked: _Tables = field(default_factory=lambda: _Tables(_QUESTION))


class OpenWindows:
    """The tables of the windows that are not closed yet; about `most` rows of a kind in each."""

    def __init__(self, window: int = WINDOW, most: int = MOST) -> None:
        self._length, self._most = window, most
        self._windows: dict[int, _Window] = {}
        self._until: int | None = None  # windows that end here or before are closed
        self._last: int | None = None  # the last report's `until`
        self.skipped: Counter[str] = Counter()  # rows that came to nothing, by reason

    def add(self, report: Report) -> list[tuple[int, FlowBatch]]:
        """Take a report; the windows that are complete with it (their start, µs), in order, which are closed now.

        Where the clock was set back, windows that were closed are open again, and will be closed again: who learns from
        them must know which it has learned.
        """
        if self._last is not None and report.until < self._last - STEP:
            self._until = None
        self._last = report.until
        for name, rows in (
            ("flows", report.batch.flows),
            ("said", report.batch.transactions),
            ("asked", report.asked),
        ):
            for start, source, part in self._parts(rows):
                tables: _Tables = getattr(self._windows.setdefault(start, _Window()), name)
                left_out = tables.add(source, part, self._most)
                if left_out:
                    self.skipped[_TOO_MANY] += left_out
        self._until = max(report.until - report.until % self._length, self._until or 0)
        done = [(start, self._windows.pop(start)) for start in self.starts() if start < self._until]
        return [
            (start, batch(window.flows.rows(None, no_flows()), window.said.rows(None, no_transactions())))
            for start, window in done
        ]

    def starts(self) -> list[int]:
        """The windows that hold anything (their starts, µs), in order."""
        return sorted(self._windows)

    def table(self, start: int, sources: Collection[str] | None = None) -> FlowBatch:
        """The window that starts then (µs), as it stands: of these interfaces, or of all where none are named."""
        window = self._windows.get(start, _Window())
        said = window.said.rows(sources, no_transactions())
        asked = window.asked.rows(sources, no_transactions())
        unanswered = asked.join(said, on=_QUESTION, how="anti", nulls_equal=True, maintain_order="left")
        return batch(window.flows.rows(sources, no_flows()), pl.concat([said, unanswered]))

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
