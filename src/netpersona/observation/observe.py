"""observe(): flow and transaction tables in, one Observation for each VM and window out.

The grouping is columnar; Python objects are made for groups, never for flows.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import polars as pl

from netpersona.flow.orient import OUTBOUND, answered_by_responder, refused_by_responder
from netpersona.flow.vm import VmId
from netpersona.flow.window import WINDOW, Window
from netpersona.intel.indicator import Indicator
from netpersona.intel.indicators import IndicatorSet
from netpersona.observation.model import (
    CHATTER,
    Conversation,
    FingerprintUse,
    NameUse,
    Observation,
    Probe,
    Sighting,
    sighting_order,
)

# what of a sensor's tables is read here; the rest may be dropped before
FLOW_COLUMNS = [
    *("start", "duration", "transport", "originator", "responder", "responder_port", "state", "application"),
    *("bytes_orig", "bytes_resp", "packets_orig", "packets_resp", "payload_orig", "payload_resp"),
    *("server_name", "tls_fingerprint", "tcp_fingerprint", "auth_success", "originator_mac", "part"),
]
TRANSACTION_COLUMNS = [
    *("start", "transport", "originator", "responder", "responder_port"),
    *("kind", "name", "detail", "status", "answers", "agent"),
]
_Row = TypeVar("_Row")
_Key = tuple[int, str]  # (window start, VM)
_CONVERSATION = ["direction", "transport", "port", "peer", "vm_address"]
_NAME = ["kind", "name", "peer"]
_SIGHTING = ["window", "vm", "indicator", "via", "peer", "direction", "transport", "port"]
_COUNTS = ["flows", "answered", "bytes_out", "bytes_in", "first", "last"]


def observe(
    flows: pl.DataFrame, transactions: pl.DataFrame, intel: IndicatorSet, length: int = WINDOW
) -> Iterator[Observation]:
    """One Observation for each (window, VM), in that order.

    `flows` and `transactions` are oriented (flow.orient.oriented); the order of their rows means nothing.
    """
    flows = flows.with_columns(was_answered=answered_by_responder(), begun=pl.col("part").fill_null(0) == 0)
    met = (pl.col("direction") == OUTBOUND) | pl.col("was_answered")
    unmet = flows.filter(~met)
    conversations = _conversations(flows.filter(met))
    sightings = _sightings(conversations, unmet, transactions, intel, length)
    talks = _by_key(conversations, Conversation)
    probes = _by_key(_probes(unmet), Probe)
    names = _by_key(_names(transactions), NameUse)
    fingerprints = _by_key(_fingerprints(flows), FingerprintUse)
    macs = _macs(flows)
    for key in sorted(talks.keys() | probes.keys() | names.keys()):
        start, vm = key
        yield Observation(
            vm=VmId(vm),
            window=Window(start, start + length),
            conversations=talks.get(key, ()),
            probes=probes.get(key, ()),
            names=names.get(key, ()),
            sightings=sightings.get(key, ()),
            fingerprints=fingerprints.get(key, ()),
            mac=macs.get(key),
        )


def _conversations(flows: pl.DataFrame) -> pl.DataFrame:
    """One row for each conversation, columns: window, vm and those of Conversation, sorted by them."""
    out = pl.col("direction") == OUTBOUND
    refused = ~pl.col("was_answered") & refused_by_responder()
    failed, ok = pl.col("auth_success").eq(False), pl.col("auth_success").eq(True)  # noqa: FBT003
    end = pl.col("start") + pl.col("duration").fill_null(0)

    def sent(what: str) -> pl.Expr:
        return pl.when(out).then(pl.col(f"{what}_orig")).otherwise(pl.col(f"{what}_resp")).sum()

    def received(what: str) -> pl.Expr:
        return pl.when(out).then(pl.col(f"{what}_resp")).otherwise(pl.col(f"{what}_orig")).sum()

    return (
        flows.group_by(["window", "vm", *_CONVERSATION])
        .agg(
            flows=pl.col("begun").sum(),
            answered=pl.col("was_answered").sum(),
            refused=(refused & pl.col("begun")).sum(),
            bytes_out=sent("bytes"),
            bytes_in=received("bytes"),
            payload_out=sent("payload"),
            payload_in=received("payload"),
            packets_out=sent("packets"),
            packets_in=received("packets"),
            first=pl.col("start").min(),
            last=end.max(),
            longest=pl.col("duration").fill_null(0).max(),
            starts=pl.col("start").filter("begun").sort(),
            logins_failed=failed.sum(),
            logins_ok=ok.sum(),
            application=pl.col("application").min(),
            server_name=pl.col("server_name").min(),
            tls_fingerprint=pl.col("tls_fingerprint").min(),
        )
        .sort(["window", "vm", *_CONVERSATION])
    )


def _probes(unmet: pl.DataFrame) -> pl.DataFrame:
    """One row for each peer whose flows were not answered: window, vm and the columns of Probe, sorted by them."""
    tried = pl.col("transport").is_in(["tcp", "udp"]) & ~pl.col("port").is_in(CHATTER)
    return (
        unmet.group_by(["window", "vm", "peer"])
        .agg(
            vm_address=pl.col("vm_address").min(),
            transport=pl.col("transport").min(),
            ports=pl.col("port").filter(tried).unique().sort(),
            flows=(tried & pl.col("begun")).sum(),
            bytes_in=pl.col("bytes_orig").sum(),
            first=pl.col("start").min(),
            last=pl.col("start").max(),
        )
        .sort(["window", "vm", "peer"])
    )


def _names(transactions: pl.DataFrame) -> pl.DataFrame:
    """One row for each name used, columns: window, vm and those of NameUse, sorted by them."""
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
        )
        .sort(["window", "vm", *_NAME])
    )


def _fingerprints(flows: pl.DataFrame) -> pl.DataFrame:
    """The fingerprints of flows that the VM itself opened: window, vm, kind, value, flows."""
    own = flows.filter(pl.col("direction") == OUTBOUND)
    kinds = [
        own.select("window", "vm", "begun", kind=pl.lit(kind), value=pl.col(f"{kind}_fingerprint")).drop_nulls("value")
        for kind in ("tcp", "tls")
    ]
    keys = ["window", "vm", "kind", "value"]
    return pl.concat(kinds).group_by(keys).agg(flows=pl.col("begun").sum()).sort(keys)


def _macs(flows: pl.DataFrame) -> dict[_Key, str]:
    """The hardware address of the VM's own packets in each window, where a sensor saw it; of several the least."""
    own = flows.filter((pl.col("direction") == OUTBOUND) & pl.col("originator_mac").is_not_null())
    least = own.group_by(["window", "vm"]).agg(pl.col("originator_mac").min())
    return {(window, vm): mac for window, vm, mac in least.iter_rows()}


def _sightings(
    conversations: pl.DataFrame, unmet: pl.DataFrame, transactions: pl.DataFrame, intel: IndicatorSet, length: int
) -> dict[_Key, tuple[Sighting, ...]]:
    """The indicators seen, by (window, VM): addresses that were talked to, names that were used, URLs asked for.

    A listing counts in every window that it overlaps, and an allow-entry in every window that it sees begin, so that
    the parts of a window add up to the whole.
    """
    if not len(intel):
        return {}
    parts = [_talked_to(conversations, intel), _talked_to(_visits(unmet), intel), _named(transactions, intel)]
    if intel.lists_urls:
        parts += [_requested(transactions, intel), _hosts(transactions, intel, length)]
    seen = _in_force(pl.concat(parts, how="vertical_relaxed"), intel, length)
    sums = [pl.col(name).sum() for name in ("flows", "answered", "bytes_out", "bytes_in")]
    merged = seen.group_by(_SIGHTING).agg(*sums, pl.col("first").min(), pl.col("last").max())
    indicators = _indicators(intel.table, merged["indicator"].unique())
    found: dict[_Key, list[Sighting]] = defaultdict(list)
    for window, vm, row, *rest in merged.sort(_SIGHTING).iter_rows():
        found[window, vm].append(Sighting(indicators[row], *rest))
    return {key: tuple(sorted(those, key=sighting_order)) for key, those in found.items()}


def _visits(unmet: pl.DataFrame) -> pl.DataFrame:
    """Flows that the VM did not answer, each as a conversation of its own."""
    end = pl.col("start") + pl.col("duration").fill_null(0)
    sent, received = pl.col("bytes_resp").fill_null(0), pl.col("bytes_orig").fill_null(0)
    return unmet.with_columns(flows="begun", answered=0, bytes_out=sent, bytes_in=received, first="start", last=end)


def _talked_to(conversations: pl.DataFrame, intel: IndicatorSet) -> pl.DataFrame:
    """One row for each conversation with a listed peer, and each listing: _SIGHTING and the counts."""
    spoken = conversations.join(intel.match_addresses(conversations["peer"].unique()), on="peer")
    spoken = _not_allowed(spoken, "peer", intel, intel.allow.covers_address)
    return spoken.with_columns(via=pl.lit("address")).select(_SIGHTING + _COUNTS)


def _named(transactions: pl.DataFrame, intel: IndicatorSet) -> pl.DataFrame:
    """One row for each use of a listed name, and each listing: _SIGHTING and the counts."""
    used = transactions.filter(pl.col("kind") != "alert")
    listed = used.join(intel.match_names(used["name"].drop_nulls().unique()), on="name")
    listed = _not_allowed(listed, "name", intel, intel.allow.covers_name)
    return _used(listed.with_columns(via="kind"))


def _requested(transactions: pl.DataFrame, intel: IndicatorSet) -> pl.DataFrame:
    """One row for each request of a listed URL, and each listing: _SIGHTING and the counts."""
    asked = transactions.filter(pl.col("kind") == "http").with_columns(pl.col("port").cast(pl.UInt16, strict=False))
    asked = asked.join(intel.match_requests(asked.select("name", "port", "detail")), on=["name", "port", "detail"])
    return _used(_free(asked, intel).with_columns(via=pl.lit("url")))


def _hosts(transactions: pl.DataFrame, intel: IndicatorSet, length: int) -> pl.DataFrame:
    """One row for each use of the host of a listed URL where no more was seen, and each feed: _SIGHTING and the counts.

    What was asked of it in HTTP is known, and is the listed URL or none.  Of the many URLs that a feed may list of one
    host the surest stands for all.
    """
    whole = (pl.col("kind") == "http") & pl.col("detail").str.contains("/", literal=True).fill_null(value=False)
    used = transactions.filter((pl.col("kind") != "alert") & ~whole)
    pairs = intel.match_url_hosts(used["name"].drop_nulls().unique())
    used = _free(used.join(pairs.select("name").unique(), on="name", how="semi"), intel)
    windows = used.select("window", "name").unique().join(pairs, on="name")
    listed = pl.concat([windows, intel.table.select("feed", "confidence")[windows["indicator"]]], how="horizontal")
    listed = _in_force(listed, intel, length).sort("confidence", "indicator", descending=[True, False])
    surest = listed.unique(["window", "name", "feed"], keep="first", maintain_order=True)
    said = used.join(surest.select("window", "name", "indicator"), on=["window", "name"])
    return _used(said.with_columns(via=pl.format("{}-host", "kind")))


def _used(listed: pl.DataFrame) -> pl.DataFrame:
    """Uses of what is listed as sightings: each is one, and that it was answered is taken for granted."""
    counted = listed.with_columns(flows=1, answered=1, bytes_out=0, bytes_in=0, first="start", last="start")
    return counted.select(_SIGHTING + _COUNTS)


def _in_force(seen: pl.DataFrame, intel: IndicatorSet, length: int) -> pl.DataFrame:
    """The rows whose listing (`indicator`) overlaps their window."""
    seen = seen.join(_validity(intel), on="indicator")
    begun = (pl.col("valid_from") < pl.col("window") + length).fill_null(value=True)
    return seen.filter(begun & (pl.col("valid_until") > pl.col("window")).fill_null(value=True))


def _free(used: pl.DataFrame, intel: IndicatorSet) -> pl.DataFrame:
    """The uses without those of a host, or at a server, that an allow-entry covered when the window began."""
    if not intel.allow.entries:
        return used
    asked = used.select("window", "name", "peer", "kind").unique()
    covers = intel.allow.covers
    stays = [
        not (covers(name, window) or (kind != "dns" and covers(peer, window)))
        for window, name, peer, kind in asked.iter_rows()
    ]
    return used.join(asked.filter(pl.Series(stays, dtype=pl.Boolean)), on=asked.columns, how="semi")


def _not_allowed(
    rows: pl.DataFrame, column: str, intel: IndicatorSet, covers: Callable[[str, int], bool]
) -> pl.DataFrame:
    """The rows without what an allow-entry covered when the window began; what is allowed for ever never matched."""
    if not intel.allow.ends():
        return rows
    asked = rows.select("window", column).unique()
    stays = pl.Series([not covers(value, window) for window, value in asked.iter_rows()], dtype=pl.Boolean)
    return rows.join(asked.filter(stays), on=["window", column], how="semi")


def _validity(intel: IndicatorSet) -> pl.DataFrame:
    return intel.table.select("valid_from", "valid_until").with_row_index("indicator")


def _indicators(table: pl.DataFrame, rows: pl.Series) -> dict[int, Indicator]:
    """The indicators that stand in these rows of the table."""
    fields = [field.name for field in dataclasses.fields(Indicator)]
    wanted = table.select(fields)[rows]
    return {row: Indicator(*values) for row, values in zip(rows, wanted.iter_rows(), strict=True)}


def _by_key(table: pl.DataFrame, row: type[_Row]) -> dict[_Key, tuple[_Row, ...]]:
    """The table's rows, sorted by window and vm, as tuples of `row` by (window, VM)."""
    columns = [_values(column) for column in table.drop("window", "vm").iter_columns()]
    rows = tuple(map(row, *columns))
    found: dict[_Key, tuple[_Row, ...]] = {}
    begin = 0
    for window, vm, count in table.group_by(["window", "vm"], maintain_order=True).len().iter_rows():
        found[window, vm] = rows[begin : begin + count]
        begin += count
    return found


def _values(column: pl.Series) -> Sequence[Any]:
    """The column's values; lists as tuples, and equal texts as one object, which makes them quick to compare."""
    if column.null_count() == len(column):
        return [None] * len(column)
    if column.dtype == pl.List:
        flat = tuple(column.explode(empty_as_null=False).to_list())
        return [flat[begin:end] for begin, end in pairwise(accumulate(column.list.len().to_list(), initial=0))]
    if column.dtype == pl.String:
        texts: dict[str | None, str | None] = {}
        return [texts.setdefault(text, text) for text in column.to_list()]
    return column.to_list()
