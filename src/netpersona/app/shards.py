"""Judging on several processors: each process has its own VMs, and no two processes share one.

    hour --> split by a hash of the VM --> Arrow files --> process 0: Judging of its VMs --.
                                                      --> process 1: Judging of its VMs --+--> joined

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
        self._sent = [0] * count
        self._done = [0] * count

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
        count = len(self._workers)
        shards = {vm: shard_of(vm, count) for vm in hour.vms}
        table = pl.DataFrame(
            {"vm": list(shards), "shard": list(shards.values())}, schema={"vm": pl.String, "shard": pl.Int64}
        )
        split = [part.join(table, on="vm") for part in (hour.flows, hour.transactions)]
        for shard, (_, connection) in enumerate(self._workers):
            self._wait(shard, _AHEAD)
            paths = []
            for name, part in zip(("flows", "transactions"), split, strict=True):
                path = Path(self._directory.name) / f"{shard}-{self._sent[shard]}-{name}.arrow"
                part.filter(pl.col("shard") == shard).drop("shard").write_ipc(path, compression="uncompressed")
                paths.append(path)
            own = {vm: hour.vms[vm] for vm, number in shards.items() if number == shard}
            connection.send((paths[0], paths[1], own, hour.addresses))
            self._sent[shard] += 1

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
        while self._sent[shard] - self._done[shard] > ahead:
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
                flows, transactions, vms, addresses = task
                judging.hour(Hour(pl.read_ipc(flows), pl.read_ipc(transactions), vms, addresses))
                flows.unlink()
                transactions.unlink()
                connection.send(None)
            connection.send((judging, peak_memory()))
    except NetpersonaError as error:
        connection.send(error)
    except (EOFError, KeyboardInterrupt):
        return  # the process that asked is gone
