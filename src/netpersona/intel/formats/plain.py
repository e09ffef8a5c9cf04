"""One value in each line; what follows it (a count, a comment, a port's name) is not part of it.

203.0.113.7
203.0.113.0/24   # scanner
203.0.113.1 - 203.0.113.9
203.0.113.7<TAB>12
evil.example ; since May
- 203.0.113.7
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, entries, found
from netpersona.intel.formats.lines import data_lines, records, trailing_comment
from netpersona.intel.prefix import IPV4

NAME = "plain"
_SIMPLE = r"^[0-9A-Za-z_.:/-]+$"
_RANGE = r"^([0-9A-Fa-f.:]+)\s*-\s*([0-9A-Fa-f.:]+)"
_VALUE = r"""^["']?([^\s,"'#]+)"""
_LINK = r"^(\S+?)(?:[,;]\s.*)?(?:\s.*)?$"
_ORDER = r"(?i)^(?:deny|require\s+not)\s+(?:from\s+|ip\s+)?([0-9A-Fa-f.:/]+)\s*;?$"  # of nginx and Apache
_BULLET = r"^[*•–-]\s+"
_TWO = rf"^{IPV4}[\s,]+{IPV4}(?:\s|,|$)"


def recognised(lines: pl.DataFrame) -> bool:  # noqa: ARG001 (the last format takes everything)
    """Always: what no other format recognises is a plain list, or nothing."""
    return True


def read(lines: pl.DataFrame) -> Entries:
    """The entries of a plain list."""
    return found(NAME, listed(data_lines(lines)))


def listed(rows: pl.DataFrame) -> pl.DataFrame:
    """The entries of data lines, one each."""
    rows = records(rows)
    simple = pl.col("text").str.contains(_SIMPLE)
    alone = rows.filter(simple).rename({"text": "raw"})
    columns = [_value().alias("raw"), trailing_comment(pl.col("text")).alias("label")]
    more = rows.filter(~simple).with_columns(pl.col("text").str.replace(_BULLET, "")).select("record", "line", *columns)
    return pl.concat([entries(alone), entries(more)])


def _value() -> pl.Expr:
    """The value at the start of a line; a line with two addresses keeps both, so that it is refused."""
    text = pl.col("text")
    between = pl.concat_str(text.str.extract(_RANGE, 1), pl.lit("-"), text.str.extract(_RANGE, 2))
    first = text.str.extract(_VALUE, 1).str.strip_chars_end(";")
    link = text.str.extract(_LINK, 1)
    return (
        pl.when(text.str.contains(_ORDER))
        .then(text.str.extract(_ORDER, 1))
        .when(text.str.contains(_RANGE))
        .then(between)
        .when(text.str.contains(_TWO))
        .then(text)
        .when(text.str.contains("://", literal=True))
        .then(link)
        .otherwise(pl.coalesce(first, text))
    )
