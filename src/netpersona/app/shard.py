"""A process that judges beside another one, and how it is started: as little as must be read for that.

It takes a second until all of judging is loaded, so it is started as soon as it is known that there is much to judge.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from netpersona.app.collector import no_collector

MUCH = 64 * 1024 * 1024  # bytes of sources: some 500,000 flows
_THREADS = "POLARS_MAX_THREADS"


class Shard(NamedTuple):
    """The process, and the way to it."""

    process: BaseProcess
    connection: Connection


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def start(count: int) -> list[Shard]:
    """Start so many processes; they end with this one, or when it closes the connection."""
    spawn = multiprocessing.get_context("spawn")
    before = os.environ.get(_THREADS)
    os.environ.setdefault(_THREADS, "1")  # of theirs: they are as many as processors
    started = []
    for _ in range(count):
        here, there = spawn.Pipe()
        process = spawn.Process(target=main, args=(there,), daemon=True)
        process.start()
        there.close()
        started.append(Shard(process, here))
    if before is None:
        del os.environ[_THREADS]
    return started


def start_for(sources: Iterable[Path]) -> list[Shard]:
    """A process for each processor but one, if these files and folders hold much; none otherwise."""
    total = 0
    for size in _sizes(sources):
        total += size
        if total >= MUCH:
            return start(processors() - 1)
    return []


def _sizes(sources: Iterable[Path]) -> Iterator[int]:
    """Of each file; what cannot be read is told by who reads it."""
    for source in sources:
        for path in source.rglob("*") if source.is_dir() else [source]:
            try:
                yield path.stat().st_size
            except OSError:
                continue


def main(connection: Connection) -> None:
    """Judge as the other process asks.  Ends at once: who takes a million objects apart is waited for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process is interrupted too, and ends this one
    with no_collector():
        from netpersona.app.shards import judge_works  # loads all of judging

        judge_works(connection)
        os._exit(0)
