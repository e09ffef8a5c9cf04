"""Whose turn it is: the controller's thread, or one of those who ask it something, never two at once.

The controller waits for packets without holding the lock, and that is most of its time: who asks is answered at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from netpersona.errors import NetpersonaError

_T = TypeVar("_T")
PATIENCE = 30.0  # s


class Orders:
    """A lock on all that the controller holds."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def ask(self, call: Callable[[], _T]) -> _T:
        """Do something between two turns and give what it gives.  Raises NetpersonaError where the turn never ends."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise NetpersonaError(f"the controller has been busy for {PATIENCE:.0f} s; see 'netpersona status'")
        try:
            return call()
        finally:
            self._lock.release()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The controller's own turn."""
        with self._lock:
            yield
