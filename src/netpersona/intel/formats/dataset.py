"""Suricata's datasets of strings: each line is a value in base64, with a reputation behind it in `datarep`.

    ZXZpbC5leGFtcGxl
    ZXZpbC5leGFtcGxl,110

What the values are, only the rule that uses them says, so their shape decides.  A value that is written plainly has a
dot, a colon or the length of a hash, and is never taken for base64.
Source: Suricata user guide, datasets.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, records

NAME = "suricata-dataset"
_LINE = r"^((?:[A-Za-z0-9+/]{4}){2,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)(?:\s*,\s*[0-9]{1,5})?$"
_PRINTABLE = r"^(?:[2-6][0-9a-f]|7[0-9a-e])+$"  # in hexadecimal
_TELLING = r"[.:]\S"


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the first lines are base64 of what has a dot or a colon in it."""
    first = data_lines(lines.head(500)).head(50)
    return first.height > 0 and first.select(_decoded().str.contains(_TELLING))["text"].sum() * 5 >= first.height * 4


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the dataset; a line that is no base64 keeps its text, so that it is refused."""
    rows = records(data_lines(lines))
    return found(NAME, rows.select("record", "line", raw=pl.coalesce(_decoded(), "text")))


def _decoded() -> pl.Expr:
    """The printable text that a line means; null where it means none."""
    held = pl.col("text").str.extract(_LINE, 1).str.decode("base64", strict=False)
    return pl.when(held.bin.encode("hex").str.contains(_PRINTABLE)).then(held).cast(pl.String)
