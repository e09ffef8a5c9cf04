"""Which feeds count now, kept by whoever runs: the ledger of their precision, and what all of them say.

what all feeds say --> counting() --> what decisions rest on
windows that closed, findings made in them --> closed() --> notices: counting() is to be asked again
a person's word on findings                --> person() --> likewise
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from netpersona.app.feed_precision import CONTEXT, by_person, turned
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.precision import USUAL, Notice, PrecisionLedger, Standards, judged, weighed
from netpersona.intel.precision_codec import of_bytes, to_bytes
from netpersona.observation.model import Observation
from netpersona.risk.finding import Finding


@dataclass(slots=True)
class FeedTrust:
    """The ledger as it stands; every method but `counting` is the loop's."""

    standards: Standards = USUAL
    ledger: PrecisionLedger = field(default_factory=PrecisionLedger)
    everything: IndicatorSet = field(default_factory=lambda: IndicatorSet.merge([]))

    def counting(self, everything: IndicatorSet) -> IndicatorSet:
        """What decisions may rest on, of what all feeds say: without the feeds that are log-only."""
        self.everything = everything
        return everything.split(self.ledger.log_only)[0]

    def closed(self, observations: Sequence[Observation], findings: Iterable[Finding], at: int) -> tuple[Notice, ...]:
        """Take windows that closed, each once, and the findings made in them; what has changed of the feeds."""
        self.ledger, notices = turned(self.ledger, observations, findings, self.everything, at, self.standards)
        return notices

    def person(self, findings: Iterable[Finding], who: str, at: int, *, right: bool) -> tuple[Notice, ...]:
        """Take a person's word that the matches among these findings were right, or wrong, as of an acquitted VM."""
        ledger = judged(self.ledger, by_person(findings, who, at, right=right))
        self.ledger, notices = weighed(ledger, at, self.standards)
        return notices

    def context(self) -> dict[str, bytes]:
        """What the store keeps of it."""
        return {CONTEXT: to_bytes(self.ledger)}

    def resume(self, content: bytes | None) -> None:
        """Take back what the store kept under CONTEXT.  Raises ValueError for a damaged ledger."""
        self.ledger = of_bytes(content)
