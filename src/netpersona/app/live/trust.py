"""How far each feed is believed, kept by the controller: what closed windows and people say of its listings.

windows that closed, acquittals --> another thread --> notices: a feed is log-only now, or counts again
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial

from netpersona.app.feed_trust import FeedTrust
from netpersona.app.live.supervisor import Supervisor
from netpersona.errors import StoreError
from netpersona.flow.window import MINUTE
from netpersona.intel.families import Overlap, overlap
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.precision import Notice, PrecisionLedger, Standards
from netpersona.intel.worth import Worth, worths
from netpersona.observation.model import Observation
from netpersona.risk.finding import Finding


class LiveTrust:
    """Not for several threads, but for `counting` and `worths`.

    What it is told is worked out in the executor, in its order.
    """

    def __init__(
        self, beside: Executor, supervisor: Supervisor, standards: Callable[[], Standards] = Standards
    ) -> None:
        """`standards`: what feeds are held to now."""
        self._trust, self._standards = FeedTrust(), standards
        self._beside, self._supervisor = beside, supervisor
        self._asked: deque[Future[tuple[Notice, ...]]] = deque()
        self._weighing = threading.Lock()
        self._common: tuple[IndicatorSet, Overlap] | None = None
        self._worths: tuple[PrecisionLedger, IndicatorSet, int, Mapping[str, Worth]] | None = None

    def resume(self, content: bytes | None) -> None:
        """Take back what a store kept.  Raises StoreError."""
        try:
            self._trust.resume(content)
        except ValueError as error:
            raise StoreError(f"the stored precision of feeds cannot be read: {error}; restore a copy") from error

    @property
    def ledger(self) -> PrecisionLedger:
        """The ledger as it stands."""
        return self._trust.ledger

    def context(self) -> Mapping[str, bytes]:
        """What the store keeps."""
        return self._trust.context()

    def counting(self, everything: IndicatorSet) -> IndicatorSet:
        """Of what all feeds say, that which decisions may rest on."""
        return self._trust.counting(everything)

    def worths(self, at: int) -> Mapping[str, Worth]:
        """What each feed is worth, by name, as of the minute of `at` (µs)."""
        ledger, everything, minute = self._trust.ledger, self._trust.everything, at - at % MINUTE
        with self._weighing:  # one at a time: of a million listings it takes a second
            known = self._worths
            if known is not None and known[0] is ledger and known[1] is everything and known[2] == minute:
                return known[3]
            if self._common is None or self._common[0] is not everything:
                self._common = everything, overlap(everything.table)
            found = worths(ledger, everything, at, self._standards(), self._common[1])
            self._worths = ledger, everything, minute, {each.feed: each for each in found}
            return self._worths[3]

    def amended(self, change: Callable[[IndicatorSet], IndicatorSet]) -> None:
        """What all feeds say is to be seen so, until they are worked in anew."""
        self._trust.everything = change(self._trust.everything)

    def closed(self, observations: Sequence[Observation], findings: Iterable[Finding]) -> None:
        """Windows closed, and this was found in them."""
        if observations:
            self._ask(partial(self._trust.closed, observations, tuple(findings), self._supervisor.now))

    def acquitted(self, findings: Iterable[Finding], who: str) -> None:
        """A person says that the matches among these findings were wrong."""
        self._ask(partial(self._trust.person, tuple(findings), who, self._supervisor.now, right=False))

    def news(self) -> bool:
        """Whether a feed was demoted, or counts again; it is told beside the other parts."""
        changed = False
        while self._asked and self._asked[0].done():
            told = self._supervisor.part("precision", self._asked.popleft().result) or ()
            for notice in told:
                self._supervisor.well(f"precision of {notice.feed}", notice.words, log_only=int(notice.log_only))
            changed = changed or bool(told)
        return changed

    def _ask(self, work: Callable[[], tuple[Notice, ...]]) -> None:
        self._trust.standards = self._standards()
        self._asked.append(self._beside.submit(work))
