"""Orders to a thread that is busy: what others ask is done between two of its turns, and they wait for the answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")


class Orders:
    """A queue of calls, done by the thread that owns what they touch."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()

    def ask(self, call: Callable[[], _T], seconds: float = 30.0) -> _T:
        """Have it done and wait for what it gives; its error is raised here.  Raises TimeoutError."""
        answer: Future[_T] = Future()
        self._waiting.put((call, answer))
        return answer.result(seconds)

    def do(self) -> int:
        """Do what waits, in the order in which it was asked; gives how much that was."""
        done = 0
        while True:
            try:
                call, answer = self._waiting.get_nowait()
            except Empty:
                return done
            done += 1
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(call())
                except BaseException as error:  # noqa: BLE001 - it is whoever asked who must know
                    answer.set_exception(error)
