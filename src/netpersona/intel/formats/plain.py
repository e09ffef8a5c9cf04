"""One value in each line; what follows it (a count, a comment, a port's name) is not part of it.

203.0.113.7
203.0.113.0/24   # scanner
203.0.113.1 - 203.0.113.9
203.0.113.7<TAB>12
     12 203.0.113.7
evil.example ; since May
- 203.0.113.7
203.0.113.0 255.255.255.0

Headings (`Domains:`, `[domains]`) are no records.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, entries, found
from netpersona.intel.formats.lines import data_lines, records, trailing_comment, without
from netpersona.intel.prefix import IPV4, MASK

NAME = "plain"
_SIMPLE = r"^[0-9A-Za-z_.:/-]+$"
_RANGE = r"^([0-9A-Fa-f.:]+)\s*-\s*([0-9A-Fa-f.:]+)"
_VALUE = r"""^["']?([^\s,"'#|]+)"""
_BEHIND = r"^(?:[0-9]{1,9}|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+Z?)?)\s+([^\s:]*[.:]\S+)$"  # a count, or a date
_LINK = r"^(\S+?)(?:[,;]\s.*)?(?:\s.*)?$"
_BULLET = r"^[*•–-]\s+"
_TWO = rf"^{IPV4}[\s,]+{IPV4}(?:\s|,|$)"
_MASKED = rf"^({IPV4})\s+({MASK})(?:\s|$)"
_HEADING = r"^(?:[\p{L}][\w ()/-]*:|\[[\p{L}][\w -]*\])$"


def recognised(lines: pl.DataFrame) -> bool:  # noqa: ARG001 (the last format takes everything)
    """Always: what no other format recognises is a plain list, or nothing."""
    return True


def read(lines: pl.DataFrame) -> Entries:
    """The entries of a plain list."""
    rows = data_lines(lines)
    ends = rows["text"].str.ends_with(":") | rows["text"].str.ends_with("]")
    return found(NAME, listed(without(rows, ends, _HEADING)))


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
        pl.when(text.str.contains(_MASKED))
        .then(pl.concat_str(text.str.extract(_MASKED, 1), pl.lit("/"), text.str.extract(_MASKED, 2)))
        .when(text.str.contains(_BEHIND))
        .then(text.str.extract(_BEHIND, 1))
        .when(text.str.contains(_RANGE))
        .then(between)
        .when(text.str.contains(_TWO))
        .then(text)
        .when(text.str.contains("://", literal=True))
        .then(link)
        .otherwise(pl.coalesce(first, text))
    )
