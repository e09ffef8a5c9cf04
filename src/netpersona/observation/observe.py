"""observe(): flow and transaction tables in, one Observation for each VM and window out.

The grouping is columnar; Python objects are made for groups, never for flows.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import polars as pl

from netpersona.flow.orient import OUTBOUND, answered_by_responder
from netpersona.flow.vm import VmId
from netpersona.flow.window import WINDOW, Window
from netpersona.intel.indicator import Indicator
from netpersona.intel.indicators import IndicatorSet
from netpersona.observation.model import Conversation, FingerprintUse, NameUse, Observation, Sighting

# what of a sensor's tables is read here; the rest may be dropped before
FLOW_COLUMNS = [
    *("start", "duration", "transport", "originator", "responder", "responder_port", "state", "application"),
    *("bytes_orig", "bytes_resp", "packets_orig", "packets_resp", "payload_orig", "payload_resp"),
    *("server_name", "tls_fingerprint", "tcp_fingerprint", "auth_success", "originator_mac"),
]
TRANSACTION_COLUMNS = [
    *("start", "transport", "originator", "responder", "responder_port"),
    *("kind", "name", "detail", "status", "answers", "agent"),
]
_Row = TypeVar("_Row")
_Key = tuple[int, str]  # (window start, VM)
_CONVERSATION = ["direction", "transport", "port", "peer", "vm_address"]
_NAME = ["kind", "name", "peer"]


def observe(
    flows: pl.DataFrame, transactions: pl.DataFrame, intel: IndicatorSet, length: int = WINDOW
) -> Iterator[Observation]:
    """One Observation for each (window, VM), in that order.

    `flows` and `transactions` are oriented (flow.orient.oriented); the order of their rows means nothing.
    """
    conversations = _conversations(flows)
    names = _names(transactions)
    sightings = _sightings(conversations, names, intel)
    fingerprints = _by_key(_fingerprints(flows), FingerprintUse._make)
    by_key = _by_key(conversations, Conversation._make)
    names_by_key = _by_key(names.drop("direction", "transport", "port"), NameUse._make)
    macs = _macs(flows)
    for key in sorted(by_key.keys() | names_by_key.keys()):
        start, vm = key
        yield Observation(
            vm=VmId(vm),
            window=Window(start, start + length),
            conversations=by_key.get(key, ()),
            names=names_by_key.get(key, ()),
            sightings=sightings.get(key, ()),
            fingerprints=fingerprints.get(key, ()),
            mac=macs.get(key),
        )


def _conversations(flows: pl.DataFrame) -> pl.DataFrame:
    """One row for each conversation, columns: window, vm and those of Conversation, sorted by them."""
    out = pl.col("direction") == OUTBOUND
    answered = answered_by_responder()
    refused = ~answered & pl.col("state").is_in(["REJ", "RSTOS0", "RSTRH"])
    failed, ok = pl.col("auth_success").eq(False), pl.col("auth_success").eq(True)  # noqa: FBT003
    end = pl.col("start") + pl.col("duration").fill_null(0)

    def sent(what: str) -> pl.Expr:
        return pl.when(out).then(pl.col(f"{what}_orig")).otherwise(pl.col(f"{what}_resp")).sum()

    def received(what: str) -> pl.Expr:
        return pl.when(out).then(pl.col(f"{what}_resp")).otherwise(pl.col(f"{what}_orig")).sum()

    return (
        flows.sort("start")
        .group_by(["window", "vm", *_CONVERSATION])
        .agg(
            flows=pl.len(),
            answered=answered.sum(),
            refused=refused.sum(),
            bytes_out=sent("bytes"),
            bytes_in=received("bytes"),
            payload_out=sent("payload"),
            payload_in=received("payload"),
            packets_out=sent("packets"),
            packets_in=received("packets"),
            first=pl.col("start").min(),
            last=end.max(),
            longest=pl.col("duration").fill_null(0).max(),
            starts=pl.col("start"),
            logins_failed=failed.sum(),
            logins_ok=ok.sum(),
            application=pl.col("application").min(),
            server_name=pl.col("server_name").min(),
            tls_fingerprint=pl.col("tls_fingerprint").min(),
        )
        .sort(["window", "vm", *_CONVERSATION])
    )


def _names(transactions: pl.DataFrame) -> pl.DataFrame:
    """One row for each name used, columns: window, vm, those of NameUse, and direction, transport, port."""
    asked = transactions.filter(pl.col("name").is_not_null())
    return (
        asked.group_by(["window", "vm", *_NAME])
        .agg(
            detail=pl.col("detail").min(),
            agent=pl.col("agent").min(),
            uses=pl.len(),
            failed=(pl.col("status") == "NXDOMAIN").sum(),
            first=pl.col("start").min(),
            last=pl.col("start").max(),
            answers=pl.col("answers").explode().drop_nulls().unique().sort(),
            direction=pl.col("direction").max(),  # "outbound" where any was
            transport=pl.col("transport").min(),
            port=pl.col("port").min(),
        )
        .sort(["window", "vm", *_NAME])
    )


def _fingerprints(flows: pl.DataFrame) -> pl.DataFrame:
    """The fingerprints of flows that the VM itself opened: window, vm, kind, value, flows."""
    own = flows.filter(pl.col("direction") == OUTBOUND)
    kinds = [
        own.select("window", "vm", kind=pl.lit(kind), value=pl.col(f"{kind}_fingerprint")).drop_nulls("value")
        for kind in ("tcp", "tls")
    ]
    keys = ["window", "vm", "kind", "value"]
    return pl.concat(kinds).group_by(keys).agg(flows=pl.len()).sort(keys)


def _macs(flows: pl.DataFrame) -> dict[_Key, str]:
    """The hardware address of the VM's first packet in each window, where a sensor saw it."""
    own = flows.filter((pl.col("direction") == OUTBOUND) & pl.col("originator_mac").is_not_null())
    first = own.sort("start", "originator_mac").group_by(["window", "vm"], maintain_order=True).first()
    return {(row["window"], row["vm"]): row["originator_mac"] for row in first.iter_rows(named=True)}


def _sightings(
    conversations: pl.DataFrame, names: pl.DataFrame, intel: IndicatorSet
) -> dict[_Key, tuple[Sighting, ...]]:
    """The indicators seen, by (window, VM): addresses that were talked to, names that were used."""
    if not len(intel):
        return {}
    spoken = conversations.join(intel.match_addresses(conversations["peer"].unique()), on="peer")
    spoken = _unless(intel.allow.covers_address, spoken, "peer").with_columns(via=pl.lit("address"))
    used = names.filter(pl.col("kind") != "alert")
    listed = used.join(intel.match_names(used["name"].unique()), on="name")
    listed = _unless(intel.allow.covers_name, listed, "name")
    listed = listed.with_columns(via="kind", flows="uses", answered="uses", bytes_out=0, bytes_in=0)
    columns = ["window", "vm", "indicator", *Sighting._fields[1:]]
    seen = pl.concat([spoken.select(columns), listed.select(columns)], how="vertical_relaxed")
    indicators = _indicators(intel.table, seen["indicator"].unique())
    found: dict[_Key, list[Sighting]] = defaultdict(list)
    for window, vm, row, *rest in seen.iter_rows():
        sighting = Sighting(indicators[row], *rest)
        if _in_force(sighting.indicator, sighting.last):
            found[window, vm].append(sighting)
    return {key: tuple(sorted(those, key=_sighting_order)) for key, those in found.items()}


def _indicators(table: pl.DataFrame, rows: pl.Series) -> dict[int, Indicator]:
    """The indicators that stand in these rows of the table."""
    fields = [field.name for field in dataclasses.fields(Indicator)]
    wanted = table.select(fields)[rows]
    return {row: Indicator(*values) for row, values in zip(rows, wanted.iter_rows(), strict=True)}


def _in_force(indicator: Indicator, at: int) -> bool:
    """Whether the listing holds at the instant `at` (µs)."""
    begun = indicator.valid_from is None or indicator.valid_from <= at
    return begun and (indicator.valid_until is None or at < indicator.valid_until)


def _unless(covers: Callable[[str, int], bool], table: pl.DataFrame, column: str) -> pl.DataFrame:
    """The rows whose value in `column` no allow-list covered when it was last seen."""
    allowed = [covers(value, last) for value, last in table.select(column, "last").iter_rows()]
    return table.filter(~pl.Series(allowed, dtype=pl.Boolean))


def _sighting_order(sighting: Sighting) -> tuple[object, ...]:
    listed = sighting.indicator
    return (sighting.via, sighting.peer, sighting.direction, sighting.port, listed.value, listed.feed, listed.line)


def _by_key(table: pl.DataFrame, row: Callable[[Iterable[Any]], _Row]) -> dict[_Key, tuple[_Row, ...]]:
    """The table's rows, sorted by window and vm, as tuples of `row` by (window, VM)."""
    columns = [name for name in table.columns if name not in {"window", "vm"}]
    values = (_tuples(table[name]) if table[name].dtype == pl.List else table[name].to_list() for name in columns)
    rows = tuple(map(row, zip(*values, strict=True)))
    found: dict[_Key, tuple[_Row, ...]] = {}
    begin = 0
    for window, vm, count in table.group_by(["window", "vm"], maintain_order=True).len().iter_rows():
        found[window, vm] = rows[begin : begin + count]
        begin += count
    return found


def _tuples(column: pl.Series) -> Iterator[tuple[Any, ...]]:
    return map(tuple, column.to_list())
