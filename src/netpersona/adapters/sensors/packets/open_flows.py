"""The flows that may go on, kept from batch to batch: a table whose rows stay where they are.

A batch takes out the few flows that it joins or ends and puts those back that go on, so its cost grows with the
flows that it touches; of the others only their hash and their last time are looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netpersona.adapters.sensors.packets.fingerprint import WIDTH
from netpersona.adapters.sensors.packets.packets import Flags, Ints, Words

Columns: TypeAlias = dict[str, NDArray[Any]]

KEY = {"a_hi": np.uint64, "a_lo": np.uint64, "b_hi": np.uint64, "b_lo": np.uint64, "word": np.int64}
SUMS = ("packets_a", "packets_b", "bytes_a", "bytes_b", "payload_a", "payload_b")
FIRSTS = {"opener": np.int64, "mac_a": np.uint64, "mac_b": np.uint64, "vlan": np.int64, "uid": np.uint64}
COLUMNS = {
    **KEY,
    **dict.fromkeys(("start", "last", *SUMS, "flags_a", "flags_b", "part"), np.int64),
    **FIRSTS,
}
NOT_YET = np.iinfo(np.int64).max  # the start of a part that has no packet yet

_FIRST_ROOM = 1024  # rows


def no_rows() -> Columns:
    """A table of flows without rows."""
    empty: Columns = {name: np.zeros(0, dtype) for name, dtype in COLUMNS.items()}
    return {**empty, "syn": np.zeros((0, WIDTH), np.uint16)}


class OpenFlows:
    """A table of flows (COLUMNS and `syn`), each with the hash of its key."""

    def __init__(self) -> None:
        self._columns = no_rows()
        self._hash: Words = np.zeros(0, np.uint64)
        self._used: Flags = np.zeros(0, bool)
        self._free: Ints = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """How many flows are open."""
        return len(self._used) - len(self._free)

    def rows(self) -> Ints:
        """Where flows stand."""
        return np.flatnonzero(self._used)

    def joined_by(self, hashes: Words) -> Flags:
        """Of all places: whether a flow stands there whose key has one of these hashes (sorted)."""
        if not len(hashes):
            return np.zeros(len(self._used), bool)
        # few of many are joined: a table of marks, small enough for the processor's cache, leaves out nearly all others
        bits = np.uint64((1 << min(max(len(hashes) * 32, 1 << 12).bit_length(), 24)) - 1)
        marks = np.zeros(int(bits) + 1, bool)
        marks[hashes & bits] = True
        maybe = np.flatnonzero(marks[self._hash & bits] & self._used)
        place = np.minimum(np.searchsorted(hashes, self._hash[maybe]), len(hashes) - 1)
        found = np.zeros(len(self._used), bool)
        found[maybe] = hashes[place] == self._hash[maybe]
        return found

    def silent(self, now: int, idle: Ints) -> Flags:
        """Of all places: whether a flow stands there that said nothing for longer than its `idle` (µs, of all)."""
        silent: Flags = self._used & (now - self._columns["last"] > idle)
        return silent

    def column(self, name: str) -> NDArray[Any]:
        """One column, free places included; it may be written to."""
        return self._columns[name]

    def at(self, rows: Ints, names: Collection[str] = ()) -> Columns:
        """A copy of these flows: the columns of these names, or all."""
        return {name: self._columns[name][rows] for name in names or self._columns}

    def take(self, rows: Ints) -> Columns:
        """These flows, which stand here no longer."""
        taken = self.at(rows)
        self._used[rows] = False
        self._free = np.concatenate([self._free, rows])
        return taken

    def put(self, flows: Columns, hashes: Words) -> None:
        """Keep these flows; `hashes` are those of their keys."""
        count = len(hashes)
        if count > len(self._free):
            self._grow(count - len(self._free))
        cut = len(self._free) - count
        rows, self._free = self._free[cut:], self._free[:cut]
        for name, column in self._columns.items():
            column[rows] = flows[name]
        self._hash[rows] = hashes
        self._used[rows] = True

    def _grow(self, missing: int) -> None:
        old = len(self._used)
        more = max(missing, old // 2, _FIRST_ROOM)
        for name, column in self._columns.items():
            room = np.zeros((old + more, *column.shape[1:]), column.dtype)
            room[:old] = column
            self._columns[name] = room
        self._hash = np.concatenate([self._hash, np.zeros(more, np.uint64)])
        self._used = np.concatenate([self._used, np.zeros(more, bool)])
        self._free = np.concatenate([self._free, np.arange(old, old + more)])
