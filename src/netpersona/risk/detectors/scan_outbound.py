"""Finds: the VM trying many ports of one host, or one port (or an echo) of many hosts, mostly in vain.

How it is fooled: by scanning slower than the memory keeps (an hour between two probes), only where something answers,
or at a high port among file sharing. Discovery protocols, traceroute and replies to those who probe us are left out, as
they fail by design.
Cost: looks only at outbound conversations that nobody answered, and at pings.
Method: counting failed first contacts, after J. Jung et al., "Fast portscan detection using sequential hypothesis
testing" (2004): what gives a scanner away is not how many it calls but how few answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from netpersona.flow.window import HOUR
from netpersona.flow.words import counted
from netpersona.observation.model import CHATTER, Conversation
from netpersona.risk.detectors.peers import scope, usual
from netpersona.risk.detectors.report import found, grows
from netpersona.risk.detectors.scene import Scene
from netpersona.risk.detectors.words import span
from netpersona.risk.finding import Finding, Severity

NAME = "scan_outbound"
PORTS = 10  # unanswered ports of one host
HOSTS = 8  # unanswered hosts at one TCP port
HOSTS_UDP = 24  # at one UDP port, where silence is more common
ECHOES = 10  # hosts asked for an echo
SEPARATE = 8  # scanned hosts in one window that get a finding each; more become one finding
FAILED_SHARE = 1 / 3
_WEIGHT = 2.7
_HALF_LIFE = 6 * HOUR
KNOCKS = 100  # unanswered flows to one port of one host in one window
KNOCK_GAP = 400_000  # µs between two of them, on average, at most
SILENT_SHARE = 0.25  # of the pinged: who pings blindly meets silence
SILENT_SHARE_NEAR = 0.1  # of them, where all are of one network: a monitor knows whom it asks, and few are down
SHARING = 10  # unusual TCP ports that answer outside in one window: peers that share files, of whom many are gone
_TRACEROUTE = range(33434, 33535)
_QUIC = 443
_REGISTERED = 1024  # ports from here on are nobody's by right


def judge(scene: Scene) -> list[Finding]:
    """One finding for each scanned host, each scanned service, and for a sweep of echoes."""
    if not scene.unanswered and not scene.pings and not scene.frequent:
        return []
    failed = [c for c in scene.unanswered if _counts(c)]
    return [*_vertical(scene, failed), *_horizontal(scene, failed), *_knocking(scene), *_sweep(scene)]


def _counts(c: Conversation) -> bool:
    if c.transport not in ("tcp", "udp") or c.port in CHATTER or scope(c.peer) == "many":
        return False
    if not (c.packets_out or c.bytes_out or c.refused):
        return False  # the sensor saw no flow, only what was said in one
    return c.transport == "tcp" or (c.port not in _TRACEROUTE and c.port != _QUIC)


class _Tried(NamedTuple):
    """One host of which ports were tried in vain."""

    now: Conversation
    ports: int
    flows: int
    first: int
    last: int


def _vertical(scene: Scene, failed: Sequence[Conversation]) -> list[Finding]:
    by_peer: dict[str, list[Conversation]] = {}
    for c in failed:
        past = scene.memory.targets.get(c.peer)
        if (past is not None and len(past.ports) >= PORTS) or len(failed) >= PORTS:
            by_peer.setdefault(c.peer, []).append(c)
    hosts = [tried for _, now in sorted(by_peer.items()) if (tried := _tried(scene, now)).ports >= PORTS]
    return [_one_host(scene, tried) for tried in hosts] if len(hosts) <= SEPARATE else [_many_hosts(scene, hosts)]


def _tried(scene: Scene, now: Sequence[Conversation]) -> _Tried:
    past = scene.memory.targets.get(now[0].peer)
    ports, flows = len({c.port for c in now}), sum(c.flows for c in now)
    first, last = min(c.first for c in now), max(c.last for c in now)
    if past is None:
        return _Tried(now[0], ports, flows, first, last)
    return _Tried(now[0], max(ports, len(past.ports)), max(flows, past.flows), min(first, past.first), last)


def _one_host(scene: Scene, tried: _Tried) -> Finding:
    c = tried.now
    lasted = tried.last - tried.first
    return found(
        scene,
        "scan_vertical",
        detector=NAME,
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol=c.transport,
        port=None,
        first=tried.first,
        last=tried.last,
        confidence=grows(tried.ports, 4.5),
        severity=Severity.HIGH,
        alert=True,
        why=f"The VM tried {tried.ports} ports of {c.peer} that gave no answer, with {tried.flows} flows "
        f"in {span(lasted)}: that is how one looks for open ports.",
        evidence={
            "distinct_ports_at_least": tried.ports,
            "unanswered_flows": tried.flows,
            "span_s": round(lasted / 1e6, 3),
        },
        weight=_WEIGHT,
        half_life=_HALF_LIFE,
    )


def _many_hosts(scene: Scene, hosts: Sequence[_Tried]) -> Finding:
    """The ports of many hosts: one scan, told once."""
    ports, flows = max(h.ports for h in hosts), sum(h.flows for h in hosts)
    first, last = min(h.first for h in hosts), max(h.last for h in hosts)
    return found(
        scene,
        "scan_vertical",
        detector=NAME,
        direction="outbound",
        vm_address=hosts[0].now.vm_address,
        peer=None,
        peers=[h.now.peer for h in hosts],
        protocol=hosts[0].now.transport,
        port=None,
        first=first,
        last=last,
        confidence=grows(ports, 4.5),
        severity=Severity.HIGH,
        alert=True,
        why=f"The VM tried up to {counted(ports, 'port')} of each of {counted(len(hosts), 'host')} that gave no "
        f"answer, with {flows} flows in {span(last - first)}: that is how one looks for open ports.",
        evidence={"hosts": len(hosts), "distinct_ports_at_least": ports, "unanswered_flows": flows},
        weight=_WEIGHT,
        half_life=_HALF_LIFE,
    )


def _horizontal(scene: Scene, failed: Sequence[Conversation]) -> list[Finding]:
    spreads = scene.memory.spreads
    many = {service for service, spread in spreads.items() if len(spread.peers) >= HOSTS}
    if not many:
        return []
    by_service: dict[tuple[str, int], set[str]] = {}
    for c in failed:
        if (c.transport, c.port) in many:
            by_service.setdefault((c.transport, c.port), set()).add(c.peer)
    findings = []
    for service, peers in sorted(by_service.items()):
        past = scene.memory.spreads.get(service)
        hosts = max(len(peers), len(past.peers) if past is not None else 0)
        enough = HOSTS if service[0] == "tcp" else HOSTS_UDP
        if hosts >= enough and (finding := _one_service(scene, service, peers, hosts)) is not None:
            findings.append(finding)
    return findings


def _one_service(scene: Scene, service: tuple[str, int], peers: set[str], hosts: int) -> Finding | None:
    transport, port = service
    past = scene.memory.spreads.get(service)
    here = [
        c for c in scene.observation.conversations if c.direction == "outbound" and (c.transport, c.port) == service
    ]
    answered = max(sum(1 for c in here if c.answered), past.answered if past is not None else 0)
    if hosts < FAILED_SHARE * (hosts + answered) or (not usual(port) and port >= _REGISTERED and _shares(scene)):
        return None
    vain = [c for c in here if c.peer in peers and not c.answered]
    first = min(c.first for c in vain) if past is None else past.first
    last = max(c.last for c in vain)
    return found(
        scene,
        "scan_horizontal",
        detector=NAME,
        direction="outbound",
        vm_address=vain[0].vm_address,
        peer=None,
        peers=peers,
        peers_total=hosts,
        protocol=transport,
        port=port,
        first=first,
        last=last,
        confidence=grows(hosts, 5.5) * _share_trust(hosts, answered),
        severity=Severity.HIGH,
        alert=True,
        why=f"The VM called {transport} port {port} of {hosts} hosts that gave no answer (and of {answered} that did) "
        f"within {span(last - first)}: that is how one looks for hosts to attack.",
        evidence={
            "unanswered_hosts_at_least": hosts,
            "answered_hosts": answered,
            "span_s": round((last - first) / 1e6, 3),
        },
        weight=_WEIGHT,
        half_life=_HALF_LIFE,
    )


def _shares(scene: Scene) -> bool:
    """Whether outside peers answer the VM at ports as many as only file sharing uses."""
    ports = {c.port for c in scene.outside if c.transport == "tcp" and c.port >= _REGISTERED and not usual(c.port)}
    return len(ports) >= SHARING


def _share_trust(hosts: int, answered: int) -> float:
    """Failures among many successes count less."""
    return 0.85 + 0.15 * hosts / (hosts + answered)


def _knocking(scene: Scene) -> list[Finding]:
    """One port of one host, tried in vain so often and so fast that no program waits for an answer."""
    findings = []
    for c, _ in scene.frequent:
        vain, lasted = c.flows - c.answered, c.starts[-1] - c.starts[0] if c.starts else 0
        if vain >= KNOCKS and vain * 2 > c.flows and lasted < c.flows * KNOCK_GAP and _counts(c):
            findings.append(_knocks(scene, c, vain, lasted))
    return findings


def _knocks(scene: Scene, c: Conversation, vain: int, lasted: int) -> Finding:
    return found(
        scene,
        "scan_horizontal",
        detector=NAME,
        direction="outbound",
        vm_address=c.vm_address,
        peer=c.peer,
        peers=[c.peer],
        protocol=c.transport,
        port=c.port,
        first=c.first,
        last=c.last,
        confidence=grows(vain, KNOCKS),
        severity=Severity.MEDIUM,
        alert=vain >= 2 * KNOCKS,
        why=f"The VM knocked {vain} times at {c.transport} port {c.port} of {c.peer} within {span(lasted)} and was "
        "refused or ignored: attack tools do so.",
        evidence={"unanswered_flows": vain, "refused_flows": c.refused, "flows": c.flows},
        weight=_WEIGHT,
        half_life=_HALF_LIFE,
    )


def _sweep(scene: Scene) -> list[Finding]:
    """Echoes to many hosts; to those who probed us, ICMP is a refusal and not a question."""
    if len(scene.pings) < ECHOES:
        return []
    asked = [c for c in scene.pings if scope(c.peer) != "many" and c.peer not in scene.memory.sources]
    peers = {c.peer for c in asked}
    if len(peers) < ECHOES:
        return []
    silent = sum(1 for c in asked if not c.answered)
    enough = SILENT_SHARE_NEAR if _one_network(peers) else SILENT_SHARE
    blind = silent >= enough * len(asked)
    first, last = min(c.first for c in asked), max(c.last for c in asked)
    return [
        found(
            scene,
            "scan_horizontal",
            detector=NAME,
            direction="outbound",
            vm_address=asked[0].vm_address,
            peer=None,
            peers=peers,
            protocol=asked[0].transport,
            port=0,
            first=first,
            last=last,
            confidence=grows(len(peers), 6.0) * (1.0 if blind else 0.4),
            severity=Severity.MEDIUM if blind else Severity.LOW,
            alert=blind,
            why=f"The VM pinged {len(peers)} hosts within {span(last - first)}, of which {silent} were silent: "
            "that is how one looks for hosts that are up.",
            evidence={"pinged_hosts": len(peers), "silent_hosts": silent, "span_s": round((last - first) / 1e6, 3)},
            weight=_WEIGHT * 0.8,
            half_life=_HALF_LIFE,
        )
    ]


def _one_network(peers: set[str]) -> bool:
    """Whether most of the peers share their address but for its last part."""
    networks = Counter(peer.rpartition("." if "." in peer else ":")[0] for peer in peers)
    return networks.most_common(1)[0][1] * 2 > len(peers)
