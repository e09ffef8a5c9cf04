"""A list in a single line: `203.0.113.7, 203.0.113.9, 203.0.113.0/28`.

Three values of one kind are a list, and so are two if one is a network or a range: two addresses could be whose they
are and where to.  Anything else in a single line is a row of a table.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats import plain
from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines
from netpersona.intel.prefix import IPV4

NAME = plain.NAME
_HEAD = 500  # lines, comments included
_BETWEEN = r"[\s,;|]+"
_WIDE = rf"(?:{IPV4}/[0-9]{{1,2}}|{IPV4}-{IPV4}|[0-9A-Fa-f]*:[0-9A-Fa-f:]+/[0-9]{{1,3}})"
_PLACE = rf"^(?:{_WIDE}|{IPV4}(?::[0-9]+)?|[0-9A-Fa-f]*:[0-9A-Fa-f:]+)$"
_NAME = r"^(?:[a-z]+://\S+|(?:\*?\.)?(?:[\w-]+\.)+[A-Za-z][A-Za-z0-9-]+\.?)$"
_HASH = r"^(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether there is one line, and it is such a list."""
    rows = data_lines(lines.head(_HEAD))
    if lines.height > _HEAD or rows.height != 1:
        return False
    values = _values(rows)["text"]
    alike = any(values.str.contains(kind).all() for kind in (_PLACE, _NAME, _HASH))
    return alike and (len(values) > 2 or (len(values) == 2 and values.str.contains(rf"^{_WIDE}$").any()))


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list; each value is a record."""
    return found(NAME, plain.listed(_values(data_lines(lines))))


def _values(row: pl.DataFrame) -> pl.DataFrame:
    """The line taken apart, each value as a row."""
    parts = row.with_columns(pl.col("text").str.replace_all(_BETWEEN, " ").str.split(" ")).explode("text")
    return parts.with_columns(pl.col("text").str.strip_chars("\"'")).filter(pl.col("text") != "")
