"""How feeds are written down.  Each format is one file; which one it is, the content says.

    bytes -> recognised() -> the format's read() -> Entries -> values

Two kinds of formats are asked in turn.  A document (JSON, XML) gets the bytes, in UTF-8 without a byte order mark; a
text (see `texts`) gets the numbered lines.  The first that recognises the content reads it; `plain` takes what is
left.  To add a format, import it and put it into its tuple, before every format that would take its files for its own.
"""

from __future__ import annotations

from typing import Protocol

from netpersona.intel.formats import json_document, markup, texts
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
from netpersona.intel.formats.lines import utf8

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


class Document(Protocol):
    """A module that reads one format from bytes."""

    NAME: str

    def recognised(self, content: bytes, /) -> bool:
        """Whether the content is of this format; quickly, and without raising."""

    def read(self, content: bytes, /) -> Entries:
        """Its entries.  Raises FormatError where the content breaks off or is damaged."""


DOCUMENTS: tuple[Document, ...] = (json_document, markup)


def read(content: bytes, column: str | int | None = None) -> Entries:
    """The entries of a feed.  `column` says where CSV has its values.  Raises FormatError."""
    content = markup.without_pre(utf8(content))
    if column is None:
        for document in DOCUMENTS:
            if document.recognised(content):
                return document.read(content)
    return texts.read(content, column)
