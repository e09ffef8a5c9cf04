"""Ranges behind a name, as peer-to-peer programs read them: `Some Company:203.0.113.0-203.0.113.255`.

Also eMule's `203.000.113.000 - 203.000.113.255 , 000 , Some Company`, in which numbers are filled with zeros and are
read as decimal; a level above 127 lets the range through, and lists nothing.
Sources: PeerGuardian's P2P format and ipfilter.dat, as iBlocklist publishes them.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, label, records

NAME = "p2p"
_IP = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
_NAMED = rf"^(.*):({_IP})\s*-\s*({_IP})$"
_LEVELLED = rf"^({_IP})\s*-\s*({_IP})\s*,\s*([0-9]{{1,3}})\s*(?:,\s*(.*))?$"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the first lines are ranges with a name or a level."""
    first = data_lines(lines.head(500))["text"].head(50)
    return len(first) > 0 and first.str.contains(f"{_NAMED}|{_LEVELLED}").sum() * 5 >= len(first) * 4


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list; a line that is none keeps its text, so that it is refused."""
    text = pl.col("text")
    rows = records(data_lines(lines)).with_columns(
        _between(text, _NAMED, 2, 3).alias("named"),
        _between(text, _LEVELLED, 1, 2).alias("levelled"),
        text.str.extract(_LEVELLED, 3).cast(pl.Int64).alias("level"),
    )
    table = rows.select(
        "record",
        "line",
        "level",
        raw=pl.coalesce("named", "levelled", "text"),
        label=label(pl.coalesce(text.str.extract(_NAMED, 1), text.str.extract(_LEVELLED, 4))),
    )
    through = (pl.col("level") > 127).fill_null(value=False)
    reason = pl.lit("its level lets the range through").alias("reason")
    return found(NAME, table.filter(~through), table.filter(through).with_columns(reason))


def _between(text: pl.Expr, pattern: str, low: int, high: int) -> pl.Expr:
    return pl.concat_str(text.str.extract(pattern, low), pl.lit("-"), text.str.extract(pattern, high))
