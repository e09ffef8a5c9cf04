"""The indicators of the moment: what feeds say that are read, and what is pushed to feeds of one's own.

What the gate refuses never gets in, pushed or not.  What a feed says is kept on disk (feed_fetching.py); here is what
of it passed the gate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.feed_config import FeedSource, standards
from netpersona.app.gate_config import GateKeys
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.feed_state import REFUSALS_SHOWN, FeedState
from netpersona.errors import ConfigError, FeedError
from netpersona.flow.vm import Vm
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.gate import Gated, Protected, gated, objection
from netpersona.intel.indicators import AllowList, IndicatorSet
from netpersona.intel.precision import Standard, Standards
from netpersona.intel.warning import NO_LISTS, WarningLists

PUSHED_MOST = 100_000  # values in one feed that is pushed to
PUSHED_CONFIDENCE = 0.9


class Rebuilt(NamedTuple):
    """What rebuild() came to."""

    generation: int
    snapshots: Mapping[str, Gated | None]  # of the feeds that had changed; None: it is gone
    indicators: IndicatorSet


class LiveIndicators:
    """All feeds with what each says now; `pushed` holds the values of feeds that are pushed to."""

    def __init__(
        self,
        feeds: LiveFeeds | Sequence[FileFeed] = (),
        lists: WarningLists = NO_LISTS,
        gate: GateKeys | None = None,
        usual: Standard | None = None,
    ) -> None:
        """The feeds that are read; files are watched.

        `lists` are those that the gate refuses by, `gate` what the configuration says to it, and `usual` the precision
        that a feed is held to which has none of its own.
        """
        self._lists = lists
        self._gate = GateKeys() if gate is None else gate
        self._usual = Standard() if usual is None else usual
        self.feeds = feeds if isinstance(feeds, LiveFeeds) else LiveFeeds([FeedSource.of_file_feed(f) for f in feeds])
        self.pushed: dict[str, list[str]] = {}
        self._allow, self._protected = AllowList(), Protected()
        self._snapshots: dict[str, Gated] = {}
        self._stale: set[str] = set()  # feeds that say something else since the last rebuild
        self._generation = 0  # rises with every change
        self._at: dict[str, int] = {}  # feed -> when it was last pushed to, µs
        self._counted: dict[str, tuple[FeedSnapshot, Mapping[str, int]]] = {}
        self._started = False

    @property
    def snapshots(self) -> Mapping[str, FeedSnapshot]:
        """What each feed says, by its name."""
        return {name: said.snapshot for name, said in self._snapshots.items()}

    def protected(self, vms: Iterable[Vm], management: Iterable[str]) -> Protected:
        """What the gate protects where these VMs and management peers are."""
        gate = self._gate
        return Protected.of(vms, management, gate.time_servers, admitted=gate.admitted)

    def standards(self) -> Standards:
        """The precision that each feed is held to."""
        sources = (self.feeds.source(name) for name in self.feeds.names)
        return standards([source for source in sources if source is not None], self._usual)

    def load(self, protected: Protected, allow: AllowList, at: int) -> IndicatorSet:
        """Everything anew, as the gate lets it pass that protects these addresses."""
        self._protected, self._allow = replace(protected, lists=self._lists), allow
        if not self._started:
            self.feeds.start(at)
            self._started = True
        names = {*self.feeds.names, *self.pushed}
        self._snapshots = {name: said for name in sorted(names) if (said := self._gated(name)) is not None}
        self._stale.clear()
        self._generation += 1
        return IndicatorSet.merge(self.snapshots.values(), self._allow, self._lists)

    def protect(self, protected: Protected, allow: AllowList) -> None:
        """Let the gate protect these addresses; what feeds say passes it again with the next rebuild()."""
        self._protected, self._allow = replace(protected, lists=self._lists), allow
        self._stale |= {*self.feeds.names, *self.pushed}
        self._generation += 1

    def look(self, at: int) -> bool:
        """Have those feeds read that are due; whether any says something else now, which rebuild() works in."""
        changed = self.feeds.look(at)
        self._stale |= changed
        self._generation += bool(changed)
        return bool(changed)

    def push(self, feed: str, values: Sequence[str], at: int, *, remove: bool) -> list[str]:
        """Add values to a feed that is pushed to, or take them out; gives those that are new, or gone.

        They count with the next rebuild().  Raises FeedError for values that are none or that the gate refuses, and
        for a feed that is read, ConfigError for one to take out of that is not there; then nothing is changed.
        """
        if (source := self.feeds.source(feed)) is not None:
            where = f"{source.kind}: {source.source.shown}"
            raise FeedError(f"feed {feed} is read by itself ({where}); push to a feed of another name")
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

    def drop(self, feed: str) -> None:
        """Forget a feed that was pushed to, and all that was.  Raises ConfigError."""
        if feed not in self.pushed:
            raise ConfigError(f"there is no feed {feed[:64]}; 'netpersona feed list' names the feeds")
        del self.pushed[feed]
        self._at.pop(feed, None)
        self._stale.add(feed)
        self._generation += 1

    def rebuild(self) -> Callable[[], Rebuilt]:
        """What works in all that changed: it may be called in another thread, and its result adopted here."""
        stale, pushed = sorted(self._stale), {feed: list(values) for feed, values in self.pushed.items()}
        others = {name: said for name, said in self._snapshots.items() if name not in stale}
        generation, allow, protected = self._generation, self._allow, self._protected
        before = dict(self._snapshots)

        def rebuilt() -> Rebuilt:
            fresh = {feed: _passed(feed, self.feeds, pushed, protected, before.get(feed)) for feed in stale}
            everything = {**others, **{feed: said for feed, said in fresh.items() if said is not None}}
            merged = IndicatorSet.merge([said.snapshot for said in everything.values()], allow, protected.lists)
            return Rebuilt(generation, fresh, merged)

        return rebuilt

    def adopt(self, rebuilt: Rebuilt) -> IndicatorSet | None:
        """Take over what was rebuilt; None where more has changed meanwhile, so that it must be done again."""
        if rebuilt.generation != self._generation:
            return None
        for feed, said in rebuilt.snapshots.items():
            if said is None:
                self._snapshots.pop(feed, None)
            else:
                self._snapshots[feed] = said
        self._stale.clear()
        return rebuilt.indicators

    def wrong(self) -> dict[str, str | None]:
        """Every feed that is read, and why it is not in order, if it is not."""
        return {name: self.feeds.wrong(name) for name in self.feeds.names}

    def states(self) -> list[FeedState]:
        """Every feed, in the order of their names."""
        return [self._state(name) for name in sorted({*self.feeds.names, *self.pushed})]

    def context(self) -> dict[str, bytes]:
        """What the store keeps of it."""
        return {
            "pushed": json.dumps(self.pushed).encode(),
            "pushed_at": json.dumps(self._at).encode(),
            "feeds": self.feeds.context(),
        }

    def resume(self, kept: Callable[[str], bytes | None]) -> None:
        """Take back what the store kept; `kept` gives it by the names that context() has."""
        self.pushed = json.loads(kept("pushed") or "{}")
        self._at = json.loads(kept("pushed_at") or "{}")
        self.feeds.resume(kept("feeds"))

    def _gated(self, feed: str) -> Gated | None:
        return _passed(feed, self.feeds, self.pushed, self._protected, self._snapshots.get(feed))

    def _counts(self, name: str, said: FeedSnapshot) -> Mapping[str, int]:
        """How many of each type; counted once."""
        known = self._counted.get(name)
        if known is None or known[0] is not said:
            rows = said.indicators.group_by("type").len().sort(pl.col("type").cast(pl.String))
            known = self._counted[name] = (said, {str(kind): int(number) for kind, number in rows.iter_rows()})
        return known[1]

    def _check(self, feed: str, values: Sequence[str]) -> None:
        """Raises FeedError where one of the values is none, or the gate refuses it."""
        others = []
        for value in values:
            try:
                wrong = objection(value, (), self._protected)
            except ValueError:
                others.append(value)  # a network or a name: the reader of feeds knows
                continue
            if wrong is not None and any(a.value == value and a.feed in {None, feed} for a in self._protected.admitted):
                others.append(value)  # the gate knows what of it somebody lets through
            elif wrong is not None:
                raise FeedError(f"feed {feed}: {value!r} is refused: {wrong}; nothing was pushed")
        refused = _of_pushed(feed, others, self._protected).snapshot.refused if others else ()
        if refused:
            raise FeedError(f"feed {feed}: {refused[0].value!r} is refused: {refused[0].reason}; nothing was pushed")

    def _state(self, name: str) -> FeedState:
        said, source = self.snapshots.get(name), self.feeds.source(name)
        settings = source.settings if source is not None else FeedSettings(name, PUSHED_CONFIDENCE)
        fetching = self.feeds.fetching(name) if source is not None else None
        if fetching is not None and (name in self._stale or self.feeds.fresh(name)):
            fetching = replace(fetching, running=True)  # it is read, and not worked in yet
        wrong = self.feeds.wrong(name) if source is not None else None
        refused = f"{said.refused_total} refused" if said is not None and said.refused_total else ""
        return FeedState(
            name=name,
            indicators=0 if said is None else said.indicators.height,
            confidence=settings.confidence,
            pushed=source is None,
            family=settings.family,
            read=self._at.get(name) if fetching is None else fetching.succeeded,
            well=wrong is None,
            says=refused if wrong is None else wrong,
            half_life=settings.half_life,
            category=settings.category,
            allow=settings.allow,
            counts={} if said is None else self._counts(name, said),
            refused=0 if said is None else said.refused_total,
            refusals=() if said is None else said.refused[:REFUSALS_SHOWN],
            fetching=fetching,
        )


def _passed(
    feed: str,
    feeds: LiveFeeds,
    pushed: Mapping[str, Sequence[str]],
    protected: Protected,
    before: Gated | None,
) -> Gated | None:
    """What a feed says, as far as the gate lets it pass; None where there is no such feed any more.

    Where its copy cannot be read now, what it said before stays.
    """
    if feed in pushed:
        return _of_pushed(feed, pushed[feed], protected, before)
    if feeds.source(feed) is None:
        return None
    said = feeds.said(feed)
    return before if said is None else gated(said, protected, before)


def _of_pushed(feed: str, values: Sequence[str], protected: Protected, before: Gated | None = None) -> Gated:
    settings = FeedSettings(feed, confidence=PUSHED_CONFIDENCE)
    try:
        return gated(parse("\n".join(values).encode(), settings), protected, before)
    except FormatError as error:
        raise FeedError(f"feed {feed}: {error.wrong}; expected {error.expected}; nothing was pushed") from error
