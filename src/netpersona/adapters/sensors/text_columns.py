"""Blocks of delimited text as columns of strings, with no Python object per line."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_NEVER = "\x01"  # a separator that no line contains; what does contain it has another number of fields


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


def split_lines(lines: pl.Series, separator: str, names: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """The lines' fields as columns of stripped text, and how many lines had another number of fields."""
    right = lines.str.count_matches(separator, literal=True) == len(names) - 1
    fields = lines.filter(right).rename("line").to_frame()
    parts = pl.col("line").str.split_exact(separator, len(names) - 1).struct.rename_fields(list(_unique(names)))
    table = fields.select(parts).unnest("line").select(pl.all().str.strip_chars())
    return table, lines.len() - int(right.sum())


def _unique(names: Sequence[str]) -> Sequence[str]:
    """The names, where one that comes again gets its place as a suffix."""
    return [name if name not in names[:at] else f"{name}#{at}" for at, name in enumerate(names)]
