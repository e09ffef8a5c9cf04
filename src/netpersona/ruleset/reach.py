"""Who can reach a service of a VM, by the rules: asked of the model with one packet from each kind of peer.

Kinds are the VMs of the fleet, each by itself, and the outside: an address that nobody owns or lists, of each IP
version that the VM has.  What a rule allows only to listed or learned peers counts as closed to the outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netpersona.flow.vm import VmId
from netpersona.policy.model import Direction
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.verdict import Packet, verdict

_OUTSIDE = {4: tuple(f"240.0.0.{host}" for host in range(1, 9)), 6: tuple(f"100::{host:x}" for host in range(1, 9))}
"""Addresses that nobody has: reserved (RFC 1112, 4) and discard-only (RFC 6666)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Who can open a flow to one port of one VM."""

    outside: bool
    vms: tuple[VmId, ...]
    fleet: int  # how many other VMs there are
    why: str  # what closes it to the outside, or lets it in

    @property
    def words(self) -> str:
        """It in a few words: `anyone outside, 3 of 4 VMs`."""
        inside = f"{len(self.vms)} of {self.fleet} VMs" if self.fleet else ""
        said = [*(["anyone outside"] if self.outside else []), *([inside] if self.vms else [])]
        return ", ".join(said) or "nobody"


def reach(
    ruleset: Ruleset, vm: VmId, port: int, addresses: Mapping[VmId, Sequence[str]], transport: str = "tcp"
) -> Reach:
    """Who can open a flow to this port; `addresses` are those of every VM, without prefix."""
    versions = {_version(address) for address in addresses.get(vm, ())} or {4}
    others = {other: own for other, own in addresses.items() if other != vm and own}
    from_outside = [verdict(ruleset, _packet(vm, _nobody(ruleset, v), transport, port)) for v in sorted(versions)]
    let_in = next((decision for decision in from_outside if decision.passes), None)
    inside = tuple(
        other
        for other, own in sorted(others.items())
        if any(
            verdict(ruleset, _packet(vm, address, transport, port)).passes
            for address in own
            if _version(address) in versions
        )
    )
    return Reach(let_in is not None, inside, len(others), (let_in or from_outside[0]).why)


def _packet(vm: VmId, peer: str, transport: str, port: int) -> Packet:
    return Packet(vm, Direction.INBOUND, peer, transport, port)


def _nobody(ruleset: Ruleset, version: int) -> str:
    """An address that is in no set."""
    free = (a for a in _OUTSIDE[version] if not any(members.holds(a) for members in ruleset.sets.values()))
    return next(free, _OUTSIDE[version][0])


def _version(address: str) -> int:
    return 6 if ":" in address else 4
