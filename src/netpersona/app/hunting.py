"""A hunt through a history, and what it says: who met which indicator, when, how much, by which name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from netpersona.app.instant import rfc3339
from netpersona.flow.window import DAY
from netpersona.intel.allow import EMPTY, AllowEntry, AllowList
from netpersona.intel.hunt import Hunt, quarry
from netpersona.ports import History, HistoryExtent

MET_MOST = 10_000  # (indicator, VM) pairs that are told; more are counted
_LISTED_MOST = 100  # peers, names and ports of one pair; more are counted
_NAMED_MOST = 1_000  # indicators that cannot be hunted, and peers that are allowed
_FLOWS = ("address", "name", "answer")  # how a trace is met in flows; else in what was said inside them


@dataclass(frozen=True, slots=True)
class Hunted:
    """What a hunt found: `met` has a row for each (indicator, VM), the latest first."""

    since: int | None  # µs: the days that were looked through; None: there are none
    until: int | None
    extent: HistoryExtent
    met: pl.DataFrame
    counts: Mapping[str, int]  # indicators by type
    unfit: pl.DataFrame  # value, type
    allowed: Mapping[str, AllowEntry]  # by what an allow-list took out


def hunted(
    history: History,
    indicators: pl.DataFrame,
    allow: AllowList = EMPTY,
    days: int | None = None,
    at: int | None = None,
) -> Hunted:
    """Hold a table of indicators (INDICATOR_SCHEMA) against the last `days` days (UTC) of a history, or all of it.

    The last day is that of the history's last flow; allow-entries are those in force at `at` (µs), or else then.
    Raises StoreError.
    """
    extent = history.extent()
    sought = quarry(indicators)
    counts = dict(sought.listed.group_by("type").len().sort("type").rows())
    if extent.first is None or extent.last is None:
        return Hunted(None, None, extent, _met(Hunt(sought)), counts, sought.unfit, {})
    until = extent.last + 1
    since = extent.first if days is None else max(extent.first, extent.last // DAY * DAY - (days - 1) * DAY)
    hunt = Hunt(sought, allow, extent.last if at is None else at)
    for day in history.days(since, until):
        hunt.day(day)
    return Hunted(since, until, extent, _met(hunt), counts, sought.unfit, dict(sorted(hunt.allowed.items())))


def _met(hunt: Hunt) -> pl.DataFrame:
    """(indicator, VM) with all that is known of it, the latest first."""
    inside = pl.col("via").is_in(_FLOWS)
    service = pl.when(pl.col("port") > 0).then(pl.concat_str("transport", "port", separator="/")).otherwise("transport")
    met = pl.col("via") != "dns"  # whom a VM asks for a name is not met
    lists = {"peers": pl.col("peer").filter(met), "ports": service.filter(met)}
    lists |= {"names": pl.col("name"), "via": pl.col("via")}
    listed = hunt.quarry.listed.with_row_index("quarry")
    return (
        hunt.traces()
        .sort("first", "source")
        .group_by("quarry", "vm")
        .agg(
            pl.col("vm_address").min(),
            pl.col("first").min(),
            pl.col("last").max(),
            flows=pl.col("flows").filter(inside).sum(),
            answered=pl.col("answered").sum(),
            bytes_out=pl.col("bytes_out").sum(),
            bytes_in=pl.col("bytes_in").sum(),
            said=pl.col("flows").filter(~inside).sum(),
            directions=pl.col("direction").unique().sort(),
            **{name: each.drop_nulls().unique().sort() for name, each in lists.items()},
            source=pl.col("source").first(),
        )
        .join(listed, on="quarry")
        .sort(["last", "vm", "type", "value"], descending=[True, False, False, False])
    )


def told(found: Hunted, place: str) -> dict[str, Any]:
    """The hunt as plain values; `place`: where the history is."""
    extent = found.extent
    return {
        "history": {
            "path": place,
            "first": rfc3339(extent.first),
            "last": rfc3339(extent.last),
            "flows": extent.flows,
            "bytes": extent.octets,
            "let_go": dict(extent.let_go),
        },
        "since": rfc3339(found.since),
        "until": rfc3339(found.until),
        "indicators": dict(found.counts),
        "not_hunted": found.unfit.head(_NAMED_MOST).to_dicts(),
        "not_hunted_total": found.unfit.height,
        "allowed": [_allowed(value, entry) for value, entry in list(found.allowed.items())[:_NAMED_MOST]],
        "allowed_total": len(found.allowed),
        "met": [_pair(row) for row in found.met.head(MET_MOST).iter_rows(named=True)],
        "met_total": found.met.height,
    }


def _allowed(value: str, entry: AllowEntry) -> dict[str, Any]:
    return {
        "value": value,
        "allowed_by": entry.value,
        "comment": entry.comment,
        "author": entry.author,
        "until": rfc3339(entry.until),
    }


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: row[name][:_LISTED_MOST] for name in ("ports", "names", "peers", "via", "directions")}
    return {
        "indicator": row["value"],
        "type": row["type"],
        "feeds": row["feeds"],
        "categories": row["categories"],
        "confidence": row["confidence"],
        "vm": row["vm"],
        "vm_address": row["vm_address"],
        "first": rfc3339(row["first"]),
        "last": rfc3339(row["last"]),
        **{name: row[name] for name in ("flows", "answered", "bytes_out", "bytes_in", "said")},
        **lists,
        "peers_total": len(row["peers"]),
        "names_total": len(row["names"]),
        "ports_total": len(row["ports"]),
        "source": row["source"],
    }
