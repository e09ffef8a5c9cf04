"""Judging on several processors: the VMs in lots, each judged from its first hour to its last by one process.

    hours --Lots--> lot 3 --Arrow file--> process 1: Judging --.
                    lot 0 --Arrow file--> process 2: Judging --+--> joined
                    lot 2 --------------> this process --------'

Who is done with a lot takes the next, so all are busy to the end.  Which process judges which lot is chance and changes
nothing: no VM depends on another, and each one's windows are judged in order.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections import deque
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from netpersona.app import shard
from netpersona.app.judging import Judging, Seen
from netpersona.app.lots import Lots
from netpersona.app.report import peak_memory
from netpersona.errors import NetpersonaError

_LOTS = 16  # for each process: so many that all end at nearly the same time
_ENDED = "a judging process ended before its work was done; is there enough memory?"
_AHEAD = 2  # lots that a process beside this one has at a time: while it is told of one it judges the other


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


class Shards:
    """Judges with `count` processes beside this one.  A context manager: they end with it."""

    def __init__(self, count: int) -> None:
        self.memory = 0  # bytes: the sum of the other processes' peaks, once they are done
        self._directory = tempfile.TemporaryDirectory(prefix="netpersona-")
        self._lots = Lots(Path(self._directory.name), (count + 1) * _LOTS)
        self._count = count
        self._helpers: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, connection in self._helpers:
            connection.close()
            if kind is not None:
                process.terminate()
            process.join()
        self._directory.cleanup()

    def start(self) -> bool:
        """Start the processes, once, and say whether there are any: there is much to judge."""
        spawn = multiprocessing.get_context("spawn")
        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # of the processes to come: they are as many as processors
        while len(self._helpers) < self._count:
            here, there = spawn.Pipe()
            process = spawn.Process(target=shard.main, args=(there,), daemon=True)
            process.start()
            there.close()
            self._helpers.append((process, here))
        return bool(self._helpers)

    def add(self, seen: Seen) -> None:
        """Take some hours to be judged; they come in order."""
        self._lots.add(seen)

    def judged(self, judging: Judging) -> Judging:
        """What comes of judging all that was added, from where `judging` stands."""
        self._lots.close(judging)
        waiting = deque(self._lots.by_size())
        whole = Judging(judging.ground, judging.horizon)
        connections = [connection for _, connection in self._helpers]
        for connection in connections:
            _tell(connection, (self._lots, whole))
            for _ in range(_AHEAD):
                self._give(waiting, connection)
        while waiting:
            self._lots.judge(waiting.pop(), whole)
            for connection in connections:
                while waiting and connection.poll():
                    _answer(connection)
                    self._give(waiting, connection)
        for connection in connections:
            _tell(connection, None)
            while (answer := _answer(connection)) is None:
                pass
            outcome, memory = answer
            whole.join(Judging(judging.ground, judging.horizon, *outcome))
            self.memory += memory
        return whole

    def _give(self, waiting: deque[int], connection: Connection) -> None:
        """Let another process judge the largest lot that waits; the smallest are judged here."""
        if waiting:
            lot = waiting.popleft()
            self._lots.write(lot)
            _tell(connection, lot)


def _tell(connection: Connection, what: object) -> None:
    try:
        connection.send(what)
    except OSError as error:
        raise NetpersonaError(_ENDED) from error


def _answer(connection: Connection) -> Any:
    try:
        answer = connection.recv()
    except (EOFError, OSError) as error:
        raise NetpersonaError(_ENDED) from error
    if isinstance(answer, NetpersonaError):
        raise answer
    return answer


def judge_lots(connection: Connection) -> None:
    """Another process: lots in, a word for each that is done, and at the end what was judged."""
    try:
        lots, whole = connection.recv()
        while (lot := connection.recv()) is not None:
            lots.judge(lot, whole)
            connection.send(None)
        connection.send(((whole.closed, whole.open, whole.names, whole.at), peak_memory()))
    except NetpersonaError as error:
        connection.send(error)
    except (EOFError, KeyboardInterrupt):
        return  # the process that asked is gone
