"""A hosts file that sends bad names nowhere: `0.0.0.0 evil.example`.

Only the names are indicators.  A line that maps a name to a real address lists nothing, and says so.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, trailing_comment

NAME = "hosts"
_NOWHERE = r"^(?:0\.0\.0\.0|127\.0\.0\.1|0|::1?)\s+"
_ENTRY = _NOWHERE + r"[^\s0-9.]*[A-Za-z._-]"
_OWN = [
    "localhost", "localhost.localdomain", "local", "localdomain", "broadcasthost", "ip6-localhost", "ip6-loopback",
    "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
]  # fmt: skip


def recognised(lines: pl.DataFrame) -> bool:
    """Whether at least half of the first lines send a name nowhere."""
    first = data_lines(lines.head(500))["text"]
    return len(first) > 0 and first.str.contains(_NOWHERE + r"\S*[A-Za-z]").sum() * 2 >= len(first)


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the file: every name that is sent nowhere, but for the machine's own."""
    text = pl.col("text")
    nowhere = text.str.contains(_NOWHERE)
    names = text.str.replace(_NOWHERE, "").str.replace(r"\s*#.*$", "").str.split(" ")
    rows = data_lines(lines).with_columns(
        pl.when(nowhere).then(names).otherwise(pl.concat_list(text)).alias("raw"),
        trailing_comment(text).alias("label"),
    )
    each = rows.with_columns(pl.col("raw")).explode("raw").with_columns(pl.col("raw").str.strip_chars())
    own = pl.col("raw").str.to_lowercase().str.replace(r"^\S+\s+", "").is_in(_OWN)
    return found(NAME, each.filter((pl.col("raw") != "") & ~own).with_row_index("record", offset=1))
