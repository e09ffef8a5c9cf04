"""The one place that retries: runs a part, writes down how it is, and leaves one that failed alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from netpersona.app.live.health import HealthBook
from netpersona.app.live.journal import Journal
from netpersona.errors import NetpersonaError
from netpersona.flow.window import SECOND

_RETRY_MOST = 30 * SECOND

_T = TypeVar("_T")


class Supervisor:
    """Knows the instant (`now`, µs of event time), what is due, and how each part is."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.health = HealthBook(now)
        self.journal = Journal(now)
        self._due: dict[str, int] = {}  # what is to be done next when, µs
        self._delay: dict[str, int] = {}  # how long a failing part is left alone, µs

    def part(self, name: str, call: Callable[[], _T]) -> _T | None:
        """What the part gives; None where it fails, which is written down, or is left alone after it failed."""
        return None if self.rests(name) else self.tried(name, call)

    def rests(self, name: str) -> bool:
        """Whether the part failed, and is left alone now."""
        return self.now < self._due.get(f"retry {name}", 0)

    def tried(self, name: str, call: Callable[[], _T]) -> _T | None:
        """The same, whether it is left alone or not."""
        try:
            given = call()
        except Exception as error:  # noqa: BLE001 - the one place: no part takes the others with it
            known = isinstance(error, NetpersonaError)
            self._delay[name] = min(_RETRY_MOST, 2 * self._delay.get(name, SECOND // 4))
            self._due[f"retry {name}"] = self.now + self._delay[name]
            self.ill(name, str(error) if known else f"a fault of netpersona: {error!r}")
            if not known:
                self.journal.fault(name, error)
            return None
        self._delay.pop(name, None)
        self.well(name)
        return given

    def is_due(self, what: str, every: int) -> bool:
        """Whether it is time; if so, it is time again after so many µs."""
        if self.now < self._due.get(what, 0):
            return False
        self._due[what] = self.now + every
        return True

    def bring_forward(self, what: str) -> None:
        """It is time for it now."""
        self._due[what] = 0

    def put_off(self, what: str, span: int) -> None:
        """It is time for it so many µs from now."""
        self._due[what] = self.now + span

    def well(self, name: str, says: str = "", **figures: float | str) -> None:
        """The part is in order now."""
        self.health.well(name, self.now, says, **figures)
        self.journal.part(self.health.of(name), self.now)

    def state(self, name: str, says: str, *, well: bool, **figures: float | str) -> None:
        """The part is so now."""
        if well:
            self.well(name, says, **figures)
        else:
            self.ill(name, says)

    def ill(self, name: str, error: str) -> None:
        """The part fails now."""
        self.health.ill(name, self.now, error)
        self.journal.part(self.health.of(name), self.now)
