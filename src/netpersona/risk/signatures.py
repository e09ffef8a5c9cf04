"""Behavioural signatures: the known behaviours that a persona's recent findings recognise.

A finding of a behaviour that was put before a person becomes a signature and stays as long as it is renewed, and a
day after that.  What others do to the VM (inbound findings) is not its behaviour; listings (intel_match) and mere
strangeness (new_behaviour, volume_anomaly) are no behaviours.
"""

from __future__ import annotations

from collections.abc import Sequence

from netpersona.flow.window import DAY
from netpersona.persona.model import BehavioralSignature, Persona
from netpersona.risk.finding import Finding

RECENT = DAY  # how long a signature stays after it was last seen
KEPT = 16
_NOT_BEHAVIOUR = frozenset({"intel_match", "new_behaviour", "volume_anomaly", "policy_violation", "stack_change"})


def signatures(persona: Persona, findings: Sequence[Finding], at: int) -> tuple[BehavioralSignature, ...]:
    """The persona's signatures at the instant `at` (µs), by name and peer; the same value where nothing changed."""
    table = {(s.name, s.peer or ""): s for s in persona.signatures if at - s.last < RECENT}
    for finding in findings:
        if finding.alert and finding.direction == "outbound" and finding.kind not in _NOT_BEHAVIOUR:
            key = (finding.kind, finding.peer or "")
            table[key] = _signature(finding, table.get(key), at)
    newest = sorted(table.items(), key=lambda item: (-item[1].last, item[0]))[:KEPT]
    after = tuple(signature for _, signature in sorted(newest))
    return persona.signatures if after == persona.signatures else after


def _signature(finding: Finding, old: BehavioralSignature | None, at: int) -> BehavioralSignature:
    seen = min(finding.last_seen, at)  # a flow may claim to last far beyond what is known yet
    since = finding.first_seen if old is None else min(old.since, finding.first_seen)
    last = seen if old is None else max(old.last, seen)
    return BehavioralSignature(finding.kind, since, last, finding.peer, finding.confidence, finding.why)
