"""Finds: the VM reaching for another machine inside through administration services, as an intruder does to spread.

How it is fooled: by using a path that administrators use anyway.  Directory servers and machines the VM always talked
to are left out.
Cost: one set look-up for each answered call to a peer inside.
Method: first contact at remote-service ports (MITRE ATT&CK T1021), after G. Apruzzese et al., "Detection and threat
prioritization of pivoting attacks" (2017); without a learned past, two such services, or a large upload, stand in.
"""

from __future__ import annotations

from netpersona.flow.window import DAY
from netpersona.flow.words import counted
from netpersona.observation.model import Conversation
from netpersona.persona.memory import Contact
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import size
from netpersona.risk.finding import Finding, Severity

NAME = "lateral_movement"
ADMIN_PORTS = frozenset({22, 23, 135, 139, 445, 3389, 5900, 5985, 5986})
REMOTE_SHELLS = frozenset({22, 3389, 5985, 5986})
DIRECTORY_PORTS = frozenset({88, 389, 464, 636, 3268})  # who answers there is a domain controller
COPIED = 500_000  # bytes sent through file sharing
WINDOWS = 24  # active windows learned before "never before" means something
COMPLETE = 0.9  # probability that the next flow is of a kind already seen
MANY = 20  # new machines in one window: one finding for all
ALERT_AT = 0.55


def judge(scene: Scene) -> list[Finding]:
    """One finding for each inside peer that is reached for in a new way."""
    if not scene.inside_calls:
        return []
    new: dict[str, list[Conversation]] = {}
    for c in scene.inside_calls:
        if c.port in ADMIN_PORTS and c.transport == "tcp" and not scene.familiar(c):
            new.setdefault(c.peer, []).append(c)
    if len(new) >= MANY:
        return [_everywhere(scene, new)]
    return [f for peer in sorted(new) if (f := _judge_peer(scene, peer, new[peer])) is not None]


def _everywhere(scene: Scene, new: dict[str, list[Conversation]]) -> Finding:
    """One finding for many machines reached in one window, as a worm does it, or a machine that administers others."""
    talks = [c for calls in new.values() for c in calls]
    known = _known_enough(scene)
    ports = sorted({c.port for c in talks})
    return found(
        scene,
        "lateral_movement",
        direction="outbound",
        vm_address=talks[0].vm_address,
        peer=None,
        peers=new,
        protocol="tcp",
        port=None,
        first=min(c.first for c in talks),
        last=max(c.last for c in talks),
        confidence=0.8 if known else 0.5,
        severity=Severity.HIGH if known else Severity.MEDIUM,
        alert=known,
        why=f"The VM reached {counted(len(new), 'machine')} inside at administration port "
        f"{', '.join(map(str, ports))} in 5 minutes, and did not call them before: worms spread like that.",
        evidence={"machines": len(new), "ports": [str(p) for p in ports], "flows": sum(c.flows for c in talks)},
        weight=2.6,
        half_life=DAY,
    )


def _judge_peer(scene: Scene, peer: str, now: list[Conversation]) -> Finding | None:
    contacts = {key[1]: c for key, c in scene.memory.contacts.items() if key[2] == peer and key[0] == "tcp"}
    ports = sorted(ADMIN_PORTS.intersection(contacts))
    if not ports or not DIRECTORY_PORTS.isdisjoint(contacts):
        return None
    sent = sum(contacts[port].bytes_out for port in ports)
    first_contact = _known_enough(scene)
    confidence = _confidence(ports, contacts, first_contact)
    if confidence < 0.3:
        return None
    return _finding(scene, now, (ports, sent, first_contact), confidence, min(contacts[p].first for p in ports))


def _known_enough(scene: Scene) -> bool:
    """Whether a first contact means something: learning was declared over, or the profile says that it is."""
    if not scene.learned or scene.persona.profile.windows < WINDOWS:
        return False
    return scene.context.learn_until is not None or scene.persona.completeness.seen >= COMPLETE


def _confidence(ports: list[int], contacts: dict[int, Contact], first_contact: bool) -> float:
    doubt = 1.0
    if first_contact:
        doubt *= 0.5
    if len(ports) >= 2 and any(port in REMOTE_SHELLS for port in ports):
        doubt *= 0.45
    if any(_copied(contacts[port]) for port in ports if port in (139, 445)):
        doubt *= 0.6
    return 1.0 - doubt


def _copied(contact: Contact) -> bool:
    return contact.bytes_out >= COPIED and contact.bytes_out >= 5 * contact.bytes_in


def _finding(
    scene: Scene, now: list[Conversation], what: tuple[list[int], int, bool], confidence: float, first: int
) -> Finding:
    ports, sent, first_contact = what
    c = now[0]
    listed = ", ".join(str(port) for port in ports)
    new = ", for the first time since we know it," if first_contact else ""
    return found(
        scene,
        "lateral_movement",
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol="tcp",
        port=None,
        first=first,
        last=max(x.last for x in now),
        confidence=confidence,
        severity=Severity.HIGH if confidence >= ALERT_AT else Severity.LOW,
        alert=confidence >= ALERT_AT or (first_contact and confidence >= 0.5),
        why=f"The VM{new} reached for {c.peer}, a machine inside, at administration port {listed} and sent "
        f"{size(sent)}: intruders spread like that.",
        evidence={"ports": [str(p) for p in ports], "sent_bytes": sent, "flows": sum(x.flows for x in now)},
        weight=2.6,
        half_life=DAY,
    )
