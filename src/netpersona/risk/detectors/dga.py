"""Finds: a burst of names that do not exist and that nobody would choose.

Malware asks for them that computes where its master may be today (a domain generation algorithm).

How it is fooled: by names made of words (it then takes more of them), by asking slowly, and by DNS over HTTPS.
Cost: nothing unless a name does not exist; then one look at up to 64 remembered names.
Method: failed look-ups as in M. Antonakakis et al., "From throw-away traffic to bots" (2012); letter pairs as in S.
Yadav et al., "Detecting algorithmically generated malicious domain names" (2010), with a model counted over our own
words.
"""

from __future__ import annotations

from netpersona.flow.window import DAY
from netpersona.observation.model import NameUse
from netpersona.persona.memory import UNRESOLVED_KEPT, UNSUITED, domain_of
from netpersona.risk.detectors.bigrams import STRANGE, strangeness
from netpersona.risk.detectors.intel_match import own_address
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import shown
from netpersona.risk.finding import Finding, Severity

NAME = "dga"
STRANGE_NAMES = 8  # so many within the hour
ANY_NAMES = 30  # or so many that do not exist, whatever they look like
ALERT_AT = 0.6


def judge(scene: Scene) -> list[Finding]:
    """At most one finding: the VM asks for generated names."""
    if not scene.memory.unresolved or not scene.observation.names:
        return []
    failed = [n for n in scene.observation.names if n.kind == "dns" and n.failed]
    if not failed:
        return []
    now = {domain_of(n) for n in failed}
    domains = {d for d in now.union(scene.memory.unresolved) if not d.startswith(UNSUITED)}
    strange = sorted(d for d in domains if strangeness(d.partition(".")[0]) >= STRANGE)
    if len(strange) < STRANGE_NAMES and len(domains) < ANY_NAMES:
        return []
    return [_finding(scene, failed, len(domains), strange)]


def _finding(scene: Scene, failed: list[NameUse], count: int, strange: list[str]) -> Finding:
    confidence = max(grows(len(strange), 6.0), 0.8 * grows(count, 24.0))
    resolvers = sorted({n.peer for n in failed})
    examples = strange[:5] or sorted(domain_of(n) for n in failed)[:5]
    some = "at least " if count >= UNRESOLVED_KEPT else ""
    return found(
        scene,
        "dga",
        direction="outbound",
        vm_address=asker(scene, resolvers),
        peer=None,
        peers=resolvers,
        protocol="udp",
        port=53,
        first=min(n.first for n in failed),
        last=max(n.last for n in failed),
        confidence=confidence,
        severity=Severity.HIGH,
        alert=confidence >= ALERT_AT,
        why=f"Within an hour the VM asked for {some}{count} domains that do not exist, {len(strange)} of them with "
        f"names that nobody would choose ({', '.join(shown(e) for e in examples[:3])}): so does malware that searches "
        "for its master.",
        evidence={
            "unresolved_domains_per_h": count,
            "strange_domains_per_h": len(strange),
            "examples": [shown(e) for e in examples],
        },
        weight=2.8,
        half_life=DAY,
    )


def asker(scene: Scene, resolvers: list[str]) -> str:
    """The VM's address that asked these resolvers."""
    for c in scene.observation.conversations:
        if c.peer in resolvers and c.direction == "outbound":
            return c.vm_address
    return own_address(scene)
