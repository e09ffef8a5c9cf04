"""What the open windows hold so far: a live sensor's reports put together, until each window is closed.

A report's flow rows replace those of the same (uid, part), its transactions are added, and what was asked stands in
until its answer comes.  So a window's tables can be read at any moment as they stand, and when it closes they are
final.  New frames are only laid beside the old ones; they are put together when the window is read, or when there
are as many new rows as old ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.flow.table import FlowBatch, batch, no_flows, no_transactions
from netpersona.flow.window import WINDOW

MOST = 1_000_000  # flow rows, and transactions, of one window

_FLOW = ["uid", "part"]
_QUESTION = ["uid", "start", "kind", "name", "detail"]
_LATE = "row of a window that was closed"
_TOO_MANY = "row left out: too many in one window"


@dataclass(slots=True)
class _Rows:
    """Rows of which those with one `key` count once, the last ones; no key: all count."""

    whole: pl.DataFrame
    key: list[str] | None
    new: list[pl.DataFrame] = field(default_factory=list)
    waiting: int = 0  # rows in `new`

    def add(self, rows: pl.DataFrame, most: int) -> int:
        """Lay rows beside the others; how many had to be left out."""
        self.new.append(rows)
        self.waiting += rows.height
        return self.put_together(most) if self.waiting > max(self.whole.height, 10_000) else 0

    def put_together(self, most: int) -> int:
        """Make one table of them; how many rows had to be left out."""
        if not self.new:
            return 0
        rows = pl.concat([self.whole, *self.new])
        if self.key:
            rows = rows.unique(self.key, keep="last", maintain_order=True)
        self.new, self.waiting = [], 0
        self.whole = rows if rows.height <= most else rows.sort("start", "uid").head(most)
        return rows.height - self.whole.height


class OpenWindows:
    """The tables of the windows that are not closed yet; at most `most` rows of a kind in each, the earliest."""

    def __init__(self, window: int = WINDOW, most: int = MOST) -> None:
        self._window, self._most = window, most
        self._flows: dict[int, _Rows] = {}
        self._said: dict[int, _Rows] = {}
        self._asked: dict[int, _Rows] = {}
        self._until: int | None = None  # windows that end here or before are closed
        self.skipped: Counter[str] = Counter()  # rows that came to nothing, by reason

    def add(self, report: Report) -> list[tuple[int, FlowBatch]]:
        """Take a report; the windows that are complete with it (their start, µs), in order, which are closed now."""
        self._put(self._flows, report.batch.flows, _FLOW)
        self._put(self._said, report.batch.transactions, None)
        self._put(self._asked, report.asked, _QUESTION)
        self._until = max(report.until - report.until % self._window, self._until or 0)
        done = [start for start in self.starts() if start < self._until]
        closed = [(start, batch(self._whole(self._flows, start), self._whole(self._said, start))) for start in done]
        for start in done:
            for table in (self._flows, self._said, self._asked):
                table.pop(start, None)
        return closed

    def starts(self) -> list[int]:
        """The windows that hold anything (their starts, µs), in order."""
        return sorted({*self._flows, *self._said, *self._asked})

    def table(self, start: int, sources: Collection[str] | None = None) -> FlowBatch:
        """The window that starts then (µs), as it stands: of these interfaces, or of all where none are named."""
        flows, said, asked = (self._whole(table, start) for table in (self._flows, self._said, self._asked))
        if sources is not None:
            flows, said, asked = (rows.filter(pl.col("source").is_in(sources)) for rows in (flows, said, asked))
        unanswered = asked.join(said, on=_QUESTION, how="anti", nulls_equal=True, maintain_order="left")
        return batch(flows, pl.concat([said, unanswered]))

    def _put(self, tables: dict[int, _Rows], rows: pl.DataFrame, key: list[str] | None) -> None:
        if not rows.height:
            return
        starts = rows.with_columns(window=pl.col("start") - pl.col("start") % self._window)
        for (start,), part in starts.partition_by("window", as_dict=True, include_key=False).items():
            if self._until is not None and start < self._until:
                self.skipped[_LATE] += part.height
                continue
            empty = no_flows() if tables is self._flows else no_transactions()
            self._count(tables.setdefault(start, _Rows(empty, key)).add(part, self._most))

    def _whole(self, tables: dict[int, _Rows], start: int) -> pl.DataFrame:
        rows = tables.get(start)
        if rows is None:
            return no_flows() if tables is self._flows else no_transactions()
        self._count(rows.put_together(self._most))
        return rows.whole

    def _count(self, left_out: int) -> None:
        if left_out:
            self.skipped[_TOO_MANY] += left_out
