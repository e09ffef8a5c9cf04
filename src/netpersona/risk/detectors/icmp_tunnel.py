"""Finds: echoes that carry much more than an echo needs, in both directions, as a tunnel fills them.

How it is fooled: by small payloads, sent slowly.  A person who tests a path with large echoes gets back what was sent,
byte for byte, and counts for less.
Cost: looks only at ICMP conversations.
Method: size and count of echoes against the 32 to 56 bytes that operating systems send; MITRE ATT&CK T1095.
"""

from __future__ import annotations

from netpersona.flow.window import DAY
from netpersona.observation.model import Conversation
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import size
from netpersona.risk.finding import Finding, Severity

NAME = "icmp_tunnel"
PACKETS = 20  # in one window
FULL = 110  # bytes a packet with headers, on average: an ordinary echo has 60 to 98
VOLUME = 8_000  # bytes in one window
REPORTED = 20  # peers in one window, at most: those with most of it
ALERT_AT = 0.6


def judge(scene: Scene) -> list[Finding]:
    """One finding for each peer that echoes with a cargo are exchanged with."""
    if not scene.icmp:
        return []
    pings = [c for c in scene.icmp if c.packets_out + c.packets_in >= PACKETS and _cargo(c)]
    pings.sort(key=lambda c: (-c.bytes_out - c.bytes_in, c.peer))
    return [_finding(scene, c) for c in pings[:REPORTED]]


def _cargo(c: Conversation) -> bool:
    volume, packets = c.bytes_out + c.bytes_in, c.packets_out + c.packets_in
    return volume >= VOLUME and volume / packets >= FULL and c.answered > 0


def _finding(scene: Scene, c: Conversation) -> Finding:
    packets = c.packets_out + c.packets_in
    average = (c.bytes_out + c.bytes_in) / packets
    mirrored = c.bytes_out == c.bytes_in and c.packets_out == c.packets_in
    confidence = grows(packets, 40.0, 0.45 if mirrored else 0.95)
    return found(
        scene,
        "icmp_tunnel",
        direction=c.direction,
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol=c.transport,
        port=None,
        first=c.first,
        last=c.last,
        confidence=confidence,
        severity=Severity.HIGH if not mirrored else Severity.LOW,
        alert=confidence >= ALERT_AT,
        why=f"The VM and {c.peer} exchanged {packets} ICMP packets of {average:.0f} bytes on average "
        f"({size(c.bytes_out)} out, {size(c.bytes_in)} in): an ordinary echo has less than "
        "100 bytes and comes back as it went.",
        evidence={
            "packets_out": c.packets_out,
            "packets_in": c.packets_in,
            "sent_bytes": c.bytes_out,
            "received_bytes": c.bytes_in,
            "average_packet_bytes": round(average, 1),
        },
        weight=2.6,
        half_life=DAY,
    )
