"""A segment: what was written at once of one day, in a directory that is there whole or not at all.

    2026-11-23/00000007-00000007/
        flows-0.parquet   every flow, by its start          said-0.parquet   what was said in them
        talks-0.parquet   their roll-up, by peer             uses-0.parquet   by name
        about.json        rows, bytes, first and last start

It is written as `NAME.partial`, brought to the disk, and renamed.  Segments of one day are put together by writing one
whose numbers hold theirs; those that another one's numbers hold are not read, whether or not they are gone yet.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA
from netpersona.intel.rollup import TALK_SCHEMA, USE_SCHEMA

SCHEMAS = {"flows": FLOW_SCHEMA, "said": TRANSACTION_SCHEMA, "talks": TALK_SCHEMA, "uses": USE_SCHEMA}
KINDS = tuple(SCHEMAS)
FORMAT = 1
PARTIAL = ".partial"
GONE = ".gone"
_NAME = re.compile(r"([0-9]{8})-([0-9]{8})")
_ABOUT = "about.json"
_TRIES = 5  # a writer puts a day's segments together seldom
_GROUP = 1 << 16  # rows of a row group: what a reader skips or reads by its smallest and largest values


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What about.json says."""

    format: int
    first: int  # µs: the earliest start
    last: int  # µs: the latest start
    octets: int  # of all files but this one
    rows: dict[str, list[int]]  # kind -> rows of each of its files


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment that is there."""

    path: Path
    low: int  # the numbers that it holds, both included
    high: int
    about: About

    def files(self, kind: str) -> list[Path]:
        """Its files of one kind, in order."""
        return [self.path / f"{kind}-{place}.parquet" for place in range(len(self.about.rows[kind]))]

    def total(self, kind: str) -> int:
        """How many rows of a kind it has."""
        return sum(self.about.rows[kind])


def segments(day: Path) -> list[Segment]:
    """The segments of a day, by their numbers; without those that another one holds.  Raises OSError, ValueError."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # put together with others meanwhile, or let go: what is there now?
            return _listed(day)
    return _listed(day)


def _listed(day: Path) -> list[Segment]:
    if not day.is_dir():
        return []
    named = [(path, match) for path in day.iterdir() if (match := _NAME.fullmatch(path.name)) is not None]
    found: list[Segment] = []
    for path, match in sorted(named, key=lambda each: (int(each[1][1]), -int(each[1][2]))):
        low, high = int(match[1]), int(match[2])
        if not found or high > found[-1].high:
            found.append(Segment(path, low, high, _about(path)))
    return found


def _about(path: Path) -> About:
    about = msgspec.json.decode((path / _ABOUT).read_bytes(), type=About)
    if about.format != FORMAT:
        raise ValueError(f"{path}: written by another version (format {about.format}, here {FORMAT})")
    return about


def write(
    day: Path, low: int, high: int, parts: Mapping[str, Sequence[pl.DataFrame | Path]], span: tuple[int, int]
) -> Segment:
    """Write a segment of tables, and of files that other segments have already: these are linked, not copied.

    `span`: the earliest and the latest start, µs.  Raises OSError; then nothing is there.
    """
    final = day / f"{low:08d}-{high:08d}"
    partial = final.with_name(final.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True, mode=0o700)
        rows = {
            kind: [_put(partial / f"{kind}-{n}.parquet", part) for n, part in enumerate(parts[kind])] for kind in KINDS
        }
        octets = sum(path.stat().st_size for path in partial.iterdir())
        about = About(FORMAT, *span, octets, rows)
        (partial / _ABOUT).write_bytes(msgspec.json.encode(about))
        for path in (partial / _ABOUT, partial):
            to_disk(path)
        partial.rename(final)
        to_disk(day)
    except BaseException:  # also what ends the process: no half of a segment stays
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Segment(final, low, high, about)


def scanned(files: Sequence[Path], kind: str) -> pl.LazyFrame:
    """The rows of files of one kind; a column that they were written without is null."""
    if not files:
        return pl.LazyFrame(schema=SCHEMAS[kind])
    return pl.scan_parquet(list(files), schema=SCHEMAS[kind], missing_columns="insert", extra_columns="ignore")


def _put(path: Path, part: pl.DataFrame | Path) -> int:
    """One file of a segment; how many rows it has."""
    if isinstance(part, Path):
        try:
            path.hardlink_to(part)
        except OSError:  # a file system without links
            shutil.copyfile(part, path)
            to_disk(path)
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    content = BytesIO()  # written by us, not by polars: of a full disk it says nothing that can be understood
    part.write_parquet(content, compression="zstd", compression_level=3, row_group_size=_GROUP, statistics=True)
    path.write_bytes(content.getbuffer())
    to_disk(path)
    return part.height


def remove(gone: Iterable[Segment]) -> None:
    """Remove segments; a reader never sees half of one.  Raises OSError."""
    for segment in gone:
        aside = segment.path.with_name(segment.path.name + GONE)
        segment.path.rename(aside)
        shutil.rmtree(aside)


def sweep(day: Path) -> None:
    """Remove what a writer that was killed left behind.  Raises OSError."""
    held = {segment.path for segment in segments(day)}
    for path in day.iterdir():
        if path not in held:
            shutil.rmtree(path, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Let the file or directory be on the disk before anything else is done."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
