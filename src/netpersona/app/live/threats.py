"""What is known of threats: feeds that are read anew, and values that are pushed, worked in beside in a thread.

    push() --> kept here, lent to the kernel by who pushed --+
    a feed says something new -------------------------------+--> merged, and prepared for the rules --> news()
                                                                    (another thread, for seconds)

Working in a million indicators costs seconds of a processor.  So after it was done it rests for a multiple of the time
that it took: what is pushed meanwhile is in force already, as it is lent, and waits for that no longer than REST_MOST.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network
from typing import NamedTuple

import polars as pl

from netpersona.app.feed_config import FeedSource
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.indicators import LiveIndicators, Rebuilt
from netpersona.app.live.rules import Prepared
from netpersona.app.live.service import FeedState
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.live.trust import LiveTrust
from netpersona.app.run import allowed
from netpersona.errors import ConfigError, NetpersonaError
from netpersona.flow.vm import Vm
from netpersona.flow.window import MINUTE, SECOND
from netpersona.intel.allow import AllowList
from netpersona.intel.gate import Protected
from netpersona.intel.indicators import IndicatorSet
from netpersona.policy.model import PolicySet

_LOOK = SECOND  # µs between looks at how the feeds are
_REST = 20  # times as long as working in took
REST_MOST = MINUTE  # µs

Prepare = Callable[[IndicatorSet], Prepared]


class Known(NamedTuple):
    """What is known now, and how many pushes are in it; `prepared`: what rules make of it, where that was done."""

    intel: IndicatorSet
    pushes: int
    prepared: Prepared | None = None


class Pushed(NamedTuple):
    """The values that changed, and the number of this push."""

    values: Sequence[str]
    number: int


class _Work(NamedTuple):
    began: int  # µs
    pushes: int
    done: Future[tuple[Rebuilt | None, IndicatorSet, Prepared]]


class Threats:
    """`push`, `hurry`, `wait`, `states` and `context` may be called from any thread, all else from the loop's."""

    def __init__(self, indicators: LiveIndicators, supervisor: Supervisor) -> None:
        self._indicators, self._supervisor = indicators, supervisor
        self._lock = threading.Condition(threading.RLock())  # on the indicators; told when more is in force
        self._beside = ThreadPoolExecutor(1, "indicators")
        self.trust = LiveTrust(self._beside, supervisor, indicators.standards)
        self._work: _Work | None = None
        self._rest_until = 0  # µs
        self._pushes = self._worked_in = self._in_force = 0  # how many there were, are in what is known, are in force
        self._stale = False  # whether what is known lacks a push, or the indicators do not know that it has it
        self._fresh = False  # whether a feed said something that is not worked in yet
        self._told: dict[str, str | None] = {}  # how each feed was
        self._urgent = False  # whether somebody waits for a push to be worked in
        self._gate: tuple[Protected, AllowList] | None = None  # that let pass what is known
        self._known = IndicatorSet.merge([])
        self._closed = False

    @property
    def pushes(self) -> int:
        """How many pushes there were."""
        return self._pushes

    # Turn by turn

    def load(self, vms: Iterable[Vm], policies: PolicySet) -> Known:
        """All that is known, as the gate lets it pass that protects these VMs.

        The first time it is worked in here.  Later what is listed of the VMs' own ends at once, and what is allowed is;
        the rest, working in a million indicators by another gate, is done beside.
        """
        gate = (self._indicators.protected(vms, policies.always.management), allowed(policies))
        with self._lock:
            if self._gate is None or self._is_lent(gate[0]):
                self._gate, self._work = gate, None
                self._known = self.trust.counting(self._indicators.load(*gate, self._supervisor.now))
                self._worked_in, self._stale, self._fresh = self._pushes, False, False
            elif gate != self._gate:
                self._amend(*gate)
            return Known(self._known, self._worked_in)

    def _is_lent(self, protected: Protected) -> bool:
        """Whether an address was pushed, and may be lent to the kernel, that is to be protected from now on."""
        if self._pushes == self._worked_in:
            return False
        fresh = self._fresh_peers(protected)
        return any(not fresh.isdisjoint(values) for values in self._indicators.pushed.values())

    def _fresh_peers(self, protected: Protected) -> set[str]:
        """What is to be protected and was not."""
        before = self._gate[0].peers if self._gate is not None else ()
        return {peer for peer, _ in protected.peers} - {peer for peer, _ in before}

    def _amend(self, protected: Protected, allow: AllowList) -> None:
        """See what is known by another gate and allow-list at once, and have it worked in beside."""
        fresh = [ip_network(peer, strict=False) for peer in sorted(self._fresh_peers(protected))]

        def change(known: IndicatorSet) -> IndicatorSet:
            return (known.ended(fresh) if fresh else known).allowing(allow)

        self._known = change(self._known)
        self.trust.amended(change)
        self._indicators.protect(protected, allow)
        self._gate, self._work = (protected, allow), None  # what is being worked in went through the gate before
        self._stale = self._fresh = True

    def concerns(self, vms: Iterable[Vm], policies: PolicySet) -> bool:
        """Whether something that is listed has to be refused at once, as it would cut these VMs off: then load().

        Where nothing of theirs is listed, the gate protects them from now on, and what of VMs that are gone it refused
        is let through beside, when there is time.
        """
        protected = self._indicators.protected(vms, policies.always.management)
        if self._gate is None:
            return True
        if protected == self._gate[0]:
            return False
        fresh = sorted(self._fresh_peers(protected))
        with self._lock:
            unknown = self._work is not None or self._pushes != self._worked_in  # what is listed soon
            if unknown or any("/" in peer for peer in fresh) or self._lists_any(fresh):
                return True
            self._gate = (protected, self._gate[1])
            self._indicators.protect(protected, self._gate[1])
            self._stale = True
            return False

    def _lists_any(self, addresses: Sequence[str]) -> bool:
        return bool(addresses) and bool(self._known.listed(pl.Series("peer", addresses, dtype=pl.String)).any())

    def news(self, preparing: Callable[[], Prepare], *, ended: bool) -> Known | None:
        """What is known, if that changed and is prepared; None: nothing new yet.  `ended`: a listing did, or began."""
        if self._work is None:
            self._supervisor.part("indicators", lambda: self._begin(preparing, ended=ended))
        elif self._work.done.done():
            return self._supervisor.part("indicators", self._adopted)
        return None

    def tell(self) -> None:
        """How each feed is now; what is wrong with one is told once."""
        with self._lock:
            wrong = self._indicators.wrong()
            for name in self._told.keys() - wrong.keys():
                self._supervisor.health.gone(f"feed {name}")
            for name, why in wrong.items():
                if why is None:
                    self._supervisor.well(f"feed {name}")
                elif self._told.get(name) != why:
                    self._supervisor.ill(f"feed {name}", why)
            self._told = wrong

    def came(self, pushes: int) -> None:
        """So many pushes are in force, as part of what is known."""
        if pushes != self._in_force:
            with self._lock:
                self._in_force = pushes
                self._lock.notify_all()

    def close(self) -> None:
        """Take no push any more, and work nothing in."""
        with self._lock:
            self._closed = True
        self._indicators.feeds.close()
        self._beside.shutdown()

    # What others ask

    def push(self, feed: str, values: Sequence[str], *, remove: bool) -> Pushed:
        """Add values to a feed or take them out.  Raises FeedError, ConfigError."""
        with self._lock:
            if self._closed:
                raise NetpersonaError("the controller is ending; nothing was pushed")
            moved = self._indicators.push(feed, values, self._supervisor.now, remove=remove)
            if moved:
                self._pushes += 1
                self._stale = True
            return Pushed(moved, self._pushes)

    def wait(self, number: int, seconds: float) -> bool:
        """Have this push worked in soon, and wait until it is in force; whether it is."""
        with self._lock:
            self._urgent = True
            return self._lock.wait_for(lambda: self._in_force >= number, seconds)

    def add(self, source: FeedSource, who: str) -> None:
        """Read a feed from now on.  Raises ConfigError."""
        with self._lock:
            if source.name in self._indicators.pushed:
                raise ConfigError(f"feed {source.name} is pushed to; take another name, or remove it first")
            self._indicators.feeds.add(source, who)

    def remove(self, feed: str, who: str, why: str) -> None:
        """Forget a feed, and all that it said.  Raises ConfigError."""
        with self._lock:
            if self._indicators.feeds.source(feed) is not None:
                self._indicators.feeds.remove(feed, who, why)
            else:
                self._indicators.drop(feed)
                self._pushes += 1
                self._stale = self._urgent = True

    @property
    def feeds(self) -> LiveFeeds:
        """Those that are read; what they say comes with news()."""
        return self._indicators.feeds

    def states(self) -> list[FeedState]:
        """Every feed, in the order of their names."""
        worth = self.trust.worths(self._supervisor.now)
        with self._lock:
            return [replace(state, worth=worth.get(state.name)) for state in self._indicators.states()]

    def context(self) -> Mapping[str, bytes]:
        """What the store keeps of it."""
        with self._lock:
            return {**self._indicators.context(), **self.trust.context()}

    def _begin(self, preparing: Callable[[], Prepare], *, ended: bool) -> None:
        """Begin to work in what is new, if anything is."""
        now = self._supervisor.now
        rested = now >= self._rest_until
        with self._lock:
            if self._indicators.look(now) | self.trust.news():
                self._stale = self._fresh = True
            if self._supervisor.is_due("feeds", _LOOK):
                self.tell()
            stale = self._stale and (rested or self._urgent or self._fresh)
            if not (stale or (ended and rested)):
                return
            rebuild = self._indicators.rebuild() if stale else None
            known, prepare = self._known, preparing()

            def work() -> tuple[Rebuilt | None, IndicatorSet, Prepared]:
                rebuilt = rebuild() if rebuild is not None else None
                intel = known if rebuilt is None else self.trust.counting(rebuilt.indicators)
                return rebuilt, intel, prepare(intel)

            pushes = self._pushes if stale else self._worked_in
            self._work = _Work(now, pushes, self._beside.submit(work))

    def _adopted(self) -> Known:
        assert self._work is not None
        work, self._work = self._work, None
        now = self._supervisor.now
        self._rest_until = now + min(REST_MOST, _REST * (now - work.began))
        rebuilt, intel, prepared = work.done.result()
        with self._lock:
            if rebuilt is not None and self._indicators.adopt(rebuilt) is not None:
                self._stale = self._urgent = False
            self._known, self._worked_in, self._fresh = intel, work.pushes, False
        return Known(intel, work.pushes, prepared)
