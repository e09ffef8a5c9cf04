"""Finds: packets of a VM with a source that is not its own, by what the kernel's anti-spoof rule told.

Such a packet is dropped, so no flow shows it; the receipts of that rule do.  They are a sample of ten a second of all
VMs, so numbers are "at least".  An episode ends after an hour without any.
How it is fooled: by keeping to one's own addresses.  A VM that routes for others without translating does the same in
good faith, so sources that nobody here has are an alert only when they keep coming.
Method: RFC 2827 and RFC 3704 (ingress filtering) at the VM's own interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import HOUR, SECOND
from netpersona.policy.model import Direction
from netpersona.risk.finding import KINDS, Finding, Severity, finding_id

NAME, KIND = "anti_spoof", "spoofing"
RULE = "anti-spoof"  # as the kernel tells it
EVERY = 5 * SECOND  # µs between two forms of one finding
MANY = 10  # packets, from which on sources that nobody has are an alert
_EPISODE = HOUR  # µs of silence that end it
_SHOWN = 20  # sources and peers that are kept of one episode


@dataclass(slots=True)
class _Episode:
    first: int
    last: int
    packets: int = 0
    sources: dict[str, VmId | None] = field(default_factory=dict)  # -> whose it is
    peers: set[str] = field(default_factory=set)
    flow: tuple[str, int] = ("", 0)  # transport and port of the last packet
    raised: int | None = None  # when it was last made a finding, µs
    grown: bool = False  # whether more was told since


class Spoofing:
    """Turns receipts into findings: one for each VM and episode, told again at most every five seconds."""

    def __init__(self) -> None:
        self._episodes: dict[VmId, _Episode] = {}

    def hear(self, receipts: Iterable[Receipt], owners: Mapping[str, VmId], now: int) -> None:
        """Take what was told up to now (µs); `owners`: which VM has which address."""
        for receipt in receipts:
            if receipt.rule != RULE or receipt.policy or receipt.vm is None or not _tells(receipt):
                continue
            episode = self._episodes.get(receipt.vm)
            if episode is None or now - episode.last > _EPISODE:
                episode = self._episodes[receipt.vm] = _Episode(now, now)
            episode.last, episode.grown = now, True
            episode.packets += 1
            episode.flow = receipt.transport, receipt.destination_port
            if len(episode.sources) < _SHOWN:
                episode.sources[receipt.source] = owners.get(receipt.source)
            if len(episode.peers) < _SHOWN:
                episode.peers.add(receipt.destination)

    def findings(self, vms: Mapping[VmId, Vm], now: int) -> list[Finding]:
        """What is to be raised, or told anew, at `now` (µs), of these VMs."""
        found = []
        for vm, episode in sorted(self._episodes.items()):
            if vm in vms and episode.grown and (episode.raised is None or now - episode.raised >= EVERY):
                episode.raised, episode.grown = now, False
                found.append(_finding(vm, next(iter(vms[vm].hosts), ""), episode))
        self._episodes = {vm: each for vm, each in self._episodes.items() if now - each.last <= _EPISODE}
        return found


def _tells(receipt: Receipt) -> bool:
    """Whether it is worth a word: what a machine says of itself before it has an address is not."""
    source = ip_address(receipt.source)
    return receipt.direction is Direction.OUTBOUND and not (source.is_unspecified or source.is_link_local)


def _finding(vm: VmId, address: str, episode: _Episode) -> Finding:
    stolen = {source: owner for source, owner in episode.sources.items() if owner is not None and owner != vm}
    many = episode.packets >= MANY
    peers = tuple(sorted(episode.peers))
    transport, port = episode.flow
    return Finding(
        id=finding_id(vm, KIND, episode.first),
        vm=vm,
        vm_address=address,
        detector=NAME,
        kind=KIND,
        peer=peers[0] if len(peers) == 1 else None,
        peers=peers,
        peers_total=len(peers),
        protocol=transport,
        port=port or None,
        direction="outbound",
        first_seen=episode.first,
        last_seen=episode.last,
        judged_at=episode.first,
        confidence=0.9 if stolen else 0.7 if many else 0.4,
        severity=Severity.HIGH if stolen else Severity.MEDIUM if many else Severity.LOW,
        alert=bool(stolen) or many,
        why=_sentence(episode, stolen),
        evidence={
            "packets_at_least": episode.packets,
            "sources": sorted(episode.sources),
            "sources_of_vms": sorted(set(stolen.values())),
        },
        techniques=KINDS[KIND],
        weight=2.0 if stolen else 1.0 if many else 0.3,
        half_life=6 * HOUR,
    )


def _sentence(episode: _Episode, stolen: Mapping[str, VmId]) -> str:
    sources = sorted(stolen) or sorted(episode.sources)
    said = ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    whose = f"which {'is' if len(sources) == 1 else 'are'} of {', '.join(sorted(set(stolen.values()))[:3])}"
    number = "1 packet" if episode.packets == 1 else f"{episode.packets} packets or more"
    return (
        f"The VM sent {number} as if from {said}, {whose if stolen else 'which it does not have'}; they were dropped."
    )
