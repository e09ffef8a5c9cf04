"""Blocks of delimited text as columns of strings, with no Python object per line unless values are quoted."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import polars as pl

_NEVER = "\x01"  # a separator that no line contains; what does contain it has another number of fields
_SEPARATORS = (",", "\t", ";", "|")
_QUOTE = '"'


def lines_of(block: bytes) -> pl.Series:
    """The block's lines that are not blank, as text; bytes that are not UTF-8 are replaced."""
    text = block.replace(b"\x01", b" ").replace(b"\x00", b" ")
    if not text.strip():
        return pl.Series("line", [], dtype=pl.String)
    frame = pl.read_csv(
        text,
        has_header=False,
        separator=_NEVER,
        quote_char=None,
        schema={"line": pl.String},
        encoding="utf8-lossy",
    )
    lines = frame["line"].drop_nulls().str.strip_chars_end("\r")
    return lines.filter(lines.str.strip_chars() != "")


def split_header(line: str) -> tuple[str, list[str]]:
    """The separator that stands most often in a header line, and the names between; a space where there is none."""
    separator = max(_SEPARATORS, key=line.count)
    if separator not in line:
        return " ", line.split()
    return separator, [name.strip() for name in _unquoted(line, separator)]


def split_lines(lines: pl.Series, separator: str, names: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """The lines' fields as columns of stripped text, and how many lines had another number of fields.

    Fields may be quoted, as in CSV; a quoted field ends with its line.
    """
    if lines.str.contains(_QUOTE, literal=True).any():
        return _split_quoted(lines, separator, names)
    right = lines.str.count_matches(separator, literal=True) == len(names) - 1
    fields = lines.filter(right).rename("line").to_frame()
    parts = pl.col("line").str.split_exact(separator, len(names) - 1).struct.rename_fields(list(_unique(names)))
    table = fields.select(parts).unnest("line").select(pl.all().str.strip_chars())
    return table, lines.len() - int(right.sum())


def _split_quoted(lines: pl.Series, separator: str, names: Sequence[str]) -> tuple[pl.DataFrame, int]:
    rows = [fields for line in lines if len(fields := _unquoted(line, separator)) == len(names)]
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    series = [pl.Series(name, column, pl.String) for name, column in zip(_unique(names), columns, strict=True)]
    return pl.DataFrame(series).select(pl.all().str.strip_chars()), lines.len() - len(rows)


def _unquoted(line: str, separator: str) -> list[str]:
    """The line's fields without their quotes; none where a field is longer than any value can be."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _unique(names: Sequence[str]) -> Sequence[str]:
    """The names, where one that comes again gets its place as a suffix."""
    return [name if name not in names[:at] else f"{name}#{at}" for at, name in enumerate(names)]
