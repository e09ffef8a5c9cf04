"""Many hours of flows, sorted by lots of VMs, so that each lot can be judged by itself, by any process.

They are held in memory while they are few.  What is more, and what another process is to judge, is written down.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from netpersona.app.judging import Judging, Names, Seen
from netpersona.flow.table import conform, telling
from netpersona.flow.vm import VmId
from netpersona.persona.state import VmState
from netpersona.pipeline import Fleet

_HELD = 1_000_000  # rows
_Begin = tuple[dict[VmId, VmState], Names]  # the states, and the names known, from which VMs are judged
_Part = list[list[Path]]  # the files of some hours: of flows, and of transactions
_Layout = dict[str, pl.DataType | type[pl.DataType]]


class Work(NamedTuple):
    """Hours of some lots, written down for another process, to which it pickles.  Judging uses the files up."""

    begin: Path | None  # from where the VMs are judged; None: from where earlier work left them
    parts: Sequence[_Part]  # in order of time
    layouts: Sequence[_Layout]  # of flows, and of transactions

    def judge(self, judging: Judging, fleets: Mapping[int, Fleet]) -> None:
        """Judge the hours; `fleets` has which VMs were known by each of them."""
        if self.begin is not None:
            _start(judging, pickle.loads(self.begin.read_bytes()))  # noqa: S301 - written by hand_over()
            self.begin.unlink()
        for part in self.parts:
            _judge(judging, _read(part, self.layouts), fleets)


class Lots:
    """All that is to be judged from where `judging` stands, in `count` lots.

    What goes beyond `limit` rows is written down, below `directory`.
    """

    def __init__(self, directory: Path, count: int, judging: Judging, limit: int = _HELD) -> None:
        self.fleets: dict[int, Fleet] = {}  # by hour, µs
        self._directory = directory
        self._limit = limit
        self._begin = _begin(judging, count)  # by lot
        self._held: list[list[list[pl.DataFrame]]] = [[[], []] for _ in range(count)]  # lot -> flows, transactions
        self._held_rows = [0] * count
        self._written: list[list[_Part]] = [[] for _ in range(count)]
        self._rows = [0] * count
        self._files = 0
        self._layouts: list[_Layout] = [{}, {}]

    def add(self, seen: Seen) -> None:
        """Take some hours; they come in order."""
        self.fleets.update(seen.fleets)
        lots = {vm: lot_of(vm, len(self._rows)) for fleet in seen.fleets.values() for vm in fleet.vms}
        self._layouts = [dict(seen.flows.schema), dict(seen.transactions.schema)]
        for index, table in enumerate((seen.flows, seen.transactions)):
            for lot, rows in _by_lot(table, lots):
                self._held[lot][index].append(rows)
                self._held_rows[lot] += rows.height
                self._rows[lot] += rows.height
        if sum(self._held_rows) > self._limit:
            for lot in range(len(self._rows)):
                self._write(lot)

    def by_size(self) -> list[int]:
        """The lots, the largest first."""
        return sorted(range(len(self._rows)), key=lambda lot: (-self._rows[lot], lot))

    def held(self, lots: Sequence[int]) -> int:
        """How many rows of these lots are held in memory."""
        return sum(self._held_rows[lot] for lot in lots)

    def hand_over(self, lots: Sequence[int]) -> Work:
        """What there is of these lots by now and was not handed over yet, for another process, and always the same."""
        for lot in lots:
            self._write(lot)
        times = zip(*(self._written[lot] for lot in lots), strict=True)
        parts = [[[path for part in time for path in part[index]] for index in range(2)] for time in times]
        for lot in lots:
            self._written[lot] = []
        return Work(self._written_begin(lots), parts, self._layouts)

    def judge(self, lot: int, judging: Judging) -> None:
        """Judge a lot, of which nothing was handed over, in this process."""
        _start(judging, self._begin.pop(lot))
        for part in self._written[lot]:
            _judge(judging, _read(part, self._layouts), self.fleets)
        held, self._held[lot] = self._held[lot], [[], []]
        _judge(
            judging, [_joined(frames, layout) for frames, layout in zip(held, self._layouts, strict=True)], self.fleets
        )

    def _write(self, lot: int) -> None:
        """Write down what is held of the lot; lots that are written down together have their parts in step."""
        part: _Part = [[], []]
        for files, frames in zip(part, self._held[lot], strict=True):
            if frames:
                files.append(self._new_path())
                telling(pl.concat(frames)).write_ipc(files[0], compression="uncompressed")
        self._written[lot].append(part)
        self._held[lot], self._held_rows[lot] = [[], []], 0

    def _written_begin(self, lots: Sequence[int]) -> Path | None:
        begins = [self._begin.pop(lot) for lot in lots if lot in self._begin]
        if not begins:
            return None
        whole: _Begin = ({}, {})
        for states, names in begins:
            whole[0].update(states)
            whole[1].update(names)
        path = self._new_path()
        path.write_bytes(pickle.dumps(whole))
        return path

    def _new_path(self) -> Path:
        self._files += 1
        return self._directory / str(self._files)


def lot_of(vm: VmId, count: int) -> int:
    """Which of `count` lots the VM is in; the same everywhere."""
    return zlib.crc32(vm.encode()) % count


def _begin(judging: Judging, count: int) -> dict[int, _Begin]:
    """Where each lot begins."""
    begin: dict[int, _Begin] = {lot: ({}, {}) for lot in range(count)}
    for vm, state in judging.closed.states.items():
        begin[lot_of(vm, count)][0][vm] = state
    for vm, names in judging.names.items():
        begin[lot_of(vm, count)][1][vm] = names
    return begin


def _start(judging: Judging, begin: _Begin) -> None:
    states, names = begin
    judging.closed.states.update(states)
    judging.names.update(names)


def _judge(judging: Judging, tables: Sequence[pl.DataFrame], fleets: Mapping[int, Fleet]) -> None:
    flows, transactions = tables
    if flows.height or transactions.height:
        judging.judge(Seen(flows, transactions, fleets))


def _read(part: _Part, layouts: Sequence[_Layout]) -> list[pl.DataFrame]:
    """The tables of a part; its files are used up."""
    tables = []
    for paths, layout in zip(part, layouts, strict=True):
        tables.append(_joined([conform(pl.read_ipc(path), layout) for path in paths], layout))
        for path in paths:
            path.unlink()
    return tables


def _joined(frames: Sequence[pl.DataFrame], layout: _Layout) -> pl.DataFrame:
    return pl.concat(frames) if frames else pl.DataFrame(schema=layout)


def _by_lot(table: pl.DataFrame, lots: Mapping[VmId, int]) -> Iterator[tuple[int, pl.DataFrame]]:
    """The table's rows by the lot of their VM."""
    marked = table.with_columns(lot=pl.col("vm").replace_strict(lots, return_dtype=pl.UInt16))
    ordered = marked.sort("lot", maintain_order=True)
    runs = ordered["lot"].rle().struct.unnest().select("value", "len")
    begin, ordered = 0, ordered.drop("lot")
    for lot, rows in runs.iter_rows():
        yield lot, ordered.slice(begin, rows)
        begin += rows
