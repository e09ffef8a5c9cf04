"""What an indicator is: one value that somebody lists, with who said so, how surely and for how long.

Values are canonical, so that equal things are equal text:

    address   RFC 5952 for IPv6, IPv4-mapped IPv6 as IPv4; a /32 or /128 is an address
    network   first address / prefix length, no host bits
    domain    lower case, A-labels, no trailing dot; it stands for itself and every name below it
    url       scheme://host[:port]/path, scheme and host in lower case, no fragment
    hash      hexadecimal, lower case: MD5, SHA-1, SHA-256 or SHA-512
    asn       AS and the number;  cve  CVE-year-number
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class IndicatorType(StrEnum):
    """What kind of thing an indicator's value is."""

    ADDRESS = "address"
    NETWORK = "network"
    DOMAIN = "domain"
    URL = "url"
    HASH = "hash"
    JA3 = "ja3"
    ASN = "asn"
    CVE = "cve"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One listing of one value by one feed."""

    value: str
    type: IndicatorType
    label: str | None
    category: str | None
    confidence: float  # 0 to 1
    valid_from: int | None  # µs since the epoch; None: always was
    valid_until: int | None  # µs, exclusive; None: no end
    feed: str
    line: int  # counted from 1
    family: str = ""  # feeds that copy each other share one, and are one witness; empty: the feed's own


INDICATOR_TYPES = pl.Enum([kind.value for kind in IndicatorType])

INDICATOR_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "value": pl.String,
    "type": INDICATOR_TYPES,
    "label": pl.String,
    "category": pl.String,
    "confidence": pl.Float64,
    "valid_from": pl.Int64,
    "valid_until": pl.Int64,
    "feed": pl.String,
    "line": pl.UInt32,
    "family": pl.String,  # feeds that copy each other share one, and count once
    "half_life": pl.Int64,  # µs; null: what the feed says does not fade
}


def no_indicators() -> pl.DataFrame:
    """An empty table of indicators."""
    return pl.DataFrame(schema=INDICATOR_SCHEMA)
