"""Finds: far more sent to a peer than came back, to a peer that the VM does not usually send to.

How it is fooled: by sending slowly over days, by sending little, by hiding it in a service used anyway, and by
answers as large as the questions.  A first backup to a new place looks just the same.
Cost: looks only at contacts that were sent 1 MB or more.
Method: producer-consumer ratio, (out - in) / (out + in), after C. Bullard (Argus, FloCon 2014), with the VM's own
band of volume where enough of it was learned.
"""

from __future__ import annotations

from netpersona.flow.window import DAY
from netpersona.persona.profile import volume_quantile
from netpersona.risk.detectors.acquaintance import knew
from netpersona.risk.detectors.peers import near
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Call, Scene
from netpersona.risk.detectors.words import shown, size, span
from netpersona.risk.finding import Finding, Severity

NAME = "exfiltration"
FLOOR = 20_000_000  # bytes: worth a finding by itself, where the peer is new
FLOOR_BY_BAND = 2_000_000  # bytes: worth one where it also stands far out of the VM's own band
OUT_OF_BAND = 8  # times the largest volume that the VM usually sends in a window
RATIO = 3.0  # sent against received
WINDOWS = 24  # active windows that make a band
ALERT_AT = 0.6


def judge(scene: Scene) -> list[Finding]:
    """One finding for each contact that takes in much and gives little back."""
    if not scene.heavy:
        return []
    band = _band(scene)
    return [f for call in scene.heavy if (f := _judge_call(scene, call, band)) is not None]


def _band(scene: Scene) -> float | None:
    profile = scene.persona.profile
    return volume_quantile(profile.volumes_out, 0.99) if profile.windows >= WINDOWS else None


def _judge_call(scene: Scene, call: Call, band: float | None) -> Finding | None:
    c, contact = call
    sent, received = contact.bytes_out, contact.bytes_in
    if sent < RATIO * max(received, 1) or knew(scene, c) or _ours(scene, call):
        return None
    times = sent / band if band else 0.0
    if sent < FLOOR and not (sent >= FLOOR_BY_BAND and times >= OUT_OF_BAND):
        return None
    confidence = max(0.9 * grows(sent, FLOOR * 0.7), 0.75 * grows(times, OUT_OF_BAND) if times >= OUT_OF_BAND else 0.0)
    return _finding(scene, call, times, confidence)


def _ours(scene: Scene, call: Call) -> bool:
    """Copies between machines of one site are a matter of lateral movement, not of loss."""
    return call.now.peer in scene.context.fleet or (
        scene.inside(call.now.peer) and near(call.now.vm_address, call.now.peer)
    )


def _finding(scene: Scene, call: Call, times: float, confidence: float) -> Finding:
    c, contact = call
    named = f" ({shown(c.server_name)})" if c.server_name is not None else ""
    usual = f", {times:.0f} times the most it usually sends in 5 minutes" if times >= 2 else ""
    return found(
        scene,
        "exfiltration",
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol=c.transport,
        port=c.port,
        first=contact.first,
        last=c.last,
        confidence=confidence,
        severity=Severity.HIGH,
        alert=confidence >= ALERT_AT,
        why=f"The VM sent {size(contact.bytes_out)} to {c.peer}{named}, which it does not usually send to, and got "
        f"{size(contact.bytes_in)} back, within {span(c.last - contact.first)}{usual}.",
        evidence={
            "sent_bytes": contact.bytes_out,
            "received_bytes": contact.bytes_in,
            "ratio": round(contact.bytes_out / max(contact.bytes_in, 1), 2),
            "times_own_band": round(times, 2),
            "flows": contact.flows,
        },
        weight=2.6,
        half_life=DAY,
    )
