"""The Tor Project's exit addresses: blocks of ExitNode, Published, LastStatus and ExitAddress lines.

An ExitAddress is the record; the lines around it describe its node.  Source: https://check.torproject.org/exit-addresses.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, records

NAME = "tor-exits"
_ADDRESS = r"^ExitAddress\s+(\S+)"
_ABOUT = r"^(?:ExitNode|Published|LastStatus)\s"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether all of the first lines are of such blocks."""
    first = data_lines(lines.head(200))["text"]
    return bool(first.str.contains(_ADDRESS).any()) and bool(first.str.contains(f"{_ADDRESS}|{_ABOUT}").all())


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list."""
    rows = records(data_lines(lines).filter(~pl.col("text").str.contains(_ABOUT)))
    raw = pl.coalesce(pl.col("text").str.extract(_ADDRESS, 1), "text")
    return found(NAME, rows.select("record", "line", raw=raw, category=pl.lit("tor")))
