"""One value in each line; what follows it (a count, a comment, a port's name) is not part of it.

203.0.113.7
203.0.113.0/24   # scanner
203.0.113.1 - 203.0.113.9
203.0.113.7<TAB>12
evil.example ; since May
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.lines import data_lines, entries, trailing_comment
from netpersona.intel.prefix import IPV4

NAME = "plain"
_SIMPLE = r"^[0-9A-Za-z_.:/-]+$"
_RANGE = r"^([0-9A-Fa-f.:]+)\s*-\s*([0-9A-Fa-f.:]+)"
_VALUE = r"""^["']?([^\s,"']+)"""
_TWO = rf"^{IPV4}[\s,]+{IPV4}(?:\s|,|$)"


def read(lines: pl.DataFrame) -> pl.DataFrame:
    """The entries of a plain list."""
    rows = data_lines(lines)
    simple = pl.col("text").str.contains(_SIMPLE)
    alone = rows.filter(simple).rename({"text": "raw"})
    more = rows.filter(~simple).select("line", _value().alias("raw"), trailing_comment(pl.col("text")).alias("label"))
    return pl.concat([entries(alone), entries(more)]).sort("line")


def _value() -> pl.Expr:
    """The value at the start of a line; a line with two addresses keeps both, so that it is refused."""
    text = pl.col("text")
    between = pl.concat_str(text.str.extract(_RANGE, 1), pl.lit("-"), text.str.extract(_RANGE, 2))
    first = text.str.extract(_VALUE, 1).str.strip_chars_end(";")
    link = text.str.extract(r"^(\S+)", 1)
    return (
        pl.when(text.str.contains(_RANGE))
        .then(between)
        .when(text.str.contains(_TWO))
        .then(text)
        .when(text.str.contains("://", literal=True))
        .then(link)
        .otherwise(pl.coalesce(first, text))
    )
