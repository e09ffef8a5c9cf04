"""Many hours of flows, sorted by lots of VMs, so that each lot can be judged by itself, by any process.

They are held in memory while they are few.  What is more, and a lot that another process is to judge, is written down.
"""

from __future__ import annotations

import pickle
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from netpersona.app.judging import Judging, Names, Seen
from netpersona.flow.table import conform, telling
from netpersona.flow.vm import VmId
from netpersona.persona.state import VmState
from netpersona.pipeline import Fleet

_T = TypeVar("_T")
_Begin = tuple[dict[VmId, VmState], Names]  # the states, and the names known, from which a lot is judged
_HELD = 1_000_000  # rows
_TABLES = ("flows", "transactions")


class Lots:
    """All that is to be judged, in `count` lots.  Another process, to which it pickles, judges what is written down.

    What goes beyond `limit` rows is written down too, below `directory`.
    """

    def __init__(self, directory: Path, count: int, limit: int = _HELD) -> None:
        self._directory = directory
        self._count = count
        self._limit = limit
        self._held: dict[tuple[int, str], list[pl.DataFrame]] = defaultdict(list)
        self._begin: dict[int, _Begin] = {}  # by lot, once all hours are there
        self._rows: Counter[int] = Counter()  # by lot
        self._written = 0  # of these rows
        self._times = 0  # how often what was held of all lots went to the disk
        self._fleets: dict[int, Fleet] = {}  # by hour, µs
        self._nothing: dict[str, pl.DataFrame] = {}  # each table with no row in it

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": {}, "_begin": {}}

    def add(self, seen: Seen) -> None:
        """Take some hours; they come in order."""
        self._fleets.update(seen.fleets)
        lots = {vm: lot_of(vm, self._count) for fleet in seen.fleets.values() for vm in fleet.vms}
        for name, table in zip(_TABLES, (seen.flows, seen.transactions), strict=True):
            self._nothing[name] = table.clear()
            for lot, part in _by_lot(table, lots):
                self._held[lot, name].append(part)
                self._rows[lot] += part.height
        if self._rows.total() - self._written > self._limit:
            for lot, name in list(self._held):
                self._write(lot, name)
            self._written = self._rows.total()
            self._times += 1

    def close(self, judging: Judging) -> None:
        """All hours are there; they will be judged from where `judging` stands."""
        for lot in range(self._count):
            states, names = _of(lot, self._count, judging.closed.states), _of(lot, self._count, judging.names)
            self._begin[lot] = states, names

    def by_size(self) -> list[int]:
        """The lots, the largest first."""
        return sorted(range(self._count), key=lambda lot: (-self._rows[lot], lot))

    def write(self, lot: int) -> None:
        """Write down what is held of the lot, for another process to judge it."""
        for name in _TABLES:
            self._write(lot, name)
        self._path(lot, "begin").write_bytes(pickle.dumps(self._begin.pop(lot)))

    def judge(self, lot: int, judging: Judging) -> None:
        """Judge the lot's VMs, from their first hour to their last."""
        states, names = self._begin.pop(lot) if lot in self._begin else self._written_begin(lot)
        judging.closed.states.update(states)
        judging.names.update(names)
        for time in range(self._times + 1):
            flows, transactions = (self._read(lot, name, time) for name in _TABLES)
            if flows.height or transactions.height:
                judging.judge(Seen(flows, transactions, self._fleets))

    def _write(self, lot: int, name: str) -> None:
        if parts := self._held.pop((lot, name), []):
            path = self._path(lot, f"{name}-{self._times}")
            telling(pl.concat(parts)).write_ipc(path, compression="uncompressed")

    def _read(self, lot: int, name: str, time: int) -> pl.DataFrame:
        """What of a lot's table was written down at this time, or is held yet."""
        path = self._path(lot, f"{name}-{time}")
        if path.exists():
            table = conform(pl.read_ipc(path), dict(self._nothing[name].schema))
            path.unlink()
            return table
        parts = self._held.pop((lot, name), []) if time == self._times else []
        return pl.concat(parts) if parts else self._nothing.get(name, pl.DataFrame())

    def _written_begin(self, lot: int) -> _Begin:
        begin: _Begin = pickle.loads(self._path(lot, "begin").read_bytes())  # noqa: S301 - written by write()
        return begin

    def _path(self, lot: int, what: str) -> Path:
        return self._directory / f"{lot}-{what}"


def _by_lot(table: pl.DataFrame, lots: Mapping[VmId, int]) -> Iterator[tuple[int, pl.DataFrame]]:
    """The table's rows by the lot of their VM."""
    marked = table.with_columns(lot=pl.col("vm").replace_strict(lots, return_dtype=pl.UInt16))
    ordered = marked.sort("lot", maintain_order=True)
    runs = ordered["lot"].rle().struct.unnest().select("value", "len")
    begin, ordered = 0, ordered.drop("lot")
    for lot, rows in runs.iter_rows():
        yield lot, ordered.slice(begin, rows)
        begin += rows


def lot_of(vm: VmId, count: int) -> int:
    """Which of `count` lots the VM is in; the same everywhere."""
    return zlib.crc32(vm.encode()) % count


def _of(lot: int, count: int, by_vm: Mapping[VmId, _T]) -> dict[VmId, _T]:
    return {vm: value for vm, value in by_vm.items() if lot_of(vm, count) == lot}
