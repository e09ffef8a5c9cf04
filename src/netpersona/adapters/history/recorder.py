"""Writes a history beside the work that gives it flows: giving never waits, whatever the disk does.

    add(), close() -> what waits, bounded -> one thread -> History

What does not fit is dropped and counted; a history that fails is told of, and tried again with what comes next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import NamedTuple

from netpersona.errors import StoreError
from netpersona.flow.table import FlowBatch, batch
from netpersona.ports import History

WAITING_MOST = 1_000_000  # rows: two of the largest windows

View = Callable[[FlowBatch], FlowBatch]


class _Given(NamedTuple):
    """Rows to add; or the instant up to which all came; or whom to tell that all before is done."""

    rows: FlowBatch | None = None
    view: View | None = None
    until: int = 0
    done: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """How the recorder is."""

    written: int = 0  # flows
    waiting: int = 0  # rows
    dropped: int = 0  # flows that did not fit, or that the history failed to take
    error: str | None = None  # why the history failed last; None: the last that it was given is written


class Recorder:
    """One thread that writes a history.  Every method may be called from any thread; add() and close() never wait."""

    def __init__(self, history: History, most: int = WAITING_MOST) -> None:
        self._history, self._most = history, most
        self._given: SimpleQueue[_Given | None] = SimpleQueue()
        self._lock = threading.Lock()  # for the state alone, for as long as an addition takes
        self._state = Recorded()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def add(self, rows: FlowBatch, view: View) -> None:
        """Take flows and what was said in them; `view` orients them, in the recorder's thread."""
        size = _size(rows)
        with self._lock:
            fits = self._state.waiting + size <= self._most
            if fits:
                self._state = replace(self._state, waiting=self._state.waiting + size)
            else:
                self._state = replace(self._state, dropped=self._state.dropped + rows.flows.height)
        if fits:
            self._given.put(_Given(rows, view))

    def close(self, until: int) -> None:
        """All up to then (µs) was added: write it for good."""
        self._given.put(_Given(until=until))

    def state(self) -> Recorded:
        """How it is."""
        with self._lock:
            return self._state

    def settle(self, patience: float) -> bool:
        """Wait until all that was given so far is done, for so many seconds at most; whether it is."""
        done = threading.Event()
        self._given.put(_Given(done=done))
        return done.wait(patience)

    def stop(self, patience: float | None = None) -> bool:
        """Write what waits and end, within so many seconds; whether it did."""
        self._given.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        held, size = 0, 0  # flows that the history took and did not write yet; the rows of which they are
        while (given := self._given.get()) is not None:
            try:
                if given.rows is not None and given.view is not None:
                    held += self._history.add(given.rows, given.view)
                    size += _size(given.rows)
                elif given.done is not None:
                    given.done.set()
                else:
                    self._history.close(given.until)
                    self._note(written=held, waiting=-size, error=None)
                    held, size = 0, 0
            except Exception as error:  # noqa: BLE001 - the one place: what comes next is written nevertheless
                lost = batch() if given.rows is None else given.rows  # what was taken before stays for the next close()
                said = str(error) if isinstance(error, StoreError) else f"a fault of netpersona: {error!r}"
                self._note(dropped=lost.flows.height, waiting=-_size(lost), error=said)

    def _note(self, *, error: str | None, written: int = 0, waiting: int = 0, dropped: int = 0) -> None:
        with self._lock:
            was = self._state
            self._state = Recorded(was.written + written, was.waiting + waiting, was.dropped + dropped, error)


def _size(rows: FlowBatch) -> int:
    return rows.flows.height + rows.transactions.height
