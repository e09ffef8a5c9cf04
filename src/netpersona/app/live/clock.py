"""Event time when somebody sets the clock: it goes on as if nobody had, and then goes back to the clock's time slowly.

Packets bear the time of the machine's clock, and that may be set, by hand or by the network.  Taken as it is, a clock
set an hour forward would end what was to last for half an hour; one set back would stop everything that waits for a
time, and what VMs did would lie in windows that are closed.  So a step is taken out: what comes after it is moved by
as much, and this shift is worked off at about a tenth of the time's speed, ten hours or some more for an hour.  What
was to last an hour lasts 54 to 67 minutes meanwhile; nothing is forgotten.  A step of less than STEP is followed as it
is: a busy machine reads its packets late.

A row is moved by the shift of its own time, however often and late it is told, so it stays in its window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.flow.table import batch
from netpersona.flow.window import HOUR, SECOND

STEP = 20 * SECOND  # µs
_EVERY, _PART = 60 * SECOND, 6 * SECOND  # µs: how often the shift is made smaller, and by how much
_KEPT = 20  # shifts: of the last twenty minutes


class Clock:
    """Turns a sensor's time into event time; `steady` tells seconds of a clock that nobody can set."""

    def __init__(self, at: int, closed_until: int | None, steady: Callable[[], float] | None, window: int) -> None:
        self._steady, self._window = steady, window
        self._last, self._then = at, steady() if steady is not None else 0.0
        behind = (closed_until or 0) - at if steady is not None else 0
        self._shifts = [(0, behind if behind > STEP else 0)]  # (sensor time from which it counts, shift), µs
        self._ahead = self._shifts[0][1]  # of rows that lie in the future since the clock was set back
        self._slowed = at

    @property
    def shift(self) -> int:
        """How far event time is ahead of the clock, µs."""
        return self._shifts[-1][1]

    def event(self, at: int) -> int:
        """The event time of a sensor's instant that is now."""
        return at + self.shift

    def level(self, report: Report) -> Report:
        """The report in event time."""
        if self._steady is None:
            return report
        steady, now = self._steady(), report.now
        stepped = now - self._last - int((steady - self._then) * SECOND)
        self._last, self._then = now, steady
        if abs(stepped) > STEP:
            self._step(now, stepped)
        elif not self.shift and now - self._slowed > HOUR:
            self._shifts = [(0, 0)]
        elif self.shift and now - self._slowed >= _EVERY:
            self._work_off(now)
        if len(self._shifts) == 1 and not self.shift:
            return report
        rows = report.batch
        moved = batch(
            self._moved(rows.flows, now),
            self._moved(rows.transactions, now),
            rows.skipped,
            self._moved(rows.banners, now),
        )
        until = min(self.event(now), report.until + self._shift_of(report.until))
        waits = self.event(now) - until
        return replace(report, batch=moved, asked=self._moved(report.asked, now), until=until, waits=waits)

    def _step(self, now: int, stepped: int) -> None:
        shift = self.shift - stepped
        self._ahead = self.shift
        if stepped < 0:
            self._shifts = [(0, shift)]
        else:
            self._shifts.append((now - stepped // 2, shift))
        self._slowed = now

    def _work_off(self, now: int) -> None:
        less = min(_PART, abs(self.shift))
        if self.shift > 0 and self.event(now) % self._window < less + SECOND:
            return  # not back into a window that is closed
        self._shifts.append((now, self.shift - less if self.shift > 0 else self.shift + less))
        self._shifts = self._shifts[-_KEPT:]
        self._slowed = now

    def _shift_of(self, at: int) -> int:
        """The shift of what was at that time, as for rows."""
        return [shift for since, shift in self._shifts if since <= at or since == self._shifts[0][0]][-1]

    def _moved(self, rows: pl.DataFrame, now: int) -> pl.DataFrame:
        if not rows.height:
            return rows
        start = pl.col("start")
        shift = pl.lit(self._shifts[0][1], pl.Int64())
        for since, each in self._shifts[1:]:
            shift = pl.when(start >= since).then(each).otherwise(shift)
        shift = pl.when(start > now + STEP // 2).then(self._ahead).otherwise(shift)
        return rows.with_columns(start=(start + shift).cast(rows.schema["start"]))
