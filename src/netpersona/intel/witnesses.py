"""What speaks for and against the listings that were met here, beside a person: allow-lists, and other families."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from netpersona.intel.indicators import AllowList, IndicatorSet
from netpersona.intel.precision import By, Claim, PrecisionLedger


def by_allow_list(ledger: PrecisionLedger, allow: AllowList, at: int) -> list[Claim]:
    """That listings which an allow-entry in force at `at` (µs) covers were wrong, where nobody stronger spoke."""
    found = []
    for value in sorted(_values(ledger, By.ALLOW_LIST)) if allow.entries else ():
        entry = allow.entry(value, at)
        if entry is not None:
            who = f"allow-listed as {entry.value} ({entry.comment})"
            found.append(Claim(value, right=False, by=By.ALLOW_LIST, at=at, who=who))
    return found


def by_families(ledger: PrecisionLedger, everything: IndicatorSet, at: int) -> list[Claim]:
    """That listings were right which feeds of another family cover too, in force at `at` (µs), where nobody spoke yet.

    `everything` holds what all feeds say, those that are log-only with them: so a copy is not borne out by its source.
    """
    listed_by = _values(ledger, By.FAMILY)
    values = pl.Series("value", sorted(listed_by), dtype=pl.String)
    addresses = everything.match_addresses(values, at).rename({"peer": "value"})
    names = everything.match_names(values, at).rename({"name": "value"})
    pairs = pl.concat([addresses, names])
    said = pl.concat([pairs, everything.table.select("feed", "family")[pairs["indicator"]]], how="horizontal")
    families: dict[str, dict[str, set[str]]] = {}
    for value, feed, family in said.select("value", "feed", "family").iter_rows():
        families.setdefault(value, {}).setdefault(feed, set()).add(family)
    return [
        Claim(value, right=True, by=By.FAMILY, at=at, who=f"{', '.join(others[:3])} say so too", feed=feed)
        for value, known in sorted(families.items())
        for feed in listed_by[value]
        if (others := _others(feed, known))
    ]


def _others(feed: str, families: Mapping[str, set[str]]) -> list[str]:
    """The families beside this feed's own."""
    own = {feed} | families.get(feed, set())
    return sorted({family for name, those in families.items() if name != feed for family in those} - own)


def _values(ledger: PrecisionLedger, by: By) -> dict[str, list[str]]:
    """Every value that was met and judged by nobody as strong, and the feeds that list it."""
    found: dict[str, list[str]] = {}
    for feed, record in sorted(ledger.feeds.items()):
        for value, seen in record.listings.items():
            if seen.verdict is None or seen.verdict.by < by:
                found.setdefault(value, []).append(feed)
    return found
