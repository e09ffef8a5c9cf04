"""Finds: other command-and-control than regular calls, in two shapes.

A session kept open to an outside peer at a port that nobody usually serves, as remote-control tools hold it; a shorter
one, also inside, at a port where such a tool listens unless told otherwise; and one host addressed by many names that
nobody would choose, as generated domains all lead to the one host that is really there.

How it is fooled: by using port 443, or a cloud that the VM uses anyway.  Games, calls and file sharing look alike:
many such peers at once are sharing, and are left out.
Cost: looks only at flows of half a minute or longer, at one set look-up for each call to an unusual place, and at names
used in HTTP and TLS.
Method: protocol and port mismatch with long, small, two-way sessions, as in MITRE ATT&CK T1571 (non-standard port)
and T1095; the ports are the tools' own defaults, by their documentation; the thresholds are ours.
"""

from __future__ import annotations

from netpersona.flow.window import DAY, SECOND
from netpersona.observation.model import Conversation, NameUse
from netpersona.persona.memory import UNSUITED, domain_of
from netpersona.risk.detectors.acquaintance import knew
from netpersona.risk.detectors.bigrams import STRANGE, strangeness
from netpersona.risk.detectors.intel_match import own_address
from netpersona.risk.detectors.makers import well_known
from netpersona.risk.detectors.peers import ALTERNATIVE_PORTS, near, scope, usual
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import LASTING, Call, Scene
from netpersona.risk.detectors.words import shown, size, span
from netpersona.risk.finding import Finding, Severity

NAME = "c2_channel"
SMALL = 2_000_000  # bytes each way: orders and their answers, not a film
SAID = 500  # bytes each way, at least
# njRAT 1177 5552, Ultors 1234, DarkComet 1604, Remcos 2404, Poison Ivy 3460, Metasploit 4444, Quasar 4782,
# AsyncRAT 6606 7707 8808, the listeners of tutorials 1337 9001, NetBus 12345, SubSeven 27374, Back Orifice and Sliver
# 31337, Cobalt Strike 50050, NanoCore 54984
TOOL_PORTS = frozenset(
    {1177, 1234, 1337, 1604, 2404, 3460, 4444, 4782, 5552, 6606, 7707, 8808, 9001, 12345, 27374, 31337, 50050, 54984}
)
TYPED = 10 * SECOND  # a session at one of these: shorter is a look whether somebody is there
HELD = 30 * SECOND  # a session at any other: what only asks something is done before
FEW_FLOWS = 12  # a session, not a service in constant use
SHARING = 6  # unusual outside peers at once: file sharing rather than control
OUTSIDE, ELSEWHERE = 0.6, 0.45  # confidence, where the peer is public or in another private network
FRONT_NAMES = 8  # registered domains that nobody would choose, at one host, in one window
REPORTED = 50  # hosts in one window, at most
FRONT_SHARE = 0.5  # of all its domains
_SPEAKS = frozenset({None, "ssl", "tls"})


def judge(scene: Scene) -> list[Finding]:
    """One finding for each held session with an outside peer at an unusual port."""
    return [*_sessions(scene), *_fronts(scene)]


def _sessions(scene: Scene) -> list[Finding]:
    if not scene.lasting and not scene.outside and not scene.inside_calls:
        return []
    suspects = [call for call in (*scene.lasting, *_shorter(scene)) if _suspect(scene, call)]
    if not suspects or (alike := _unusual_contacts(scene)) >= SHARING:
        return []
    return [_session(scene, call, alike) for call in suspects]


def _shorter(scene: Scene) -> list[Call]:
    """The sessions too short to be lasting that still say something: outside, or anywhere at the ports of tools."""
    calls = []
    for c in (*scene.outside, *scene.inside_calls):
        least = TYPED if c.port in TOOL_PORTS else HELD
        if least <= c.longest < LASTING and not usual(c.port):
            contact = scene.memory.contacts.get((c.transport, c.port, c.peer))
            if contact is not None:
                calls.append(Call(c, contact))
    return calls


def _unusual_contacts(scene: Scene) -> int:
    """How many outside peers the VM calls at ports that say nothing; the web's second choices do."""
    return sum(
        1
        for t, port, peer in scene.memory.contacts
        if t == "tcp" and not usual(port) and port not in ALTERNATIVE_PORTS and scope(peer) == "public"
    )


def _suspect(scene: Scene, call: Call) -> bool:
    c, contact = call
    return (
        c.transport == "tcp"
        and not usual(c.port)
        and c.port not in ALTERNATIVE_PORTS
        and (c.port in TOOL_PORTS or not _near(scene, c))
        and c.application in _SPEAKS
        and contact.flows <= FEW_FLOWS
        and SAID <= contact.bytes_out <= SMALL
        and SAID <= contact.bytes_in <= SMALL
        and not knew(scene, c)
        and not (c.server_name is not None and well_known(c.server_name))
    )


def _near(scene: Scene, c: Conversation) -> bool:
    return (
        c.peer in scene.context.fleet
        or scope(c.peer) == "many"
        or (scene.inside(c.peer) and near(c.vm_address, c.peer))
    )


def _session(scene: Scene, call: Call, alike: int) -> Finding:
    c, contact = call
    outside, tool = scope(c.peer) == "public", c.port in TOOL_PORTS
    where = "where remote-control tools listen unless told otherwise" if tool else "where no usual service lives"
    return found(
        scene,
        "c2_channel",
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol="tcp",
        port=c.port,
        first=contact.first,
        last=c.last,
        confidence=OUTSIDE if outside or tool else ELSEWHERE,
        severity=Severity.MEDIUM,
        alert=outside or tool,
        why=f"The VM held a session of {span(c.longest)} with {c.peer} at tcp port {c.port}, {where}, and did not "
        f"call it before ({size(contact.bytes_out)} out, {size(contact.bytes_in)} in): remote-control tools do so.",
        evidence={
            "longest_s": round(c.longest / 1e6, 3),
            "sent_bytes": contact.bytes_out,
            "received_bytes": contact.bytes_in,
            "flows": contact.flows,
            "unusual_outside_contacts": alike,
        },
        weight=2.4,
        half_life=DAY,
    )


def _fronts(scene: Scene) -> list[Finding]:
    if len(scene.observation.names) < FRONT_NAMES:
        return []
    by_peer: dict[str, list[NameUse]] = {}
    for use in scene.observation.names:
        if use.kind in ("http", "tls"):
            by_peer.setdefault(use.peer, []).append(use)
    fronts = []
    for peer in sorted(peer for peer, uses in by_peer.items() if len(uses) >= FRONT_NAMES)[:REPORTED]:
        domains = {domain_of(use) for use in by_peer[peer]}
        strange = _strange(domains)
        if len(strange) >= max(FRONT_NAMES, FRONT_SHARE * len(domains)):
            fronts.append(_front(scene, by_peer[peer], strange, len(domains)))
    return fronts


def _strange(domains: set[str]) -> list[str]:
    return sorted(d for d in domains if not d.startswith(UNSUITED) and strangeness(d.partition(".")[0]) >= STRANGE)


def _front(scene: Scene, uses: list[NameUse], strange: list[str], names: int) -> Finding:
    peer = uses[0].peer
    talks = [c for c in scene.observation.conversations if c.peer == peer and c.direction == "outbound"]
    examples = [shown(name) for name in strange[:5]]
    return found(
        scene,
        "c2_channel",
        direction="outbound",
        vm_address=talks[0].vm_address if talks else own_address(scene),
        peer=peer,
        peers=[peer],
        protocol="tcp",
        port=talks[0].port if talks else None,
        first=min(n.first for n in uses),
        last=max(n.last for n in uses),
        confidence=grows(len(strange), 6.0),
        severity=Severity.HIGH,
        alert=True,
        why=f"The VM addressed the one host {peer} by {names} domains, {len(strange)} of them with names that nobody "
        f"would choose ({', '.join(examples[:3])}): generated names lead so to a master, or to who took his place.",
        evidence={
            "domains": names,
            "strange_domains": len(strange),
            "examples": examples,
            "flows": sum(c.flows for c in talks),
        },
        weight=2.8,
        half_life=DAY,
    )
