"""Plain lists whose comments say whose they are: DROP, ASN-DROP, Maltrail, Malware Patrol, malwaredomains.

    1.4.0.0/17 ; SBL256893              a network, with what it was listed for
    AS260 ; AE | XCONNECT24             an autonomous system
    # Reference: https://...            above trails: an address with a port, a name, a host with a path, a bare path
    example.com/malwarehere/            a URL without its scheme
    <TAB><TAB>example.com<TAB>phishing  a name below the columns `nextvalidation domain type`, the first mostly empty

The values are those of a plain list; of Maltrail's the label is the reference above them.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from netpersona.intel.formats import plain
from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import COMMENT, data_lines, label

NAME = "banner"
_MALWAREDOMAINS = "malwaredomains"
_DATED = r"^[0-9]+\s+"
_REFERENCE = r"^#\s*Reference:\s*(\S.*)$"


class _Banner(NamedTuple):
    """How a list is known, by its comments and by how its lines begin."""

    name: str
    says: str
    lines: str
    type: str | None = None


_BANNERS = (
    _Banner("spamhaus-asn-drop", r"(?i)spamhaus", r"(?i)^AS[0-9]+\s*(?:;|$)", "asn"),
    _Banner("spamhaus-drop", r"(?i)spamhaus\s+(?:(?:ipv6\s+)?e?drop|don't route)", r"^[0-9A-Fa-f.:]+/[0-9]+\s*(?:;|$)"),
    _Banner("maltrail", r"(?i)maltrail|^#\s*Reference:", r"^\S"),
    _Banner(_MALWAREDOMAINS, r"(?i)^#+\s*nextvalidation\s+domain\b", r"^(?:[0-9]+\s+)?[^\s.]\S*\.\S+\s"),
    _Banner("malwarepatrol", r"(?i)malware\s*patrol", r"^[^\s,;|]+$", "url"),
)


def recognised(lines: pl.DataFrame) -> bool:
    """Whether a comment names one of the lists, and the lines look like it."""
    return _banner(lines) is not None


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list."""
    banner = _banner(lines)
    name = banner.name if banner is not None else NAME
    rows = data_lines(lines)
    if name == _MALWAREDOMAINS:
        rows = rows.with_columns(pl.col("text").str.replace(_DATED, ""))
    table = plain.listed(rows)
    if name == "maltrail":
        table = _referred(table, lines)
    if banner is not None and banner.type is not None:
        table = table.with_columns(pl.lit(banner.type).alias("type"))
    return found(name, table)


def _banner(lines: pl.DataFrame) -> _Banner | None:
    head = lines.head(400)["text"]
    comments = head.filter(head.str.contains(COMMENT))
    rows = data_lines(lines.head(1000))["text"].head(200)
    for banner in _BANNERS:
        if comments.str.contains(banner.says).any() and rows.str.contains(banner.lines).sum() * 5 >= len(rows) * 4:
            return banner
    return None


def _referred(table: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """The entries with the reference that stands above each as its label, where it has no other."""
    references = lines.select("line", label(pl.col("text").str.extract(_REFERENCE, 1)).alias("reference"))
    nearest = references.drop_nulls("reference").sort("line").set_sorted("line")
    joined = table.sort("line").set_sorted("line").join_asof(nearest, on="line", strategy="backward")
    return joined.with_columns(pl.coalesce("label", "reference").alias("label"))
