"""DShield's block list: start, end and prefix length of a network, by tabs, then what is known of it.

    Start        End            Netmask  Attacks  Name    Country  email
    203.0.113.0  203.0.113.255  24       1840     EXAMPLE  US      abuse@example.net

Other lists of DShield have one address to a line; its numbers are filled with zeros (203.000.113.007), and are read
as decimal.  Source: https://feeds.dshield.org/block.txt.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, label, records

NAME = "dshield"
_FOUR = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_LINE = rf"^({_FOUR})\s+({_FOUR})\s+([0-9]{{1,2}})(?:\s+(.*))?$"
_HEADER = r"(?i)^start\s+end\b"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the first lines are two addresses and a prefix length each."""
    first = data_lines(lines.head(500))["text"].head(50)
    first = first.filter(~first.str.contains(_HEADER))
    return len(first) > 0 and first.str.contains(_LINE).sum() * 5 >= len(first) * 4


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list; a line that is none keeps its text, so that it is refused."""
    text = pl.col("text")
    rows = records(data_lines(lines).filter(~text.str.contains(_HEADER)))
    start, length = text.str.extract(_LINE, 1), text.str.extract(_LINE, 3)
    name = text.str.extract(_LINE, 4).str.split("\t").list.get(1, null_on_oob=True)
    raw = pl.coalesce(pl.concat_str(start, pl.lit("/"), length), text)
    return found(NAME, rows.select("record", "line", raw=raw, label=label(name)))
