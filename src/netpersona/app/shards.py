"""Judging on several processors: each process has its own VMs, and no two processes share one.

    hour --> Arrow files --> process 0: Judging of the VMs whose hash is 0 --.
                         --> process 1: Judging of the VMs whose hash is 1 --+--> joined

Every VM's windows are judged in order by one process, so the result is the same as that of one process alone.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import zlib
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from netpersona.app.judging import Hour, Judging, no_collector
from netpersona.app.report import peak_memory
from netpersona.errors import NetpersonaError
from netpersona.observation.observe import FLOW_COLUMNS, TRANSACTION_COLUMNS

_AHEAD = 3  # hours that may lie written and not yet judged, for each process


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


class Shards:
    """Several processes that judge together.  A context manager: the processes end with it."""

    def __init__(self, judging: Judging, count: int) -> None:
        self._judging = judging
        self._directory = tempfile.TemporaryDirectory(prefix="netpersona-")
        spawn = multiprocessing.get_context("spawn")
        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # of the processes to come: they are as many as processors
        self._workers = []
        for shard in range(count):
            here, there = spawn.Pipe()
            process = spawn.Process(target=_work, args=(there,), daemon=True)
            process.start()
            there.close()
            here.send(_part(judging, shard, count))
            self._workers.append((process, here))
        self.memory = 0  # bytes: the sum of the processes' peaks, once they are done
        self._hours = self._cleared = 0  # how many hours were given out, and how many are gone from the disk
        self._done = [0] * count  # how many hours each process has judged

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, connection in self._workers:
            connection.close()
            if kind is not None:
                process.terminate()
            process.join()
        self._directory.cleanup()

    def hour(self, hour: Hour) -> None:
        """Judge one hour; hours come in order."""
        flows, transactions = self._files(self._hours)
        hour.flows.select(FLOW_COLUMNS).write_ipc(flows, compression="uncompressed")
        hour.transactions.select(TRANSACTION_COLUMNS).write_ipc(transactions, compression="uncompressed")
        self._hours += 1
        count = len(self._workers)
        for shard, (_, connection) in enumerate(self._workers):
            self._wait(shard, _AHEAD)
            own = hour.fleet.part([vm for vm in hour.fleet.vms if shard_of(vm, count) == shard])
            connection.send((flows, transactions, own, hour.addresses))
        self._clear()

    def _files(self, number: int) -> tuple[Path, Path]:
        """Where the tables of an hour lie for the processes to read."""
        directory = Path(self._directory.name)
        return directory / f"{number}-flows.arrow", directory / f"{number}-transactions.arrow"

    def _clear(self) -> None:
        """Remove the files of hours that every process has judged."""
        while self._cleared < min(self._done):
            for path in self._files(self._cleared):
                path.unlink()
            self._cleared += 1

    def finish(self) -> Judging:
        """What all of them judged, joined."""
        whole = Judging(self._judging.ground, self._judging.horizon)
        for _, connection in self._workers:
            connection.send(None)
        for shard, (_, connection) in enumerate(self._workers):
            self._wait(shard, 0)
            judged, memory = self._receive(connection)
            whole.join(judged)
            self.memory += memory
        return whole

    def _wait(self, shard: int, ahead: int) -> None:
        """Until at most `ahead` of the shard's hours are not judged yet."""
        connection = self._workers[shard][1]
        while self._hours - self._done[shard] > ahead:
            self._receive(connection)
            self._done[shard] += 1

    def _receive(self, connection: Connection) -> Any:
        try:
            answer = connection.recv()
        except EOFError as error:
            raise NetpersonaError(
                "a judging process ended before its work was done; is there enough memory?"
            ) from error
        if isinstance(answer, NetpersonaError):
            raise answer
        return answer


def shard_of(vm: str, count: int) -> int:
    """Which of `count` processes judges this VM; the same everywhere."""
    return zlib.crc32(vm.encode()) % count


def _part(judging: Judging, shard: int, count: int) -> Judging:
    """The judging of one shard's VMs, from where they stand."""
    part = Judging(judging.ground, judging.horizon)
    part.closed.states = {vm: state for vm, state in judging.closed.states.items() if shard_of(vm, count) == shard}
    part.names = {vm: names for vm, names in judging.names.items() if shard_of(vm, count) == shard}
    return part


def _work(connection: Connection) -> None:
    """One process: hours in, a word for each that is done, and at the end what was judged."""
    try:
        judging: Judging = connection.recv()
        with no_collector():
            while (task := connection.recv()) is not None:
                flows, transactions, fleet, addresses = task
                judging.hour(Hour(pl.read_ipc(flows), pl.read_ipc(transactions), fleet, addresses))
                connection.send(None)
            connection.send((judging, peak_memory()))
    except NetpersonaError as error:
        connection.send(error)
    except (EOFError, KeyboardInterrupt):
        return  # the process that asked is gone
