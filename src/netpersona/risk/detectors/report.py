"""How a detector reports: one Finding, with the id and the first judgement of the episode it goes on with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from netpersona.flow.window import DAY, HOUR
from netpersona.persona.memory import Episode, Memory, with_episodes
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.finding import KINDS, Finding, Severity, finding_id

PEERS_SHOWN = 1000
EPISODE_IDLE = DAY + 12 * HOUR  # a finding not renewed for so long is over; what comes each night is one, not many


@lru_cache(maxsize=1 << 12)  # a finding's subject is asked for three times in a row
def subject(
    kind: str,
    direction: str,
    service: tuple[str | None, int | None] = (None, None),
    peer: str | None = None,
    about: str = "",
) -> int:
    """What a finding is about, as a number: findings of one episode share it.  `service` is its protocol and port."""
    named = "" if service[1] is None else f"{service[0]}/{service[1]}"
    text = "\x1f".join((kind, direction, named, peer or "", about))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=6).digest())


def going_on(scene: Scene, key: int) -> Episode | None:
    """The episode that a finding on this subject would continue."""
    episode = scene.memory.episodes.get(key)
    return None if episode is None or scene.observation.window.start - episode.last > EPISODE_IDLE else episode


def grows(count: float, half: float, top: float = 0.99) -> float:
    """A confidence that rises with a count: half of `top` at `half`, three quarters at twice that, and so on."""
    return top * (1.0 - math.exp2(-count / half))


def found(
    scene: Scene,
    kind: str,
    *,
    direction: str,
    vm_address: str,
    peer: str | None,
    peers: Iterable[str],
    protocol: str | None,
    port: int | None,
    first: int,
    last: int,
    confidence: float,
    severity: Severity,
    alert: bool,
    why: str,
    evidence: Mapping[str, float | int | str | list[str]],
    weight: float,
    half_life: int,
    detector: str | None = None,
    feeds: tuple[str, ...] = (),
    peers_total: int | None = None,
) -> Finding:
    """The finding; `weight` is what it would add to the risk (log-odds) if it were certain."""
    key = subject(kind, direction, (protocol, port), peer, about(evidence))
    episode = going_on(scene, key)
    begun = first if episode is None else min(first, episode.first)
    everyone = sorted(set(peers))
    sure = round(min(0.99, max(0.0, confidence)), 4)
    opened = first if episode is None else episode.first
    return Finding(
        id=finding_id(scene.observation.vm, kind, key, opened),
        vm=scene.observation.vm,
        vm_address=vm_address,
        detector=detector or kind,
        kind=kind,
        peer=peer,
        peers=tuple(everyone[:PEERS_SHOWN]),
        peers_total=max(len(everyone), peers_total or 0),
        protocol=protocol,
        port=port,
        direction=direction,
        first_seen=begun,
        last_seen=last,
        judged_at=scene.observation.window.end if episode is None else episode.judged_at,
        confidence=sure,
        severity=severity,
        alert=alert,
        why=why,
        evidence=dict(evidence),
        techniques=KINDS[kind],
        feeds=feeds,
        weight=round(weight * sure, 4),
        half_life=half_life,
    )


def about(evidence: Mapping[str, object]) -> str:
    """What a finding is about where it is not the peer: an indicator or a domain that its evidence names."""
    return " ".join(str(evidence[name]) for name in ("indicator", "via", "domain") if name in evidence)


def settle(memory: Memory, findings: Sequence[Finding]) -> Memory:
    """The memory with the findings' episodes opened or continued: what the next window is judged with."""
    if not findings:
        return memory
    episodes = dict(_episode(memory, finding) for finding in findings)
    return with_episodes(memory, episodes)


def _episode(memory: Memory, finding: Finding) -> tuple[int, Episode]:
    key = subject(
        finding.kind, finding.direction, (finding.protocol, finding.port), finding.peer, about(finding.evidence)
    )
    old, last = memory.episodes.get(key), min(finding.last_seen, memory.until)
    if old is None or old.judged_at != finding.judged_at:
        return key, Episode(finding.first_seen, last, finding.judged_at)
    return key, Episode(old.first, max(old.last, last), old.judged_at)
