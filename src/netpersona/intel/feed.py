"""What a feed says now: its settings, its indicators, and what of it was refused.

`parse` turns the bytes of a feed into a FeedSnapshot; it is pure, and the format is recognised by content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from netpersona.intel import formats
from netpersona.intel.indicator import INDICATOR_SCHEMA
from netpersona.intel.values import shown, values

REFUSALS_KEPT = 1000


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
    read = values(found.table)
    refused = [*_shown(found.refused.head(REFUSALS_KEPT)), *(Refusal(*refusal) for refusal in read.refused)]
    if refused and read.table.is_empty():
        line, text, reason = min(refused)
        raise formats.FormatError(
            line, f"{text!r} is {reason}, and no other line is better", "one indicator in each line"
        )
    unique = read.table.filter(pl.col("value").is_first_distinct().over("type"))
    return FeedSnapshot(
        settings=settings,
        indicators=_listed(unique, settings),
        refused=bounded(refused),
        refused_total=read.refused_total + found.refused.height,
        noted=bounded(Refusal(*note) for note in (*found.noted, *read.noted)),
        format=found.format,
        records=found.records,
        unique=found.unique,
    )


def _shown(refused: pl.DataFrame) -> list[Refusal]:
    """What a format refused, fit to be shown."""
    return [Refusal(line, shown(raw), reason) for line, raw, reason in refused.select("line", "raw", "reason").rows()]


def _listed(table: pl.DataFrame, settings: FeedSettings) -> pl.DataFrame:
    """The table of indicators, with what the settings say of all of them."""
    stated = {
        "category": pl.coalesce(pl.lit(settings.category, dtype=pl.String), pl.col("category")),
        "confidence": pl.coalesce(pl.col("confidence"), pl.lit(settings.confidence)),
        "feed": pl.lit(settings.name),
        "family": pl.lit(settings.family or settings.name),
        "half_life": pl.lit(settings.half_life),
    }
    return table.with_columns(**stated).select(pl.col(name).cast(dtype) for name, dtype in INDICATOR_SCHEMA.items())
