"""Addresses and networks as numbers: text in, columns out, all rows at once.

A table of prefixes has the columns

    version  UInt8    4 or 6; null where the text is neither address nor network
    hi, lo   UInt64   the first address's upper and lower 64 bits (IPv4: hi is 0)
    length   UInt8    the prefix length, 32 or 128 for an address

Only canonical text is read (see `indicator`), so that a slow general parser is not needed per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = rf"{OCTET}(?:\.{OCTET}){{3}}"
_BITS = "(?:255|254|252|248|240|224|192|128|0)"
MASK = rf"(?:255\.255\.255\.{_BITS}|255\.255\.{_BITS}\.0|255\.{_BITS}\.0\.0)"  # a netmask, from /8 on
_FULL_IPV6 = r"^(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$"
_AT_ONCE = 1 << 15  # addresses whose characters are read at once: what fits a core's cache
_ALL = 0xFFFF_FFFF_FFFF_FFFF
WIDTH = {4: 32, 6: 128}
U64 = npt.NDArray[np.uint64]


def prefixes(texts: pl.Series) -> pl.DataFrame:
    """The table of prefixes for canonical addresses and networks, row by row."""
    numbered = _numbered4(_split(texts.alias("text"))).lazy()
    if texts.str.contains(":", literal=True).any():
        numbered = _numbered6(numbered)
    width = pl.when(pl.col("version") == 4).then(pl.lit(32, pl.UInt8)).otherwise(pl.lit(128, pl.UInt8))
    length = pl.when(pl.col("bits").is_null()).then(width).otherwise(pl.col("bits").cast(pl.UInt8, strict=False))
    valid = pl.col("version").is_not_null() & (pl.col("length") <= width)
    columns = ["version", "hi", "lo", "length"]
    table = numbered.with_columns(length.alias("length")).select(
        pl.when(valid).then(pl.col(c)).alias(c) for c in columns
    )
    return table.collect()


def _split(texts: pl.Series) -> pl.DataFrame:
    """The texts before their first slash, and `bits`: what stands behind it."""
    if not texts.str.contains("/", literal=True).any():
        return texts.to_frame().with_columns(bits=pl.lit(None, pl.String))
    parts = pl.col("text").str.split_exact("/", 1).struct
    return texts.to_frame().select(parts.field("field_0").alias("text"), parts.field("field_1").alias("bits"))


def network_keys(length: int, version: int, hi: U64, lo: U64) -> npt.NDArray[Any]:
    """One key for each address: its network of this length.  Their order is the networks' numeric order."""
    bits = length + 128 - WIDTH[version]
    mask = (((1 << bits) - 1) << (128 - bits)) if bits else 0
    if version == 4:
        return lo & np.uint64(mask & _ALL)
    return hi & np.uint64(mask >> 64) if length <= 64 else wide_keys(hi, lo & np.uint64(mask & _ALL))


def prefix_table(networks: Sequence[IPv4Network | IPv6Network]) -> pl.DataFrame:
    """A table of prefixes of these networks."""
    rows = [(n.version, int(n.network_address) >> 64, int(n.network_address) & _ALL, n.prefixlen) for n in networks]
    schema = {"version": pl.UInt8, "hi": pl.UInt64, "lo": pl.UInt64, "length": pl.UInt8}
    return pl.DataFrame(rows, schema=schema, orient="row")


def masked_by(table: pl.DataFrame) -> pl.Series:
    """For each row of a table of prefixes, whether all bits after `length` are clear; null where it is no prefix."""
    valid = table.select(pl.col("version", "length").fill_null(0), pl.col("hi", "lo").fill_null(0))
    host = np.where(valid["version"].to_numpy() == 4, 32, 128) - valid["length"].to_numpy().astype(np.int64)
    low = _ones(np.clip(host, 0, 64).astype(np.uint64)) & valid["lo"].to_numpy()
    high = _ones(np.clip(host - 64, 0, 64).astype(np.uint64)) & valid["hi"].to_numpy()
    return pl.Series("exact", (low | high) == 0).set(table["version"].is_null(), None)


def _ones(count: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Numbers with the `count` lowest bits set, 0 to 64."""
    some = np.left_shift(np.uint64(1), np.minimum(count, np.uint64(63))) - np.uint64(1)
    return np.where(count == 64, np.uint64(_ALL), some)


def last_of(table: pl.DataFrame) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The last address of each IPv6 prefix, as hi and lo."""
    host = 128 - table["length"].to_numpy().astype(np.int64)
    low, high = _ones(np.clip(host, 0, 64).astype(np.uint64)), _ones(np.clip(host - 64, 0, 64).astype(np.uint64))
    return table["hi"].to_numpy() | high, table["lo"].to_numpy() | low


def wide_keys(hi: npt.NDArray[np.uint64], lo: npt.NDArray[np.uint64]) -> npt.NDArray[np.bytes_]:
    """IPv6 addresses as 16 bytes each; their byte order is their numeric order."""
    pairs = np.empty((len(hi), 2), dtype=">u8")
    pairs[:, 0], pairs[:, 1] = hi, lo
    return pairs.view("S16").reshape(len(hi))


def _numbered4(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with version, hi and lo where `text` is an IPv4 address; null elsewhere."""
    known = frame["text"].str.contains(rf"^{IPV4}$").fill_null(value=False)
    lo = np.zeros(frame.height, dtype=np.uint64)
    lo[known.to_numpy()] = _numbers4(frame["text"].filter(known))
    return frame.with_columns(
        pl.when(known).then(pl.lit(4, pl.UInt8)).alias("version"),
        pl.when(known).then(pl.lit(0, pl.UInt64)).alias("hi"),
        pl.when(known).then(pl.Series(lo)).alias("lo"),
    )


def _numbers4(texts: pl.Series) -> U64:
    """The numbers of IPv4 addresses: read from all their characters at once, as splitting a million texts is dear."""
    parts = [_octets(part["text"]) for part in texts.alias("text").to_frame().iter_slices(_AT_ONCE)]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _octets(texts: pl.Series) -> U64:
    """The same for a part of them, of one address or more: each octet is the digits before a dot."""
    signs = np.frombuffer((texts.str.join(".").item() + ".").encode(), np.uint8)
    dots = np.flatnonzero(signs == ord("."))
    length = np.diff(dots, prepend=-1) - 1
    digits = signs - np.uint8(ord("0"))
    octets = digits[dots - 1]
    for place, worth in ((2, 10), (3, 100)):
        octets += digits[dots - place] * (length >= place) * np.uint8(worth)
    numbers: U64 = octets.view(">u4").astype(np.uint64)
    return numbers


def _numbered6(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with version, hi and lo filled in where `text` is an IPv6 address."""
    groups = pl.col("full").str.split_exact(":", 7).struct
    numbers = [groups.field(f"field_{n}").str.to_integer(base=16, dtype=pl.UInt64, strict=False) for n in range(8)]
    known = pl.col("full").is_not_null()
    return _expanded(frame).with_columns(
        pl.when(known).then(pl.lit(6, pl.UInt8)).otherwise("version").alias("version"),
        pl.when(known).then(_quad(numbers[:4])).otherwise("hi").alias("hi"),
        pl.when(known).then(_quad(numbers[4:])).otherwise("lo").alias("lo"),
    )


def _quad(groups: list[pl.Expr]) -> pl.Expr:
    a, b, c, d = groups
    return a * 2**48 + b * 2**32 + c * 2**16 + d


def _expanded(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The frame with `full`: IPv6 text with its `::` written out; null where `text` is no IPv6 address."""
    text, closed, full = pl.col("text"), pl.col("closed"), pl.col("full")
    zeros = (8 - closed.str.count_matches(":", literal=True).cast(pl.Int64)).clip(0, 8)
    filling = pl.lit(":0:0:0:0:0:0:0:0:").str.slice(0, 1 + 2 * zeros)
    halves = closed.str.splitn("::", 2).struct
    written = pl.concat_str(halves.field("field_0"), filling, halves.field("field_1"))
    opened = pl.when(text.str.starts_with("::")).then("0" + text).otherwise(text)
    return (
        frame.with_columns(pl.when(text.str.contains(r"^[0-9a-f:]{2,39}$")).then(opened).alias("closed"))
        .with_columns(pl.when(closed.str.ends_with("::")).then(closed + "0").otherwise(closed).alias("closed"))
        .with_columns(pl.when(closed.str.contains("::", literal=True)).then(written).otherwise(closed).alias("full"))
        .with_columns(pl.when(full.str.contains(_FULL_IPV6)).then(full).alias("full"))
    )
