"""Set elements as messages, built in columns: a million of them are a few array operations, not a million objects.

An element is 16 bytes of message for an IPv4 address, 28 for IPv6.  A prefix is two elements of an interval set: where
it begins, and, marked as an end, the first key behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from socket import AF_INET, AF_INET6, inet_pton

import numpy as np
import numpy.typing as npt

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables.wire import CREATE, NEW_ELEMENT, message

Keys = npt.NDArray[np.uint8]
"""One key a row, in network byte order."""

ROOM = 65_000  # bytes of elements in one message; an attribute's length has 16 bits
_INTERVAL_END = 1


def addresses(texts: Sequence[str], version: int) -> Keys:
    """Addresses as keys."""
    family, width = (AF_INET, 4) if version == 4 else (AF_INET6, 16)
    packed = b"".join(map(inet_pton, repeat(family), texts))
    return np.frombuffer(packed, dtype=np.uint8).reshape(-1, width)


def joined(key: tuple[str, ...], texts: Sequence[str]) -> Keys:
    """Keys of several parts, as in `tap-1 . 192.0.2.1` for ("ifname", "ipv4_addr"); an interface stands without quotes.

    Each part fills words of four bytes.
    """
    packs = [_PACKED[each] for each in key]
    rows = [b"".join([pack(part) for pack, part in zip(packs, text.split(" . "), strict=True)]) for text in texts]
    return _rows(b"".join(rows), sum(len(pack(_EXAMPLE[each])) for pack, each in zip(packs, key, strict=True)))


def packed_name(interface: str) -> bytes:
    """The name of an interface as the kernel's key."""
    return interface.encode().ljust(16, b"\0")


_PACKED: dict[str, Callable[[str], bytes]] = {
    "ifname": packed_name,
    "ipv4_addr": lambda text: inet_pton(AF_INET, text),
    "ipv6_addr": lambda text: inet_pton(AF_INET6, text),
    "inet_proto": lambda text: bytes([int(text), 0, 0, 0]),
    "inet_service": lambda text: int(text).to_bytes(2, "big") + b"\0\0",
}
_EXAMPLE = {"ifname": "", "ipv4_addr": "0.0.0.0", "ipv6_addr": "::", "inet_proto": "0", "inet_service": "0"}  # noqa: S104


def prefixes(texts: Sequence[str], version: int) -> tuple[Keys, Keys]:
    """Prefixes as keys: where each begins, and the first address behind it, zero where there is none."""
    width = 4 if version == 4 else 16
    parts = [text.split("/") for text in texts]
    starts = addresses([host for host, _ in parts], version)
    sizes = (1 << 8 * width - int(length) for _, length in parts)
    return starts, _behind(zip(_each(starts), sizes, strict=True), width)


def intervals(spans: Sequence[tuple[bytes, bytes]], width: int) -> tuple[Keys, Keys]:
    """Spans of keys, both ends included, as `prefixes` gives them."""
    starts = _rows(b"".join(first for first, _ in spans), width)
    return starts, _behind(((last, 1) for _, last in spans), width)


def of_keys(kind: int, family: str, table: str, name: str, keys: Keys, lasting: int | None = None) -> Iterator[bytes]:
    """Messages that add (or remove) these keys; `lasting`: milliseconds after which the kernel drops them."""
    yield from _messages(kind, family, table, name, _elements(keys, lasting=lasting))


def of_intervals(kind: int, family: str, table: str, name: str, starts: Keys, ends: Keys) -> Iterator[bytes]:
    """Messages that add (or remove) these intervals, which must be disjoint."""
    both = np.hstack([_elements(starts), _elements(ends, end=True)])
    open_ended = ~ends.any(axis=1)
    yield from _messages(kind, family, table, name, both[~open_ended])
    yield from _messages(kind, family, table, name, _elements(starts[open_ended]))


def of_verdicts(kind: int, family: str, table: str, name: str, pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Messages that add (or remove) elements of a verdict map: key and verdict."""
    room: list[bytes] = []
    for key, verdict in pairs:
        room.append(a.nest(1, a.nest(1, a.attribute(1, key)), a.nest(2, verdict)))
        if len(room) == 500:
            yield _message(kind, family, table, name, b"".join(room))
            room = []
    if room:
        yield _message(kind, family, table, name, b"".join(room))


def keys_of(bodies: Sequence[bytes], width: int) -> tuple[Keys, npt.NDArray[np.bool_]]:
    """The keys in the element lists of messages that were read, and which of them are ends of intervals."""
    keys, ends = [_rows(b"", width)], [np.zeros(0, dtype=np.bool_)]
    for body in bodies:
        elements = a.read(body).get(3, b"")
        found = _of_one_form(elements, width)
        if found is None:
            found, marked = _of_many_forms(elements, width)
        else:
            marked = np.zeros(len(found), dtype=np.bool_)
        keys.append(found)
        ends.append(marked)
    return np.vstack(keys), np.concatenate(ends)


def _of_one_form(elements: bytes, width: int) -> Keys | None:
    """The keys of plain elements, read as columns; None where they hold more than a key."""
    form = np.frombuffer(a.nest(1, a.nest(1, a.attribute(1, bytes(width)))), dtype=np.uint8)
    if len(elements) % len(form):
        return None
    rows = np.frombuffer(elements, dtype=np.uint8).reshape(-1, len(form))
    same = (rows[:, :12] & _TYPE_BITS) == (form[:12] & _TYPE_BITS)
    return rows[:, 12 : 12 + width] if same.all() else None


_TYPE_BITS = np.tile(np.array([255, 255, 255, 63], dtype=np.uint8), 3)  # the kernel does not mark every nest


def _of_many_forms(elements: bytes, width: int) -> tuple[Keys, npt.NDArray[np.bool_]]:
    keys, ends = [], []
    for _, element in a.each(elements):
        found = a.read(element)
        keys.append(a.read(found[1])[1])
        ends.append(bool(a.number(found.get(3, b"\0")) & _INTERVAL_END))
    return _rows(b"".join(keys), width), np.array(ends, dtype=np.bool_)


def _each(keys: Keys) -> Iterator[bytes]:
    data, width = keys.tobytes(), keys.shape[1]
    return (data[at : at + width] for at in range(0, len(data), width))


def _behind(keys: Iterable[tuple[bytes, int]], width: int) -> Keys:
    """Each key and so many more, modulo the width."""
    wrapped = 1 << 8 * width
    sums = ((int.from_bytes(key, "big") + more) % wrapped for key, more in keys)
    return _rows(b"".join(value.to_bytes(width, "big") for value in sums), width)


def _rows(data: bytes, width: int) -> Keys:
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width)


def _elements(keys: Keys, *, end: bool = False, lasting: int | None = None) -> Keys:
    """One element a row: list element { key { value }, flags, timeout }."""
    width = keys.shape[1]
    more = (a.u32(3, _INTERVAL_END) if end else b"") + (b"" if lasting is None else a.u64(4, lasting))
    example = a.nest(1, a.nest(1, a.attribute(1, bytes(width))), more)
    rows = np.tile(np.frombuffer(example, dtype=np.uint8), (len(keys), 1))
    rows[:, 12 : 12 + width] = keys
    return rows


def _messages(kind: int, family: str, table: str, name: str, rows: Keys) -> Iterator[bytes]:
    if not len(rows):
        return
    step = ROOM // rows.shape[1]
    for start in range(0, len(rows), step):
        yield _message(kind, family, table, name, rows[start : start + step].tobytes())


def _message(kind: int, family: str, table: str, name: str, elements: bytes) -> bytes:
    body = a.text(1, table) + a.text(2, name) + a.nest(3, elements)
    return message(kind, family, body, CREATE if kind == NEW_ELEMENT else 0)


def without(keys: Keys, others: Keys) -> Keys:
    """The keys that are not among the others."""
    if not len(keys) or not len(others):
        return keys
    one, other = (np.ascontiguousarray(each).view(f"V{each.shape[1]}").ravel() for each in (keys, others))
    width = keys.shape[1]
    if width == 4:
        return keys[~np.isin(one.view(np.uint32), other.view(np.uint32))]
    known = set(other.tolist())
    return keys[[value not in known for value in one.tolist()]]


def set_name(table: str, name: str) -> bytes:
    """What names a set in a message about elements; alone: all of them."""
    return a.text(1, table) + a.text(2, name)
