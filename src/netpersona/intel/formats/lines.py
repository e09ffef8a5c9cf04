"""Bytes to numbered lines, whatever the encoding and the line ends; and what comments look like.

A table of lines has the columns `line` (UInt32, from 1) and `text` (stripped); empty lines are left out.
"""

from __future__ import annotations

import codecs
import re

import numpy as np
import polars as pl

from netpersona.intel.formats.entry import FormatError

COMMENT = r"^(?:#|;|//|[!%](?:\s|$)|--\s|/\*|\*/|,+$|[-=_~`+|*,\s]{2,}$|\|[-:|\s]+$)"
"""What is no record: a comment, a ruled line (-----, |---|), a row of empty cells."""

_SIGN = r"^[#;/!%,=_~`+|*-]"  # how such a line begins
_TRAILING = r"(?:^|\s)(?:#|;|//)[#;/\s]*(.*)$"
_LONGEST_LABEL = 200
_LONGEST_LINE = 1 << 18  # bytes; no format needs as much
_OPENED = r'(?:^|[,;|\t])\s*"(?:[^"]|"")*$'  # a line that ends inside a quoted field
_CLOSED = r'^(?:[^"]|"")*"\s*(?:[,;|\t]|$)'  # a line that could begin inside one
_MOST_LINES = 50  # of one record
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def numbered_lines(content: bytes) -> pl.DataFrame:
    """The table of lines of a feed in UTF-8.  Raises FormatError for binary data."""
    text = _decoded(content)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    series = _bounded(pl.Series("text", [text]).str.split("\n").explode().str.strip_chars())
    return series.to_frame().with_row_index("line", offset=1).filter(pl.col("text") != "")


def data_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines that are no comments."""
    return without(lines, lines["text"].str.contains(_SIGN), COMMENT)


def without(lines: pl.DataFrame, perhaps: pl.Series, pattern: str) -> pl.DataFrame:
    """The lines without those of the pattern, for which only the few that it could hold for are looked at."""
    places = perhaps.arg_true()
    gone = places.filter(lines["text"].gather(places).str.contains(pattern))
    if gone.is_empty():
        return lines
    kept = np.ones(lines.height, dtype=bool)
    kept[gone.to_numpy()] = False
    return lines.filter(pl.Series(kept))


def records(rows: pl.DataFrame) -> pl.DataFrame:
    """Data lines with `record`: each is one record of the file."""
    return rows.with_row_index("record", offset=1)


def joined_quotes(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in which no quoted field is left open: what goes over several lines stands at the first of them."""
    open_, closed = rows["text"].str.contains(_OPENED), rows["text"].str.contains(_CLOSED)
    begins, ends = open_.arg_true().to_numpy(), (closed & ~open_).arg_true().to_numpy()
    if not len(begins) or not len(ends):
        return rows
    after = ends[np.minimum(np.searchsorted(ends, begins, side="right"), len(ends) - 1)]
    near = (after > begins) & (after - begins <= _MOST_LINES)
    group, last = np.arange(rows.height), -1
    for begin, end in zip(begins[near].tolist(), after[near].tolist(), strict=True):
        if begin > last:
            group[begin : end + 1], last = begin, end
    grouped = rows.with_columns(pl.Series("group", group)).group_by("group", maintain_order=True)
    return grouped.agg(pl.col("line").first(), pl.col("text").str.join(" ")).drop("group")


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


def _bounded(texts: pl.Series) -> pl.Series:
    """The lines without what goes on for ever: an enormous one ends where a field or word ended before."""
    long = texts.str.len_bytes() > _LONGEST_LINE
    if not long.any():
        return texts
    begin = texts.filter(long).str.slice(0, _LONGEST_LINE // 4)
    cut = begin.str.replace(r"[^\s,;|]*$", "")
    return texts.scatter(long.arg_true(), cut.zip_with(cut != "", begin))


def utf8(content: bytes) -> bytes:
    """The content in UTF-8, without a byte order mark; UTF-16 is known by its mark, or by every other byte being 0."""
    if content.startswith(_UTF16):
        return content.decode("utf-16", errors="replace").encode("utf-8", errors="replace")
    head = content[:4096]
    for encoding, empty, filled in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if empty.count(0) * 10 > len(empty) * 9 and 0 not in filled:
            return content.decode(encoding, errors="replace").encode("utf-8", errors="replace")
    return content.removeprefix(codecs.BOM_UTF8)


def _decoded(content: bytes) -> str:
    if b"\0" in content[:4096]:
        raise FormatError(1, "binary data", "lines of text")
    return content.decode("utf-8", errors="replace")
