"""What stands in the kernel, as a value: tables of chains, sets and maps, with no order of loading in it.

render.py makes it from a ruleset and writes it as text; the nftables enforcer compares it with what the kernel has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import compress
from operator import is_not
from socket import AF_INET, AF_INET6, inet_pton
from typing import TypeVar

from netpersona.flow.vm import VmId
from netpersona.ruleset.peers import PeerSet

NAME = "netpersona"
Key = TypeVar("Key", bound=str)

ADDRESS_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}

Chains = dict[str, tuple[str, ...]]
"""Lines of nft text by the chain's name."""


@dataclass(frozen=True, slots=True)
class SetPart:
    """A part of the ruleset's set `name`: addresses of one IP version in a hash, or prefixes as intervals.

    `near`: instead, the /16 networks in which the prefixes lie, by their first addresses, in a hash: an address that is
    near none of them need not be looked for among the intervals, which takes the kernel six times as long.
    """

    name: str
    version: int  # 4 | 6
    prefixes: bool
    of: PeerSet
    near: bool = False

    @property
    def type(self) -> str:
        """Nft's type of the key."""
        return ADDRESS_TYPES[self.version]

    @property
    def members(self) -> tuple[str, ...]:
        """Addresses or prefixes, in numerical order."""
        if self.near:
            return self.of.near
        return of_version(self.of.networks if self.prefixes else self.of.addresses, self.version)

    def holds(self, member: str) -> bool:
        """Whether this very member, in canonical text, is in it."""
        members = self.members if self.near else self.of.networks if self.prefixes else self.of.addresses
        at = bisect_left(members, member_order(member), key=member_order)
        return members[at : at + 1] == (member,)


@dataclass(frozen=True, slots=True)
class Owned:
    """What one VM has in a set of all VMs' own; `whose`: its interface, or the addresses by which it is told."""

    whose: tuple[str, ...]
    members: tuple[str, ...]  # the rest of the key, its parts joined by " . "

    @property
    def elements(self) -> tuple[str, ...]:
        """The keys, as nft writes them but for quotes."""
        return tuple(f"{each} . {member}" for each in self.whose for member in self.members)


@dataclass(frozen=True, slots=True)
class OwnSet:
    """A set in which every VM has its own members: the first part of the key says whose they are."""

    key: tuple[str, ...]  # nft's types
    of: Mapping[VmId, Owned]
    lasting: bool = False  # members may be put into it for a time

    @property
    def elements(self) -> Iterator[str]:
        """All keys."""
        return (element for owned in self.of.values() for element in owned.elements)


@dataclass(frozen=True, slots=True)
class Filled:
    """A set that rules fill: with flows seen, with what they counted, with token buckets."""

    key: tuple[str, ...]  # nft's types
    size: int
    forgets: bool = False  # members end by themselves


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A verdict map from an interface name or an address to the chain that is jumped to."""

    key: str  # nft's type
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
    sets: Mapping[str, SetPart] = field(default_factory=dict)
    own: Mapping[str, OwnSet] = field(default_factory=dict)
    filled: Mapping[str, Filled] = field(default_factory=dict)
    interfaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    maps: Mapping[str, Dispatch] = field(default_factory=dict)
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def renewed(old: Mapping[Key, object], new: Mapping[Key, object]) -> list[Key]:
    """The keys under which `new` has another object than `old`, in its order: found in no loop of our own."""
    return list(compress(new, map(is_not, map(old.get, new), new.values())))


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
