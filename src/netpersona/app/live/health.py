"""How each part of the controller is: in order, or since when not and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Part:
    """One part: a sensor, the inventory, the store, the enforcer, a feed."""

    name: str
    well: bool
    since: int  # µs: when it came to be so
    says: str = ""  # the error, or what it is doing
    failures: int = 0  # since the start
    figures: Mapping[str, float | int | str] = field(default_factory=dict)  # units in the names


@dataclass(frozen=True, slots=True)
class Health:
    """All parts at one instant."""

    at: int  # µs
    started: int  # µs
    parts: tuple[Part, ...]

    @property
    def well(self) -> bool:
        """Whether every part is in order."""
        return all(part.well for part in self.parts)


class HealthBook:
    """Where the controller writes down how its parts are."""

    def __init__(self, started: int) -> None:
        self._started = started
        self._parts: dict[str, Part] = {}

    def well(self, name: str, at: int, says: str = "", **figures: float | str) -> None:
        """The part is in order."""
        before = self._parts.get(name)
        since = before.since if before is not None and before.well else at
        self._parts[name] = Part(name, True, since, says, before.failures if before else 0, figures)  # noqa: FBT003

    def ill(self, name: str, at: int, error: str) -> None:
        """The part failed, and why."""
        before = self._parts.get(name)
        since = before.since if before is not None and not before.well else at
        failures, figures = (before.failures, before.figures) if before else (0, {})
        self._parts[name] = Part(name, False, since, error, failures + 1, figures)  # noqa: FBT003

    def of(self, name: str) -> Part:
        """How the part is; one of which something was written down."""
        return self._parts[name]

    def gone(self, name: str) -> None:
        """The part is no more: an interface that its VM took along."""
        self._parts.pop(name, None)

    def at(self, at: int) -> Health:
        """How all parts are."""
        return Health(at, self._started, tuple(self._parts[name] for name in sorted(self._parts)))
