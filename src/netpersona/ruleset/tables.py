"""What stands in the kernel, as a value: tables of chains, sets, maps and limits, with no order of loading in it.

render.py makes it from a ruleset and writes it as text; the nftables enforcer compares it with what the kernel has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton

from netpersona.ruleset.peers import PeerSet

NAME = "netpersona"


@dataclass(frozen=True, slots=True)
class SetPart:
    """A part of the ruleset's set `name`: addresses of one IP version in a hash, or prefixes as intervals."""

    name: str
    version: int  # 4 | 6
    prefixes: bool
    of: PeerSet
    lasting: bool = False  # members may be put into it for a time

    @property
    def members(self) -> tuple[str, ...]:
        """Addresses or prefixes, in numerical order."""
        return of_version(self.of.networks if self.prefixes else self.of.addresses, self.version)

    def holds(self, member: str) -> bool:
        """Whether this very member, in canonical text, is in it."""
        members = self.of.networks if self.prefixes else self.of.addresses
        at = bisect_left(members, member_order(member), key=member_order)
        return members[at : at + 1] == (member,)


@dataclass(frozen=True, slots=True)
class FlowSet:
    """A set that the kernel fills itself: flows seen, told by interface, both ends with ports, and protocol."""

    version: int
    size: int


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A verdict map from an interface name or an address to the chain that is jumped to."""

    kind: str  # interface | v4 | v6
    chains: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a base chain hooks in; everything it lets through goes on to the host's own firewall."""

    kind: str  # filter | nat
    at: str  # forward | input | output | prerouting
    priority: int

    def __str__(self) -> str:
        return f"type {self.kind} hook {self.at} priority {self.priority}; policy accept;"


@dataclass(frozen=True, slots=True)
class Table:
    """One table, `family netpersona`.  Chains hold a line of nft text for each rule."""

    family: str  # inet | bridge
    limits: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, SetPart] = field(default_factory=dict)
    flows: Mapping[str, FlowSet] = field(default_factory=dict)
    interfaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maps: Mapping[str, Dispatch] = field(default_factory=dict)
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def of_version(values: tuple[str, ...], version: int) -> tuple[str, ...]:
    """Those of IP version 4 or 6 among addresses or prefixes in order, IPv4 first."""
    first6 = bisect_left(values, True, key=lambda value: ":" in value)  # noqa: FBT003 (it takes no keyword)
    return values[:first6] if version == 4 else values[first6:]


def member_order(value: str) -> tuple[int, bytes, int]:
    """What members of a set are ordered by: IPv4 first, numerically."""
    host, _, length = value.partition("/")
    if ":" in host:
        return 6, inet_pton(AF_INET6, host), int(length or 128)
    return 4, inet_pton(AF_INET, host), int(length or 32)


def packed(host: str) -> bytes:
    """An address in network byte order, from canonical text."""
    return inet_pton(AF_INET6 if ":" in host else AF_INET, host)
