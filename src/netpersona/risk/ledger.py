"""The risk ledger: additive log-odds in which every point has an owner.

    logit(risk) = logit(prior) + sum over groups of min(cap, sum of weight * 2^-((at - t) / half_life))

A group is one (detector, peer), capped so that one noisy thing cannot push alone past its cap.  The score of any
past instant can be computed again, and so can the score without one feed or one detector.

A term that is exempt at an instant (risk.exemptions) adds nothing then.  It goes on fading all the while, and a finding
is topped up over what is there of it, exempt or not: so nothing piles up behind an exemption.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from netpersona.persona.model import Persona, RiskTerm

PRIOR = 0.02
GROUP_CAP = 4.0  # log-odds: alone it lifts the prior of 0.02 to 0.53
NEGLIGIBLE = 0.01  # log-odds: a term that has faded below this is no longer carried
LEDGER_SIZE = 48  # terms a persona carries; the store keeps all of them


class Contribution(NamedTuple):
    """What one (detector, peer) adds at an instant, after its cap."""

    detector: str
    peer: str | None
    log_odds: float
    capped: bool
    terms: tuple[RiskTerm, ...]


def decayed(term: RiskTerm, at: int) -> float:
    """The term's weight at `at`, whether it counts or not; zero before it was raised."""
    if at < term.at:
        return 0.0
    return float(term.weight * 2.0 ** (-(at - term.at) / term.half_life))


def counted(term: RiskTerm, at: int) -> float:
    """What the term adds at `at`, before its group's cap: nothing while it is exempt."""
    return 0.0 if is_exempt(term, at) else decayed(term, at)


def is_exempt(term: RiskTerm, at: int) -> bool:
    """Whether the term does not count at `at`."""
    why = term.exempt
    return why is not None and why.since <= at and (why.until is None or at < why.until)


def contributions(terms: Iterable[RiskTerm], at: int) -> list[Contribution]:
    """What every (detector, peer) adds at `at`, largest first; groups that add nothing are left out."""
    groups: dict[tuple[str, str], list[RiskTerm]] = {}
    for term in sorted(terms, key=_order):
        groups.setdefault((term.detector, term.peer or ""), []).append(term)
    found = []
    for (detector, _), members in groups.items():
        total = math.fsum(counted(term, at) for term in members)
        if total > 0.0:
            peer = members[0].peer
            found.append(Contribution(detector, peer, min(total, GROUP_CAP), total > GROUP_CAP, tuple(members)))
    return sorted(found, key=lambda c: (-c.log_odds, c.detector, c.peer or ""))


def score(prior: float, terms: Iterable[RiskTerm], at: int) -> float:
    """The risk at `at`, 0 to 1, rounded to 6 digits so that it reads the same everywhere.

    The sums are exact (math.fsum), so the order of the terms does not matter.
    """
    groups: dict[tuple[str, str | None], list[float]] = {}
    for term in terms:
        if at >= term.at and not (term.exempt is not None and is_exempt(term, at)):
            weight = term.weight * 2.0 ** ((term.at - at) / term.half_life)
            groups.setdefault((term.detector, term.peer), []).append(weight)
    added = math.fsum(min(math.fsum(weights), GROUP_CAP) for weights in groups.values())
    return round(1.0 / (1.0 + math.exp(-(math.log(prior / (1.0 - prior)) + added))), 6)


def risk_score(persona: Persona, at: int) -> float:
    """The persona's risk at `at`, 0 to 1."""
    return score(persona.risk_prior, persona.risk_ledger, at)


def without(terms: Iterable[RiskTerm], *owners: str) -> list[RiskTerm]:
    """The terms that rest neither on a named detector nor wholly on named feeds."""
    return [t for t in terms if t.detector not in owners and not (t.feeds and set(t.feeds) <= set(owners))]


def add(ledger: Sequence[RiskTerm], new: Iterable[RiskTerm], at: int) -> tuple[RiskTerm, ...]:
    """The ledger with new terms; one finding's later term replaces its earlier one only by adding to it.

    What has faded below NEGLIGIBLE at `at` goes; of the rest, the LEDGER_SIZE terms stay that add most.
    """
    kept = [t for t in (*ledger, *new) if decayed(t, max(at, t.at)) >= NEGLIGIBLE]
    if len(kept) > LEDGER_SIZE:
        kept = _weightiest(kept, at)
    return tuple(sorted(kept, key=_order))


def _weightiest(terms: list[RiskTerm], at: int) -> list[RiskTerm]:
    """The LEDGER_SIZE terms that add most within their groups' caps: a group over its cap drives out no other."""
    weighed = sorted(((-decayed(t, max(at, t.at)), _order(t), i) for i, t in enumerate(terms)))
    sums: dict[tuple[str, str | None], float] = {}
    ranked = []
    for negative, order, i in weighed:
        group = (terms[i].detector, terms[i].peer)
        before = sums.get(group, 0.0)
        sums[group] = before - negative
        ranked.append((min(before, GROUP_CAP) - min(sums[group], GROUP_CAP), negative, order, i))
    return [terms[i] for *_, i in sorted(ranked)[:LEDGER_SIZE]]


def word(risk: float) -> str:
    """The risk in a word: low below 0.3, elevated below 0.7, high from there."""
    return "low" if risk < 0.3 else "elevated" if risk < 0.7 else "high"


def _order(term: RiskTerm) -> tuple[int, str, str, str, float, int, tuple[str, ...], str]:
    peer = term.peer or ""
    return (term.at, term.detector, peer, term.finding, term.weight, term.half_life, term.feeds, term.why)
