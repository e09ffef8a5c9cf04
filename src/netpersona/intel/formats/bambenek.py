"""Bambenek Consulting's feeds: `sfkh21okrrnlu.com,Domain used by shiotob,2016-11-12 15:02,http://...` below a banner.

A domain that an algorithm generates for a day is the malware's on that day alone, give or take one for clocks that are
set wrong: such a row is valid from the day before to the day after.  The other feeds tell when a server was last seen,
which is no end.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.csv_layout import cells
from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import comments, data_lines, label, records

NAME = "bambenek"
_DATED = r"^[^,\s]+,[^,]*,[0-9]{4}-"
_MASTER = r"^[^,\s]+(?:,[^,]*){4},http"  # name, addresses, name servers, their addresses, what it is, manual
_DAY = 24 * 3600 * 1_000_000  # µs


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the banner names Bambenek, and the rows have four fields or more."""
    if not any("bambenek" in text.lower() for text in comments(lines)):
        return False
    rows = data_lines(lines.head(1000))["text"].head(50)
    return len(rows) > 0 and rows.str.contains(rf"{_DATED}|{_MASTER}").sum() * 5 >= len(rows) * 4


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the feed."""
    rows = records(data_lines(lines))
    quoted = bool(rows["text"].str.contains('"', literal=True).any())
    dated = pl.col("text").str.contains(_DATED)
    named = label(pl.when(dated).then(cells(",", 1, quoted=quoted)).otherwise(cells(",", 4, quoted=quoted)))
    day = cells(",", 2, quoted=quoted).str.slice(0, 10).str.to_date(strict=False)
    at = pl.when(named.str.contains(r"\bDGA\b")).then(day.cast(pl.Datetime("us")).cast(pl.Int64))
    return found(
        NAME,
        rows.select(
            "record",
            "line",
            raw=pl.coalesce(cells(",", 0, quoted=quoted), "text"),
            label=named,
            valid_from=at - _DAY,
            valid_until=at + 2 * _DAY,
        ),
    )
