"""A History in Parquet files by day, below one directory; who hunts reads it while it is written.

    add() -> rows in memory -> segments of a day -> put together when there are many, and when the day is over
                                                `-> gone when too old, or when all are too large

One process writes (a lock says so), any number read.  Killed at any line, what add() took since the last segment is
lost, and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import polars as pl

from netpersona.adapters.history import segment as segments_of
from netpersona.adapters.history.compaction import AT_ONCE, put_together
from netpersona.adapters.history.once import unknown
from netpersona.adapters.history.reading import DayOnDisk, readable
from netpersona.adapters.history.segment import PARTIAL, Segment, scanned
from netpersona.errors import StoreError
from netpersona.flow.table import FLOW_SCHEMA, FlowBatch
from netpersona.flow.window import DAY
from netpersona.intel.rollup import Rollup, rolled_up, together
from netpersona.ports import HistoryExtent

KEEP = 30 * DAY  # µs
MAX_SIZE = 20 << 30  # bytes
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COUNTS, _LOCK = "counts.json", "lock"
TOO_OLD, TOO_MUCH = "older than is kept", "more than may be kept"


class ParquetHistory:
    """A History below the directory `path`.  A context manager: it ends with what was added written.

    `keep` (µs) and `most` (bytes) bound it.  Raises StoreError.
    """

    def __init__(self, path: Path, keep: int = KEEP, most: int = MAX_SIZE) -> None:
        self.path = path
        self._keep, self._most = keep, most
        self._held: dict[int, list[tuple[FlowBatch, Rollup]]] = {}  # day (its start, µs) -> what is not written yet
        self._rows = 0
        self._lock: int | None = None
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._rows:
                self.close(max(self._held))
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def add(self, rows: FlowBatch, view: Callable[[FlowBatch], FlowBatch]) -> int:
        """Take flows and what was said in them, as `view` orients them; those that are held already count once."""
        taken = 0
        with self._writing(f"cannot take {rows.flows.height:,} flows"):
            for day, now in _by_day(rows):
                for new in _slices(self._unknown(day, now)):
                    if self._rows >= AT_ONCE:
                        self._write()
                    seen = view(new)
                    self._held.setdefault(day, []).append((new, rolled_up(seen.flows, seen.transactions)))
                    self._rows += new.flows.height + new.transactions.height
                    taken += new.flows.height
        return taken

    def close(self, until: int) -> None:
        """Write all that was added, for good, and let go what is too old at `until` (µs), or too much."""
        with self._writing("cannot write"):
            self._write()
            for day in self._days():
                put_together(self._folder(day), over=day + DAY <= until)
            self._let_go(until)

    def extent(self) -> HistoryExtent:
        """How much there is, and what was let go."""
        with readable(self.path):
            held = [each for day in self._days() for each in segments_of.segments(self._folder(day))]
        return HistoryExtent(
            first=min((each.about.first for each in held), default=None),
            last=max((each.about.last for each in held), default=None),
            flows=sum(each.total("flows") for each in held),
            octets=sum(each.about.octets for each in held),
            let_go=dict(self._counted()),
        )

    def days(self, since: int | None = None, until: int | None = None) -> Iterator[DayOnDisk]:
        """The days that reach into the time from `since` up to `until` (µs), in order."""
        with readable(self.path):
            days = self._days()
        for day in days:
            if (since is None or day + DAY > since) and (until is None or day < until):
                yield DayOnDisk(self._folder(day), day)

    def flows(self, since: int, until: int) -> pl.LazyFrame:
        """The flows (FLOW_SCHEMA) that start from `since` up to `until` (µs)."""
        frames = [pl.LazyFrame(schema=FLOW_SCHEMA), *(day.rows("flows") for day in self.days(since, until))]
        return pl.concat(frames).filter(pl.col("start").is_between(since, until, closed="left"))

    def _unknown(self, day: int, now: FlowBatch) -> FlowBatch:
        """The rows that no segment of the day has: a replay may be given again, or may have been interrupted."""
        held = segments_of.segments(self._folder(day))
        return FlowBatch(_new(now.flows, held, "flows"), _new(now.transactions, held, "said"))

    def _write(self) -> None:
        """What is held in memory becomes a segment of each day."""
        for day in sorted(self._held):
            rows, rolled = zip(*self._held[day], strict=True)
            flows = pl.concat([each.flows for each in rows]).sort("start")
            said = pl.concat([each.transactions for each in rows]).sort("start")
            rollup = together(rolled)
            folder = self._folder(day)
            starts = [*_span(flows), *_span(said)]
            if starts:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                number = 1 + max((each.high for each in segments_of.segments(folder)), default=0)
                parts = {"flows": [flows], "said": [said], "talks": [rollup.talks], "uses": [rollup.uses]}
                segments_of.write(folder, number, number, parts, (min(starts), max(starts)))
            self._rows -= flows.height + said.height
            del self._held[day]

    def _let_go(self, until: int) -> None:
        """The oldest segments go until what stays is young and small enough."""
        held = [each for day in self._days() for each in segments_of.segments(self._folder(day))]
        newest = max([until, *(each.about.last for each in held)])
        octets = sum(each.about.octets for each in held)
        for each in held:
            old = each.about.last < newest - self._keep
            if old or octets > self._most:
                self._counts[TOO_OLD if old else TOO_MUCH] += each.total("flows")
                self._count()
                segments_of.remove([each])
                octets -= each.about.octets
        for day in self._days():
            if not any(self._folder(day).iterdir()):
                self._folder(day).rmdir()

    def _days(self) -> list[int]:
        if not self.path.is_dir():
            return []
        return sorted(_start(path.name) for path in self.path.iterdir() if _DAY.fullmatch(path.name))

    def _folder(self, day: int) -> Path:
        return self.path / datetime.fromtimestamp(day / 1e6, UTC).strftime("%Y-%m-%d")

    def _counted(self) -> Counter[str]:
        try:
            return Counter(msgspec.json.decode((self.path / _COUNTS).read_bytes(), type=dict[str, int]))
        except FileNotFoundError:
            return Counter()
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(f"{self.path / _COUNTS}: cannot be read: {error}; remove it to count anew") from error

    def _count(self) -> None:
        """Before anything goes: what a kill loses is then counted, and at most once too often."""
        partial = self.path / (_COUNTS + PARTIAL)
        partial.write_bytes(msgspec.json.encode(self._counts))
        partial.replace(self.path / _COUNTS)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            if self._lock is None:
                self._lock = self._locked()
            yield
        except (OSError, ValueError, OverflowError, pl.exceptions.PolarsError, msgspec.MsgspecError) as error:
            raise StoreError(f"history {self.path}: {what}: {error}; what was written before is still good") from error

    def _locked(self) -> int:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreError(
                f"history {self.path}: another process writes it, a controller or a replay;"
                " end that, or name another directory"
            ) from None
        self._counts = self._counted()
        for day in self._days():
            segments_of.sweep(self._folder(day))
        return handle


def _start(name: str) -> int:
    """The start (µs) of the day of this name."""
    return int(datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1_000_000


def _slices(rows: FlowBatch) -> Iterator[FlowBatch]:
    """The rows in parts of AT_ONCE at most."""
    for part in rows.flows.iter_slices(AT_ONCE):
        yield FlowBatch(part, rows.transactions.clear())
    for part in rows.transactions.iter_slices(AT_ONCE):
        yield FlowBatch(rows.flows.clear(), part)


def _by_day(rows: FlowBatch) -> Iterator[tuple[int, FlowBatch]]:
    """The rows by the day in which they start."""
    day = pl.col("start") - pl.col("start") % DAY
    for start in pl.concat([rows.flows.select(day), rows.transactions.select(day)])["start"].unique().sort():
        yield start, FlowBatch(rows.flows.filter(day == start), rows.transactions.filter(day == start))


def _new(rows: pl.DataFrame, held: Sequence[Segment], kind: str) -> pl.DataFrame:
    if not rows.height:
        return rows
    first, last = _span(rows)
    files = [
        file for each in held if each.about.first <= last and first <= each.about.last for file in each.files(kind)
    ]
    if not files:
        return rows
    near = scanned(files, kind).filter(pl.col("start").is_between(first, last))
    return unknown(rows, near.collect())


def _span(rows: pl.DataFrame) -> tuple[int, ...]:
    """The earliest and the latest start, µs; of no rows nothing."""
    found = rows.select(first=pl.col("start").min(), last=pl.col("start").max()).row(0)
    return tuple(int(at) for at in found if at is not None)
