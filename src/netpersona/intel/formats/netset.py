"""FireHOL's .ipset and .netset files, and what `ipset save` writes.

The values are a plain list; the header says what kind of set it is and which category it belongs to.
Source: https://iplists.firehol.org and ipset(8).
"""

from __future__ import annotations

import re

import polars as pl

from netpersona.intel.formats import plain
from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import comments, data_lines

NAME = "netset"
_KIND = re.compile(r"hash:(?:net|ip)\b.*\bipset\b")
_CATEGORY = re.compile(r"Category\s*:\s*(\S+)")
_ADD = r"^(?:-A|add)\s+\S+\s+([^\s-]\S*)"
_EXCEPTION = r"\snomatch(?:\s|$)"
_SAVED = rf"^(?:create\s|-N\s|COMMIT$)|{_ADD}"  # iptables-save also has -A, and then options


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the header names an ipset, or the lines are those of `ipset save`."""
    if any(_KIND.search(text) for text in comments(lines)):
        return True
    first = data_lines(lines.head(200))["text"]
    return len(first) > 0 and bool(first.str.contains(_SAVED).all())


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the set, with the header's category."""
    rows = data_lines(lines).filter(~pl.col("text").str.contains(r"^(?:create|-N)\s|^COMMIT$"))
    values = rows.with_columns(pl.coalesce(pl.col("text").str.extract(_ADD, 1), "text").alias("text"))
    searched = (_CATEGORY.search(text) for text in comments(lines))
    category = next((match.group(1).lower() for match in searched if match), None)
    table = plain.listed(values).with_columns(pl.lit(category, dtype=pl.String).alias("category"))
    except_ = pl.Series("record", (rows["text"].str.contains(_EXCEPTION).arg_true() + 1), dtype=pl.UInt32).to_list()
    gone = table.filter(pl.col("record").is_in(except_))
    why = pl.lit("an exception (nomatch): it lets through, and lists nothing").alias("reason")
    return found(NAME, table.filter(~pl.col("record").is_in(except_)), gone.with_columns(why))
