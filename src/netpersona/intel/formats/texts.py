"""The formats that are lines of text, in the order in which they are asked; `plain` takes what is left."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from netpersona.intel.formats import (
    access_rules,
    adblock,
    bambenek,
    banner,
    csv_column,
    dataset,
    dshield,
    hosts,
    iprep,
    ja3,
    name_server,
    netset,
    one_line,
    p2p,
    plain,
    rules,
    tor_exits,
    zeek_intel,
)
from netpersona.intel.formats.entry import Entries, FormatError, found
from netpersona.intel.formats.lines import data_lines, numbered_lines

EXPECTED = "a list of addresses, networks, domains, URLs or hashes, CSV, rules, or another format of docs/feeds.md"


class Text(Protocol):
    """A module that reads one format from numbered lines (line, text)."""

    NAME: str

    def recognised(self, lines: pl.DataFrame, /) -> bool:
        """Whether the lines are of this format; quickly, and without raising."""

    def read(self, lines: pl.DataFrame, /) -> Entries:
        """Its entries.  Raises FormatError."""


TEXTS: tuple[Text, ...] = (
    zeek_intel, rules, adblock, netset, name_server, hosts, bambenek, banner, access_rules, dshield, p2p, iprep, ja3,
    tor_exits, dataset, one_line, csv_column, plain,
)  # fmt: skip


def read(content: bytes, column: str | int | None) -> Entries:
    """The entries of text in UTF-8.  `column` says where CSV has its values.  Raises FormatError."""
    if content.startswith(b"%PDF-"):
        raise FormatError(1, "a PDF", EXPECTED)
    lines = numbered_lines(content)
    rows = data_lines(lines)
    _refuse_other_worlds(rows)
    if column is not None and not rows.is_empty():
        return csv_column.read(lines, column)
    text = next(text for text in TEXTS if text.recognised(lines))
    return text.read(lines) if lines.height else found(plain.NAME, pl.DataFrame())


def _refuse_other_worlds(rows: pl.DataFrame) -> None:
    """Raises FormatError for what is text, but no list of values: an error page must not become indicators."""
    if rows.is_empty():
        return
    line, first = int(rows["line"][0]), str(rows["text"][0])[:200].lower()
    if first.startswith("<"):
        raise FormatError(line, "HTML or XML", EXPECTED)
    if first.startswith(("{", "[{", '["')) or first == "[":
        raise FormatError(line, "JSON", EXPECTED)
