"""Bytes to numbered lines, whatever the encoding and the line ends; and what comments look like.

A table of lines has the columns `line` (UInt32, from 1) and `text` (stripped); empty lines are left out.
A table of entries is what a format makes of it: ENTRY_SCHEMA.
"""

from __future__ import annotations

import codecs
import re

import polars as pl

ENTRY_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "line": pl.UInt32,
    "raw": pl.String,  # the value as it stands in the feed
    "label": pl.String,
    "category": pl.String,
}

COMMENT = r"^(?:#|;|//)"
_TRAILING = r"(?:^|\s)(?:#|;|//)[#;/\s]*(.*)$"
_LONGEST_LABEL = 200
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class FormatError(ValueError):
    """The content is no feed that this version reads; says at which line and what was expected."""

    def __init__(self, line: int, wrong: str, expected: str) -> None:
        super().__init__(f"line {line}: {wrong}; expected {expected}")
        self.line = line
        self.wrong = wrong
        self.expected = expected


def numbered_lines(content: bytes) -> pl.DataFrame:
    """The table of lines of a feed.  Raises FormatError for binary data."""
    text = _decoded(content)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    series = pl.Series("text", [text]).str.split("\n").explode().str.strip_chars()
    return series.to_frame().with_row_index("line", offset=1).filter(pl.col("text") != "")


def data_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines that are no comments."""
    return lines.filter(~pl.col("text").str.contains(COMMENT))


def comments(lines: pl.DataFrame, count: int = 200) -> list[str]:
    """The texts of the comments among the first `count` lines, without their signs."""
    texts = lines.head(count)["text"]
    return [re.sub(r"^[#;/\s]+", "", text).strip() for text in texts.filter(texts.str.contains(COMMENT))]


def label(text: pl.Expr) -> pl.Expr:
    """Free text as a label: printable, one line, cut; null where nothing is left."""
    clean = text.str.replace_all(r"[\p{C}\s]+", " ").str.strip_chars().str.slice(0, _LONGEST_LABEL)
    return pl.when(clean != "").then(clean).otherwise(None)


def trailing_comment(text: pl.Expr) -> pl.Expr:
    """The comment at the end of a line, as a label."""
    return label(text.str.extract(_TRAILING, 1))


def entries(table: pl.DataFrame) -> pl.DataFrame:
    """A table with the columns of ENTRY_SCHEMA; absent ones are null."""
    absent = {name: pl.lit(None) for name in ENTRY_SCHEMA if name not in table.columns}
    return table.with_columns(**absent).select(pl.col(name).cast(dtype) for name, dtype in ENTRY_SCHEMA.items())


def _decoded(content: bytes) -> str:
    if content.startswith(_UTF16):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content[:4096]:
        raise FormatError(1, "binary data", "lines of text")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
