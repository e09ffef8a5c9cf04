"""Judge first, then learn, and learn only from calm windows, or an attack slowly becomes normal.

    observation --> remember --> detectors --> findings --> ledger, signatures
                        |                         |
                        '--> memory               '--> calm? --> learn --> persona

advance() is the keyed step of the product: plain values in, plain values out, no clock, no global.  It may run in a
stream engine as it stands; a (VM, window) that was learned is not learned again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from netpersona.observation.model import Observation
from netpersona.persona.learn import inferred_base, learn, span
from netpersona.persona.memory import Memory, remember
from netpersona.persona.model import Persona, RiskTerm, TrafficProfile
from netpersona.persona.profile import completeness, kind_of
from netpersona.persona.state import VmState
from netpersona.risk import ledger
from netpersona.risk.detectors import Context, judge_all, settle
from netpersona.risk.finding import Finding
from netpersona.risk.signatures import signatures

SERIOUS = 1.0  # log-odds: a window with an alert of this weight is not calm, and nothing of it is learned
_NEGLIGIBLE = 0.05  # log-odds: not worth a term
_NAMES = 8  # that a term carries; of more, the listing that they stand below


class Step(NamedTuple):
    """What one window of one VM gave."""

    state: VmState
    findings: list[Finding]
    terms: tuple[RiskTerm, ...]  # what was added to the risk ledger
    changes: tuple[str, ...]  # what a person would call a change, in words; empty: the version stays


def advance(state: VmState | None, observation: Observation, context: Context) -> Step:
    """Judge one window of one VM and learn it if it was calm.

    `state` is None for a VM never seen before.  The persona's version rises where `changes` are named.
    """
    before = VmState(Persona(vm=observation.vm), Memory()) if state is None else state
    persona, at = before.persona, observation.window.end
    memory = remember(before.memory, observation)
    findings = judge_all(observation, persona, memory, context)
    terms = tuple(term for f in findings if (term := raised(persona.risk_ledger, f, at)) is not None)
    profile = _learned(persona, observation, findings)
    first, last = span(persona, observation)
    after = replace(
        persona,
        base=inferred_base(persona.base, observation),
        profile=profile,
        completeness=persona.completeness if profile is persona.profile else completeness(profile),
        learned_until=max(at, persona.learned_until or at),
        signatures=signatures(persona, findings, at) if findings or persona.signatures else (),
        risk_ledger=_added(persona.risk_ledger, terms, at, context) if terms else persona.risk_ledger,
        first_seen=first,
        last_seen=last,
    )
    changes = (
        ("first seen",)
        if persona.first_seen is None
        else tuple(_changes(persona, after, observation, worried=bool(terms)))
    )
    if changes and persona.first_seen is not None:
        after = replace(after, version=after.version + 1)
    return Step(VmState(after, settle(memory, findings)), findings, terms, changes)


def raised(terms: Sequence[RiskTerm], finding: Finding, at: int) -> RiskTerm | None:
    """What lifts the finding's share of the ledger back to its weight; None where it stands there already.

    So a finding that goes on keeps its weight instead of piling it up, also while it is exempt.
    """
    present = math.fsum(ledger.decayed(t, at) for t in terms if t.finding == finding.id)
    missing = finding.weight - present
    if missing < _NEGLIGIBLE or finding.half_life <= 0:
        return None
    names, relayed = _named(finding)
    return RiskTerm(
        finding.detector,
        finding.peer,
        round(missing, 6),
        finding.half_life,
        at,
        finding.id,
        finding.feeds,
        finding.why,
        names,
        relayed,
    )


def _named(finding: Finding) -> tuple[tuple[str, ...], bool]:
    """The names that a finding is about, and whether its peer only passed them on."""
    told, via = finding.evidence, finding.evidence.get("via", "address")
    if "domain" in told:
        return (str(told["domain"]),), True
    if finding.kind != "intel_match" or via == "address":
        return (), False
    seen = told.get("names_seen")
    few = isinstance(seen, list) and 0 < len(seen) <= _NAMES
    names = tuple(map(str, seen)) if isinstance(seen, list) and few else (str(told["indicator"]),)
    return names, via in {"dns", "dns-host"}


def _added(before: Sequence[RiskTerm], terms: Sequence[RiskTerm], at: int, context: Context) -> tuple[RiskTerm, ...]:
    return context.exemptions.on(ledger.add(before, terms, at), at)


def _learned(persona: Persona, observation: Observation, findings: Sequence[Finding]) -> TrafficProfile:
    """The profile with this window, if it was calm; without the peers that findings name."""
    if persona.learning == "frozen" or any(f.alert and f.weight >= SERIOUS for f in findings):
        return persona.profile
    return learn(persona, observation, but={peer for f in findings for peer in f.peers})


def _changes(before: Persona, after: Persona, observation: Observation, *, worried: bool) -> list[str]:
    """What a person would call a change between two personas, in words."""
    changes = []
    if after.base is not before.base:
        changes.append("base network configuration as inferred from the traffic")
    if after.signatures or before.signatures:
        now, then = ({s.name for s in p.signatures} for p in (after, before))
        changes += [f"signature {name} appeared" for name in sorted(now - then)]
        changes += [f"signature {name} faded" for name in sorted(then - now)]
    if worried or _may_be_elevated(before):
        at = observation.window.end
        previous = before.learned_until if before.learned_until is not None else at
        then_word, now_word = (ledger.word(ledger.risk_score(p, t)) for p, t in ((before, previous), (after, at)))
        if then_word != now_word:
            changes.append(f"risk went from {then_word} to {now_word}")
    served = {kind_of(c) for c in observation.conversations if c.direction == "inbound"}
    new = [kind for kind in served if kind in after.profile.kinds and kind not in before.profile.kinds]
    return changes + [f"answers {kind.transport}/{kind.port}" for kind in sorted(new)]


def _may_be_elevated(persona: Persona) -> bool:
    """Whether the ledger, even undecayed, could lift the risk out of `low`: spares computing it where it cannot."""
    if not persona.risk_ledger:
        return False
    prior = persona.risk_prior
    highest = math.log(prior / (1.0 - prior)) + sum(t.weight for t in persona.risk_ledger)
    return highest > math.log(0.3 / 0.7)
