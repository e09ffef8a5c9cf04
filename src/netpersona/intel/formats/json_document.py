"""Feeds in JSON: opened once, then read by the first format that knows the members of their first value."""

from __future__ import annotations

from typing import Protocol

import msgspec

from netpersona.intel.formats import json_rows, misp, otx, stix, warning_list
from netpersona.intel.formats.entry import Entries
from netpersona.intel.formats.json_text import Document, head, looks_like, opened

NAME = "json"


class Reader(Protocol):
    """A module that reads one format from opened JSON."""

    NAME: str

    def recognised(self, head: dict[str, msgspec.Raw], /) -> bool:
        """Whether a first value with these members belongs to the format."""

    def read(self, document: Document, /) -> Entries:
        """Its entries.  Raises FormatError where nothing of the document is what it seems."""


READERS: tuple[Reader, ...] = (misp, stix, warning_list, otx, json_rows)


def recognised(content: bytes) -> bool:
    """Whether the content begins as JSON."""
    return looks_like(content)


def read(content: bytes) -> Entries:
    """The entries of a feed in JSON.  Raises FormatError where it is damaged or of no format that is known."""
    document = opened(content)
    known = head(document)
    return next(reader for reader in READERS if reader.recognised(known)).read(document)
