"""Which VMs met an indicator in the past: a new listing is held against the roll-ups of days that are over.

    address, network    who talked to such a peer
    domain              who used the name or one below it: in DNS, TLS or HTTP; and who then talked to an address that
                        DNS had answered for it, where the flow said no other name
    url                 the same for its host alone, not for names below it; an address as host is an address
    ja3 (or an MD5)     who showed this fingerprint

Allow-lists win.  A listing's own beginning is not asked: that it is new is why it is hunted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from netpersona.flow.orient import OUTBOUND
from netpersona.flow.window import DAY
from netpersona.intel.allow import EMPTY, AllowEntry, AllowList
from netpersona.intel.matching import AddressMatcher, match_names
from netpersona.intel.prefix import prefix_table, prefixes
from netpersona.intel.rollup import one_by_one

TRACE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "quarry": pl.UInt32,  # the row of Quarry.listed
    "vm": pl.String,
    "vm_address": pl.String,
    "via": pl.String,  # address | name: said in TLS or HTTP | answer: of DNS | and what was said: dns tls http ja3
    "name": pl.String,  # the name that was used; null: none is known
    "peer": pl.String,  # for dns the resolver asked
    "direction": pl.String,
    "transport": pl.String,
    "port": pl.Int32,
    "flows": pl.Int64,  # for dns and ja3, and names of later requests in a flow: how often it was said
    "answered": pl.Int64,
    "bytes_out": pl.Int64,  # null: not known of what was said inside a flow
    "bytes_in": pl.Int64,
    "first": pl.Int64,  # µs
    "last": pl.Int64,
    "source": pl.String,  # of the first
}
_TOGETHER = 1_000_000  # rows of several days that are put together, so that memory follows what is told
_KEY = ["quarry", "vm", "via", "name", "peer", "direction", "transport", "port"]
_HOST = r"^[a-z]+://(?:\[([0-9a-f:.]+)\]|([^/:]+))"
_ANSWERS = {"vm": pl.String, "address": pl.String, "name": pl.String, "quarry": pl.UInt32, "asked": pl.Int64}


class Day(Protocol):
    """What a hunt reads of one day; a Rollup is one.  Raises StoreError where it is read from a disk."""

    def peers(self) -> pl.DataFrame:
        """The peers as numbers (version, hi, lo), each at least once."""

    def names(self) -> pl.Series:
        """The names that were used, each once."""

    def talks_with(self, peers: pl.Series, names: pl.Series) -> pl.DataFrame:
        """The talks whose peer has one of these lower halves (`lo`), or which have one of these names."""

    def uses_of(self, names: pl.Series) -> pl.DataFrame:
        """The uses of these names."""

    def uses_answering(self, addresses: pl.Series) -> pl.DataFrame:
        """The DNS questions that were answered with one of these addresses."""


@dataclass(frozen=True, slots=True)
class Quarry:
    """What is hunted: `listed` has each (type, value) once, with the feeds and categories that list it."""

    listed: pl.DataFrame  # type, value, feeds, categories, confidence: of the surest
    unfit: pl.DataFrame  # value, type: flows say nothing of them
    addresses: AddressMatcher
    domains: pl.DataFrame  # value, indicator (the row of `listed`): stand for names below them too
    hosts: pl.DataFrame  # value, indicator: stand for themselves
    prints: pl.DataFrame  # value, indicator


def quarry(indicators: pl.DataFrame) -> Quarry:
    """What a table of indicators (INDICATOR_SCHEMA) asks to be hunted."""
    once = (
        indicators.with_columns(pl.col("type").cast(pl.String))
        .group_by("type", "value")
        .agg(
            feeds=pl.col("feed").unique().sort(),
            categories=pl.col("category").drop_nulls().unique().sort(),
            confidence=pl.col("confidence").max(),
        )
        .sort("type", "value")
        .with_row_index("indicator")
    )
    host = pl.coalesce(pl.col("value").str.extract(_HOST, 1), pl.col("value").str.extract(_HOST, 2))
    urls = once.filter(pl.col("type") == "url").select(host.alias("value"), "indicator")
    of_urls = pl.concat([urls, prefixes(urls["value"])], how="horizontal")
    of_type = {name: once.filter(pl.col("type") == name).select("value", "indicator") for name in ("domain", "ja3")}
    peers = once.filter(pl.col("type").is_in(["address", "network"])).select("value", "indicator")
    numbers = pl.concat([prefixes(peers["value"]), peers.select("indicator")], how="horizontal")
    numbers = pl.concat([numbers, of_urls.select(numbers.columns)]).drop_nulls("version")
    md5 = once.filter((pl.col("type") == "hash") & (pl.col("value").str.len_bytes() == 32)).select("value", "indicator")
    fit = pl.concat([frame.select("indicator") for frame in (numbers, *of_type.values(), urls, md5)]).unique()
    return Quarry(
        listed=once.drop("indicator"),
        unfit=once.join(fit, on="indicator", how="anti").select("value", "type"),
        addresses=AddressMatcher(numbers.sort("version", "hi", "lo", "length", "indicator")),
        domains=of_type["domain"],
        hosts=of_urls.filter(pl.col("version").is_null()).select("value", "indicator"),
        prints=pl.concat([of_type["ja3"], md5]),
    )


@dataclass(slots=True)
class Hunt:
    """A hunt through days, which come in order; `traces` is what was found so far."""

    quarry: Quarry
    allow: AllowList = EMPTY
    at: int | None = None  # µs: which allow-entries are in force
    allowed: dict[str, AllowEntry] = field(default_factory=dict)  # peers and names that an allow-list took out
    _parts: list[pl.DataFrame] = field(default_factory=list)
    _answers: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_ANSWERS))  # of the last day

    def day(self, day: Day) -> None:
        """Look through one day."""
        names = self._names(day)
        used = names["name"].unique()
        uses = _own(day.uses_of(used)).join(names, on="name") if names.height else None
        asked = self._answers.clear() if uses is None else _answers(uses)
        answers = pl.concat([self._answers, asked])
        peers = self._peers(day)
        listed = pl.concat([peers["lo"], prefixes(answers["address"])["lo"].drop_nulls()]).unique()
        if listed.len() or names.height:
            talks = self._not_allowed(day.talks_with(listed, used))
            named = talks.join(names, on="name").with_columns(via=pl.lit("name"))
            self._parts += [_by_address(talks, peers, day), named, _by_answer(talks, answers)]
            if uses is not None:
                self._parts.append(_said(uses, named))
        self._answers = asked
        if sum(part.height for part in self._parts) > _TOGETHER:
            self._parts = [self.traces()]

    def traces(self) -> pl.DataFrame:
        """TRACE_SCHEMA: who met what, each once, sorted."""
        rows = pl.concat([pl.DataFrame(schema=TRACE_SCHEMA), *(_shaped(part) for part in self._parts)])
        sums = [pl.col(name).sum() for name in ("flows", "answered")]
        known = [
            pl.when(pl.col(n).is_not_null().any()).then(pl.col(n).sum()).alias(n) for n in ("bytes_out", "bytes_in")
        ]
        found = (
            rows.sort("first", "source")
            .group_by(_KEY)
            .agg(
                pl.col("vm_address").min(),
                *sums,
                *known,
                pl.col("first").min(),
                pl.col("last").max(),
                pl.col("source").first(),
            )
        )
        return _shaped(found).sort(_KEY)

    def _names(self, day: Day) -> pl.DataFrame:
        """(name, quarry) for the day's names that are hunted and not allowed."""
        quarry = self.quarry
        if not (quarry.domains.height or quarry.hosts.height or quarry.prints.height):
            return pl.DataFrame(schema={"name": pl.String, "quarry": pl.UInt32})
        used = day.names()
        exact = pl.concat([quarry.hosts, quarry.prints])
        alone = used.alias("name").to_frame().join(exact, left_on="name", right_on="value")
        pairs = pl.concat([match_names(used, quarry.domains), alone.select("name", "indicator")]).unique()
        entries = {name: self.allow.name_entry(name, self.at) for name in pairs["name"].unique().sort().to_list()}
        self.allowed.update((name, entry) for name, entry in entries.items() if entry is not None)
        stays = pl.Series([name for name, entry in entries.items() if entry is None], dtype=pl.String)
        return pairs.filter(pl.col("name").is_in(stays.implode())).rename({"indicator": "quarry"})

    def _peers(self, day: Day) -> pl.DataFrame:
        """(version, hi, lo, quarry) for the day's peers that are hunted."""
        points = day.peers() if self.quarry.addresses.table.height else None
        if points is None or not points.height:
            return pl.DataFrame(schema={"version": pl.UInt8, "hi": pl.UInt64, "lo": pl.UInt64, "quarry": pl.UInt32})
        points = points.with_columns(_width())
        points = points.filter(self.quarry.addresses.listed(points)).unique().sort("version", "hi", "lo")
        points = points.with_row_index("id")
        pairs = self.quarry.addresses.covering(points).unique()
        return points.join(pairs, on="id").select("version", "hi", "lo", quarry="indicator")

    def _not_allowed(self, talks: pl.DataFrame) -> pl.DataFrame:
        """The talks but for those with peers that an allow-list covers."""
        networks = prefix_table(self.allow.networks(self.at)).with_row_index("indicator")
        peers = talks.select("peer", "version", "hi", "lo").drop_nulls().unique("peer").with_row_index("id")
        points = peers.with_columns(length=_width())
        covered = points.join(AddressMatcher(networks).covering(points), on="id", how="semi")["peer"]
        for peer in covered.sort():
            entry = self.allow.address_entry(peer, self.at)
            if entry is not None:
                self.allowed[peer] = entry
        return talks.filter(~pl.col("peer").is_in(covered.implode()))


def _own(uses: pl.DataFrame) -> pl.DataFrame:
    """The uses but for what others asked a VM that answers DNS: that is what they looked for."""
    return uses.filter((pl.col("kind") != "dns") | (pl.col("direction") == OUTBOUND))


def _answers(uses: pl.DataFrame) -> pl.DataFrame:
    """(vm, address, name, quarry, asked) of a day's DNS answers to hunted names; `asked`: when first, µs."""
    rows = one_by_one(uses.filter(pl.col("kind") == "dns")).rename({"answers": "address", "answered_at": "asked"})
    asked = rows.group_by("vm", "address", "name", "quarry").agg(pl.col("asked").min())
    return asked.select(pl.col(name).cast(dtype) for name, dtype in _ANSWERS.items())


def _by_address(talks: pl.DataFrame, peers: pl.DataFrame, day: Day) -> pl.DataFrame:
    """The talks with hunted peers, with the name that DNS had answered them for where the flow says none."""
    found = talks.join(peers, on=["version", "hi", "lo"]).with_columns(via=pl.lit("address"))
    nameless = found.filter(pl.col("name").is_null())["peer"].unique()
    if not nameless.len():
        return found
    asked = _own(day.uses_answering(nameless)).select("vm", "name", peer="answers").explode("peer")
    known = asked.group_by("vm", "peer").agg(asked=pl.col("name").min())
    told = found.join(known, on=["vm", "peer"], how="left")
    return told.with_columns(pl.coalesce("name", "asked").alias("name")).drop("asked")


def _by_answer(talks: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """The talks that said no name and followed a DNS answer of their day or the day before.

    What says another name was for somebody else there.  The last day that there was may be older than the day before.
    Talks that a roll-up of the day has in several parts are one, as they will be when it is put together.
    """
    unnamed = talks.filter(pl.col("name").is_null() & (pl.col("direction") == OUTBOUND)).drop("name")
    ended = pl.col("last").max().over("vm", "peer", "transport", "port")
    whole = unnamed.with_columns(ended.alias("ended")).with_row_index("talk")
    found = whole.join(answers, left_on=["vm", "peer"], right_on=["vm", "address"])
    near = pl.col("first") // DAY - pl.col("asked") // DAY <= 1
    followed = found.filter(near & (pl.col("ended") >= pl.col("asked"))).unique(["talk", "name", "quarry"])
    return followed.with_columns(via=pl.lit("answer"))


def _said(uses: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """What was said of hunted names, but for what the talks that have the name tell with their bytes."""
    inside = pl.col("kind").is_in(["dns", "ja3"])
    others = uses.filter(~inside).join(named, on=["vm", "peer", "name", "quarry"], how="anti")
    rows = pl.concat([uses.filter(inside), others])
    return rows.with_columns(via="kind", flows="uses", answered=pl.lit(0), bytes_out=None, bytes_in=None)


def _width() -> pl.Expr:
    """The length of an address as a prefix."""
    return pl.when(pl.col("version") == 4).then(32).otherwise(128).cast(pl.UInt8).alias("length")


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(dtype) for name, dtype in TRACE_SCHEMA.items())
