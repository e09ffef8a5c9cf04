"""The originator's SYN as a p0f v3 signature: which TCP/IP stack opened the flow.

    ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass      4:64:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0

    ver      4 or 6
    ittl     the TTL it began with: the next of 32, 64, 128, 255
    olen     bytes of IPv4 options or IPv6 extension headers
    mss      maximum segment size offered; 0: none
    wsize    the window, as mss*N or mtu*N where it is a multiple, else the number
    scale    window scale; 0: none
    olayout  TCP options in their order: eol+N nop mss ws sok sack ts ?KIND
    quirks   df id+ id- ecn 0+ flow seq- ack+ uptr+ urgf+ pushf+ ts1- ts2+ opt+ exws bad
    pclass   0: the SYN carries no data, +: it does

Syntax and quirks are p0f's own (README and fp_tcp.c of p0f 3.09b, M. Zalewski); a TTL is rounded where p0f writes
"ttl+distance", so that the text does not change with the path.  Any stack can set these fields at will.

The options of all SYNs are walked together, one option of each at a time; text is made once per distinct SYN.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from netpersona.adapters.sensors.packets.dissect import ACK, CWR, ECE, PSH, URG, Headers
from netpersona.adapters.sensors.packets.packets import Bytes, Ints, u8, u16, u32

_SLOTS = 24  # options looked at; more than that and the SYN is called bad
_VERSION, _TTL, _OLEN, _MSS, _WINDOW, _SCALE, _HEADERS, _QUIRKS, _DATA, _STAMP, _EOL, _LAYOUT = range(12)
WIDTH = _LAYOUT + _SLOTS  # columns of syn_features

_NAMES = {1: "nop", 2: "mss", 3: "ws", 4: "sok", 5: "sack", 8: "ts"}
_SIZES = {2: 4, 3: 3, 4: 2, 8: 10}
# in p0f's order
_QUIRK_NAMES = "df id+ id- ecn 0+ flow seq- ack+ uptr+ urgf+ pushf+ ts1- ts2+ opt+ exws bad".split()  # noqa: SIM905
_BIT = {name: 1 << place for place, name in enumerate(_QUIRK_NAMES)}


def syn_features(headers: Headers, rows: Ints) -> NDArray[np.uint16]:
    """What a signature is made of, one line of WIDTH numbers for each of these packets (SYNs)."""
    data, network, tcp = headers.data, headers.network[rows], headers.transport[rows]
    four = headers.version[rows] == 4
    found = np.zeros((len(rows), WIDTH), np.int64)
    ttl = np.where(four, u8(data, network + 8), u8(data, network + 7))
    found[:, _VERSION] = headers.version[rows]
    found[:, _TTL] = np.select([ttl <= 32, ttl <= 64, ttl <= 128], [32, 64, 128], 255)
    found[:, _OLEN] = tcp - network - np.where(four, 20, 40)
    found[:, _WINDOW] = u16(data, tcp + 14)
    found[:, _HEADERS] = headers.payload[rows] - network
    found[:, _DATA] = headers.payload_length[rows] > 0
    found[:, _QUIRKS] = _ip_quirks(data, network, four) | _tcp_quirks(data, tcp)
    _walk_options(data, tcp, headers.payload[rows], headers.end[rows], found)
    return found.astype(np.uint16)


def signatures(found: NDArray[np.uint16]) -> pl.Series:
    """The signatures of these features, null for a line of zeros."""
    if not len(found):
        return pl.Series([], dtype=pl.String)
    first, which = _distinct(found)
    texts = pl.Series([_signature(line) if line[0] else None for line in found[first].tolist()], dtype=pl.String)
    return texts.gather(which)


def _distinct(found: NDArray[np.uint16]) -> tuple[Ints, Ints]:
    """Where each distinct line stands first, and which of those each line is.

    Lines are told apart by a hash, which costs a tenth of sorting them; should two share one, they are sorted.
    """
    mixed = np.zeros(len(found), np.uint64)
    for column in range(WIDTH):
        mixed = (mixed ^ found[:, column].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    _, first, which = np.unique(mixed, return_index=True, return_inverse=True)
    if not (found[first][which] == found).all():
        _, first, which = np.unique(found, axis=0, return_index=True, return_inverse=True)
    return first, which.reshape(-1)


def _ip_quirks(data: Bytes, at: Ints, four: NDArray[np.bool_]) -> Ints:
    fragment, ident = u16(data, at + 6), u16(data, at + 4)
    df = fragment & 0x4000 != 0
    ecn = np.where(four, u8(data, at + 1), u16(data, at) >> 4) & 3
    flow = u32(data, at) & 0xFFFFF
    quirks: Ints = (
        (four & df) * _BIT["df"]
        | (four & df & (ident != 0)) * _BIT["id+"]
        | (four & ~df & (ident == 0)) * _BIT["id-"]
        | (ecn != 0) * _BIT["ecn"]
        | (four & (fragment & 0x8000 != 0)) * _BIT["0+"]
        | (~four & (flow != 0)) * _BIT["flow"]
    )
    return quirks


def _tcp_quirks(data: Bytes, at: Ints) -> Ints:
    flags = u8(data, at + 13)
    quirks: Ints = (
        (flags & (ECE | CWR) != 0) * _BIT["ecn"]
        | (u32(data, at + 4) == 0) * _BIT["seq-"]
        | ((u32(data, at + 8) != 0) & (flags & ACK == 0)) * _BIT["ack+"]
        | ((u16(data, at + 18) != 0) & (flags & URG == 0)) * _BIT["uptr+"]
        | (flags & URG != 0) * _BIT["urgf+"]
        | (flags & PSH != 0) * _BIT["pushf+"]
    )
    return quirks


def _walk_options(data: Bytes, tcp: Ints, stop: Ints, end: Ints, found: NDArray[np.int64]) -> None:
    """Read one option of every SYN at a time into `found`, until none has options left."""
    bad = (stop > end) | (stop < tcp + 20)
    found[bad, _QUIRKS] |= _BIT["bad"]
    at = tcp + 20
    rows = np.flatnonzero(~bad & (at < stop))
    for slot in range(_SLOTS):
        kind = u8(data, at[rows])
        found[rows, _LAYOUT + slot] = kind + 1
        _end_of_list(data, at, stop, rows[kind == 0], found)
        rows, kind = rows[kind != 0], kind[kind != 0]
        left = stop[rows] - at[rows]
        size = np.where(kind == 1, 1, np.where(left > 1, u8(data, at[rows] + 1), 0))
        due = np.select([kind == known for known in _SIZES], list(_SIZES.values()), size)
        broken = (size > left) | ((kind != 1) & (size < 2)) | (due != size)
        found[rows[broken], _QUIRKS] |= _BIT["bad"]
        rows, kind, size = rows[~broken], kind[~broken], size[~broken]
        _take_values(data, at, rows, kind, found)
        at[rows] += size
        rows = rows[at[rows] < stop[rows]]
        if not len(rows):
            return
    found[rows, _QUIRKS] |= _BIT["bad"]


def _end_of_list(data: Bytes, at: Ints, stop: Ints, rows: Ints, found: NDArray[np.int64]) -> None:
    """End of the options: how many bytes follow, and whether one of them is not zero."""
    found[rows, _EOL] = stop[rows] - at[rows] - 1
    for step in range(1, 40):
        rows = rows[at[rows] + step < stop[rows]]
        if not len(rows):
            return
        found[rows[u8(data, at[rows] + step) != 0], _QUIRKS] |= _BIT["opt+"]


def _take_values(data: Bytes, at: Ints, rows: Ints, kind: Ints, found: NDArray[np.int64]) -> None:
    segment, scale, stamp = rows[kind == 2], rows[kind == 3], rows[kind == 8]
    found[segment, _MSS] = u16(data, at[segment] + 2)
    found[scale, _SCALE] = u8(data, at[scale] + 2)
    found[scale, _QUIRKS] |= (found[scale, _SCALE] > 14) * _BIT["exws"]
    own, peer = u32(data, at[stamp] + 2), u32(data, at[stamp] + 6)
    found[stamp, _STAMP] = own != 0
    found[stamp, _QUIRKS] |= (own == 0) * _BIT["ts1-"] | (peer != 0) * _BIT["ts2+"]


def _signature(line: list[int]) -> str:
    layout = [_option(code - 1, line[_EOL]) for code in line[_LAYOUT:] if code]
    quirks = [name for name in _QUIRK_NAMES if line[_QUIRKS] & _BIT[name]]
    return (
        f"{line[_VERSION]}:{line[_TTL]}:{line[_OLEN]}:{line[_MSS]}:{_window(line)},{line[_SCALE]}"
        f":{','.join(layout)}:{','.join(quirks)}:{'+' if line[_DATA] else '0'}"
    )


def _option(kind: int, padding: int) -> str:
    return f"eol+{padding}" if kind == 0 else _NAMES.get(kind, f"?{kind}")


def _window(line: list[int]) -> str:
    """The window in p0f's words: the first of these sizes that divides it, else the number."""
    window, mss = line[_WINDOW], line[_MSS]
    if not window or mss < 100:
        return str(window)
    six = line[_VERSION] == 6
    segments = [mss, *([mss - 12] if line[_STAMP] else []), 1460, 1448, *([1440, 1428] if six else [])]
    frames = [mss + 40, mss + line[_HEADERS], *([mss + 60] if six else []), 1500]
    for word, sizes in (("mss", segments), ("mtu", frames)):
        for size in sizes:
            if window % size == 0:
                return f"{word}*{window // size}"
    return str(window)
