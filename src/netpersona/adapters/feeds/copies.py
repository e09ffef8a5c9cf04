"""The last good copy of each feed on disk, so that a start without any network has everything.

One file for each feed: a line with a checksum of all that follows, a line of JSON that says what it is, then the bytes
as they were fetched and what they mean as Arrow.  It is written beside, brought to the disk and put in place by a
rename: at every instant there is the one before or the one after.  The checksum is read before all else, because
damaged Arrow data can end the whole process.

    NAME.fetched   just fetched, nobody has decided on it yet
    NAME.copy      the last good one
    NAME.held      waits for a person
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec
import polars as pl

from netpersona.adapters.feeds.source import Copy, Part
from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot, Refusal
from netpersona.intel.indicator import INDICATOR_SCHEMA

FETCHED, GOOD, HELD = "fetched", "copy", "held"
_HEAD = b"netpersona-feed 1 "
_STEP = 1 << 20
_LONGEST_HEAD = 64 << 20  # bytes of JSON: names of parts, marks and the first refusals


class Said(msgspec.Struct, frozen=True):
    """What a copy means, but for the rows."""

    refused: tuple[Refusal, ...] = ()
    refused_total: int = 0
    noted: tuple[Refusal, ...] = ()
    format: str = "plain"
    records: int = 0
    unique: int = 0


class Label(msgspec.Struct, frozen=True):
    """What a copy is."""

    feed: str
    shown: str  # where it came from
    reading: str  # as what it was read: settings, column and version
    at: int  # µs: when it was fetched
    whole_at: int  # µs: when it was last fetched whole, and not only what was added
    sha256: str  # of the content
    entries: int  # before the gate
    marks: dict[str, str]
    notices: tuple[str, ...]
    parts: tuple[tuple[str, int], ...]  # name and size of each
    said: Said


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy as it was kept."""

    label: Label
    rows: pl.DataFrame  # INDICATOR_SCHEMA, before the gate

    def snapshot(self, settings: FeedSettings) -> FeedSnapshot:
        """What it means."""
        said = self.label.said
        return FeedSnapshot(
            settings, self.rows, said.refused, said.refused_total, said.noted, said.format, said.records, said.unique
        )


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies in a folder, which is made where it is absent.  Raises FeedError where the disk refuses."""

    folder: Path

    def path(self, feed: str, which: str) -> Path:
        """Where a copy is kept; a feed's name is no path (see FeedSpec)."""
        return self.folder / f"{feed}.{which}"

    def write(self, which: str, label: Label, copy: Copy, rows: pl.DataFrame) -> None:
        """Keep a copy, on the disk when this returns."""
        arrow = io.BytesIO()
        rows.write_ipc(arrow, compression="zstd")
        head = msgspec.json.encode(label) + b"\n"
        pieces = [head, *(part.content for part in copy.parts), arrow.getvalue()]
        whole = sha256()
        for piece in pieces:
            whole.update(piece)
        path = self.path(label.feed, which)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(path.with_suffix(f".{which}.new"), "wb", opener=_private) as target:
                target.write(_HEAD + whole.hexdigest().encode() + b"\n")
                for piece in pieces:
                    target.write(piece)
                target.flush()
                os.fsync(target.fileno())
            path.with_suffix(f".{which}.new").replace(path)
            self._settle()
        except OSError as error:
            raise FeedError(f"{path}: {error.strerror}; the copy is not kept") from error

    def label(self, feed: str, which: str) -> Label | None:
        """What the copy is; None where there is none, or it is damaged."""
        found = self._read(feed, which, rows=False)
        return None if found is None else found[0]

    def read(self, feed: str, which: str) -> Kept | None:
        """The copy, without the bytes as they were fetched; None where there is none, or it is damaged."""
        found = self._read(feed, which, rows=True)
        return None if found is None or found[2] is None else Kept(found[0], found[2])

    def content(self, feed: str, which: str) -> Copy | None:
        """The bytes as they were fetched; None where there is no copy, or it is damaged."""
        found = self._read(feed, which, rows=False, parts=True)
        return None if found is None else Copy(found[1], found[0].marks, found[0].notices)

    def move(self, feed: str, which: str, to: str) -> None:
        """Put a copy in the place of another."""
        try:
            self.path(feed, which).replace(self.path(feed, to))
            self._settle()
        except OSError as error:
            raise FeedError(f"{self.path(feed, to)}: {error.strerror}; the copy is not kept") from error

    def drop(self, feed: str, *which: str) -> None:
        """Keep these no longer."""
        for each in which:
            with suppress(OSError):
                self.path(feed, each).unlink(missing_ok=True)

    def _settle(self) -> None:
        number = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def _read(
        self, feed: str, which: str, *, rows: bool, parts: bool = False
    ) -> tuple[Label, tuple[Part, ...], pl.DataFrame | None] | None:
        """None for a file that is not there, of another version, or damaged: then the feed is fetched anew."""
        with suppress(OSError, ValueError, msgspec.DecodeError, pl.exceptions.PolarsError):
            with self.path(feed, which).open("rb") as source:
                if not _is_whole(source):
                    return None
                label = msgspec.json.decode(source.readline(_LONGEST_HEAD), type=Label)
                if label.feed != feed:
                    return None
                found = []
                for name, size in label.parts:
                    if parts:
                        found.append(Part(name, source.read(size)))
                    else:
                        source.seek(size, os.SEEK_CUR)
                table = pl.read_ipc(io.BytesIO(source.read())) if rows else None
            if table is None or dict(table.schema) == dict(pl.Schema(INDICATOR_SCHEMA)):
                return label, tuple(found), table
        return None


def label_of(feed: str, shown: str, reading: str, at: int, whole_at: int, copy: Copy, snapshot: FeedSnapshot) -> Label:
    """What is written on a copy."""
    said = Said(
        snapshot.refused, snapshot.refused_total, snapshot.noted, snapshot.format, snapshot.records, snapshot.unique
    )
    return Label(
        feed, shown, reading, at, whole_at, copy.sha256, snapshot.indicators.height, dict(copy.marks), copy.notices,
        tuple((part.name, len(part.content)) for part in copy.parts), said,
    )  # fmt: skip


def of_settings(settings: FeedSettings, column: str | int | None, version: str) -> str:
    """What a copy was read as; read as another it has to be read again."""
    told: Mapping[str, object] = {**msgspec.to_builtins(settings), "column": column, "version": version}
    return sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()


def _is_whole(source: IO[bytes]) -> bool:
    """Whether the rest is what the first line says; then the file stands at the second line."""
    head = source.readline(len(_HEAD) + 66)
    begin, whole = source.tell(), sha256()
    while piece := source.read(_STEP):
        whole.update(piece)
    source.seek(begin)
    return head == _HEAD + whole.hexdigest().encode() + b"\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
