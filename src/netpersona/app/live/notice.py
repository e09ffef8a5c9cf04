"""What is found beside the windows (by receipts, by a hunt) and its weight in a VM's risk.

The same as risk.judge does with a window's findings: a finding that goes on is lifted back to its weight, and does not
pile up.
"""

from __future__ import annotations

from math import fsum
from typing import NamedTuple

from msgspec.structs import replace

from netpersona.persona.model import Persona, RiskTerm
from netpersona.risk import ledger
from netpersona.risk.finding import Finding

_NEGLIGIBLE = 0.05  # log-odds: not worth a term


class Noticed(NamedTuple):
    """A persona after a finding."""

    persona: Persona
    term: RiskTerm | None  # what was added to its ledger
    change: str | None  # what a person would call a change; then the version rose


def noticed(persona: Persona, finding: Finding, at: int) -> Noticed:
    """The persona with what this finding adds to its risk at `at` (µs)."""
    missing = finding.weight - fsum(ledger.decayed(t, at) for t in persona.risk_ledger if t.finding == finding.id)
    if missing < _NEGLIGIBLE or finding.half_life <= 0:
        return Noticed(persona, None, None)
    weight = round(missing, 6)
    term = RiskTerm(
        finding.detector, finding.peer, weight, finding.half_life, at, finding.id, finding.feeds, finding.why
    )
    after = replace(persona, risk_ledger=ledger.add(persona.risk_ledger, (term,), at))
    then, now = (ledger.word(ledger.risk_score(each, at)) for each in (persona, after))
    if then == now:
        return Noticed(after, term, None)
    return Noticed(replace(after, version=after.version + 1), term, f"risk went from {then} to {now}")
