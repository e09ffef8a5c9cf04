"""What the fields of a template mean: from the bytes of one layout's records to the record table's columns.

Element numbers are those of IANA's IPFIX registry, which NetFlow v9 shares below 128.  Reverse elements
(RFC 5103, enterprise 29305) are kept as negative numbers; other enterprises' fields are stepped over, and
so is what the registry has but a persona does not need.  Counters of sampled records are scaled (see
`netflow_sampling`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.adapters.sensors.flow_records import as_records, no_records, sound, v4_text, v6_text
from netpersona.adapters.sensors.netflow_sampling import SAMPLING, Sampled, Sampling, record_rates, scaled

Numbers = npt.NDArray[np.int64]

FORWARD_BYTES, REVERSE_BYTES = (1, 85, 231, 23), (-1, -85, 232)
FORWARD_PACKETS, REVERSE_PACKETS = (2, 86, 298, 24), (-2, -86, 299)
SYSTEM_START = 160  # systemInitTimeMilliseconds
_V4, _V6 = (8, 12), (27, 28)
_FLAGS, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 6, 4, 7, 11
_FORWARDING, _FIREWALL_EVENT, _BIFLOW_DIRECTION = 89, 233, 239
_LAST_UPTIME, _FIRST_UPTIME = 21, 22
_NUMERIC = {
    *FORWARD_BYTES, *REVERSE_BYTES, *FORWARD_PACKETS, *REVERSE_PACKETS, _FLAGS, -_FLAGS, _PROTOCOL, _SOURCE_PORT,
    _DESTINATION_PORT, _FORWARDING, _FIREWALL_EVENT, _BIFLOW_DIRECTION, _LAST_UPTIME, _FIRST_UPTIME,
    *range(150, 160), SYSTEM_START, 161, 162, 323, *SAMPLING,
}  # fmt: skip
_ADDRESSES = {8: 4, 12: 4, 27: 16, 28: 16}
_UPTIME_WRAP = 1 << 32  # ms, 49.7 days
_AHEAD = 3_600_000  # ms: a flow seen this little after its export is clock skew, more is a wrapped counter
_NTP_EPOCH = 2_208_988_800  # s from 1900 to 1970
_HUGE = 1 << 62


class Field(NamedTuple):
    """One field of a template; element 0 is one that is stepped over, length in bytes."""

    element: int
    length: int


Layout = tuple[Field, ...]


class Clock(NamedTuple):
    """When a datagram left its exporter: ms since the epoch, and ms since the exporter's start (or None)."""

    sent: int
    uptime: int | None


class Records(NamedTuple):
    """The bytes of some records of one layout, from one datagram."""

    raw: bytes
    rows: int
    clock: Clock
    sampling: Sampling  # of the exporter; asked when the records are decoded, as it may be told after them


def width(layout: Layout) -> int:
    """Bytes of one record."""
    return sum(field.length for field in layout)


def needs_uptime(layout: Layout) -> bool:
    """Whether times are told only relative to the exporter's start."""
    elements = {field.element for field in layout}
    return bool(elements & {_FIRST_UPTIME, _LAST_UPTIME}) and not elements & {150, 152, 154, 156, 158, 323}


def describes_flows(layout: Layout) -> bool:
    """Whether it has both addresses of a flow."""
    elements = {field.element for field in layout}
    return elements.issuperset(_V4) or elements.issuperset(_V6)


def decode(layout: Layout, parts: Iterable[Records], skipped: Counter[str], sampled: Sampled) -> pl.DataFrame:
    """The record table (RECORD_SCHEMA) of these records; what cannot be true is counted in `skipped`."""
    held = list(parts)
    count = sum(part.rows for part in held)
    if not describes_flows(layout):
        skipped["record without addresses"] += count
        return no_records()
    values = read_fields(layout, b"".join(part.raw for part in held), count)
    _scale(values, held, sampled)
    repeats = [part.rows for part in held]
    sent = np.repeat(np.array([part.clock.sent for part in held], dtype=np.int64), repeats)
    uptime = np.repeat(np.array([part.clock.uptime or 0 for part in held], dtype=np.int64), repeats)
    return sound(_both_ways(_forward(values, sent, uptime, count), values, count), skipped)


def _scale(values: dict[int, npt.NDArray[np.uint64]], parts: list[Records], sampled: Sampled) -> None:
    """Multiply what sampled records counted by their rates, in place."""
    rate = record_rates(values, [(part.rows, part.sampling) for part in parts], sampled)
    if (rate > 1.0).any():
        for element in (*FORWARD_BYTES, *REVERSE_BYTES, *FORWARD_PACKETS, *REVERSE_PACKETS):
            if element in values:
                values[element] = scaled(values[element], rate)


def read_fields(layout: Layout, raw: bytes, count: int) -> dict[int, npt.NDArray[np.uint64]]:
    """The known fields' values by element number; of IPv6 addresses an array of two halves (n, 2)."""
    found: dict[int, tuple[str | tuple[str, int], int]] = {}
    offset = 0
    for element, length in layout:
        kind = _kind(element, length)
        if kind is not None:
            found.setdefault(element, (kind, offset))
        offset += length
    names = [str(element) for element in found]
    kinds, offsets = [kind for kind, _ in found.values()], [at for _, at in found.values()]
    dtype = np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": offset})
    table = np.frombuffer(raw, dtype=dtype, count=count)
    return {element: _whole(element, table[str(element)]) for element in found}


def _kind(element: int, length: int) -> str | tuple[str, int] | None:
    if element in _ADDRESSES:
        same = _ADDRESSES[element] == length
        return (">u4" if length == 4 else (">u8", 2)) if same else None
    if element not in _NUMERIC or not 1 <= length <= 8:
        return None
    return f">u{length}" if length in (1, 2, 4, 8) else ("u1", length)


def _whole(element: int, column: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.uint64]:
    if column.ndim == 1 or element in _ADDRESSES:
        return column.astype(np.uint64)
    number = np.zeros(len(column), dtype=np.uint64)
    for byte in column.T:
        number = number << np.uint64(8) | byte.astype(np.uint64)
    return number


def _forward(
    values: dict[int, npt.NDArray[np.uint64]], sent: Numbers, uptime: Numbers, count: int
) -> dict[str, pl.Series | Numbers]:
    start, end = _times(values, sent, uptime)
    source, destination = _addresses(values, count)
    nothing = np.zeros(count, dtype=np.int64)
    return {
        "start": start,
        "end": end,
        "protocol": pl.Series(_number(values, _PROTOCOL)) if _PROTOCOL in values else pl.Series([None] * count),
        "source": source,
        "source_port": _number(values, _SOURCE_PORT) if _SOURCE_PORT in values else nothing,
        "destination": destination,
        "destination_port": _number(values, _DESTINATION_PORT) if _DESTINATION_PORT in values else nothing,
        "bytes": _first(values, FORWARD_BYTES, count),
        "packets": _first(values, FORWARD_PACKETS, count),
        "tcp_flags": _flags(values, _FLAGS, count),
        "denied": _denied(values, count),
    }


def _both_ways(
    forward: dict[str, pl.Series | Numbers], values: dict[int, npt.NDArray[np.uint64]], count: int
) -> pl.DataFrame:
    if not values.keys() & {*REVERSE_BYTES, *REVERSE_PACKETS}:
        return as_records(forward)
    direction = _number(values, _BIFLOW_DIRECTION) if _BIFLOW_DIRECTION in values else np.ones(count, dtype=np.int64)
    asked = pl.Series(direction).replace_strict({1: True, 2: False}, default=None, return_dtype=pl.Boolean)
    answer = forward | {
        "source": forward["destination"],
        "source_port": forward["destination_port"],
        "destination": forward["source"],
        "destination_port": forward["source_port"],
        "bytes": _first(values, REVERSE_BYTES, count),
        "packets": _first(values, REVERSE_PACKETS, count),
        "tcp_flags": _flags(values, -_FLAGS, count),
        "forward": ~asked,
    }
    answered = as_records(answer).filter((pl.col("bytes") > 0) | (pl.col("packets") > 0))
    return pl.concat([as_records(forward | {"forward": asked}), answered])


def _number(values: dict[int, npt.NDArray[np.uint64]], element: int) -> Numbers:
    return np.minimum(values[element], np.uint64(_HUGE)).astype(np.int64)


def _first(values: dict[int, npt.NDArray[np.uint64]], elements: Iterable[int], count: int) -> Numbers:
    known = [element for element in elements if element in values]
    return _number(values, known[0]) if known else np.zeros(count, dtype=np.int64)


def _flags(values: dict[int, npt.NDArray[np.uint64]], element: int, count: int) -> Numbers:
    """The low byte: tcpControlBits may be two bytes wide (RFC 7125)."""
    return _number(values, element) & 0xFF if element in values else np.zeros(count, dtype=np.int64)


def _denied(values: dict[int, npt.NDArray[np.uint64]], count: int) -> pl.Series:
    """Dropped, as forwardingStatus (RFC 7270: upper two bits 10) or firewallEvent 3 say; null where neither is told."""
    dropped = np.zeros(count, dtype=np.bool_)
    if _FORWARDING in values:
        dropped |= (values[_FORWARDING] >> np.uint64(6)) == 2
    if _FIREWALL_EVENT in values:
        dropped |= values[_FIREWALL_EVENT] == 3
    return pl.Series(dropped)


def _addresses(values: dict[int, npt.NDArray[np.uint64]], count: int) -> tuple[pl.Series, pl.Series]:
    """Source and destination text; where a template has both families, the one that is not all zero."""
    texts: list[pl.Series] = []
    four = all(element in values for element in _V4)
    six = all(element in values for element in _V6)
    empty = np.zeros(count, dtype=np.bool_)
    use_six = empty if not six else ~empty if not four else (values[8] | values[12]) == 0
    for v4, v6 in zip(_V4, _V6, strict=True):
        narrow = v4_text(values[v4].astype(np.uint32)) if four else pl.Series([None] * count, dtype=pl.String)
        if use_six.any():
            wide = v6_text(values[v6][:, 0], values[v6][:, 1])
            narrow = wide.zip_with(pl.Series(use_six), narrow)
        texts.append(narrow)
    return texts[0], texts[1]


def _times(values: dict[int, npt.NDArray[np.uint64]], sent: Numbers, uptime: Numbers) -> tuple[Numbers, Numbers]:
    """First and last packet, µs; by the finest clock that the template has, else when the datagram was sent."""
    start, end = (_instant(values, first, sent) for first in (True, False))
    if start is None and end is None:
        return _uptime_span(values, sent, uptime)
    if start is not None and end is None:
        return start, start + _lasted(values)
    if start is None and end is not None:
        return end - _lasted(values), end
    return start, end  # type: ignore[return-value]


def _instant(values: dict[int, npt.NDArray[np.uint64]], first: bool, sent: Numbers) -> Numbers | None:
    shift = 0 if first else 1
    if 152 + shift in values:
        return np.minimum(_number(values, 152 + shift), _HUGE // 1000) * 1000
    for element in (154 + shift, 156 + shift):
        if element in values:
            return _ntp(values[element])
    if 150 + shift in values:
        return np.minimum(_number(values, 150 + shift), _HUGE // 1_000_000) * 1_000_000
    if 158 + shift in values:
        return sent * 1000 - np.minimum(_number(values, 158 + shift), _HUGE // 2)
    return np.minimum(_number(values, 323), _HUGE // 1000) * 1000 if 323 in values else None


def _ntp(stamp: npt.NDArray[np.uint64]) -> Numbers:
    """64-bit NTP time (RFC 7011, 6.1.9): seconds since 1900 and a binary fraction."""
    seconds = (stamp >> np.uint64(32)).astype(np.int64) - _NTP_EPOCH
    fraction = (stamp & np.uint64(0xFFFFFFFF)) * np.uint64(1_000_000) >> np.uint64(32)
    return seconds * 1_000_000 + fraction.astype(np.int64)


def _lasted(values: dict[int, npt.NDArray[np.uint64]]) -> Numbers | int:
    if 162 in values:
        return np.minimum(_number(values, 162), _HUGE // 4)
    return np.minimum(_number(values, 161), _HUGE // 4000) * 1000 if 161 in values else 0


def _uptime_span(values: dict[int, npt.NDArray[np.uint64]], sent: Numbers, uptime: Numbers) -> tuple[Numbers, Numbers]:
    """Times on the exporter's 32-bit millisecond clock, which wraps: a flow lies before its export."""
    if _LAST_UPTIME not in values and _FIRST_UPTIME not in values:
        return sent * 1000, sent * 1000
    last = _number(values, _LAST_UPTIME if _LAST_UPTIME in values else _FIRST_UPTIME)
    first = _number(values, _FIRST_UPTIME if _FIRST_UPTIME in values else _LAST_UPTIME)
    ahead = (last - uptime) % _UPTIME_WRAP
    end = sent + np.where(ahead <= _AHEAD, ahead, ahead - _UPTIME_WRAP)
    lasted = (last - first) % _UPTIME_WRAP
    return (end - np.where(lasted < _UPTIME_WRAP // 2, lasted, 0)) * 1000, end * 1000
