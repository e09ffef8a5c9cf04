"""Who says that something is wrong: one file for each detector, and the list of them.

A detector is a pure function `judge(scene) -> list[Finding]`; what it must remember is in the scene's memory.  To add
one: write its file, and add its line to DETECTORS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from netpersona.observation.model import Observation
from netpersona.persona.memory import Memory
from netpersona.persona.model import Persona
from netpersona.risk.detectors import (
    brute_force,
    c2_beacon,
    c2_channel,
    crypto_mining,
    dga,
    dns_tunnel,
    exfiltration,
    exploit_attempt,
    icmp_tunnel,
    intel_match,
    lateral_movement,
    long_connection,
    mail_exfiltration,
    new_behaviour,
    scan_inbound,
    scan_outbound,
    volume_anomaly,
)
from netpersona.risk.detectors.report import settle
from netpersona.risk.detectors.scene import Context, Scene, look
from netpersona.risk.finding import Finding

__all__ = ["DETECTORS", "Context", "Detector", "Scene", "judge_all", "look", "settle"]


class Detector(NamedTuple):
    """A detector's name, and the function that judges."""

    name: str
    judge: Callable[[Scene], list[Finding]]


DETECTORS: tuple[Detector, ...] = (
    Detector(intel_match.NAME, intel_match.judge),
    Detector(scan_inbound.NAME, scan_inbound.judge),
    Detector(scan_outbound.NAME, scan_outbound.judge),
    Detector(brute_force.NAME, brute_force.judge),
    Detector(c2_beacon.NAME, c2_beacon.judge),
    Detector(c2_channel.NAME, c2_channel.judge),
    Detector(dga.NAME, dga.judge),
    Detector(dns_tunnel.NAME, dns_tunnel.judge),
    Detector(icmp_tunnel.NAME, icmp_tunnel.judge),
    Detector(exfiltration.NAME, exfiltration.judge),
    Detector(mail_exfiltration.NAME, mail_exfiltration.judge),
    Detector(exploit_attempt.NAME, exploit_attempt.judge),
    Detector(crypto_mining.NAME, crypto_mining.judge),
    Detector(lateral_movement.NAME, lateral_movement.judge),
    Detector(long_connection.NAME, long_connection.judge),
    Detector(new_behaviour.NAME, new_behaviour.judge),
    Detector(volume_anomaly.NAME, volume_anomaly.judge),
)


def judge_all(observation: Observation, persona: Persona, memory: Memory, context: Context) -> list[Finding]:
    """What every detector finds in one window, sorted by kind, peer and id.

    `memory` already holds this window (remember() comes first); `persona` has not learned it yet.  What the next window
    is judged with is `settle(memory, findings)`: it carries the findings' ids and first judgements on.
    """
    scene = look(observation, persona, memory, context)
    findings: list[Finding] = []
    for detector in DETECTORS:
        findings += detector.judge(scene)
    if len(findings) > 1:  # a VM of several addresses may find one thing twice: the surer one stays
        findings.sort(key=lambda f: f.confidence)
        findings = sorted({f.id: f for f in findings}.values(), key=lambda f: (f.kind, f.peer or "", f.id))
    return findings
