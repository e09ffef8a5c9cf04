"""The gate: what no feed may make us block, refused at import with its reason.

Five kinds of gates, each with a name: ranges that mean something else inside every network; prefixes so wide that a
mistake must be presumed; the fleet's own addresses, gateways, resolvers, time servers and management peers; warning
lists (see warning); and public suffixes.  A feed's `allow` overrides a gate by its name: `allow: [documentation]`.  An
Admission overrides one for one value, and says who took that on himself and why.  A prefix of every address there is,
nothing admits; and where admitting an entry would cut the fleet off, the reason says that instead of how.

A time server is the fleet's own because somebody says so, never because VMs talk to it: else malware that calls home on
port 123 could not be listed.  Ranges: IANA special-purpose registries (RFC 6890), multicast (RFC 5771, RFC 4291),
documentation (RFC 5737, RFC 3849, RFC 9637).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import polars as pl

from netpersona.flow.vm import Vm, canonical_address
from netpersona.intel.feed import FeedSnapshot, Refusal, bounded
from netpersona.intel.formats import warning_list
from netpersona.intel.matching import AddressMatcher
from netpersona.intel.prefix import prefix_table, prefixes
from netpersona.intel.spans import Network
from netpersona.intel.values import KEPT as REFUSALS_KEPT
from netpersona.intel.warning import LISTS, NO_LISTS, WarningLists

RANGES: dict[str, tuple[str, ...]] = {
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    "cgnat": ("100.64.0.0/10",),
    "reserved": (
        "0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4",
        "::/128", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "2001:2::/48", "2001:10::/28",
    ),
}  # fmt: skip
WIDE = "wide"
FLEET = "fleet"
GATES = (*RANGES, WIDE, FLEET, *LISTS)
"""The names that `allow` may override."""

_EVERYTHING = "everything"  # a gate without a way through
SHORTEST = {4: 8, 6: 19}  # by IP version: shorter prefixes are too wide
_HITS: dict[str, type[pl.DataType]] = {"id": pl.UInt32, "gate": pl.String, "reason": pl.String, "shared": pl.String}
_HOST = r"^[a-z]+://([^/:?#]+)(?::[0-9]+)?/?$"  # a URL that means its whole host


@dataclass(frozen=True, slots=True)
class Admission:
    """One value that a gate would refuse and that somebody lets through, on his word."""

    gate: str  # one of GATES
    value: str  # canonical, as the feed lists it
    reason: str
    author: str
    feed: str | None = None  # None: whoever lists it


@dataclass(frozen=True, slots=True)
class Protected:
    """What must stay reachable: the fleet's own, each with what it is, and what the warning lists hold."""

    peers: tuple[tuple[str, str], ...] = ()  # (address or network, "gateway of web-1")
    lists: WarningLists = NO_LISTS
    admitted: tuple[Admission, ...] = ()

    @classmethod
    def of(
        cls,
        vms: Iterable[Vm],
        management: Iterable[str] = (),
        time_servers: Iterable[str] = (),
        lists: WarningLists = NO_LISTS,
        admitted: Iterable[Admission] = (),
    ) -> Protected:
        """The addresses, gateways and resolvers of these VMs, the management peers, the time servers, the lists."""
        named = [(peer, "a management peer") for peer in management]
        named += [(peer, "a time server of the fleet") for peer in time_servers]
        for vm in vms:
            named += [(host, f"the VM {vm.name}") for host in vm.hosts]
            named += [(canonical_address(peer), f"the gateway of {vm.name}") for peer in vm.gateways]
            named += [(canonical_address(peer), f"a resolver of {vm.name}") for peer in vm.resolvers]
        return cls(tuple(sorted(set(named))), lists, tuple(admitted))


NOTHING = Protected()


class _Ground(NamedTuple):
    """A network that must not be blocked, and what to say of an entry inside it and of one around it."""

    gate: str
    network: Network
    inside: str
    around: str


class Gated(NamedTuple):
    """A snapshot without what the gate refuses, and what it was held against."""

    snapshot: FeedSnapshot
    protected: Protected
    doubted: pl.Series  # values that something speaks against; those that passed are allowed, let through or shared


def refuse(snapshot: FeedSnapshot, protected: Protected = NOTHING) -> FeedSnapshot:
    """The snapshot without the indicators that the gate refuses; each is among its `refused`, with the first reason.

    An entry is refused if it is too wide, lies in a special range, the fleet's own or a warning list, or holds one
    whole.  The first of these that holds is the reason.  What was let through on somebody's word, and how much lies in
    shared servers, is among its `noted`.  Of a warning list, which names what must not be blocked, nothing passes.
    """
    return gated(snapshot, protected).snapshot


def gated(snapshot: FeedSnapshot, protected: Protected, before: Gated | None = None) -> Gated:
    """The same as refuse(), in the form that the next time can go on from.

    `before` is what of this feed passed earlier.  Where it was held against the very same object, only what is new in
    the feed is looked at, and what was refused or doubted: whatever the gate says of an entry, it says of its value.
    """
    if snapshot.format == warning_list.NAME:
        return Gated(_none_of(snapshot), protected, pl.Series(dtype=pl.String))
    rows = snapshot.indicators.with_row_index("id")
    asked = rows if before is None or before.protected is not protected else rows.filter(~_is_known(rows, before))
    found = _hits(asked, protected).join(asked.select("id", "value", "line"), on="id", maintain_order="left")
    hits = found.filter(~pl.col("gate").is_in(list(snapshot.settings.allow)))
    let, hits = _let_through(hits, _admissions(protected, snapshot.settings.name))
    objections = hits.filter(pl.col("shared").is_null()).unique("id", keep="first", maintain_order=True)
    refused = objections.sort("line", "id")
    shared = hits.filter(pl.col("shared").is_not_null()).join(objections, on="id", how="anti", maintain_order="left")
    fresh = (Refusal(*row) for row in refused.select("line", "value", "reason").head(REFUSALS_KEPT).iter_rows())
    passed = replace(
        snapshot,
        indicators=snapshot.indicators.filter(~rows["id"].is_in(objections["id"].implode())),
        refused=bounded([*snapshot.refused, *fresh]),
        refused_total=snapshot.refused_total + refused.height,
        noted=bounded([*snapshot.noted, *let, *_shared_notes(shared)]),
    )
    return Gated(passed, protected, found["value"].unique())


def _is_known(rows: pl.DataFrame, before: Gated) -> pl.Series:
    """Which rows passed without a doubt before; of the types that the gate looks at the value tells the type."""
    value, passed = rows["value"], before.snapshot.indicators["value"]
    return value.is_in(passed.implode()) & ~value.is_in(before.doubted.implode())


def _none_of(allowing: FeedSnapshot) -> FeedSnapshot:
    """A warning list as a feed: every entry is refused."""
    why = "the file is a warning list: it names what must not be blocked; 'netpersona feed warninglists' has those"
    entries = allowing.indicators.select("line", "value").head(REFUSALS_KEPT)
    return replace(
        allowing,
        indicators=allowing.indicators.clear(),
        refused=bounded([*allowing.refused, *(Refusal(line, value, why) for line, value in entries.rows())]),
        refused_total=allowing.refused_total + allowing.indicators.height,
    )


def objection(address: str, allow: tuple[str, ...] = (), protected: Protected = NOTHING) -> str | None:
    """Why refuse() would refuse this one address; None: it admits it.  Raises ValueError for no address."""
    found = ip_address(address)
    for ground in _grounds(protected.peers):
        if ground.gate not in allow and found in ground.network:
            return ground.inside
    if not protected.lists.may_speak_of(address):
        return None
    said = protected.lists.of_addresses(_points(pl.DataFrame({"id": [0], "value": [address], "type": ["address"]})))
    said = said.filter(pl.col("shared").is_null() & ~pl.col("gate").is_in(list(allow)))
    return None if said.is_empty() else str(said["reason"][0])


def _hits(rows: pl.DataFrame, protected: Protected) -> pl.DataFrame:
    """Everything that speaks against a row, _HITS; of one row what weighs more stands first."""
    points = _points(rows)
    names = rows.select("id", "value").filter(rows["type"] == "domain")
    hosts = rows.select("id", value=pl.col("value").str.extract(_HOST, 1)).filter(rows["type"] == "url")
    host_points = _points(hosts.with_columns(type=pl.lit("address"))).drop_nulls("version")
    found = [
        _everything(points),
        *_touching(points, _grounds(protected.peers)),
        _wide(points),
        protected.lists.of_addresses(points),
        protected.lists.of_addresses(host_points).filter(pl.col("shared").is_null()),
        protected.lists.of_names(pl.concat([names, hosts.drop_nulls("value")])),
    ]
    return pl.concat([pl.DataFrame(schema=_HITS), *(each.cast({"id": pl.UInt32}) for each in found)], how="diagonal")


def _points(rows: pl.DataFrame) -> pl.DataFrame:
    """The addresses and networks among rows with id, value and type, with the columns of a table of prefixes."""
    points = rows.filter(pl.col("type").is_in(["address", "network"])).select("id", "value")
    return pl.concat([points, prefixes(points["value"])], how="horizontal")


def _admissions(protected: Protected, feed: str) -> pl.DataFrame:
    held = [a for a in protected.admitted if a.feed in {None, feed}]
    columns = {"gate": pl.String, "value": pl.String, "word": pl.String}
    words = [(a.gate, a.value, f"let through the gate {a.gate} by {a.author}: {a.reason}") for a in held]
    return pl.DataFrame(words, columns, orient="row").unique(["gate", "value"], keep="first", maintain_order=True)


def _let_through(hits: pl.DataFrame, admissions: pl.DataFrame) -> tuple[list[Refusal], pl.DataFrame]:
    """What somebody lets through, as notes, and the hits that remain."""
    let = hits.filter(pl.col("gate") != _EVERYTHING).join(admissions, on=["gate", "value"]).sort("line", "id", "gate")
    notes = let.unique(["line", "value", "gate"], keep="first", maintain_order=True).head(REFUSALS_KEPT)
    remain = hits.join(let.select("id", "gate"), on=["id", "gate"], how="anti", maintain_order="left")
    return [Refusal(*row) for row in notes.select("line", "value", "word").iter_rows()], remain


def _shared_notes(shared: pl.DataFrame) -> list[Refusal]:
    """One note for each owner of shared servers: the first entry there, and how many there are."""
    those = shared.unique(["id", "shared"], keep="first", maintain_order=True).sort("line", "id")
    first = those.group_by("shared", maintain_order=True).agg(pl.len(), pl.col("line", "value", "reason").first())
    return [
        Refusal(line, value, f"{reason.partition(' (allow: ')[0]}; imported, as {count} of this feed there are")
        for _, count, line, value, reason in first.iter_rows()
    ]


@lru_cache(maxsize=2)  # of the fleet as it is and was: each VM that comes or goes makes another one
def _grounds(peers: tuple[tuple[str, str], ...]) -> tuple[_Ground, ...]:
    """The fleet's own, and the special ranges."""
    special = [
        _Ground(
            name,
            ip_network(text),
            f"{name} addresses are nobody's to list (allow: [{name}] admits them)",
            f"it holds the {name} range {text} (allow: [{name}] admits it)",
        )
        for name, texts in RANGES.items()
        for text in texts
    ]
    fleet = [
        _Ground(
            FLEET,
            ip_network(peer, strict=False),
            f"it is {_part(peer)}{peer}, {what}; a feed with allow: [{FLEET}] may cut it off",
            f"it holds {peer}, {what}: blocking it would cut the fleet off; the feed would have to list less",
        )
        for peer, what in peers
    ]
    return (*fleet, *special)


def _part(peer: str) -> str:
    return "part of " if "/" in peer else ""


def _touching(points: pl.DataFrame, grounds: tuple[_Ground, ...]) -> list[pl.DataFrame]:
    """(id, gate, reason) for the points inside a ground, then for those around one; what was named first, first."""
    table = prefix_table(tuple(ground.network for ground in grounds)).with_row_index("indicator")
    words = table.select("indicator").with_columns(
        pl.Series("gate", [ground.gate for ground in grounds], dtype=pl.String),
        pl.Series("inside", [ground.inside for ground in grounds], dtype=pl.String),
        pl.Series("around", [ground.around for ground in grounds], dtype=pl.String),
    )
    own = AddressMatcher(table)
    inside = own.covering(points.filter(own.listed(points))).rename({"indicator": "ground"})
    networks = points.filter(pl.col("length") < pl.when(pl.col("version") == 4).then(32).otherwise(128))
    itself = AddressMatcher(networks.rename({"id": "indicator"}))
    around = itself.covering(table.rename({"indicator": "id"})).rename({"id": "ground", "indicator": "id"})
    return [
        pairs.sort("id", "ground")
        .join(words, left_on="ground", right_on="indicator", maintain_order="left")
        .select("id", "gate", pl.col(which).alias("reason"))
        for pairs, which in ((inside, "inside"), (around, "around"))
    ]


def _everything(points: pl.DataFrame) -> pl.DataFrame:
    why = "it is every address there is: no feed can mean that, and nothing admits it; the feed has to be mended"
    return points.filter(pl.col("length") == 0).select("id", gate=pl.lit(_EVERYTHING), reason=pl.lit(why))


def _wide(points: pl.DataFrame) -> pl.DataFrame:
    shortest = pl.col("version").replace_strict(SHORTEST, default=0, return_dtype=pl.Int64)
    why = f"the prefix is wider than /8 (IPv4) or /19 (IPv6) (allow: [{WIDE}] admits it)"
    return points.filter(pl.col("length") < shortest).select("id", gate=pl.lit(WIDE), reason=pl.lit(why))
