r"""Judging on several processors: the VMs in lots, each judged from its first hour to its last by one process.

    hours --Lots--> early lots, by and by --> process 1: Judging --.
               \--> lot 12 --Arrow file-----> process 1            +--> joined
                \-> lot 9 ------------------> this process --------'

Some lots another process has from the first hours on, so that it judges while this one still sorts the later hours.  Of
the rest, who is done with a lot takes the next, so all are busy to the end.  Which process judges which lot is chance
and changes nothing: no VM depends on another, and each one's windows are judged in order.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from netpersona.app.judging import Judging, Seen
from netpersona.app.lots import Lots, Work
from netpersona.app.shard import Shard, start
from netpersona.app.stopwatch import peak_memory
from netpersona.errors import NetpersonaError
from netpersona.pipeline import Fleet

_LOTS = 16  # for each process: so many that all end at nearly the same time
_EARLY = 4  # lots that each other process has from the first hours on
_PORTION = 30_000  # rows of its early lots that a process is given at a time: fewer are dear to group
_AHEAD = 2  # works that a process has at a time: while it is told of one it judges the other
_ENDED = "a judging process ended before its work was done; is there enough memory?"


class Shards:
    """Judges with `count` processes beside this one; those `started` are some of them.  A context manager."""

    def __init__(self, count: int, started: Sequence[Shard] = ()) -> None:
        self.memory = 0  # bytes: the sum of the other processes' peaks, once they are done
        self._count = count
        self._helpers = [_Helper(shard) for shard in started]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for helper in self._helpers:
            helper.end(at_once=kind is not None)

    def start(self) -> bool:
        """Start the processes, once, and say whether there are any: there is much to judge."""
        self._helpers += [_Helper(shard) for shard in start(self._count - len(self._helpers))]
        return bool(self._helpers)

    def judged(self, hours: Iterable[Seen], judging: Judging) -> Judging:
        """What comes of judging the hours, which come in order, from where `judging` stands."""
        whole = Judging(judging.ground, judging.horizon)
        with tempfile.TemporaryDirectory(prefix="netpersona-") as directory:
            lots = Lots(Path(directory), (self._count + 1) * _LOTS, judging)
            waiting = self._sorted(hours, lots, whole)
            self._judge(lots, waiting, whole)
            for helper in self._helpers:
                outcome, memory = helper.outcome()
                whole.join(Judging(judging.ground, judging.horizon, *outcome))
                self.memory += memory
        return whole

    def _sorted(self, hours: Iterable[Seen], lots: Lots, whole: Judging) -> deque[int]:
        """Sort the hours into lots, and hand over the early ones meanwhile; gives the rest, the largest first."""
        early = {helper: range(n * _EARLY, (n + 1) * _EARLY) for n, helper in enumerate(self._helpers)}
        for helper in self._helpers:
            helper.begin(whole)
        for seen in hours:
            lots.add(seen)
            for helper, its in early.items():
                if lots.held(its) >= _PORTION and helper.free():
                    helper.give(lots, its)
        for helper, its in early.items():
            helper.give(lots, its)
        return deque(lot for lot in lots.by_size() if lot >= len(self._helpers) * _EARLY)

    def _judge(self, lots: Lots, waiting: deque[int], whole: Judging) -> None:
        """Judge the lots, here and there."""
        while waiting:
            for helper in self._helpers:
                while waiting and helper.free():
                    helper.give(lots, [waiting.popleft()])
            if waiting:
                lots.judge(waiting.popleft(), whole)


class _Helper:
    """Another process, from this one's side."""

    def __init__(self, shard: Shard) -> None:
        self._process, self._connection = shard
        self._ahead = 0  # works that it was given and has not done
        self._told: set[int] = set()  # the hours whose fleet it knows

    def begin(self, judging: Judging) -> None:
        """Tell it what to judge with."""
        self._tell(judging)

    def free(self) -> bool:
        """Whether it should be given more."""
        while self._connection.poll():
            self._answer()
            self._ahead -= 1
        return self._ahead < _AHEAD

    def give(self, lots: Lots, its: Sequence[int]) -> None:
        """Have it judge what there is of these lots."""
        fleets = {hour: fleet for hour, fleet in lots.fleets.items() if hour not in self._told}
        self._told.update(fleets)
        self._tell((lots.hand_over(its), fleets))
        self._ahead += 1

    def outcome(self) -> Any:
        """What it judged, once it is done, and its peak of memory in bytes."""
        self._tell(None)
        while (answer := self._answer()) is None:
            pass
        return answer

    def end(self, *, at_once: bool) -> None:
        """Wait until it has ended."""
        self._connection.close()
        if at_once:
            self._process.terminate()
        self._process.join()

    def _tell(self, what: object) -> None:
        try:
            self._connection.send(what)
        except OSError as error:
            raise NetpersonaError(_ENDED) from error

    def _answer(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise NetpersonaError(_ENDED) from error
        if isinstance(answer, NetpersonaError):
            raise answer
        return answer


def judge_works(connection: Connection) -> None:
    """Another process: works in, a word for each that is done, and at the end what was judged."""
    try:
        whole: Judging = connection.recv()
        fleets: dict[int, Fleet] = {}
        while (told := connection.recv()) is not None:
            work: Work = told[0]
            fleets.update(told[1])
            work.judge(whole, fleets)
            connection.send(None)
        connection.send(((whole.closed, whole.open, whole.names, whole.at), peak_memory()))
    except NetpersonaError as error:
        connection.send(error)
    except EOFError:
        return  # the process that asked is gone
