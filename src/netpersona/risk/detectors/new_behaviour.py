"""Finds: a service that the VM never offered or used before, once we have seen nearly all of what it does.

How it is fooled: by behaviour that starts while the VM is still being learned, and by using only services that are
usual for it.  New software looks just the same: mostly this is context; a new service that answers the outside is an
alert.
Cost: one look-up in the profile for each conversation, and only once the profile is complete.
Method: novelty against a profile that says how complete it is (Good-Turing), so that "new" means something.
"""

from __future__ import annotations

from netpersona.flow.window import DAY
from netpersona.flow.words import counted
from netpersona.observation.model import CHATTER, Conversation
from netpersona.risk.detectors.peers import scope
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import size
from netpersona.risk.finding import Finding, Severity

NAME = "new_behaviour"
COMPLETE = 0.95  # probability that the next flow is of a kind already seen
WINDOWS = 24  # active windows learned
SAID = 500  # bytes of payload each way that make a new service a conversation
REPORTED = 8  # findings for one window, at most
_EPHEMERAL = 32768


def judge(scene: Scene) -> list[Finding]:
    """One finding for each service that is new, the most used first; later windows of one renew it."""
    profile = scene.persona.profile
    if profile.windows < WINDOWS or scene.persona.completeness.seen < COMPLETE or not scene.learned:
        return []
    known = {(kind.direction, kind.transport, kind.port) for kind in profile.kinds}
    fresh = [c for c in scene.observation.conversations if c.answered and _service(c) not in known and _tells(scene, c)]
    if not fresh:
        return []
    by_service: dict[tuple[str, str, int], list[Conversation]] = {}
    for c in fresh:
        by_service.setdefault(_service(c), []).append(c)
    order = sorted(by_service.items(), key=lambda item: (-sum(c.flows for c in item[1]), item[0]))
    return [_finding(scene, now) for _, now in order[:REPORTED]]


def _service(c: Conversation) -> tuple[str, str, int]:
    return c.direction, c.transport, c.port


def _tells(scene: Scene, c: Conversation) -> bool:
    if c.port in CHATTER or c.port == 0 or scope(c.peer) == "many":
        return False
    if c.direction == "inbound" and c.port >= _EPHEMERAL and scene.called(c.peer):
        return False  # late replies
    return scene.persona.profile.dropped_kinds == 0 or c.direction == "inbound"


def _finding(scene: Scene, now: list[Conversation]) -> Finding:
    c = now[0]
    inbound = c.direction == "inbound"
    out, back = sum(x.payload_out or x.bytes_out for x in now), sum(x.payload_in or x.bytes_in for x in now)
    spoken = out >= SAID and back >= SAID
    loud = inbound and spoken and any(scope(x.peer) == "public" for x in now)
    seen = scene.persona.completeness.seen
    did = f"answers at {c.transport} port {c.port}" if inbound else f"calls {c.transport} port {c.port}"
    return found(
        scene,
        "new_behaviour",
        direction=c.direction,
        vm_address=c.vm_address,
        peer=None,
        peers={x.peer for x in now},
        protocol=c.transport,
        port=c.port,
        first=min(x.first for x in now),
        last=max(x.last for x in now),
        confidence=0.6 if loud else 0.4 if spoken else 0.3,
        severity=Severity.MEDIUM if loud else Severity.INFORMATIONAL,
        alert=loud,
        why=f"The VM {did}, which it never did in {scene.persona.profile.windows} windows learned ({seen:.1%} of its "
        f"flows are of kinds that we know); {size(out)} went out and {size(back)} came in, with "
        f"{counted(len(now), 'peer')}.",
        evidence={
            "windows_learned": scene.persona.profile.windows,
            "completeness": round(seen, 4),
            "sent_bytes": out,
            "received_bytes": back,
            "flows": sum(x.flows for x in now),
        },
        weight=1.2,
        half_life=DAY,
    )
