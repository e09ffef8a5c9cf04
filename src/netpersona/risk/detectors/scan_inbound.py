"""Finds: a peer that tries many ports of the VM, or one port again and again, and gets no answer.

How it is fooled: by a scanner that changes its address for each probe, or waits a day between two of them.
Cost: looks only at peers with many unanswered flows behind them.
Method: threshold counting on failed connections, as in A. Sridharan et al., "Connectionless port scan detection" (2006)
and Zeek's scan policy; the counts decay only by a day of silence, since today's scanners take their time.

Being scanned is weather, not guilt: these findings weigh nothing, or a server that many scan would be taken for one
that was broken into.
"""

from __future__ import annotations

from netpersona.flow.window import HOUR
from netpersona.flow.words import counted
from netpersona.observation.model import Probe
from netpersona.persona.memory import Probing
from netpersona.risk.detectors.report import found, going_on, grows, subject
from netpersona.risk.detectors.scene import ENOUGH_PORTS, Scene
from netpersona.risk.detectors.words import span
from netpersona.risk.finding import Finding, Severity

NAME = "scan_inbound"
_EPHEMERAL = 32768  # from here on, what comes from a peer the VM called is likely its late replies


def judge(scene: Scene) -> list[Finding]:
    """One finding for each peer that scans, renewed when its count has grown by about a fifth."""
    return [f for probe in scene.probed if (f := _judge_peer(scene, probe)) is not None]


def _judge_peer(scene: Scene, now: Probe) -> Finding | None:
    past = scene.memory.sources.get(now.peer)
    if past is None:
        return None
    ports = max(len(past.ports), len(now.ports))
    if _told(scene, now.peer, past, now.flows, ports) or _leftovers(scene, now):
        return None
    return _finding(scene, now, past, ports)


def _told(scene: Scene, peer: str, past: Probing, fresh: int, ports: int) -> bool:
    """Whether this peer was reported before and has not done much more since."""
    before = past.flows - fresh
    if _step(before) != _step(past.flows):
        return False
    kind = "scan_vertical" if ports >= ENOUGH_PORTS else "scan_horizontal"
    return going_on(scene, subject(kind, "inbound", peer=peer)) is not None


def _leftovers(scene: Scene, now: Probe) -> bool:
    """Whether these are replies to the VM's own flows that came too late or were seen by half."""
    return now.ports[0] >= _EPHEMERAL and scene.called(now.peer)


def _step(count: int) -> int:
    """A number that rises each time the count has grown by a fifth to a third."""
    bits = count.bit_length()
    return bits * 4 + ((count << 2) >> (bits - 1) & 3 if bits else 0)


def _finding(scene: Scene, now: Probe, past: Probing, ports: int) -> Finding:
    peer, vertical = now.peer, ports >= ENOUGH_PORTS
    within = span(past.last - past.first)
    some = "at least " if ports == len(past.ports) else ""
    if vertical:
        why = f"{peer} tried {some}{ports} ports of the VM within {within}; none of {past.flows} flows was answered."
    else:
        where = counted(ports, "port")
        why = f"{peer} knocked {past.flows} times at {where} of the VM within {within}, and was never answered."
    return found(
        scene,
        "scan_vertical" if vertical else "scan_horizontal",
        detector=NAME,
        direction="inbound",
        vm_address=now.vm_address,
        peer=peer,
        peers=[peer],
        protocol=now.transport,
        port=None,
        first=past.first,
        last=past.last,
        confidence=max(grows(ports, 5.0) if vertical else 0.0, grows(past.flows, 14.0)),
        severity=Severity.LOW if vertical else Severity.INFORMATIONAL,
        alert=True,
        why=why,
        evidence={"distinct_ports_at_least": ports, "unanswered_flows": past.flows},
        weight=0.0,
        half_life=6 * HOUR,
    )
