"""The indicators of the moment: feed files, read again when they change, and feeds that are pushed to.

What a feed said last stays in force while it cannot be read; what the gate refuses never gets in, pushed or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.live.service import FeedState
from netpersona.errors import ConfigError, FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.gate import Protected, refuse
from netpersona.intel.indicators import AllowList, IndicatorSet

PUSHED_MOST = 100_000  # values in one feed that is pushed to


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
            self._snapshots[feed] = self._of_pushed(feed, self.pushed[feed])
        return self._merged()

    def refreshed(self, at: int) -> IndicatorSet | None:
        """The indicators, if a file has changed since it was read; None if none has."""
        return self._merged() if self._refresh(at) else None

    def push(self, feed: str, values: Sequence[str], at: int, *, remove: bool) -> tuple[int, IndicatorSet]:
        """Add values to a feed that is pushed to, or take them out; how many changed, and the indicators then.

        Raises FeedError for values that are none or that the gate refuses, and for a feed that is a file, ConfigError
        for one to take out of that is not there; then nothing is changed.
        """
        if any(feed == known.settings.name for known in self.feeds):
            raise FeedError(f"feed {feed} is a file; change the file, or push to a feed of another name")
        before = self.pushed.get(feed, [])
        if remove and feed not in self.pushed:
            raise ConfigError(f"nothing was ever pushed to a feed {feed}; 'netpersona feed list' names the feeds")
        if remove:
            gone = set(values)
            after = [value for value in before if value not in gone]
        else:
            after = list(dict.fromkeys([*before, *values]))
        if len(after) > PUSHED_MOST:
            raise FeedError(f"feed {feed} would hold {len(after)} values; at most {PUSHED_MOST} can be pushed to it")
        if after == before:
            return 0, self._merged()
        snapshot = self._of_pushed(feed, after)
        if not remove and snapshot.refused:
            first = snapshot.refused[0]
            raise FeedError(f"feed {feed}: {first.value!r} is refused: {first.reason}; nothing was pushed")
        self.pushed[feed], self._snapshots[feed], self._at[feed] = after, snapshot, at
        return abs(len(after) - len(before)), self._merged()

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

    def _of_pushed(self, feed: str, values: Sequence[str]) -> FeedSnapshot:
        settings = FeedSettings(feed, confidence=0.9)
        try:
            return refuse(parse("\n".join(values).encode(), settings), self._protected)
        except FormatError as error:
            raise FeedError(f"feed {feed}: {error.wrong}; expected {error.expected}; nothing was pushed") from error

    def _merged(self) -> IndicatorSet:
        return IndicatorSet.merge([self._snapshots[name] for name in sorted(self._snapshots)], self._allow)
