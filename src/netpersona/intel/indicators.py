"""The IndicatorSet: everything that all feeds say, merged, immutable, and asked in columns.

The order in which feeds arrive does not matter, rows are canonical and sorted, and the allow-list is part
of the set: no question below is answered against it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.flow.vm import canonical_address
from netpersona.flow.window import MINUTE
from netpersona.intel import codec, matching, urls
from netpersona.intel.allow import EMPTY, AllowEntry, AllowList
from netpersona.intel.explanation import Explanation, explanation
from netpersona.intel.families import with_families
from netpersona.intel.feed import FeedSnapshot
from netpersona.intel.groups import PeerGroup
from netpersona.intel.indicator import INDICATOR_SCHEMA, no_indicators
from netpersona.intel.listed_names import ListedNames
from netpersona.intel.matching import AddressMatcher, address_matcher
from netpersona.intel.prefix import prefix_table, prefixes
from netpersona.intel.reputation import WEIGHT, in_force, reputations
from netpersona.intel.shared_hosting import shared_hosts
from netpersona.intel.spans import Network
from netpersona.intel.standing import Standing, standing
from netpersona.intel.warning import NO_LISTS, WarningLists

__all__ = ["EMPTY", "AllowEntry", "AllowList", "IndicatorSet", "PeerGroup"]

FADING = 1 / 32  # share of the shortest half-life after which what fades is looked at again: 2.2 % of a weight
FADING_LEAST = 5 * MINUTE  # µs
_OF_VALUES = ("_addresses", "_domains", "_urls", "_hosts_known", "lists_names", "lists_urls", "listed_names")
"""What of a set depends on its values alone."""
_SAME = ["type", "value", "feed", *(name for name in INDICATOR_SCHEMA if name not in {"type", "value", "feed", "line"})]


@dataclass(frozen=True, eq=False)
class IndicatorSet:
    """All indicators in one table (INDICATOR_SCHEMA, canonical order), with the allow-list that overrides them.

    `lists` tell what many share, so that one bad page or name says nothing of all that is there.  They are no content:
    a store does not keep them.
    """

    table: pl.DataFrame
    allow: AllowList = EMPTY
    lists: WarningLists = field(default=NO_LISTS, repr=False)

    @classmethod
    def merge(
        cls, snapshots: Iterable[FeedSnapshot], allow: AllowList = EMPTY, lists: WarningLists = NO_LISTS
    ) -> IndicatorSet:
        """One set of what all feeds say now; equal whatever the order of the snapshots.

        A listing that differs from another one of its feed only by its line is kept once, at its first line.  What a
        feed took over from another one counts to that one's family (see families).
        """
        said = sorted(snapshots, key=lambda each: each.settings.name)
        rows = _in_order(pl.concat([no_indicators(), *(snapshot.indicators for snapshot in said)]))
        stated = frozenset(each.settings.name for each in said if each.settings.family is not None)
        return cls(with_families(rows, stated), allow, lists)

    def split(self, log_only: Collection[str]) -> tuple[IndicatorSet, IndicatorSet]:
        """What counts, and what these feeds say, which is only watched: it is to reach no decision."""
        watched = pl.col("feed").is_in(list(log_only))
        said = self.table.filter(watched) if log_only else no_indicators()
        counts = replace(self, table=self.table.filter(~watched)) if len(said) else self
        return counts, replace(self, table=said)

    def allowing(self, allow: AllowList) -> IndicatorSet:
        """The same listings under another allow-list; what was worked out of them is kept."""
        return self._going_on(replace(self, allow=allow))

    def ended(self, networks: Collection[Network]) -> IndicatorSet:
        """The set in which every listed address and network that lies in one of these, or holds one, has ended.

        Rows and their numbers stay, so what was worked out of them is kept: it takes no time to speak of.
        """
        asked = prefix_table(tuple(networks)).with_row_index("indicator")
        listed = self._addresses.table.rename({"indicator": "id"})
        around = self._addresses.covering(asked.rename({"indicator": "id"}))["indicator"]
        inside = AddressMatcher(asked).covering(listed)["id"]
        rows = np.zeros(self.table.height, dtype=np.bool_)
        rows[around.to_numpy()] = rows[inside.to_numpy()] = True
        if not rows.any():
            return self
        until = pl.when(pl.Series(rows)).then(0).otherwise("valid_until").cast(pl.Int64).alias("valid_until")
        return self._going_on(replace(self, table=self.table.with_columns(until)))

    def _going_on(self, other: IndicatorSet) -> IndicatorSet:
        """Another set of the same values in the same rows, with what was worked out of those."""
        other.__dict__.update({name: self.__dict__[name] for name in _OF_VALUES if name in self.__dict__})
        return other

    def __len__(self) -> int:
        return self.table.height

    @cached_property
    def content_id(self) -> str:
        """A hash of the content: equal for equal sets, on every machine."""
        digest = sha256(self.table.write_ndjson().encode())
        digest.update(codec.allow_bytes(self.allow))
        return digest.hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The set as bytes for a store (Arrow IPC, zstd)."""
        return codec.encode(self.table, self.allow)

    @classmethod
    def from_bytes(cls, content: bytes) -> IndicatorSet:
        """The set that to_bytes() gave.  Raises ValueError for anything else."""
        return cls(*codec.decode(content))

    def match_addresses(self, peers: pl.Series, at: int | None = None) -> pl.DataFrame:
        """(peer, indicator) for every address or network that covers a unique peer; `indicator` is a row of the table.

        With `at` (µs), only listings in force then, and no peer that is allow-listed then; without, all
        listings, and no peer that is allow-listed for ever.
        """
        pairs = self._address_pairs(peers)
        allowed = self._allowed(pairs["peer"].unique(), at)
        return self._dated(pairs.join(allowed, on="peer", how="anti"), at).sort("peer", "indicator")

    def match_names(self, names: pl.Series, at: int | None = None) -> pl.DataFrame:
        """(name, indicator) for every domain that is a unique name or stands above it; `at` as in match_addresses."""
        pairs = matching.match_names(names.cast(pl.String), self._domains)
        allowed = self._allowed_hosts(pairs["name"], at)
        return self._dated(pairs.join(allowed, on="name", how="anti"), at).sort("name", "indicator")

    def overruled(self, peers: pl.Series, names: pl.Series, at: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What match_addresses and match_names leave out because an allow-entry in force at `at` (µs) covers it."""
        addresses = self._address_pairs(peers)
        addresses = addresses.join(self._allowed(addresses["peer"].unique(), at), on="peer", how="semi")
        used = matching.match_names(names.cast(pl.String), self._domains)
        used = used.join(self._allowed_hosts(used["name"], at), on="name", how="semi")
        return self._dated(addresses, at).sort("peer", "indicator"), self._dated(used, at).sort("name", "indicator")

    def match_requests(self, requests: pl.DataFrame, at: int | None = None) -> pl.DataFrame:
        """(name, port, detail, indicator) for each listed URL that a request asks for; see urls.  `at` as above."""
        pairs = urls.match_requests(requests, self._urls)
        return self._dated(pairs.join(self._allowed_hosts(pairs["name"], at), on="name", how="anti"), at)

    def match_url_hosts(self, names: pl.Series, at: int | None = None) -> pl.DataFrame:
        """(name, indicator) for each listed URL whose host is a name: a note, which is no reason to block.

        None of a host that many share: of that one page says nothing at all.
        """
        pairs = urls.match_hosts(names, self._urls)
        pairs = pairs.join(self._allowed_hosts(pairs["name"], at), on="name", how="anti")
        return self._dated(pairs.filter(~pl.col("name").is_in(list(self._shared(pairs["name"])))), at)

    @cached_property
    def lists_names(self) -> bool:
        """Whether any domain is listed, in force or not."""
        return not self._domains.is_empty()

    @cached_property
    def lists_urls(self) -> bool:
        """Whether any URL is listed, in force or not."""
        return not self._urls.is_empty()

    @cached_property
    def listed_names(self) -> ListedNames:
        """Which names a listing may cover, in force or not: quick; allow-lists are not asked."""
        return ListedNames.of(self._domains["value"])

    def listed(self, values: pl.Series | npt.NDArray[np.uint32] | npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Whether any address or network indicator covers each address, in force or not; allow-lists are not asked.

        The hot look-up before match_addresses.  `values`: canonical texts; or IPv4 as uint32 in host order;
        or IPv6 as uint64 of shape (n, 2), the upper half first.
        """
        if isinstance(values, pl.Series):
            return self._addresses.listed(prefixes(values)).to_numpy()
        if values.ndim == 2:
            pairs = values.astype(np.uint64, copy=False)
            return self._addresses.v6.listed(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))
        return self._addresses.v4.listed(values.astype(np.uint32, copy=False))

    def reputation(self, peer: str, at: int) -> float:
        """The reputation of an address or a name at the instant `at` (µs): 1 where nothing is known, 0 the worst."""
        asked = pl.Series([_canonical(peer)])
        scored = self.reputations(asked, at) if prefixes(asked)["version"].item() else self.name_reputations(asked, at)
        return 1.0 if scored.is_empty() else float(scored["reputation"][0])

    def reputations(self, peers: pl.Series, at: int) -> pl.DataFrame:
        """(peer, reputation) for the unique addresses among `peers` whose reputation is below 1, sorted by peer."""
        scored = reputations(self._weights(self.match_addresses(peers, at)), "peer", at)
        return scored.filter(pl.col("reputation") < 1.0)

    def name_reputations(self, names: pl.Series, at: int) -> pl.DataFrame:
        """(name, reputation) for the unique names whose reputation is below 1, sorted by name."""
        scored = reputations(self._weights(self.match_names(names, at)), "name", at)
        return scored.filter(pl.col("reputation") < 1.0)

    def standing(self, at: int) -> Standing:
        """All listed addresses and networks as they stand at `at` (µs), for many questions about one instant."""
        return standing(self.table, self._addresses, self.allow, at)

    def below(self, threshold: float, at: int) -> PeerGroup:
        """Every address and network whose reputation is below the threshold at `at` (µs)."""
        return self.standing(at).below(threshold)

    def in_feeds(self, names: Collection[str], at: int) -> PeerGroup:
        """Every address and network that one of these feeds lists at `at` (µs)."""
        return self.standing(at).in_feeds(names)

    def in_categories(self, names: Collection[str], at: int) -> PeerGroup:
        """Every address and network that is listed under one of these categories at `at` (µs)."""
        return self.standing(at).in_categories(names)

    def domains(
        self,
        at: int,
        below: float | None = None,
        feeds: Collection[str] = (),
        categories: Collection[str] = (),
    ) -> tuple[str, ...]:
        """The listed domains, sorted, each standing for all names below it; every criterion given must hold.

        A domain below another chosen one is left out, and so is what an allow-list in force covers.
        """
        chosen = self._domains.join(self.table.with_row_index("indicator").drop("value"), on="indicator").filter(
            in_force(at)
        )
        if feeds:
            chosen = chosen.filter(pl.col("feed").is_in(list(feeds)))
        if categories:
            chosen = chosen.filter(pl.col("category").is_in(list(categories)))
        if below is not None:
            scored = self.name_reputations(chosen["value"], at).filter(pl.col("reputation") < below)
            chosen = chosen.filter(pl.col("value").is_in(scored["name"].implode()))
        names = set(chosen["value"].to_list())
        return tuple(sorted(n for n in names if not _has_parent(n, names) and not self.allow.covers_name(n, at)))

    def next_expiry(self, at: int) -> int | None:
        """The next instant (µs) after `at` at which a listing begins or ends or an allow-entry ends; None: never."""
        begins = self.table["valid_from"].filter(self.table["valid_from"] > at).min()
        ends = self.table["valid_until"].filter(self.table["valid_until"] > at).min()
        allowed = next((end for end in self.allow.ends() if end > at), None)
        return min((int(instant) for instant in (begins, ends, allowed) if isinstance(instant, int)), default=None)

    def next_change(self, at: int) -> int | None:
        """The next instant (µs) after `at` at which a reputation may be another; None: never.

        A listing begins or ends, an allow-entry ends, or what fades is looked at again: at multiples of FADING of the
        shortest half-life, or of FADING_LEAST.  So a weight is told at most 2.2 % too high, of half-lives over 3 hours.
        """
        fades = self.table.select(pl.col("half_life").filter(pl.col("valid_from").is_not_null()).min()).item()
        instants = [self.next_expiry(at)]
        if fades is not None:
            step = max(int(fades * FADING), FADING_LEAST)
            instants.append((at // step + 1) * step)
        return min((instant for instant in instants if instant is not None), default=None)

    def explain(self, value: str, at: int) -> Explanation:
        """Why an address or a name has its reputation at `at` (µs): its listings, also expired ones, in words."""
        asked = pl.Series([_canonical(value)])
        is_address = prefixes(asked)["version"].item() is not None
        pairs = self._address_pairs(asked) if is_address else matching.match_names(asked, self._domains)
        rows = self.table.with_row_index("indicator").join(pairs, on="indicator", how="semi").sort("indicator")
        allowed = self.allow.address_entry(asked[0], at) if is_address else self.allow.name_entry(asked[0], at)
        return explanation(asked[0], rows, allowed, at)

    @cached_property
    def _addresses(self) -> AddressMatcher:
        return address_matcher(self.table)

    @cached_property
    def _domains(self) -> pl.DataFrame:
        rows = self.table.select("value", "type").with_row_index("indicator")
        return rows.filter(pl.col("type") == "domain").select("value", "indicator")

    @cached_property
    def _hosts_known(self) -> dict[str, bool]:
        """Whether a host of a listed URL is shared, as far as it was asked."""
        return {}

    def _shared(self, hosts: pl.Series) -> set[str]:
        """The hosts that many share."""
        known = self._hosts_known
        fresh = set(hosts.unique().to_list()) - known.keys()
        if fresh:
            found = shared_hosts(fresh, self.lists)
            known.update((host, host in found) for host in fresh)
        return {host for host in hosts.unique().to_list() if known[host]}

    @cached_property
    def _urls(self) -> pl.DataFrame:
        return urls.url_table(self.table)

    def _address_pairs(self, peers: pl.Series) -> pl.DataFrame:
        unique = peers.cast(pl.String).drop_nulls().unique(maintain_order=True).alias("peer")
        points = pl.concat([unique.to_frame(), prefixes(unique)], how="horizontal").with_row_index("id")
        listed = points.filter(self._addresses.listed(points))
        return self._addresses.covering(listed).join(listed.select("id", "peer"), on="id").select("peer", "indicator")

    def _allowed(self, peers: pl.Series, at: int | None) -> pl.DataFrame:
        """The peers (column `peer`) that an allow-entry covers."""
        networks = prefix_table(self.allow.networks(at)).with_row_index("indicator")
        if networks.is_empty():
            return pl.DataFrame(schema={"peer": pl.String})
        points = pl.concat([peers.to_frame("peer"), prefixes(peers)], how="horizontal").with_row_index("id")
        return points.join(AddressMatcher(networks).covering(points), on="id", how="semi").select("peer")

    def _allowed_hosts(self, names: pl.Series, at: int | None) -> pl.DataFrame:
        """The names (column `name`), or addresses in their place, that an allow-entry covers."""
        covered = [name for name in names.unique().to_list() if self.allow.covers(name, at)]
        return pl.DataFrame({"name": covered}, schema={"name": pl.String})

    def _dated(self, pairs: pl.DataFrame, at: int | None) -> pl.DataFrame:
        if at is None:
            return pairs
        validity = self.table.select("valid_from", "valid_until")[pairs["indicator"]]
        return pl.concat([pairs, validity], how="horizontal").filter(in_force(at)).select(pairs.columns)

    def _weights(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([pairs, self.table.select(WEIGHT)[pairs["indicator"]]], how="horizontal")


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in canonical order; what a feed lists twice, but for the line, once.

    Feeds that stand in the order of their names, and list each value once, need no look at anything but values.
    """
    by_value = rows.sort("value", maintain_order=True).sort("type", maintain_order=True)  # half as dear as by both
    same = [by_value[name].to_physical() == by_value[name].to_physical().shift(1) for name in ("type", "value")]
    feed = by_value["feed"]
    if not (same[0] & same[1] & (feed <= feed.shift(1))).any():
        return by_value
    ordered = rows.sort(*_SAME, "line")
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in _SAME)
    return ordered.filter(~again)


def _canonical(value: str) -> str:
    """The text under which a value would be listed."""
    try:
        return canonical_address(value)
    except ValueError:
        return value.lower().rstrip(".")


def _has_parent(name: str, names: set[str]) -> bool:
    """Whether one of the names stands above this one."""
    rest = name.partition(".")[2]
    while rest:
        if rest in names:
            return True
        rest = rest.partition(".")[2]
    return False
