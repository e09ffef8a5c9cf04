"""Finds: many long, ever-changing names below one domain, as they carry data through the resolver.

Where a sensor tells no names, many questions that are twice as large as questions are.

How it is fooled: by short names asked slowly.  Some security products look up file hashes like this and are found too.
Cost: one comparison for each conversation, and one look at each name of 30 characters or longer.
Method: distinct sub-names per registered domain and their length, after K. Born and D. Gustafson, "Detecting DNS
tunnels using character frequency analysis" (2010) and RITA's exploded-DNS count.
"""

from __future__ import annotations

from collections.abc import Sequence

from netpersona.flow.window import DAY
from netpersona.observation.model import Conversation, NameUse
from netpersona.persona.memory import LONG_NAME, UNSUITED, domain_of
from netpersona.risk.detectors.dga import asker
from netpersona.risk.detectors.makers import well_known
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import shown, span
from netpersona.risk.finding import Finding, Severity

NAME = "dns_tunnel"
NAMES = 20  # distinct long names below one domain within the hour
LENGTH = 52  # characters on average: a data-carrying name is filled up
DNS = 53
QUESTIONS = 50  # packets in one window, where names are not told
FULL = 160  # bytes a packet with headers on average: ordinary questions have 60 to 105
SURE_BY_SIZE = 0.85  # at most, where names are not told
ALERT_AT = 0.6


def judge(scene: Scene) -> list[Finding]:
    """One finding for each domain that names are tunnelled through, and for each resolver asked at such length."""
    return [*_by_names(scene), *_by_size(scene)]


def _by_names(scene: Scene) -> list[Finding]:
    if not scene.memory.subnames or not scene.observation.names:
        return []
    by_domain: dict[str, list[NameUse]] = {}
    for use in scene.observation.names:
        if use.kind == "dns" and len(use.name) >= LONG_NAME:
            by_domain.setdefault(domain_of(use), []).append(use)
    return [f for domain, uses in sorted(by_domain.items()) if (f := _judge_domain(scene, domain, uses)) is not None]


def _judge_domain(scene: Scene, domain: str, uses: Sequence[NameUse]) -> Finding | None:
    past = scene.memory.subnames.get(domain)
    distinct = max(len({use.name for use in uses}), len(past.seen) if past is not None else 0)
    average = sum(len(use.name) for use in uses) / len(uses)
    if distinct < NAMES or average < LENGTH or well_known(domain):
        return None
    resolvers = sorted({use.peer for use in uses})
    under = "no known domain" if domain.startswith(UNSUITED) else shown(domain)
    confidence = min(grows(distinct, 11.0), 0.6 + (average - LENGTH) / 100)
    return found(
        scene,
        "dns_tunnel",
        direction="outbound",
        vm_address=asker(scene, resolvers),
        peer=resolvers[0] if len(resolvers) == 1 else None,
        peers=resolvers,
        protocol="udp",
        port=53,
        first=min(use.first for use in uses) if past is None else past.first,
        last=max(use.last for use in uses),
        confidence=confidence,
        severity=Severity.HIGH,
        alert=confidence >= ALERT_AT,
        why=f"The VM asked for {distinct} different names below {under}, {average:.0f} characters long on average: "
        "names like that carry data through the resolver.",
        evidence={
            "domain": shown(domain),
            "distinct_names_at_least": distinct,
            "average_name_characters": round(average, 1),
            "longest_name_characters": max(len(use.name) for use in uses),
            "queries": sum(use.uses for use in uses),
        },
        weight=2.8,
        half_life=DAY,
    )


def _by_size(scene: Scene) -> list[Finding]:
    """Questions of which nothing is known but their size."""
    large = [c for c in scene.observation.conversations if c.port == DNS and _large(c)]
    told = {use.peer for use in scene.observation.names if use.kind == "dns"} if large else set()
    return [_large_questions(scene, c) for c in large if c.peer not in told]


def _large(c: Conversation) -> bool:
    return (
        c.direction == "outbound"
        and c.transport == "udp"
        and c.answered > 0
        and c.packets_out >= QUESTIONS
        and c.bytes_out >= FULL * c.packets_out
    )


def _large_questions(scene: Scene, c: Conversation) -> Finding:
    average = c.bytes_out / c.packets_out
    confidence = grows(c.packets_out, QUESTIONS, SURE_BY_SIZE)
    return found(
        scene,
        "dns_tunnel",
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol="udp",
        port=DNS,
        first=c.first,
        last=c.last,
        confidence=confidence,
        severity=Severity.HIGH,
        alert=confidence >= ALERT_AT,
        why=f"The VM sent {c.peer} {c.packets_out} packets of {average:.0f} bytes on average at the port of DNS within "
        f"{span(c.last - c.first)}; ordinary questions have less than 105: names so long carry data.",
        evidence={
            "packets_out": c.packets_out,
            "average_packet_bytes": round(average, 1),
            "sent_bytes": c.bytes_out,
            "received_bytes": c.bytes_in,
        },
        weight=2.8,
        half_life=DAY,
    )
