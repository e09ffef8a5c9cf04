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
    """The union of a table of prefixes (version, hi, lo, length, and their `text`), without what is allowed."""
    remaining = _without(prefixes.select(*_KEY, "text").unique(_KEY, keep="any"), allowed)
    width = pl.when(pl.col("version") == 4).then(32).otherwise(128)
    is_address = pl.col("length") == width
    networks = _collapsed(remaining.filter(~is_address))
    addresses = _outside(remaining.filter(is_address), networks)
    return PeerGroup(_texts(addresses), _texts(networks))


def _texts(table: pl.DataFrame) -> tuple[str, ...]:
    """The canonical texts of prefixes, in numeric order; what has none yet is written."""
    ordered = table.sort(_KEY)
    texts: list[str | None] = ordered["text"].to_list()
    new = ordered.with_row_index("place").filter(pl.col("text").is_null()).select("place", *_KEY)
    for place, *prefix in new.iter_rows():
        texts[place] = _text(*prefix)
    return tuple(text for text in texts if text is not None)


def _text(version: int, hi: int, lo: int, length: int) -> str:
    network = _network(version, hi, lo, length)
    return str(network.network_address) if length == WIDTH[version] else str(network)


def _outside(table: pl.DataFrame, networks: pl.DataFrame) -> pl.DataFrame:
    """The prefixes that no strictly wider one of `networks` contains."""
    for version, length in networks.select("version", "length").unique().sort("version", "length").rows():
        holders = networks.filter((pl.col("version") == version) & (pl.col("length") == length)).select("hi", "lo")
        narrower = (pl.col("version") == version) & (pl.col("length") > length)
        hi, lo = masked(length, version)
        under = table.with_columns(
            pl.when(narrower).then(hi).alias("under_hi"),
            pl.when(narrower).then(lo).alias("under_lo"),
        )
        outside = under.join(holders, left_on=["under_hi", "under_lo"], right_on=["hi", "lo"], how="anti")
        table = outside.select(table.columns)
    return table


def _collapsed(networks: pl.DataFrame) -> pl.DataFrame:
    """The fewest networks that cover the same addresses: two halves become their whole, from the longest up."""
    kept = _outside(networks, networks)
    levels = {(part["version"][0], part["length"][0]): part for part in kept.partition_by("version", "length")}
    done = [kept.clear()]
    for version in (4, 6):
        whole = kept.clear()
        for length in range(WIDTH[version] - 1, 0, -1):
            level = levels.get((version, length), done[0])
            if level.height + whole.height > 1:
                single, whole = _joined(pl.concat([whole, level]), length, version)
                done.append(single)
            elif level.height + whole.height == 1:
                done.append(level if level.height else whole)
                whole = done[0]
        done += [whole, levels.get((version, 0), done[0])]
    return pl.concat(done)


def _joined(halves: pl.DataFrame, length: int, version: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prefixes of one length: those whose other half is not there, and the wholes of the others."""
    hi, lo = masked(length - 1, version)
    keyed = halves.with_columns(hi.alias("up_hi"), lo.alias("up_lo"))
    both = pl.struct("up_hi", "up_lo").is_duplicated()
    wholes = (
        keyed.filter(both)
        .unique(["up_hi", "up_lo"])
        .with_columns(
            pl.col("up_hi").alias("hi"),
            pl.col("up_lo").alias("lo"),
            pl.lit(length - 1, pl.UInt8).alias("length"),
            pl.lit(None, pl.String).alias("text"),
        )
    )
    return keyed.filter(~both).select(halves.columns), wholes.select(halves.columns)


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
    pieces = [piece for row in split.select(_KEY).rows() for piece in _carved(_network(*row), allowed)]
    carved = prefix_table(tuple(pieces)).with_columns(pl.lit(None, pl.String).alias("text"))
    return pl.concat([table.join(split, on=_KEY, how="anti"), carved]).unique(_KEY, keep="first", maintain_order=True)


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
