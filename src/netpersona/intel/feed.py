"""What a feed says now: its settings, its indicators, and what of it was refused.

`parse` turns the bytes of a feed into a FeedSnapshot; it is pure, and the format is recognised by content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from netpersona.intel import formats
from netpersona.intel.indicator import INDICATOR_SCHEMA, INDICATOR_TYPES
from netpersona.intel.odd_value import MAIL
from netpersona.intel.values import KEPT as REFUSALS_KEPT
from netpersona.intel.values import shown, values

_JA3 = re.compile(r"ja3(?!s)", re.IGNORECASE)
_MEANT = {"cisa-kev": "known-exploited", "epss": "epss"}  # what it means to be in a feed of this format
_ANYTHING = {"plain", "csv"}  # formats that take what no other recognises
_MANY, _ONE_IN = 10, 10  # of that many records or more, one in so many must be an indicator


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What the operator says of a feed."""

    name: str
    confidence: float = 0.8  # 0 to 1, for listings that state none
    half_life: int | None = None  # µs; None: does not fade
    family: str | None = None  # feeds that copy each other share one; None: the feed's own name
    category: str | None = None  # for listings that state none
    allow: tuple[str, ...] = ()  # names of gates that this feed may pass (see gate.GATES)


class Refusal(NamedTuple):
    """A line, or one value of it, that was not imported."""

    line: int  # counted from 1
    value: str  # as it stands in the feed, cut, printable
    reason: str


@dataclass(frozen=True, slots=True)
class FeedSnapshot:
    """Everything a feed says at one time."""

    settings: FeedSettings
    indicators: pl.DataFrame  # INDICATOR_SCHEMA, without duplicates, in the order of the lines
    refused: tuple[Refusal, ...] = ()  # the first REFUSALS_KEPT
    refused_total: int = 0
    noted: tuple[Refusal, ...] = field(default=())  # imported, but not as it stands: host bits cleared, range split
    format: str = "plain"  # the NAME of a module of formats
    records: int = 0  # what the feed holds before duplicates are removed, refused ones included
    unique: int = 0  # distinct records, by the value as it stands


def bounded(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """The first refusals, by line: no feed may fill the memory with nonsense."""
    return tuple(sorted(refusals)[:REFUSALS_KEPT])


def parse(content: bytes, settings: FeedSettings, column: str | int | None = None) -> FeedSnapshot:
    """What a feed's bytes say.  `column` names the column of a CSV, by its header or its number from 1.

    Lines that hold no indicator are among `refused`.  Raises formats.FormatError where not one line of many does.
    """
    found = formats.read(content, column)
    read = values(_prints(found.table) if _JA3.search(settings.name) else found.table)
    refused = [*_shown(found.refused.head(REFUSALS_KEPT)), *(_printable(*refusal) for refusal in read.refused)]
    _be_a_feed(found, read.table, refused)
    return FeedSnapshot(
        settings=settings,
        indicators=_listed(_distinct(read.table), settings, _MEANT.get(found.format)),
        refused=bounded(refused),
        refused_total=read.refused_total + found.refused.height,
        noted=bounded(Refusal(*note) for note in (*found.noted, *read.noted)),
        format=found.format,
        records=found.records,
        unique=found.unique,
    )


def _prints(table: pl.DataFrame) -> pl.DataFrame:
    """The entries of a feed that is named after JA3: what could be an MD5 hash is a fingerprint of a client."""
    print_ = pl.col("type").is_null() & pl.col("raw").str.contains(r"^[0-9A-Fa-f]{32}$")
    return table.with_columns(
        pl.when(print_).then(pl.lit("ja3", dtype=INDICATOR_TYPES)).otherwise("type").alias("type")
    )


def _be_a_feed(found: formats.Entries, valued: pl.DataFrame, refused: list[Refusal]) -> None:
    """Raises FormatError for text that happens to be no other format, and to hold a name or none: a page, a log."""
    if not refused or found.format not in _ANYTHING:
        return
    good = valued["record"].n_unique()
    mail = sum(refusal.reason.startswith(MAIL) for refusal in refused)
    if mail * _ONE_IN >= found.records:
        return  # a list of what is known, though no indicator here
    if good == 0 or (found.records >= _MANY and good * _ONE_IN < found.records):
        line, text, reason = min(refused)
        others = f"; only {good} of {found.records} lines hold an indicator" if good else "; no other line is better"
        wrong = f"{text!r}: {reason}{others if found.records > 1 else ''}"
        raise formats.FormatError(line, wrong, "one indicator in each line")


def _distinct(valued: pl.DataFrame) -> pl.DataFrame:
    """Each value of a type once, as it stands first; of those with an end the one that ends last."""
    if valued["valid_until"].null_count() == valued.height:
        return valued.filter(pl.col("value").is_first_distinct().over("type"))
    latest = valued.sort("valid_until", descending=True, nulls_last=False, maintain_order=True)
    return latest.unique(["type", "value"], keep="first", maintain_order=True).sort("record", "value")


def _shown(refused: pl.DataFrame) -> list[Refusal]:
    """What a format refused, fit to be shown."""
    return [_printable(line, shown(raw), why) for line, raw, why in refused.select("line", "raw", "reason").rows()]


def _printable(line: int, value: str, reason: str) -> Refusal:
    """A refusal whose reason may quote the feed."""
    quoted = reason if reason.isprintable() else "".join(sign if sign.isprintable() else "�" for sign in reason)
    return Refusal(line, value, quoted)


def _listed(table: pl.DataFrame, settings: FeedSettings, meant: str | None) -> pl.DataFrame:
    """The table of indicators, with what the settings say of all of them."""
    stated = {
        "category": pl.coalesce(
            pl.lit(settings.category, dtype=pl.String), pl.col("category"), pl.lit(meant, dtype=pl.String)
        ),
        "confidence": pl.coalesce(pl.col("confidence"), pl.lit(settings.confidence)),
        "feed": pl.lit(settings.name),
        "family": pl.lit(settings.family or settings.name),
        "half_life": pl.lit(settings.half_life),
    }
    return table.with_columns(**stated).select(pl.col(name).cast(dtype) for name, dtype in INDICATOR_SCHEMA.items())
