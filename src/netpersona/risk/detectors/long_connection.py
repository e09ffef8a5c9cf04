"""Finds: a flow kept open for hours to an outside peer that the VM did not know before.

Reported from four hours on, and put before a person from eight at a port where no usual service lives, from sixteen at
any.  A peer is known if the VM called it at that service before the window in which the flow began (acquaintance).

How it is fooled: by closing and opening again.  Push messages, remote desktops and tunnels for work stay open as
well, so this is context, and an alert only where no usual service lives at the port.
Cost: looks only at flows of a minute or longer.
Method: RITA's long-connections list; the thresholds are ours.
"""

from __future__ import annotations

from netpersona.flow.window import HOUR
from netpersona.risk.detectors.acquaintance import met
from netpersona.risk.detectors.peers import scope, usual
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Call, Scene
from netpersona.risk.detectors.words import size, span
from netpersona.risk.finding import Finding, Severity

NAME = "long_connection"
LONG = 4 * HOUR
VERY_LONG = 8 * HOUR  # worth a person's time at an odd port
EXTREME = 16 * HOUR  # and at any port


def judge(scene: Scene) -> list[Finding]:
    """One finding for each unfamiliar outside contact with a flow of four hours or longer."""
    if not scene.lasting:
        return []
    return [
        _finding(scene, call, first)
        for call in scene.lasting
        if call.now.longest >= LONG and scope(call.now.peer) == "public"
        if (first := met(scene, call.now)) is not None
    ]


def _finding(scene: Scene, call: Call, first: int) -> Finding:
    c, contact = call
    odd = not usual(c.port)
    alert = scene.learned and c.longest >= (VERY_LONG if odd else EXTREME)
    return found(
        scene,
        "long_connection",
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol=c.transport,
        port=c.port,
        first=first,
        last=c.last,
        confidence=0.55 if alert else 0.3,
        severity=Severity.LOW,
        alert=alert,
        why=f"The VM kept a flow open to {c.peer} at {c.transport} port {c.port} for {span(c.longest)} "
        f"({size(contact.bytes_out)} out, {size(contact.bytes_in)} in), and did not know that peer before.",
        evidence={
            "longest_s": round(c.longest / 1e6, 3),
            "sent_bytes": contact.bytes_out,
            "received_bytes": contact.bytes_in,
        },
        weight=1.0,
        half_life=12 * HOUR,
    )
