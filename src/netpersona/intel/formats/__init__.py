"""How feeds are written down.  Each format is one file; which one it is, the content says.

    bytes -> recognised() -> the format's read() -> Entries -> values

Two kinds of formats are asked in turn.  A document (JSON, XML) gets the bytes, in UTF-8 without a byte order mark; a
text gets the numbered lines.  The first that recognises the content reads it; `plain` takes what is left.  To add a
format, import it and put it into its tuple, before every format that would take its files for its own.
"""

from __future__ import annotations

from typing import Protocol

import polars as pl

from netpersona.intel.formats import csv_column, hosts, netset, plain
from netpersona.intel.formats.entry import (
    ENTRY_SCHEMA,
    REFUSED_SCHEMA,
    Entries,
    FormatError,
    entries,
    entry_rows,
    found,
    refused_rows,
)
from netpersona.intel.formats.lines import data_lines, numbered_lines, utf8

__all__ = [
    "ENTRY_SCHEMA",
    "REFUSED_SCHEMA",
    "Entries",
    "FormatError",
    "entries",
    "entry_rows",
    "found",
    "read",
    "refused_rows",
]

_TEXTS = "a list of addresses, networks or domains, a netset, a hosts file, or CSV"


class Document(Protocol):
    """A module that reads one format from bytes."""

    NAME: str

    def recognised(self, content: bytes, /) -> bool:
        """Whether the content is of this format; quickly, and without raising."""

    def read(self, content: bytes, /) -> Entries:
        """Its entries.  Raises FormatError where the content breaks off or is damaged."""


class Text(Protocol):
    """A module that reads one format from numbered lines (line, text)."""

    NAME: str

    def recognised(self, lines: pl.DataFrame, /) -> bool:
        """Whether the lines are of this format; quickly, and without raising."""

    def read(self, lines: pl.DataFrame, /) -> Entries:
        """Its entries.  Raises FormatError."""


DOCUMENTS: tuple[Document, ...] = ()
TEXTS: tuple[Text, ...] = (netset, hosts, csv_column, plain)


def read(content: bytes, column: str | int | None = None) -> Entries:
    """The entries of a feed.  `column` says where CSV has its values.  Raises FormatError."""
    content = utf8(content)
    if column is None:
        for document in DOCUMENTS:
            if document.recognised(content):
                return document.read(content)
    lines = numbered_lines(content)
    rows = data_lines(lines)
    if rows.is_empty():
        return found(plain.NAME, pl.DataFrame())
    _refuse_other_worlds(rows)
    if column is not None:
        return csv_column.read(lines, column)
    return next(text for text in TEXTS if text.recognised(lines)).read(lines)


def _refuse_other_worlds(rows: pl.DataFrame) -> None:
    """Raises FormatError for what is text, but no list of values: an error page must not become indicators."""
    line, first = int(rows["line"][0]), str(rows["text"][0])[:200].lower()
    if first.startswith("<"):
        raise FormatError(line, "HTML or XML", _TEXTS)
    if first.startswith(("{", "[{", '["')) or first == "[":
        raise FormatError(line, "JSON", _TEXTS)
    if first.startswith(("[adblock", "!")) or rows.head(200)["text"].str.starts_with("||").sum() * 2 > min(
        rows.height, 200
    ):
        raise FormatError(line, "Adblock filter rules", _TEXTS)
