"""Many names at one address, many sites at one host: what is bad of one of them says little of the others.

A kernel sees addresses.  To block one for a name's sake blocks every name behind it.  So what is told of an address is
which names it was answered for; and for a *listed* name's sake it is not blocked at all where many are behind it:

    a warning list refuses the address: the edge of a content network, a host of many customers' sites, a resolver
    OTHERS or more other sites were answered with it, to VMs that were not answered a listed name with it

What a VM asks for says nothing for its own address: else malware would ask for five names more, and go free.  A site
is a registered domain, by the public suffix list.  What a policy denies by name is denied, and only told of.

The same of a URL: its host is everybody's where a warning list names it, or it is a public suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from netpersona.flow.vm import VmId
from netpersona.intel.prefix import prefixes
from netpersona.intel.sites import same_site
from netpersona.intel.warning import WarningLists

if TYPE_CHECKING:
    from netpersona.intel.indicators import IndicatorSet

OTHERS = 4
SHOWN = 3  # names in a sentence
ANSWERS = {"vm": pl.String, "name": pl.String, "address": pl.String}
_ANSWERED = {**ANSWERS, "reputation": pl.Float64, "shared": pl.String}


@dataclass(frozen=True, slots=True)
class SharedAddress:
    """One address that stands for names that are denied and for others.

    `vms`: those that were answered a denied name, so that the address is denied to them.  All are in alphabetical
    order.
    """

    address: str
    denied: tuple[str, ...]
    others: tuple[str, ...]
    vms: tuple[VmId, ...]

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"{self.address} was answered for {_listed(self.denied)}, which a policy restricts, and also for "
            f"{_listed(self.others)}: for {_listed(self.vms)} they are restricted too while the answer holds"
        )


def shared(answers: pl.DataFrame, denied: Collection[str]) -> tuple[SharedAddress, ...]:
    """The addresses that these names share with others, of all VMs' `answers` (vm, name, address)."""
    found = _behind(answers, answers["name"].is_in(list(denied))).filter(pl.col("others").list.len() > 0)
    rows = found.sort("address").select("address", "names", "others", "vms").iter_rows()
    return tuple(SharedAddress(each, tuple(names), tuple(others), tuple(vms)) for each, names, others, vms in rows)


def shared_hosts(hosts: Collection[str], lists: WarningLists) -> set[str]:
    """Those of these hosts (names in lower case, or addresses) that are everybody's, or that nobody may block."""
    table = pl.DataFrame({"host": sorted(hosts)}, {"host": pl.String}).with_row_index("id")
    points = pl.concat([table.rename({"host": "value"}), prefixes(table["host"])], how="horizontal")
    on_lists = lists.of_addresses(points.drop_nulls("version")).filter(pl.col("shared").is_null())
    names = [(row, name) for row, host in table.iter_rows() for name in same_site(host)]
    listed = lists.of_names(pl.DataFrame(names, {"id": pl.UInt32, "value": pl.String}, orient="row"))
    rows = {*on_lists["id"].to_list(), *listed["id"].to_list()}
    return {host for row, host in table.iter_rows() if row in rows}


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
    behind = _behind(answers, answers["name"].is_in(listed["name"].unique().implode()))
    names = behind["elsewhere"].explode().drop_nulls().unique()
    sites = pl.DataFrame(
        {"name": names, "site": [registered(name) for name in names]}, {"name": pl.String, "site": pl.String}
    )
    others = behind.select("address", name="elsewhere").explode("name")
    counted = others.join(sites.drop_nulls(), on="name").group_by("address").agg(pl.col("site").unique().sort())
    many = counted.filter(pl.col("site").list.len() >= OTHERS).sort("address")
    shown = pl.col("site").list.head(SHOWN).list.join(", ")
    return many.select(
        "address",
        shared=pl.format("{} other sites were answered with it, {} among them", pl.col("site").list.len(), shown),
    )


def _behind(answers: pl.DataFrame, meant: pl.Series) -> pl.DataFrame:
    """What stands at each address of the rows that are `meant`: address, names and vms of those, others, elsewhere.

    `others` are all other names; `elsewhere` those of them that VMs were answered that were answered none that is
    meant.  Lists are sorted.
    """
    rows = answers.with_columns(meant=meant)
    rows = rows.join(rows.filter("meant").select("address").unique(), on="address", how="semi")
    rows = rows.with_columns(own=pl.col("meant").any().over("address", "vm"))

    def names(which: pl.Expr, column: str = "name") -> pl.Expr:
        return pl.col(column).filter(which).unique().sort()

    is_meant = pl.col("meant")
    return rows.group_by("address").agg(
        names=names(is_meant),
        vms=names(is_meant, "vm"),
        others=names(~is_meant),
        elsewhere=names(~pl.col("own")),
    )


def _listed(names: tuple[str, ...]) -> str:
    if len(names) <= SHOWN:
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"
