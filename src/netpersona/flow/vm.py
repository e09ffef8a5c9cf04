"""Who the VMs are: identifiers, and what the inventory says of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_interface
from typing import NewType

VmId = NewType("VmId", str)

_VM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def vm_id(text: str) -> VmId:
    """The text as a VmId.  It ends up in chain names, hence the narrow alphabet.

    Raises ValueError for anything but 1 to 64 of A-Z a-z 0-9 _ -.
    """
    if not _VM_ID.fullmatch(text):
        raise ValueError(f"{text!r} cannot name a VM: 1 to 64 letters, digits, '_' or '-' are allowed")
    return VmId(text)


def vm_id_of_address(address: str) -> VmId:
    """The name of a VM of which only the address is known: 10.0.0.5 -> 10-0-0-5, 2001:db8::1 -> 2001-db8--1."""
    return vm_id(address.replace(".", "-").replace(":", "-"))


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM as the inventory knows it.

    `addresses` are interface addresses with their prefix ("10.77.0.11/24"); `inferred` says that no
    inventory named this VM: it was seen in the traffic.
    """

    name: VmId
    addresses: tuple[str, ...]
    interface: str | None = None
    mac: str | None = None
    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    mtu: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    inferred: bool = False
    bill: str | None = None  # the file of its bill of material

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses without their prefixes, in canonical text."""
        return _hosts(self.addresses)


@lru_cache(maxsize=65_536)  # every fleet that grows by a VM asks it of all others again
def _hosts(addresses: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(ip_interface(address).ip) for address in addresses)


def is_address(text: str) -> bool:
    """Whether the text is one IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def canonical_address(text: str) -> str:
    """The one text for an address (RFC 5952; IPv4-mapped IPv6 becomes IPv4).  Raises ValueError."""
    address = ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def owners(vms: Iterable[Vm]) -> dict[str, VmId]:
    """Which VM has which address.  Raises ValueError where two VMs claim one address."""
    found: dict[str, VmId] = {}
    for vm in vms:
        for host in vm.hosts:
            if found.setdefault(host, vm.name) != vm.name:
                raise ValueError(f"address {host} belongs to both {found[host]} and {vm.name}")
    return found
