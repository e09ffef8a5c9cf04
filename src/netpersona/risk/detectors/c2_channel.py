"""Finds: a session kept open to an outside peer at a port that nobody usually serves, as remote-control tools hold it.

How it is fooled: by using port 443, or a cloud that the VM uses anyway.  Games, calls and file sharing look alike:
many such peers at once are sharing, and count for less.
Cost: looks only at flows of a minute or longer.
Method: protocol and port mismatch with long, small, two-way sessions, as in MITRE ATT&CK T1571 (non-standard port)
and T1095; the thresholds are ours.
"""

from __future__ import annotations

from netpersona.flow.window import DAY
from netpersona.risk.detectors.makers import well_known
from netpersona.risk.detectors.peers import scope, usual
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Call, Scene
from netpersona.risk.detectors.words import size, span
from netpersona.risk.finding import Finding, Severity

NAME = "c2_channel"
SMALL = 2_000_000  # bytes each way: orders and their answers, not a film
SAID = 500  # bytes each way, at least
FEW_FLOWS = 12  # a session, not a service in constant use
SHARING = 6  # unusual outside peers at once: file sharing rather than control
ALERT_AT = 0.55
_SPEAKS = frozenset({None, "ssl", "tls"})


def judge(scene: Scene) -> list[Finding]:
    """One finding for each lasting session with an outside peer at an unusual port."""
    if not scene.lasting:
        return []
    return [_finding(scene, call) for call in scene.lasting if _suspect(scene, call)]


def _suspect(scene: Scene, call: Call) -> bool:
    c, contact = call
    return (
        c.transport == "tcp"
        and not usual(c.port)
        and scope(c.peer) == "public"
        and c.application in _SPEAKS
        and contact.flows <= FEW_FLOWS
        and SAID <= contact.bytes_out <= SMALL
        and SAID <= contact.bytes_in <= SMALL
        and not scene.familiar(c)
        and not (c.server_name is not None and well_known(c.server_name))
    )


def _finding(scene: Scene, call: Call) -> Finding:
    c, contact = call
    alike = sum(
        1 for t, port, peer in scene.memory.contacts if t == "tcp" and not usual(port) and scope(peer) == "public"
    )
    confidence = 0.6 if alike < SHARING else 0.3
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
        confidence=confidence,
        severity=Severity.MEDIUM,
        alert=confidence >= ALERT_AT,
        why=f"The VM held a session of {span(c.longest)} with {c.peer} at tcp port {c.port}, where no usual service "
        f"lives and where it did not call before ({size(contact.bytes_out)} out, {size(contact.bytes_in)} in): "
        "remote-control tools do so.",
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
