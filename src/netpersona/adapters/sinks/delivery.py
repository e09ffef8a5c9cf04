"""Tells a sink beside the work that finds: giving never waits, whatever the other side does.

    give() -> what is new of the findings -> what waits, bounded, the newest form of each -> one thread -> Sink

A finding is told when it is new, when it becomes an alert or more severe, and when it was seen for EVERY longer.  Where
the sink fails, what waits is told again, later and later; what does not fit is dropped, the oldest first, and counted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from netpersona.errors import SinkError
from netpersona.flow.window import MINUTE
from netpersona.ports import News, Sink, Told
from netpersona.risk.finding import Finding

WAITING_MOST = 10_000  # findings
REMEMBERED = 10_000  # findings of which it is known what was told
EVERY = 5 * MINUTE  # µs of event time
_AT_ONCE = 500  # findings in one telling
_PAUSE = 2.0  # s
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 300.0  # s


@dataclass(frozen=True, slots=True)
class Delivered:
    """How a delivery is."""

    place: str
    taken: int = 0
    left_out: int = 0
    refused: int = 0
    dropped: int = 0  # that did not fit, or that a fault of ours kept from being told
    waiting: int = 0
    error: str | None = None  # why the last telling failed


class Delivery:
    """One thread that tells one sink.  give() and state() may be called from any thread, and never wait.

    `everything`: also what is no alert.  `pause` (s) lies between tellings, so that a sink takes little of a processor;
    `delay` (s) is the first pause after a failure, each one is twice the last.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        everything: bool = False,
        most: int = WAITING_MOST,
        pause: float = _PAUSE,
        delay: float = _FIRST_DELAY,
    ) -> None:
        self._sink, self._everything, self._most = sink, everything, most
        self._pause, self._delay = pause, delay
        self._waiting: dict[str, News] = {}
        self._given: dict[str, Finding] = {}  # what was given last of each, in the order of giving
        self._news = threading.Condition()
        self._over = False
        self._state = Delivered(sink.place)
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def give(self, findings: Iterable[Finding]) -> None:
        """Tell what is new of these."""
        with self._news:
            for finding in findings:
                before = self._given.get(finding.id)
                if (finding.alert or self._everything or before is not None) and _is_news(finding, before):
                    self._given.pop(finding.id, None)
                    self._given[finding.id] = finding
                    self._wait(News(finding, before is not None))
            while len(self._given) > REMEMBERED:
                del self._given[next(iter(self._given))]
            if self._waiting:
                self._news.notify()

    def state(self) -> Delivered:
        """How it is."""
        with self._news:
            return replace(self._state, waiting=len(self._waiting))

    def stop(self, patience: float | None = None) -> bool:
        """Tell what waits, once more where it failed, and end within so many seconds; whether it did."""
        with self._news:
            self._over = True
            self._news.notify()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _wait(self, news: News) -> None:
        before = self._waiting.pop(news.finding.id, None)
        self._waiting[news.finding.id] = news if before is None else news._replace(again=before.again)
        if len(self._waiting) > self._most:
            del self._waiting[next(iter(self._waiting))]
            self._state = replace(self._state, dropped=self._state.dropped + 1)

    def _run(self) -> None:
        delay = failing = 0.0
        while (news := self._next(delay)) is not None:
            delay = self._pause
            try:
                self._note(self._sink.tell(news), None)
                failing = 0.0
            except SinkError as error:
                self._note(Told(), str(error))
                delay = failing = min(_LONGEST_DELAY, max(self._delay, 2 * failing))
                if not self._again(news):
                    return
            except Exception as error:  # noqa: BLE001 - the one place: the next findings are told nevertheless
                self._note(Told(), f"a fault of netpersona: {error!r}", dropped=len(news))

    def _next(self, delay: float) -> list[News] | None:
        """What is to be told next, once `delay` (s) is over and there is any; None: nothing more ever."""
        with self._news:
            self._news.wait_for(lambda: self._over, delay)
            self._news.wait_for(lambda: self._over or self._waiting)
            chosen = list(self._waiting)[:_AT_ONCE]
            return [self._waiting.pop(name) for name in chosen] or None

    def _again(self, news: list[News]) -> bool:
        """Let them wait again, before what came meanwhile; whether they will ever be told."""
        with self._news:
            newer, self._waiting = self._waiting, {each.finding.id: each for each in news}
            for each in newer.values():
                self._wait(each)
            return not self._over

    def _note(self, told: Told, error: str | None, dropped: int = 0) -> None:
        with self._news:
            was = self._state
            self._state = replace(
                was,
                taken=was.taken + told.taken,
                left_out=was.left_out + told.left_out,
                refused=was.refused + told.refused,
                dropped=was.dropped + dropped,
                error=error,
            )


def _is_news(finding: Finding, before: Finding | None) -> bool:
    if before is None:
        return True
    changed = (finding.alert, finding.severity) != (before.alert, before.severity)
    return changed or finding.last_seen >= before.last_seen + EVERY
