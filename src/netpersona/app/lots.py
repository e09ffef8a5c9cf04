"""Many hours of flows on the disk, sorted by lots of VMs, so that each lot can be judged by itself, by any process."""

from __future__ import annotations

import pickle
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import polars as pl

from netpersona.app.judging import Judging, Seen
from netpersona.flow.vm import VmId
from netpersona.pipeline import Fleet

_T = TypeVar("_T")
_HELD = 800_000  # rows that are held before they go to the disk


class Lots:
    """All that is to be judged, in `count` lots below `directory`.  It pickles, once closed."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory = directory
        self._count = count
        self._held: dict[tuple[int, str], list[pl.DataFrame]] = defaultdict(list)
        self._rows: Counter[int] = Counter()  # by lot
        self._written = 0  # of these rows
        self._times = 0  # how often what was held went to the disk
        self._fleets: dict[int, Fleet] = {}  # by hour, µs

    def add(self, seen: Seen) -> None:
        """Take some hours; they come in order."""
        self._fleets.update(seen.fleets)
        lots = {vm: lot_of(vm, self._count) for fleet in seen.fleets.values() for vm in fleet.vms}
        for name, table in (("flows", seen.flows), ("transactions", seen.transactions)):
            marked = table.with_columns(lot=pl.col("vm").replace_strict(lots, return_dtype=pl.Int64))
            parts = marked.partition_by("lot", as_dict=True, include_key=False)
            for lot in range(self._count):
                part = parts.get((lot,), table.clear())
                self._held[lot, name].append(part)
                self._rows[lot] += part.height
        if self._rows.total() - self._written > _HELD:
            self._write()

    def close(self, judging: Judging) -> None:
        """All hours are there; they will be judged from where `judging` stands."""
        if self._held:
            self._write()
        for lot in range(self._count):
            begin = _of(lot, self._count, judging.closed.states), _of(lot, self._count, judging.names)
            self._path(lot, "begin").write_bytes(pickle.dumps(begin))

    def by_size(self) -> list[int]:
        """The lots, the largest first."""
        return sorted(range(self._count), key=lambda lot: (-self._rows[lot], lot))

    def judge(self, lot: int, judging: Judging) -> None:
        """Judge the lot's VMs, from their first hour to their last."""
        states, names = pickle.loads(self._path(lot, "begin").read_bytes())  # noqa: S301 - written by close()
        judging.closed.states.update(states)
        judging.names.update(names)
        for time in range(self._times):
            flows, transactions = (self._read(lot, f"{name}-{time}") for name in ("flows", "transactions"))
            judging.judge(Seen(flows, transactions, self._fleets))

    def _write(self) -> None:
        for (lot, name), parts in self._held.items():
            pl.concat(parts).write_ipc(self._path(lot, f"{name}-{self._times}"), compression="uncompressed")
        self._held.clear()
        self._written = self._rows.total()
        self._times += 1

    def _read(self, lot: int, what: str) -> pl.DataFrame:
        path = self._path(lot, what)
        table = pl.read_ipc(path)
        path.unlink()
        return table

    def _path(self, lot: int, what: str) -> Path:
        return self._directory / f"{lot}-{what}"


def lot_of(vm: VmId, count: int) -> int:
    """Which of `count` lots the VM is in; the same everywhere."""
    return zlib.crc32(vm.encode()) % count


def _of(lot: int, count: int, by_vm: Mapping[VmId, _T]) -> dict[VmId, _T]:
    return {vm: value for vm, value in by_vm.items() if lot_of(vm, count) == lot}
