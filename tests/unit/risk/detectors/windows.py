"""Observations for the detectors' tests, built in a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from netpersona.flow.vm import VmId
from netpersona.flow.window import SECOND, WINDOW, Window
from netpersona.observation.model import (
    CHATTER,
    Conversation,
    NameUse,
    Observation,
    Probe,
    Sighting,
    conversation_order,
    name_order,
)
from netpersona.persona.memory import Memory, remember
from netpersona.persona.model import Persona
from netpersona.risk.detectors import Context, judge_all, settle
from netpersona.risk.finding import Finding

START = 1_760_000_100_000_000 // WINDOW * WINDOW  # µs
VM = VmId("web-1")
OWN = "10.77.0.11"
FAR = "93.184.216.34"


def talk(
    peer: str = FAR,
    port: int = 443,
    *,
    at: int = 0,
    every: int = 0,
    flows: int = 1,
    direction: str = "outbound",
    transport: str = "tcp",
    answered: int | None = None,
    refused: int = 0,
    out: int = 1500,
    back: int = 6000,
    lasts: int = SECOND // 2,
    starts: Sequence[int] | None = None,
    failed: int = 0,
    ok: int = 0,
    packets: tuple[int, int] = (8, 8),
    application: str | None = None,
    server_name: str | None = None,
) -> Conversation:
    """A conversation of `flows` flows from `at` µs after START on, one `every` µs; sizes are for each flow."""
    begun = tuple(starts) if starts is not None else tuple(START + at + i * every for i in range(flows))
    count = len(begun)
    replies = count if answered is None else answered
    return Conversation(
        direction=direction,
        transport=transport,
        port=port,
        peer=peer,
        vm_address=OWN,
        flows=count,
        answered=replies,
        refused=refused,
        bytes_out=out * count,
        bytes_in=back * replies,
        payload_out=out * count // 2,
        payload_in=back * replies // 2,
        packets_out=packets[0] * count,
        packets_in=packets[1] * replies,
        first=begun[0],
        last=begun[-1] + lasts,
        longest=lasts,
        starts=begun,
        logins_failed=failed,
        logins_ok=ok,
        application=application,
        server_name=server_name,
        tls_fingerprint=None,
    )


def probe(peer: str, port: int, *, at: int = 0, flows: int = 1, transport: str = "tcp") -> Probe:
    """Inbound flows that nobody answers, one every second."""
    ports, count = ((), 0) if port in CHATTER else ((port,), flows)
    return Probe(peer, OWN, transport, ports, count, 60 * flows, START + at, START + at + (flows - 1) * SECOND)


def asked(name: str, *, at: int = 0, failed: int = 0, peer: str = "10.77.0.1", kind: str = "dns") -> NameUse:
    """One use of a name."""
    return NameUse(kind, name, peer, None, None, 1, failed, START + at, START + at, ())


def window(
    seen: Iterable[Conversation | Probe] = (),
    *,
    number: int = 0,
    names: Iterable[NameUse] = (),
    sightings: Iterable[Sighting] = (),
) -> Observation:
    """The window `number` windows after START; the times of what is in it stand as they are."""
    start, seen = START + number * WINDOW, list(seen)
    return Observation(
        vm=VM,
        window=Window(start, start + WINDOW),
        conversations=tuple(sorted((c for c in seen if isinstance(c, Conversation)), key=conversation_order)),
        probes=joined([p for p in seen if isinstance(p, Probe)]),
        names=tuple(sorted(names, key=name_order)),
        sightings=tuple(sightings),
    )


def joined(probes: Iterable[Probe]) -> tuple[Probe, ...]:
    """The probes, those of one peer as one."""
    found: dict[str, Probe] = {}
    for p in probes:
        old = found.get(p.peer, replace(p, ports=(), flows=0, bytes_in=0))
        found[p.peer] = replace(
            p,
            ports=tuple(sorted({*old.ports, *p.ports})),
            flows=old.flows + p.flows,
            bytes_in=old.bytes_in + p.bytes_in,
            first=min(old.first, p.first),
            last=max(old.last, p.last),
        )
    return tuple(found[peer] for peer in sorted(found))


def judged(
    observations: Iterable[Observation],
    persona: Persona | None = None,
    context: Context | None = None,
) -> list[list[Finding]]:
    """What each window in turn gives; nothing is learned between them."""
    memory, results = Memory(), []
    who = persona or Persona(VM)
    for observation in observations:
        memory = remember(memory, observation)
        findings = judge_all(observation, who, memory, context or Context())
        memory = settle(memory, findings)
        results.append(findings)
    return results


def kinds(findings: Iterable[Finding], *, alerts: bool = True) -> list[str]:
    """The kinds of the findings, of alerts alone unless told otherwise."""
    return [f.kind for f in findings if f.alert or not alerts]
