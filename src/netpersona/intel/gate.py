"""The gate: what no feed may make us block, refused at import with its reason.

Three kinds: ranges that mean something else inside every network, prefixes so wide that a mistake must be
presumed, and the fleet's own addresses, gateways and resolvers.  Each has a name, and a feed's `allow`
overrides it by that name: `allow: [documentation]`.  A prefix of every address there is, nothing admits; and
where admitting an entry would cut the fleet off, the reason says that instead of how.  Ranges: IANA special-purpose
registries (RFC 6890), multicast (RFC 5771, RFC 4291), documentation (RFC 5737, RFC 3849, RFC 9637).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import polars as pl

from netpersona.flow.vm import Vm, canonical_address
from netpersona.intel.feed import REFUSALS_KEPT, FeedSnapshot, Refusal, bounded
from netpersona.intel.matching import AddressMatcher
from netpersona.intel.prefix import prefix_table, prefixes
from netpersona.intel.spans import Network

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
GATES = (*RANGES, WIDE, FLEET)
"""The names that `allow` may override."""

_SHORTEST = {4: 8, 6: 19}  # prefixes shorter than these are too wide


@dataclass(frozen=True, slots=True)
class Protected:
    """What is the fleet's own: addresses and networks that must stay reachable, each with what it is."""

    peers: tuple[tuple[str, str], ...] = ()  # (address or network, "gateway of web-1")

    @classmethod
    def of(cls, vms: Iterable[Vm], management: Iterable[str] = ()) -> Protected:
        """The addresses, gateways and resolvers of these VMs, and the management peers."""
        named = [(peer, "a management peer") for peer in management]
        for vm in vms:
            named += [(host, f"the VM {vm.name}") for host in vm.hosts]
            named += [(canonical_address(peer), f"the gateway of {vm.name}") for peer in vm.gateways]
            named += [(canonical_address(peer), f"a resolver of {vm.name}") for peer in vm.resolvers]
        return cls(tuple(sorted(set(named))))


NOTHING = Protected()


class _Ground(NamedTuple):
    """A network that must not be blocked, and what to say of an entry inside it and of one around it."""

    network: Network
    inside: str
    around: str


def refuse(snapshot: FeedSnapshot, protected: Protected = NOTHING) -> FeedSnapshot:
    """The snapshot without the indicators that the gate refuses; each is among its `refused`, with the first reason.

    An entry is refused if it is too wide, or lies in a special range or the fleet's own, or holds one whole.  The
    first of these that holds is the reason.
    """
    allow = snapshot.settings.allow
    rows = snapshot.indicators.with_row_index("id")
    points = rows.filter(pl.col("type").is_in(["address", "network"])).select("id", "value", "line")
    numbered = pl.concat([points, prefixes(points["value"])], how="horizontal")
    wide = [] if WIDE in allow else [_wide(numbered)]
    touching = _touching(numbered, _grounds(allow, protected))
    reasons = pl.concat([_everything(numbered), *touching, *wide]).unique("id", keep="first", maintain_order=True)
    refused = points.join(reasons, on="id").sort("line", "id")
    fresh = (Refusal(*row) for row in refused.select("line", "value", "reason").head(REFUSALS_KEPT).iter_rows())
    return replace(
        snapshot,
        indicators=rows.join(reasons, on="id", how="anti").drop("id"),
        refused=bounded([*snapshot.refused, *fresh]),
        refused_total=snapshot.refused_total + refused.height,
    )


def objection(address: str, allow: tuple[str, ...] = (), protected: Protected = NOTHING) -> str | None:
    """Why refuse() would refuse this one address; None: it admits it.  Raises ValueError for no address."""
    found = ip_address(address)
    return next((ground.inside for ground in _grounds(allow, protected) if found in ground.network), None)


def _grounds(allow: tuple[str, ...], protected: Protected) -> list[_Ground]:
    """Everything that this feed may not touch."""
    special = [
        _Ground(
            ip_network(text),
            f"{name} addresses are nobody's to list (allow: [{name}] admits them)",
            f"it holds the {name} range {text} (allow: [{name}] admits it)",
        )
        for name, texts in RANGES.items()
        if name not in allow
        for text in texts
    ]
    own = [] if FLEET in allow else protected.peers
    fleet = [
        _Ground(
            ip_network(peer, strict=False),
            f"it is {_part(peer)}{peer}, {what}; a feed with allow: [{FLEET}] may cut it off",
            f"it holds {peer}, {what}: blocking it would cut the fleet off; the feed would have to list less",
        )
        for peer, what in own
    ]
    return [*fleet, *special]


def _part(peer: str) -> str:
    return "part of " if "/" in peer else ""


def _touching(points: pl.DataFrame, grounds: list[_Ground]) -> list[pl.DataFrame]:
    """(id, reason) for the points inside a ground, then for those around one; the first ground named comes first."""
    table = prefix_table(tuple(ground.network for ground in grounds)).with_row_index("indicator")
    words = table.select("indicator").with_columns(
        pl.Series("inside", [ground.inside for ground in grounds], dtype=pl.String),
        pl.Series("around", [ground.around for ground in grounds], dtype=pl.String),
    )
    inside = AddressMatcher(table).covering(points).rename({"indicator": "ground"})
    networks = points.filter(pl.col("length") < pl.when(pl.col("version") == 4).then(32).otherwise(128))
    itself = AddressMatcher(networks.rename({"id": "indicator"}))
    around = itself.covering(table.rename({"indicator": "id"})).rename({"id": "ground", "indicator": "id"})
    return [
        pairs.sort("id", "ground")
        .join(words, left_on="ground", right_on="indicator")
        .select("id", pl.col(which).alias("reason"))
        for pairs, which in ((inside, "inside"), (around, "around"))
    ]


def _everything(points: pl.DataFrame) -> pl.DataFrame:
    why = "it is every address there is: no feed can mean that, and nothing admits it; the feed has to be mended"
    return points.filter(pl.col("length") == 0).select("id", pl.lit(why).alias("reason"))


def _wide(points: pl.DataFrame) -> pl.DataFrame:
    shortest = pl.col("version").replace_strict(_SHORTEST, default=0, return_dtype=pl.Int64)
    why = f"the prefix is wider than /8 (IPv4) or /19 (IPv6) (allow: [{WIDE}] admits it)"
    return points.filter(pl.col("length") < shortest).select("id", pl.lit(why).alias("reason"))
