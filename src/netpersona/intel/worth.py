"""What a feed is worth here: how often it is right, how fresh it is, and what it says that no other one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from netpersona.flow.words import minute
from netpersona.intel.families import Overlap, overlap
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.precision import USUAL, Estimate, PrecisionLedger, Record, Standard, Standards, estimate, in_words
from netpersona.intel.reputation import freshness, in_force

_SHOWN = 5  # feeds with which one shares most
_NOTHING_NEW = 0.01  # share of its entries that no other feed lists, below which a feed can go


class Worth(NamedTuple):
    """What is known of one feed at an instant."""

    feed: str
    indicators: int
    in_force: int
    sightings: int  # ever
    listings_met: int  # distinct, of those that are remembered
    confirmed: float  # by weight, faded
    refuted: float
    precision: float | None
    low: float
    high: float
    floor: float
    least: float  # verdicts before it can be demoted
    log_only_since: int | None  # µs
    last_met: int | None  # µs
    freshness: float | None  # mean over what is in force, 0 to 1; None: nothing is
    unique: float  # share of what it lists that no other feed lists
    shared_with: Mapping[str, int]  # feeds that list the same, and how much of it
    copy_of: tuple[str, ...]
    family: tuple[str, ...]  # to which its entries count
    says: str


def worths(
    ledger: PrecisionLedger,
    everything: IndicatorSet,
    at: int,
    standards: Standards = USUAL,
    common: Overlap | None = None,
) -> list[Worth]:
    """What every feed is worth at `at` (µs), in the order of their names; `everything` with those that are log-only.

    `common`: the overlap of its table, where that is known already.
    """
    common = overlap(everything.table) if common is None else common
    held = everything.table.filter(in_force(at)).with_columns(freshness(at))
    fresh = {
        feed: (n, mean) for feed, n, mean in held.group_by("feed").agg(pl.len(), pl.col("freshness").mean()).rows()
    }
    families = dict(everything.table.group_by("feed").agg(pl.col("family").unique().sort()).rows())
    names = sorted({*common.feeds, *ledger.feeds})
    found = [_worth(name, ledger, common, fresh.get(name), at, standards.of(name)) for name in names]
    return [each._replace(family=tuple(families.get(each.feed, ()))) for each in found]


def _worth(
    name: str, ledger: PrecisionLedger, common: Overlap, fresh: tuple[int, float] | None, at: int, standard: Standard
) -> Worth:
    record, listed = ledger.feeds.get(name, Record()), name in common.feeds
    found = estimate(record, at)
    unique = common.unique(name) if listed else 0.0
    others = common.with_others(name) if listed else {}
    size = common.size(name) if listed else 0
    sources = common.sources(name) if listed else ()
    return Worth(
        feed=name,
        indicators=size,
        in_force=fresh[0] if fresh else 0,
        sightings=record.sightings,
        listings_met=len(record.listings),
        confirmed=found.right,
        refuted=found.wrong,
        precision=found.precision,
        low=found.low,
        high=found.high,
        floor=standard.floor,
        least=standard.least,
        log_only_since=record.log_only_since,
        last_met=max((seen.last for seen in record.listings.values()), default=None),
        freshness=fresh[1] if fresh else None,
        unique=unique,
        shared_with=dict(list(others.items())[:_SHOWN]),
        copy_of=sources,
        family=(),
        says=_says(record, found, unique, _held_by(name, common) if listed else (), standard),
    )


def _held_by(name: str, common: Overlap) -> tuple[str, ...]:
    """The feeds that hold what this one lists: a larger one that holds all of it, or else those it is a copy of.

    Of two that hold the same one is the source, so not both are said to hold the other.
    """
    size, sources = common.size(name), common.sources(name)
    whole = [feed for feed, shared in common.with_others(name).items() if shared == size]
    return tuple(feed for feed in whole if common.size(feed) > size or feed in sources)[:1] or sources[:3]


def _says(record: Record, found: Estimate, unique: float, held_by: tuple[str, ...], standard: Standard) -> str:
    """Whether it earns its place, in a sentence."""
    alone = f"{unique:.0%} of what it lists no other feed lists"
    if record.log_only_since is not None:
        since = minute(record.log_only_since)
        return f"log-only since {since}, below its floor of {standard.floor:g}: {in_words(found)}"
    if held_by and unique < _NOTHING_NEW:
        share = "all of its entries are" if unique == 0 else f"{1 - unique:.1%} of its entries are"
        return f"can go: {share} in {', '.join(held_by)}"
    if found.precision is None:
        met = "it was met here, but not judged" if record.listings else "nothing that it lists was met here"
        return f"not known yet: {met}; {alone}"
    if found.low >= standard.floor:
        return f"earns its place: {in_words(found)}; {alone}"
    return f"not sure yet: {in_words(found)}; {alone}"
