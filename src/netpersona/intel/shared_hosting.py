"""What a listed name's addresses come to: each is bad as the name is, unless many others are behind it too.

A kernel sees addresses.  To block one for a name's sake blocks every site behind it, so it is not done where

    a warning list refuses the address: the edge of a content network, a host of many customers' sites, a resolver
    OTHERS or more other sites were answered with it, to VMs that were not answered a listed name with it

What a VM asks for says nothing for its own address: else malware would ask for five names more, and go free.  A site
is a registered domain, by the public suffix list.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.prefix import prefixes
from netpersona.intel.warning import WarningLists

OTHERS = 4
_SHOWN = 3  # sites in a reason
_ANSWERED = {"vm": pl.String, "name": pl.String, "address": pl.String, "reputation": pl.Float64, "shared": pl.String}


def listed_answers(
    answers: pl.DataFrame,
    intel: IndicatorSet,
    at: int,
    lists: WarningLists,
    registered: Callable[[str], str | None],
    below: float = 1.0,
) -> pl.DataFrame:
    """What listed names were answered with: vm, name, address, the name's reputation, and `shared`, in this order.

    `answers`: vm, name, address, each once, of answers that hold at `at` (µs).  Only names with a reputation under
    `below`, and no address that is allow-listed.  `shared` says why the address is not to be blocked for the name's
    sake; null: it may be.  `registered` gives a name's registered domain, None for a public suffix.
    """
    scored = intel.name_reputations(answers["name"], at).filter(pl.col("reputation") < below)
    found = answers.join(scored, on="name").select("vm", "name", "address", "reputation")
    addresses = found["address"].unique(maintain_order=True)
    free = addresses.filter(
        pl.Series([not intel.allow.covers_address(each, at) for each in addresses], dtype=pl.Boolean)
    )
    found = found.filter(pl.col("address").is_in(free.implode()))
    reasons = pl.concat([_on_lists(free, lists), _of_others(answers, found, registered)])
    return (
        found.join(reasons.unique("address", keep="first", maintain_order=True), on="address", how="left")
        .sort("vm", "name", "address")
        .select(pl.col(name).cast(dtype) for name, dtype in _ANSWERED.items())
    )


def _on_lists(addresses: pl.Series, lists: WarningLists) -> pl.DataFrame:
    """(address, shared) for the addresses that a warning list refuses."""
    points = pl.concat([addresses.alias("value").to_frame(), prefixes(addresses)], how="horizontal").with_row_index(
        "id"
    )
    said = lists.of_addresses(points.drop_nulls("version")).filter(pl.col("shared").is_null())
    first = said.unique("id", keep="first", maintain_order=True).join(points.select("id", address="value"), on="id")
    return first.select("address", shared=pl.col("reason").str.replace(r" \(allow: .*$", ""))


def _of_others(answers: pl.DataFrame, listed: pl.DataFrame, registered: Callable[[str], str | None]) -> pl.DataFrame:
    """(address, shared) for the addresses that stand for many other sites too."""
    suspects = answers.join(listed.select("address").unique(), on="address", how="semi")
    others = suspects.join(listed.select("vm", "address").unique(), on=["vm", "address"], how="anti")
    names = others["name"].unique()
    sites = pl.DataFrame(
        {"name": names, "site": [registered(name) for name in names]}, {"name": pl.String, "site": pl.String}
    )
    counted = others.join(sites.drop_nulls(), on="name").group_by("address").agg(pl.col("site").unique().sort())
    many = counted.filter(pl.col("site").list.len() >= OTHERS).sort("address")
    shown = pl.col("site").list.head(_SHOWN).list.join(", ")
    return many.select(
        "address",
        shared=pl.format("{} other sites were answered with it, {} among them", pl.col("site").list.len(), shown),
    )
