"""How feeds are written down.  Each format is one file; which one it is, the content says.

    numbered lines -> recognised() -> the format's read() -> entries (line, raw, label, category) -> values

A format only finds where the values stand; what a value is, `values` decides for all of them alike.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from netpersona.intel.formats import csv_column, hosts, netset, plain
from netpersona.intel.formats.lines import ENTRY_SCHEMA, FormatError, data_lines, entries, numbered_lines

__all__ = ["ENTRY_SCHEMA", "Entries", "FormatError", "read"]

_TEXTS = "a list of addresses, networks or domains, a netset, a hosts file, or CSV"


class Entries(NamedTuple):
    """What a format found, and what it was."""

    format: str
    table: pl.DataFrame  # ENTRY_SCHEMA
    noted: tuple[tuple[int, str, str], ...] = ()  # (line, text, what to know)


def read(content: bytes, column: str | int | None = None) -> Entries:
    """The entries of a feed.  `column` says where CSV has its values.  Raises FormatError."""
    lines = numbered_lines(content)
    if data_lines(lines).is_empty():
        return Entries(plain.NAME, entries(lines.clear().rename({"text": "raw"})))
    _refuse_other_worlds(data_lines(lines))
    if column is None and netset.recognised(lines):
        return Entries(netset.NAME, netset.read(lines))
    if column is None and hosts.recognised(lines):
        return Entries(hosts.NAME, hosts.read(lines))
    found = csv_column.layout(lines, column)
    if found is None:
        return Entries(plain.NAME, plain.read(lines))
    also = tuple((found.header or 1, name, "this column was not read: name it to read it") for name in found.also)
    return Entries(csv_column.NAME, csv_column.read(lines, found), also)


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
