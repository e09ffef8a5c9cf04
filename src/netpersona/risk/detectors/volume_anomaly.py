"""Finds: a window in which the VM sends or receives far more than it ever did while it was learned.

How it is fooled: by growing slowly enough to be learned, and by staying below the usual peak.
Cost: two comparisons for each window.
Method: the 99th percentile of the VM's own active windows, from a histogram in half-octaves; far means at least
sixteen times that, since volumes spread over orders of magnitude.
"""

from __future__ import annotations

from netpersona.flow.window import HOUR
from netpersona.observation.model import Conversation, Probe
from netpersona.persona.profile import volume_quantile
from netpersona.risk.detectors.report import found
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import size
from netpersona.risk.finding import Finding, Severity

NAME = "volume_anomaly"
WINDOWS = 24  # active windows that make a band
WINDOWS_ALERT = 200  # active windows that make a day
FLOOR_OUT = 10_000_000  # bytes in one window: less is never worth a word
FLOOR_IN = 100_000_000
TIMES = 16.0  # the band's upper end, to be reported
TIMES_ALERT = 64.0  # to be put before a person, where it was sent: what comes in at once is mostly an update
FLOOR_ALERT = 50_000_000


def judge(scene: Scene) -> list[Finding]:
    """At most two findings: much more sent, or received, than usual."""
    if scene.bytes_out < FLOOR_OUT and scene.bytes_in < FLOOR_IN:
        return []
    profile = scene.persona.profile
    if profile.windows < WINDOWS:
        return []
    findings = []
    for direction, volume, volumes, floor in (
        ("outbound", scene.bytes_out, profile.volumes_out, FLOOR_OUT),
        ("inbound", scene.bytes_in, profile.volumes_in, FLOOR_IN),
    ):
        band = max(1.0, volume_quantile(volumes, 0.99))
        if volume >= floor and volume >= TIMES * band:
            findings.append(_finding(scene, direction, volume, band))
    return findings


def _finding(scene: Scene, direction: str, volume: int, band: float) -> Finding:
    out = direction == "outbound"
    seen: list[Conversation | Probe] = [*scene.observation.conversations, *scene.observation.probes]
    top = max(seen, key=lambda c: (_share(c, out), c.peer))
    times = volume / band
    alert = out and times >= TIMES_ALERT and volume >= FLOOR_ALERT and _mature(scene) and not scene.inside(top.peer)
    return found(
        scene,
        "volume_anomaly",
        direction=direction,
        vm_address=top.vm_address,
        peer=None,
        peers=[top.peer],
        protocol=None,
        port=None,
        first=min(c.first for c in seen),
        last=max(c.last for c in seen),
        confidence=min(0.9, 0.3 + 0.1 * (times / TIMES)),
        severity=Severity.MEDIUM if alert else Severity.LOW,
        alert=alert,
        why=f"In 5 minutes the VM {'sent' if out else 'received'} {size(volume)}, {times:.0f} times what 99 in 100 of "
        f"its {scene.persona.profile.windows} windows learned stay below ({size(band)}); most of it with {top.peer}.",
        evidence={
            "window_bytes": volume,
            "band_bytes": round(band),
            "times_band": round(times, 2),
            "largest_share_bytes": _share(top, out),
            "windows_learned": scene.persona.profile.windows,
        },
        weight=1.2 if alert else 0.5,
        half_life=6 * HOUR,
    )


def _mature(scene: Scene) -> bool:
    """Whether learning was declared over, or has seen a whole day: before, the nightly backup is news."""
    return scene.learned and (scene.context.learn_until is not None or scene.persona.profile.windows >= WINDOWS_ALERT)


def _share(c: Conversation | Probe, out: bool) -> int:
    if out:
        return c.bytes_out if isinstance(c, Conversation) else 0
    return c.bytes_in
