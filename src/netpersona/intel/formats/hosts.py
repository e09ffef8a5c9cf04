"""A hosts file that sends bad names nowhere: `0.0.0.0 evil.example`.

Only the names are indicators.  A line that maps a name to a real address lists nothing, nor does one for the machine's
own names; both are refused, saying so.
"""

from __future__ import annotations

import re

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, records, trailing_comment

NAME = "hosts"
_NOWHERE = r"^(?:0\.0\.0\.0|127\.0\.0\.1|0|::1?)\s+"
_OWN = [
    "localhost", "localhost.localdomain", "localhost4", "localhost6", "localhost4.localdomain4",
    "localhost6.localdomain6", "local", "localdomain", "broadcasthost", "ip6-localhost", "ip6-loopback",
    "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
    "0.0.0.0", "127.0.0.1",  # noqa: S104 (what stands in the file)
]  # fmt: skip
_FOR_ITSELF = rf"(?i)^[0-9a-f:.]+(?:%\S+)?\s+(?:{'|'.join(map(re.escape, _OWN))})(?:\s|$)"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether at least half of the first lines send a name nowhere, those for the machine's own names aside."""
    first = data_lines(lines.head(500))["text"]
    first = first.filter(~first.str.contains(_FOR_ITSELF))
    return len(first) > 0 and first.str.contains(_NOWHERE + r"\S*[A-Za-z]").sum() * 2 >= len(first)


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the file: every name that is sent nowhere."""
    text = pl.col("text")
    names = text.str.replace(r"\s+#.*$", "").str.replace(r"^\S+\s+", "").str.replace_all(r"\s+", " ").str.split(" ")
    rows = records(data_lines(lines)).select(
        "record",
        "line",
        "text",
        nowhere=text.str.contains(_NOWHERE + r"\S"),
        raw=names,
        label=trailing_comment(text),
    )
    each = rows.explode("raw").with_columns(pl.col("raw").str.strip_chars()).filter(pl.col("raw") != "")
    reason = (
        pl.when(pl.col("raw").str.to_lowercase().is_in(_OWN))
        .then(pl.lit("a name of the machine's own"))
        .when(~pl.col("nowhere"))
        .then(pl.lit("it maps a name to an address, and lists nothing"))
    )
    judged = each.with_columns(reason.alias("reason"))
    gone = judged.drop_nulls("reason").unique("record", keep="first", maintain_order=True)
    return found(NAME, judged.filter(pl.col("reason").is_null()), gone.with_columns(pl.col("text").alias("raw")))
