"""What a feed says now: its settings, its indicators, and what of it was refused.

`parse` turns the bytes of a feed into a FeedSnapshot; it is pure, and the format is recognised by content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from netpersona.intel.indicator import INDICATOR_SCHEMA

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
    format: str = "plain"  # plain | netset | hosts | csv
    records: int = 0  # indicators read before duplicates were removed


def bounded(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """The first refusals, by line: no feed may fill the memory with nonsense."""
    return tuple(sorted(refusals)[:REFUSALS_KEPT])
