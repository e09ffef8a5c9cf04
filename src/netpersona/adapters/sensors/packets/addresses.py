"""Addresses and MACs as numbers into their text, once for each distinct one."""

from __future__ import annotations

from ipaddress import IPv6Address
from socket import inet_ntoa

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.packets import Words

_MAPPED = 0xFFFF
_FEW = 2_000  # addresses that are written faster one by one


def address_text(high: Words, low: Words) -> pl.Series:
    """The canonical text (RFC 5952) of 128-bit addresses; ::ffff:a.b.c.d is written a.b.c.d."""
    four = (high == 0) & (low >> np.uint64(32) == _MAPPED)
    if four.all():
        return _ipv4(low)
    texts = np.empty(len(high), object)
    texts[four] = _ipv4(low[four]).to_numpy()
    six = np.flatnonzero(~four)
    pairs = np.stack([high[six], low[six]], axis=1).astype(">u8").view("V16").reshape(-1)
    distinct, which = np.unique(pairs, return_inverse=True)
    texts[six] = np.array([str(IPv6Address(pair.tobytes())) for pair in distinct], object)[which.reshape(-1)]
    return pl.Series(texts, dtype=pl.String)


def mac_text(macs: Words) -> pl.Series:
    """MACs as aa:bb:cc:dd:ee:ff, null for 0."""
    distinct, which = np.unique(macs, return_inverse=True)
    texts = [mac.to_bytes(8, "big")[2:].hex(":") if mac else None for mac in distinct.tolist()]
    return pl.Series(texts, dtype=pl.String).gather(which.reshape(-1))


def _ipv4(low: Words) -> pl.Series:
    distinct, which = np.unique(low.astype(np.uint32), return_inverse=True)
    if len(distinct) < _FEW:
        texts = pl.Series([inet_ntoa(address) for address in distinct.astype(">u4").view("V4")], dtype=pl.String)
        return texts.gather(which.reshape(-1))
    octets = pl.DataFrame({f"o{place}": distinct >> (24 - 8 * place) & 255 for place in range(4)})
    texts = octets.select(pl.format("{}.{}.{}.{}", *octets.columns)).to_series()
    return texts.gather(which.reshape(-1))
