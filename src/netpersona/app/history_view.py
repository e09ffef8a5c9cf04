"""Whose flows a history's are: by the addresses that VMs have, or by the tap at which each was seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from netpersona import pipeline
from netpersona.flow.orient import oriented, owner_table
from netpersona.flow.table import FlowBatch
from netpersona.flow.vm import VmId
from netpersona.pipeline import Fleet, Ground

View = Callable[[FlowBatch], FlowBatch]

_SOURCES = {"vm": pl.String, "source": pl.String}


def by_address(fleet: Fleet, window: int) -> View:
    """As a replay sees recorded traffic."""
    owners = owner_table(fleet.owners, fleet.since if fleet.inferred else None)

    def view(rows: FlowBatch) -> FlowBatch:
        return FlowBatch(oriented(rows.flows, owners, window), oriented(rows.transactions, owners, window))

    return view


def by_tap(taps: Mapping[str, VmId], fleet: Fleet, ground: Ground) -> View:
    """As the live controller sees it: `taps` says whose interface a row's source is."""
    whose = dict(taps)
    tap_of = {vm: tap for tap, vm in sorted(whose.items(), reverse=True)}
    interfaces = pl.DataFrame({"vm": list(tap_of), "source": list(tap_of.values())}, schema=_SOURCES)

    def view(rows: FlowBatch) -> FlowBatch:
        seen = pipeline.at_taps(rows.flows, rows.transactions, whose, fleet, ground)
        flows, transactions = (table.join(interfaces, on="vm", how="left") for table in seen)
        return FlowBatch(flows, transactions)

    return view
