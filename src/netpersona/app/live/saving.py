"""Checkpoints are written in a thread of their own, one after the other: judging waits for no disk.

the loop: begin(checkpoint) ----> writer: store.commit() ----> the loop: over(), once it is done
who asks: wait(number), until the checkpoint of this number is written, or was refused
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from netpersona.app.live.orders import PATIENCE
from netpersona.ports import Checkpoint, Store


class Saving:
    """`wait` may be called from any thread, all else from the loop's."""

    def __init__(self, store: Store) -> None:
        self._store = store
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
