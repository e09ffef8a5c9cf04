"""JA3 lists without a header: `61d50e7771aee7f2f4b89a7200b4d45e,"AcroCEF"`.

An MD5 hash and a JA3 fingerprint look alike, so the list itself has to say what it holds: in a comment, or in the
licence above its rows, as Salesforce's own lists do.  Tables with a header are read by `csv_column`.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.csv_layout import layout
from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import COMMENT, data_lines, joined_quotes, label, records

NAME = "ja3"
_ROW = r'^"?([0-9A-Fa-f]{32})"?(?:\s*[,;\t]\s*(.*))?$'
_SAYS = r"(?i)\bja3\b|salesforce\.com"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the rows begin with a fingerprint, and what stands above them names JA3, but no columns."""
    first = joined_quotes(data_lines(lines.head(1000)))
    prints = first.filter(pl.col("text").str.contains(_ROW))
    if prints.is_empty() or prints.height * 5 < first.filter(pl.col("line") >= prints["line"][0]).height * 4:
        return False
    table = layout(lines)
    if table is not None and table.dialect == NAME:
        return False
    above = lines.filter((pl.col("line") < prints["line"][0]) | pl.col("text").str.contains(COMMENT)).head(200)
    return bool(above["text"].str.contains(_SAYS).any())


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list; what stands above the first fingerprint is no record."""
    rows = joined_quotes(data_lines(lines))
    begin = rows.filter(pl.col("text").str.contains(_ROW))["line"].min()
    rows = records(rows.filter(pl.col("line") >= begin))
    text = pl.col("text")
    named = label(text.str.extract(_ROW, 2).str.strip_chars().str.strip_chars('"'))
    raw = pl.coalesce(text.str.extract(_ROW, 1), text)
    return found(NAME, rows.select("record", "line", raw=raw, label=named, type=pl.lit("ja3")))
