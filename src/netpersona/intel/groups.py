"""From scored prefixes to the addresses and networks a firewall set holds.

Addresses and networks stay apart, because a kernel keeps addresses in a hash set, where a change is cheap,
and networks in an interval set, where each change costs the whole set.  So networks are collapsed as far as
they go, and neighbouring addresses are not turned into networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import polars as pl

from netpersona.intel.prefix import WIDTH, masked

Network = IPv4Network | IPv6Network
_KEY = ["version", "hi", "lo", "length"]


@dataclass(frozen=True, slots=True)
class PeerGroup:
    """Peers as a firewall takes them: canonical, no address in a network, no network in another, in numeric order."""

    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


def peer_group(prefixes: pl.DataFrame, allowed: tuple[Network, ...]) -> PeerGroup:
    """The union of a table of prefixes (version, hi, lo, length), without what is allowed."""
    remaining = _without(prefixes.select(_KEY).unique(), allowed)
    width = pl.when(pl.col("version") == 4).then(32).otherwise(128)
    is_address = pl.col("length") == width
    networks = _collapsed(remaining.filter(~is_address))
    addresses = _outside(remaining.filter(is_address), networks)
    return PeerGroup(
        addresses=tuple(_address_text(version, hi, lo) for version, hi, lo, _ in _ordered(addresses)),
        networks=tuple(f"{_address_text(version, hi, lo)}/{length}" for version, hi, lo, length in _ordered(networks)),
    )


def _ordered(table: pl.DataFrame) -> list[tuple[int, int, int, int]]:
    return table.select(_KEY).sort(_KEY).rows()


def _address_text(version: int, hi: int, lo: int) -> str:
    if version == 4:
        return f"{lo >> 24}.{lo >> 16 & 255}.{lo >> 8 & 255}.{lo & 255}"
    return str(IPv6Address(hi << 64 | lo))


def _outside(table: pl.DataFrame, networks: pl.DataFrame) -> pl.DataFrame:
    """The prefixes that no strictly wider one of `networks` contains."""
    for version, length in networks.select("version", "length").unique().sort("version", "length").rows():
        holders = networks.filter((pl.col("version") == version) & (pl.col("length") == length))
        narrower = (pl.col("version") == version) & (pl.col("length") > length)
        hi, lo = masked(length, version)
        table = (
            table.with_columns(
                pl.when(narrower).then(hi).alias("under_hi"),
                pl.when(narrower).then(lo).alias("under_lo"),
            )
            .join(holders, left_on=["under_hi", "under_lo"], right_on=["hi", "lo"], how="anti")
            .select(_KEY)
        )
    return table


def _collapsed(networks: pl.DataFrame) -> pl.DataFrame:
    """The fewest networks that cover the same addresses."""
    kept = _outside(networks, networks)
    done = [kept.clear()]
    for version in (4, 6):
        level = kept.filter(pl.col("version") == version)
        parents = kept.clear()
        for length in range(WIDTH[version] - 1, 0, -1):
            siblings = pl.concat([parents, level.filter(pl.col("length") == length)])
            if siblings.is_empty():
                parents = siblings
                continue
            hi, lo = masked(length - 1, version)
            paired = siblings.with_columns(hi.alias("up_hi"), lo.alias("up_lo")).with_columns(
                (pl.len().over("up_hi", "up_lo") == 2).alias("both"),
            )
            done.append(paired.filter(~pl.col("both")).select(_KEY))
            parents = (
                paired.filter("both")
                .select(
                    pl.col("version"),
                    pl.col("up_hi").alias("hi"),
                    pl.col("up_lo").alias("lo"),
                    (pl.col("length") - 1).cast(pl.UInt8).alias("length"),
                )
                .unique()
            )
        done.extend([parents, level.filter(pl.col("length") == 0)])
    return pl.concat(done).unique()


def _without(table: pl.DataFrame, allowed: tuple[Network, ...]) -> pl.DataFrame:
    """The prefixes minus the allowed networks: those inside are dropped, those around are split."""
    if not allowed or table.is_empty():
        return table
    holes = prefix_table(allowed)
    table = _outside(table.join(holes, on=_KEY, how="anti"), holes)
    around = [table.clear()]
    for version, length in table.select("version", "length").unique().sort("version", "length").rows():
        hi, lo = masked(length, version)
        inner = holes.filter((pl.col("version") == version) & (pl.col("length") > length)).with_columns(hi, lo)
        level = table.filter((pl.col("version") == version) & (pl.col("length") == length))
        around.append(level.join(inner, on=["hi", "lo"], how="semi"))
    split = pl.concat(around)
    if split.is_empty():
        return table
    pieces = [piece for row in _ordered(split) for piece in _carved(_network(*row), allowed)]
    return pl.concat([table.join(split, on=_KEY, how="anti"), prefix_table(tuple(pieces))]).unique()


def prefix_table(networks: tuple[Network, ...]) -> pl.DataFrame:
    """A table of prefixes of these networks."""
    low = 2**64 - 1
    rows = [(n.version, int(n.network_address) >> 64, int(n.network_address) & low, n.prefixlen) for n in networks]
    schema = {"version": pl.UInt8, "hi": pl.UInt64, "lo": pl.UInt64, "length": pl.UInt8}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _network(version: int, hi: int, lo: int, length: int) -> Network:
    if version == 4:
        return IPv4Network((IPv4Address(lo), length))
    return IPv6Network((IPv6Address(hi << 64 | lo), length))


def _carved(network: Network, allowed: tuple[Network, ...]) -> list[Network]:
    """What is left of a network when the allowed ones are cut out: halve it until each part is in or out."""
    holes = tuple(hole for hole in allowed if hole.version == network.version and hole.overlaps(network))
    if not holes:
        return [network]
    if any(hole.prefixlen <= network.prefixlen for hole in holes):
        return []
    return [piece for half in network.subnets() for piece in _carved(half, holes)]
