"""What every source of a feed owes: bytes, what of them is new, and a name for them that may be shown.

    Source.download(last) -> Copy -> read() -> FeedSnapshot

A source knows how to get bytes and nothing of what they mean; `intel.feed` decides that, from the content alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple, Protocol

import polars as pl

from netpersona.adapters.feeds import packed
from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot, Refusal, bounded, parse
from netpersona.intel.formats import FormatError


class Part(NamedTuple):
    """One document of a feed: the whole of it, or one file of a folder."""

    name: str  # of the file; empty where the feed is one document
    content: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """Everything that a source said, and where the next download goes on from."""

    parts: tuple[Part, ...]
    marks: Mapping[str, str] = field(default_factory=dict)  # etag, the newest entry seen, ...; each source has its own
    notices: tuple[str, ...] = ()  # what an operator should know: "it has moved to ..."

    @classmethod
    def whole(cls, content: bytes, marks: Mapping[str, str] | None = None, notices: tuple[str, ...] = ()) -> Copy:
        """A copy of one document."""
        return cls((Part("", content),), marks or {}, notices)

    @property
    def content(self) -> bytes:
        """The document of a copy that has one."""
        return self.parts[0].content if self.parts else b""

    @property
    def sha256(self) -> str:
        """The checksum of names and contents: the same bytes, the same checksum."""
        whole = sha256()
        for part in self.parts:
            whole.update(f"{len(part.name.encode())} {len(part.content)}\n".encode())
            whole.update(part.name.encode() + part.content)
        return whole.hexdigest()


def marks_of(last: Copy | None) -> Mapping[str, str]:
    """Where a download goes on from; nothing, where it is the first."""
    return {} if last is None else last.marks


class Source(Protocol):
    """Where a feed's bytes come from.  Raises FeedError; never retries and never logs."""

    @property
    def shown(self) -> str:
        """Where it reads, for people: without any secret."""

    def download(self, last: Copy | None) -> Copy | None:
        """Everything it says now; None: nothing has changed since `last`, which this source gave once."""


@dataclass(frozen=True, slots=True)
class SourcedFeed:
    """A Feed over a source; `column` says where a CSV has its values."""

    settings: FeedSettings
    source: Source
    column: str | int | None = None

    def fetch(self) -> FeedSnapshot:
        """Everything it says now.  Raises FeedError."""
        copy = downloaded(self.source, None)
        assert copy is not None
        return read(copy, self.settings, self.source.shown, self.column)


def downloaded(source: Source, last: Copy | None) -> Copy | None:
    """What source.download() gives.  Raises FeedError, which names the source."""
    try:
        return source.download(last)
    except FeedError as error:
        error.args = (f"{source.shown}: {error}",)
        raise


def unpacked(content: bytes, largest: int) -> bytes:
    """The list in these bytes, be they packed or not.  Raises FeedError."""
    try:
        return packed.unpacked(content, largest)
    except packed.PackedError as error:
        raise FeedError(f"{error}; expected a list, plain or packed by gzip and the like") from error


def read(copy: Copy, settings: FeedSettings, shown: str, column: str | int | None = None) -> FeedSnapshot:
    """What a copy means.  Of several documents those that are no list are among the refused, by their name.

    Raises FeedError where none is a list; it names `shown`, the line and what was expected.
    """
    found, wrong = [], []
    for part in copy.parts:
        try:
            found.append((part.name, parse(part.content, settings, column)))
        except FormatError as error:
            wrong.append((part.name, error))
    if wrong and not found:
        name, first = wrong[0]
        where = f"{shown}/{name}" if name else shown
        raise FeedError(f"{where}:{first.line}: {first.wrong}; expected {first.expected}") from first
    if len(copy.parts) == 1:
        return found[0][1]
    return _joined(settings, found, wrong)


def _joined(
    settings: FeedSettings, found: list[tuple[str, FeedSnapshot]], wrong: list[tuple[str, FormatError]]
) -> FeedSnapshot:
    """Several documents as one feed: each value once, each refusal with its document's name."""
    if not found:
        return replace(parse(b"", settings), format="folder")
    rows = pl.concat([said.indicators for _, said in found])
    unique = rows.filter(pl.col("value").is_first_distinct().over("type"))
    unread = [Refusal(error.line, name, f"{error.wrong}; expected {error.expected}") for name, error in wrong]
    refused = [_of(name, each) for name, said in found for each in said.refused]
    return FeedSnapshot(
        settings=settings,
        indicators=unique,
        refused=bounded([*unread, *refused]),
        refused_total=len(unread) + sum(said.refused_total for _, said in found),
        noted=bounded(_of(name, each) for name, said in found for each in said.noted),
        format=", ".join(sorted({said.format for _, said in found})),
        records=sum(said.records for _, said in found),
        unique=sum(said.unique for _, said in found) - (rows.height - unique.height),
    )


def _of(name: str, refusal: Refusal) -> Refusal:
    return refusal._replace(value=f"{name}: {refusal.value}")
