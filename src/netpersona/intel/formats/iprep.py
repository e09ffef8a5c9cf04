"""Suricata's reputation lists: `203.0.113.7,2,110` is an address or network, the number of a category, and a score.

The score is 0 to 127, of which the confidence is made.  The category's name stands in a file of its own, so only its
number is told.  Source: Suricata user guide, IP reputation format.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, records
from netpersona.intel.prefix import IPV4

NAME = "suricata-iprep"
_PLACE = rf"{IPV4}(?:/[0-9]{{1,2}})?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+(?:/[0-9]{{1,3}})?"
_LINE = rf"^({_PLACE})\s*,\s*([0-9]{{1,2}})\s*,\s*([0-9]{{1,3}})$"
_CATEGORIES = 60
_BEST = 127


def recognised(lines: pl.DataFrame) -> bool:
    """Whether each of the first lines is an address, a category and a score."""
    first = data_lines(lines.head(500)).select(_number(2).alias("category"), _number(3).alias("score"))
    fits = (first["category"] <= _CATEGORIES) & (first["score"] <= _BEST)
    return first.height > 0 and fits.fill_null(value=False).sum() * 10 >= first.height * 9


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list."""
    score = _number(3).clip(0, _BEST) / _BEST
    return found(
        NAME,
        records(data_lines(lines)).select(
            "record",
            "line",
            raw=pl.coalesce(pl.col("text").str.extract(r"^([^,]+),", 1).str.strip_chars(), "text"),
            label=pl.format("category {}", _number(2)),
            confidence=score,
        ),
    )


def _number(group: int) -> pl.Expr:
    return pl.col("text").str.extract(_LINE, group).cast(pl.Int64, strict=False)
