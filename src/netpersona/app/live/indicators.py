"""The indicators of the moment: feed files, read again when they change, and feeds that are pushed to.

What a feed said last stays in force while it cannot be read; what the gate refuses never gets in, pushed or not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.live.service import FeedState
from netpersona.errors import ConfigError, FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.gate import Protected, objection, refuse
from netpersona.intel.indicators import AllowList, IndicatorSet

PUSHED_MOST = 100_000  # values in one feed that is pushed to
PUSHED_CONFIDENCE = 0.9


class Rebuilt(NamedTuple):
    """What rebuild() came to."""

    generation: int
    snapshots: Mapping[str, FeedSnapshot]
    indicators: IndicatorSet


@dataclass(slots=True)
class LiveIndicators:
    """All feeds with what each says now; `pushed` holds the values of feeds that have no file."""

    feeds: Sequence[FileFeed]
    pushed: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)  # feed -> why it cannot be read now
    _allow: AllowList = field(default_factory=AllowList)
    _protected: Protected = field(default_factory=Protected)
    _snapshots: dict[str, FeedSnapshot] = field(default_factory=dict)
    _read: dict[str, tuple[int, int]] = field(default_factory=dict)  # feed -> its file's time of change (ns) and size
    _stale: set[str] = field(default_factory=set)  # feeds that were pushed to since the last rebuild
    _generation: int = 0  # rises with every change
    _at: dict[str, int] = field(default_factory=dict)  # feed -> when it was last read or pushed to, µs

    @property
    def snapshots(self) -> Mapping[str, FeedSnapshot]:
        """What each feed says, by its name."""
        return dict(self._snapshots)

    def load(self, protected: Protected, allow: AllowList, at: int) -> IndicatorSet:
        """Everything anew, as the gate lets it pass that protects these addresses."""
        self._protected, self._allow = protected, allow
        self._read.clear()
        self._refresh(at)
        for feed in self.pushed:
            self._snapshots[feed] = _of_pushed(feed, self.pushed[feed], protected)
        self._stale.clear()
        self._generation += 1
        return self._merged()

    def refreshed(self, at: int) -> IndicatorSet | None:
        """The indicators, if a file has changed since it was read; None if none has."""
        if not self._refresh(at):
            return None
        self._generation += 1
        return self._merged()

    def push(self, feed: str, values: Sequence[str], at: int, *, remove: bool) -> list[str]:
        """Add values to a feed that is pushed to, or take them out; gives those that are new, or gone.

        They count with the next rebuild().  Raises FeedError for values that are none or that the gate refuses, and
        for a feed that is a file, ConfigError for one to take out of that is not there; then nothing is changed.
        """
        if any(feed == known.settings.name for known in self.feeds):
            raise FeedError(f"feed {feed} is a file; change the file, or push to a feed of another name")
        if remove and feed not in self.pushed:
            raise ConfigError(f"nothing was ever pushed to a feed {feed}; 'netpersona feed list' names the feeds")
        before = dict.fromkeys(self.pushed.get(feed, ()))
        moved = [value for value in dict.fromkeys(values) if (value in before) is remove]
        if len(before) + len(moved) > PUSHED_MOST and not remove:
            raise FeedError(f"feed {feed} would hold more than the {PUSHED_MOST} values that can be pushed to one")
        if not remove:
            self._check(feed, moved)
        gone = set(moved)
        self.pushed[feed] = [v for v in before if v not in gone] if remove else [*before, *moved]
        self._at[feed] = at
        self._stale.add(feed)
        self._generation += 1
        return moved

    def rebuild(self) -> Callable[[], Rebuilt]:
        """What brings up to date what was pushed: it may be called in another thread, and its result adopted here."""
        pushed = {feed: list(self.pushed[feed]) for feed in self._stale}
        others = {name: s for name, s in self._snapshots.items() if name not in pushed}
        generation, allow, protected = self._generation, self._allow, self._protected

        def rebuilt() -> Rebuilt:
            fresh = {feed: _of_pushed(feed, values, protected) for feed, values in pushed.items()}
            everything = {**others, **fresh}
            merged = IndicatorSet.merge([everything[name] for name in sorted(everything)], allow)
            return Rebuilt(generation, fresh, merged)

        return rebuilt

    def adopt(self, rebuilt: Rebuilt) -> IndicatorSet | None:
        """Take over what was rebuilt; None where more has changed meanwhile, so that it must be done again."""
        if rebuilt.generation != self._generation:
            return None
        self._snapshots.update(rebuilt.snapshots)
        self._stale.clear()
        return rebuilt.indicators

    def _check(self, feed: str, values: Sequence[str]) -> None:
        """Raises FeedError where one of the values is none, or the gate refuses it."""
        others = []
        for value in values:
            try:
                wrong = objection(value, (), self._protected)
            except ValueError:
                others.append(value)  # a network or a name: the reader of feeds knows
                continue
            if wrong is not None:
                raise FeedError(f"feed {feed}: {value!r} is refused: {wrong}; nothing was pushed")
        refused = _of_pushed(feed, others, self._protected).refused if others else ()
        if refused:
            raise FeedError(f"feed {feed}: {refused[0].value!r} is refused: {refused[0].reason}; nothing was pushed")

    def states(self) -> list[FeedState]:
        """Every feed, in the order of their names."""
        return [self._state(name, self._snapshots.get(name)) for name in sorted({*self._snapshots, *self.errors})]

    def _state(self, name: str, said: FeedSnapshot | None) -> FeedState:
        refused = f"{said.refused_total} refused" if said is not None and said.refused_total else ""
        return FeedState(
            name=name,
            indicators=0 if said is None else said.indicators.height,
            confidence=0.0 if said is None else said.settings.confidence,
            pushed=name in self.pushed,
            family=None if said is None else said.settings.family,
            read=self._at.get(name),
            well=name not in self.errors,
            says=self.errors.get(name, refused),
        )

    def context(self) -> dict[str, bytes]:
        """What the store keeps of it."""
        return {"pushed": json.dumps(self.pushed).encode()}

    def resume(self, content: bytes | None) -> None:
        """Take back what the store kept."""
        self.pushed = {} if content is None else json.loads(content)

    def _refresh(self, at: int) -> bool:
        changed = False
        for feed in self.feeds:
            name = feed.settings.name
            try:
                found = feed.path.stat()
                state = (found.st_mtime_ns, found.st_size)
                if self._read.get(name) != state:
                    self._snapshots[name] = refuse(feed.fetch(), self._protected)
                    self._read[name] = state
                    self._at[name] = at
                    changed = True
                self.errors.pop(name, None)
            except FeedError as error:
                self.errors[name] = str(error)
            except OSError as error:
                self.errors[name] = f"{feed.path}: {error.strerror}; what it said last stays"
        return changed

    def _merged(self) -> IndicatorSet:
        return IndicatorSet.merge([self._snapshots[name] for name in sorted(self._snapshots)], self._allow)


def _of_pushed(feed: str, values: Sequence[str], protected: Protected) -> FeedSnapshot:
    settings = FeedSettings(feed, confidence=PUSHED_CONFIDENCE)
    try:
        return refuse(parse("\n".join(values).encode(), settings), protected)
    except FormatError as error:
        raise FeedError(f"feed {feed}: {error.wrong}; expected {error.expected}; nothing was pushed") from error
