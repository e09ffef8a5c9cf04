"""What is known of threats: feeds that are read anew, and values that are pushed and worked in beside, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from netpersona.app.live.indicators import LiveIndicators, Rebuilt
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.run import allowed
from netpersona.flow.vm import Vm
from netpersona.flow.window import SECOND
from netpersona.intel.gate import Protected
from netpersona.intel.indicators import IndicatorSet
from netpersona.policy.model import PolicySet

_LOOK = SECOND  # µs between looks at the feeds


class Threats:
    """Gives the indicators whenever they change; whoever takes them says so when they are in force."""

    def __init__(self, indicators: LiveIndicators, supervisor: Supervisor) -> None:
        self.indicators = indicators
        self._supervisor = supervisor
        self._beside = ThreadPoolExecutor(1, "indicators")  # works in what was pushed
        self._rebuilding: Future[Rebuilt] | None = None
        self._worked_in = threading.Event()
        self._protected = Protected()

    def load(self, vms: Iterable[Vm], policies: PolicySet) -> IndicatorSet:
        """Everything anew, as the gate lets it pass that protects these VMs."""
        self._protected = Protected.of(vms, policies.always.management)
        return self.indicators.load(self._protected, allowed(policies), self._supervisor.now)

    def concerns(self, vms: Iterable[Vm], policies: PolicySet) -> bool:
        """Whether the gate has to protect others now, so that all must be loaded anew."""
        return Protected.of(vms, policies.always.management) != self._protected

    def news(self) -> IndicatorSet | None:
        """The indicators, if a feed says something new or what was pushed is worked in; else None."""
        if self._rebuilding is not None and self._rebuilding.done():
            intel = self.indicators.adopt(self._rebuilding.result())
            self._rebuilding = None
            if intel is not None:
                return intel
            self._rebuild()
        return self._refreshed() if self._supervisor.is_due("feeds", _LOOK) else None

    def in_force(self) -> None:
        """What news() gave last is in force."""
        if self._rebuilding is None:
            self._worked_in.set()

    def push(self, feed: str, values: Sequence[str], *, remove: bool) -> tuple[Sequence[str], threading.Event]:
        """The values that changed, and what is set when they are in force.  Raises FeedError, ConfigError."""
        moved = self.indicators.push(feed, values, self._supervisor.now, remove=remove)
        if moved and self._rebuilding is None:
            self._worked_in = threading.Event()
            self._rebuild()
        return moved, self._worked_in

    def close(self) -> None:
        """Work nothing in any more."""
        self._beside.shutdown()

    def _rebuild(self) -> None:
        self._rebuilding = self._beside.submit(self.indicators.rebuild())

    def _refreshed(self) -> IndicatorSet | None:
        indicators = self.indicators
        intel = indicators.refreshed(self._supervisor.now)
        for feed in indicators.feeds:
            name = feed.settings.name
            if name in indicators.errors:
                self._supervisor.ill(f"feed {name}", indicators.errors[name])
            else:
                self._supervisor.well(f"feed {name}")
        return intel
