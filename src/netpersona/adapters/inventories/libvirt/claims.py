"""Whose address it is where several VMs claim one: the better witness counts, then whoever had it before.

An operator who wrote an address into the metadata outranks libvirt's own DHCP leases, these outrank the guest agent,
and that outranks the neighbour table of the host.  The last two repeat what the guest says of itself, so they may
claim no address that a network's gateway or resolver has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_interface

from netpersona.flow.vm import VmId


class Witness(IntEnum):
    """Who says that a VM has an address, the best first."""

    OPERATOR = 0
    LEASE = 1
    AGENT = 2
    ARP = 3

    @property
    def is_guest(self) -> bool:
        """Whether it repeats what the guest says of itself."""
        return self >= Witness.AGENT


@dataclass(frozen=True, slots=True)
class Claim:
    """An address, with its prefix, that a VM is said to have."""

    vm: VmId
    address: str
    witness: Witness


@dataclass(frozen=True, slots=True)
class Settled:
    """Each VM's addresses, who has which host address, and what was refused, in sentences."""

    addresses: Mapping[VmId, tuple[str, ...]]
    holders: Mapping[str, VmId]
    problems: tuple[str, ...]


def settled(claims: Iterable[Claim], before: Mapping[str, VmId], reserved: Collection[str]) -> Settled:
    """Which claims count.  `before`: who had which host address until now; `reserved`: what no guest may claim."""
    wanted: dict[str, list[Claim]] = {}
    problems = []
    for claim in claims:
        host = str(ip_interface(claim.address).ip)
        if claim.witness.is_guest and host in reserved:
            problems.append(f"{claim.vm} says it has {host}, which is a gateway or resolver; not believed")
        else:
            wanted.setdefault(host, []).append(claim)
    holders: dict[str, VmId] = {}
    addresses: dict[VmId, list[Claim]] = {}
    for host, rivals in wanted.items():
        held = before.get(host)
        best = min(rivals, key=lambda c: (c.witness, c.vm != held, c.vm))
        holders[host] = best.vm
        addresses.setdefault(best.vm, []).append(best)
        others = sorted({rival.vm for rival in rivals} - {best.vm})
        problems += [f"{other} claims {host}, which {best.vm} has; not believed" for other in others]
    ordered = {vm: tuple(c.address for c in sorted(own, key=_order)) for vm, own in addresses.items()}
    return Settled(ordered, holders, tuple(sorted(set(problems))))


def _order(claim: Claim) -> tuple[int, int, int]:
    host = ip_interface(claim.address)
    return (claim.witness, host.version, int(host.ip))
