"""Few large segments instead of many small ones: roll-ups become one, small flow files are joined, large ones linked.

A live controller writes a segment for each window.  Every MANY of them become one, and all of a day become one when it
is over: so a hunt reads one roll-up for each day, and no flow is written more than three times.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from netpersona.adapters.history import segment as segments_of
from netpersona.adapters.history.segment import Segment, scanned
from netpersona.intel.rollup import Rollup, together

AT_ONCE = 500_000  # rows that are held in memory, and that small files are joined to
MANY = 16  # segments of a day, each written at once, that become one
_ROLLED = 4_000_000  # rows of roll-ups that are put together in memory; more stay beside each other


def put_together(day: Path, *, over: bool) -> None:
    """Put together what there is of a day: all of it where the day is over.  Raises OSError and PolarsError."""
    found = segments_of.segments(day)
    small = found if over else [each for each in found if each.low == each.high]
    if len(small) < (2 if over else MANY):
        return
    rollups = _rollups(small)
    parts: dict[str, list[pl.DataFrame | Path]] = {
        kind: _joined(_files(small, kind), kind) for kind in ("flows", "said")
    }
    parts |= {"talks": [each.talks for each in rollups], "uses": [each.uses for each in rollups]}
    span = min(each.about.first for each in small), max(each.about.last for each in small)
    segments_of.write(day, small[0].low, small[-1].high, parts, span)
    segments_of.remove(small)


def _rollups(those: list[Segment]) -> list[Rollup]:
    rollups = [
        Rollup(scanned([talks], "talks").collect(), scanned([uses], "uses").collect())
        for each in those
        for talks, uses in zip(each.files("talks"), each.files("uses"), strict=True)
    ]
    rows = sum(each.talks.height + each.uses.height for each in rollups)
    return [together(rollups)] if rows <= _ROLLED else rollups


def _files(those: Iterable[Segment], kind: str) -> list[tuple[Path, int]]:
    """The files of one kind, with their rows."""
    return [pair for each in those for pair in zip(each.files(kind), each.about.rows[kind], strict=True)]


def _joined(files: list[tuple[Path, int]], kind: str) -> list[pl.DataFrame | Path]:
    """Files that follow each other as tables of up to AT_ONCE rows; those that are as large as that as they are."""
    groups: list[tuple[list[Path], int]] = []
    for path, rows in files:
        if groups and groups[-1][1] + rows <= AT_ONCE:
            groups[-1] = [*groups[-1][0], path], groups[-1][1] + rows
        else:
            groups.append(([path], rows))
    return [paths[0] if len(paths) == 1 else scanned(paths, kind).sort("start").collect() for paths, _ in groups]
