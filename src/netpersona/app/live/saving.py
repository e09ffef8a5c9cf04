"""Checkpoints are written in a thread of their own, one after the other: judging waits for no disk.

the loop: begin(checkpoint) ----> writer: store.commit() ----> the loop: over(), once it is done
who asks: wait(number), until the checkpoint of this number is written, or was refused

Behind a checkpoint the store lets go what is too old, each hour, and first an hour after the start: a clock that was
wrong at boot is set by then.  And each ten minutes what was freed is given back to the system.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from netpersona.app.live.heap import give_back
from netpersona.app.live.orders import PATIENCE
from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.flow.window import HOUR, MINUTE
from netpersona.ports import Checkpoint, Forgotten, Keep, Store

_log = logging.getLogger("netpersona.live")
_GIVE_BACK = 10 * MINUTE  # µs, event time
_NAMED = 5  # VMs that were forgotten, of which the log tells the names


class Saving:
    """`wait` may be called from any thread, all else from the loop's.  `keep`: how long; None: for ever."""

    def __init__(self, store: Store, keep: Keep | None = None) -> None:
        self._store, self._keep = store, keep
        self._forget_at: int | None = None  # µs, event time
        self._given_back_at = 0  # µs, event time
        self._gone: tuple[VmId, ...] = ()  # that were forgotten, and not told by forgotten()
        self._writer = ThreadPoolExecutor(1, "store")
        self._writing: Future[None] | None = None
        self._begun = self._ended = 0
        self._told = threading.Condition()

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is under way."""
        return self._writing is not None

    @property
    def next(self) -> int:
        """The number of the checkpoint that will be begun next."""
        return self._begun + 1

    def begin(self, checkpoint: Checkpoint) -> None:
        """Write this; nobody changes it any more, and none other is under way."""
        self._begun += 1
        self._writing = self._writer.submit(self._write, checkpoint, self._begun)

    def over(self) -> Callable[[], None] | None:
        """What raises the StoreError of the checkpoint that is done now; None where none is done."""
        if self._writing is None or not self._writing.done():
            return None
        done, self._writing = self._writing, None
        return done.result

    def forgotten(self) -> tuple[VmId, ...]:
        """The VMs that the store forgot since this was last asked, while no checkpoint is under way."""
        gone, self._gone = self._gone, ()
        return gone

    def finish(self) -> None:
        """Wait until what is under way is done."""
        if self._writing is not None:
            self._writing.exception()

    def wait(self, number: int, seconds: float = PATIENCE) -> bool:
        """Wait until this checkpoint is written, or was refused; False: not in that time."""
        with self._told:
            return self._told.wait_for(lambda: self._ended >= number, seconds)

    def close(self) -> None:
        """Write nothing any more."""
        self._writer.shutdown()

    def _write(self, checkpoint: Checkpoint, number: int) -> None:
        try:
            self._store.commit(checkpoint)
        finally:
            with self._told:
                self._ended = number
                self._told.notify_all()
        if checkpoint.closed_until is None:
            return
        if self._keep is not None:
            self._forget(checkpoint.closed_until, self._keep)
        if abs(checkpoint.closed_until - self._given_back_at) >= _GIVE_BACK:  # clocks are set back too
            give_back()
            self._given_back_at = checkpoint.closed_until

    def _forget(self, at: int, keep: Keep) -> None:
        if self._forget_at is not None and at >= self._forget_at:
            try:
                gone = self._store.forget(at - keep.gone, at - keep.past)
            except StoreError as error:
                _log.warning("store: what is too old could not be let go, and will be in an hour: %s", error)
            else:
                self._gone += gone.vms
                if any(gone):
                    _log.info("store: forgotten for their age; %s", _in_words(gone))
        if self._forget_at is None or at >= self._forget_at:
            self._forget_at = at + HOUR


def _in_words(gone: Forgotten) -> str:
    more = " and others" if len(gone.vms) > _NAMED else ""
    counts = {
        "VMs that are gone": f"{len(gone.vms)} ({', '.join(gone.vms[:_NAMED])}{more})" if gone.vms else "",
        "versions of personas": gone.versions,
        "findings": gone.findings,
        "risk terms": gone.terms,
        "changes by people": gone.changes,
    }
    return ", ".join(f"{what}: {count}" for what, count in counts.items() if count)
