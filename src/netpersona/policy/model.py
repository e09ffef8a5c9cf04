"""The policy resource as typed values: what parse() gives and resolve() reads.

Every value here is immutable and complete; nothing of it needs the text it came from but `Place`,
which lets an error or an explanation point back at the line the operator wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Mode(StrEnum):
    """Whether a policy acts: `off` not at all, `stage` only says what it would do, `enforce` for real."""

    OFF = "off"
    STAGE = "stage"
    ENFORCE = "enforce"


class Direction(StrEnum):
    """Seen from the VM: who opens the flow."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    BOTH = "both"


class Action(StrEnum):
    """What a rule does with a packet that it matches."""

    ALLOW = "allow"
    DENY = "deny"
    REJECT = "reject"
    RATE_LIMIT = "rate-limit"
    REDIRECT = "redirect"
    ISOLATE = "isolate"
    LOG = "log"


class Place(NamedTuple):
    """Where in which file something stands; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Existing:
    """What becomes of flows that are already established: keep them, drain for some seconds, or cut."""

    kind: str = "keep"  # keep | drain | cut
    seconds: int = 0  # of draining


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit for rate-limit: bits a second, or packets a second."""

    value: int
    unit: str  # "bit" | "packet"


@dataclass(frozen=True, slots=True)
class Condition:
    """A CEL expression over `persona`; evaluated by policy.conditions, never by eval()."""

    expression: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Peers:
    """Which peers a rule concerns; every named criterion must hold (AND), a list holds if one member does (OR).

    All fields absent: every peer.
    """

    reputation_below: float | None = None
    categories: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()  # suffixes: "example.com" holds for it and all below it
    profile: str | None = None  # known | new: in or outside this VM's learned profile
    networks: tuple[str, ...] = ()  # addresses and prefixes, canonical
    vms: Condition | None = None  # VMs of the fleet whose persona fulfils this; "true" is all of them
    negated: Peers | None = None  # `not:`


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy, or of a persona's own mitigation_rules."""

    name: str
    action: Action
    direction: Direction
    place: Place = field(compare=False)
    when: Condition | None = None  # absent: always
    until: Condition | None = None  # once triggered, holds until this is true (hysteresis)
    hold: int | None = None  # `for`, µs: how long a triggered rule holds
    peers: Peers | None = None  # absent: every peer
    ports: tuple[tuple[int, int], ...] | Condition | None = None  # inclusive ranges of the service port, or a CEL list
    protocols: tuple[str, ...] = ()  # tcp udp icmp ...; empty: every protocol
    existing: Existing = Existing()
    rate: Rate | None = None
    to: str | None = None  # redirect: the name of an analyser or an address[:port]


@dataclass(frozen=True, slots=True)
class Policy:
    """An ordered list of rules for the VMs that the selector picks.  First match decides."""

    name: str
    mode: Mode
    order: int  # lower first; equal orders go by name
    rules: tuple[Rule, ...]
    version: int = 1
    selector: Condition | None = None  # absent: every VM
    place: Place = field(default=Place("", 1, 1), compare=False)


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """An entry of an AllowList resource: a peer that always wins, with an end and a reason."""

    value: str  # address, prefix or domain, canonical
    until: int | None  # µs, exclusive; None: no end
    comment: str
    place: Place = field(default=Place("", 1, 1), compare=False)
    author: str | None = None  # None: who wrote the list


@dataclass(frozen=True, slots=True)
class AllowListResource:
    """`kind: AllowList`: entries that no policy and no feed overrides."""

    name: str
    entries: tuple[AllowEntry, ...]
    place: Place = field(default=Place("", 1, 1), compare=False)


@dataclass(frozen=True, slots=True)
class AlwaysAllow:
    """What every VM may do before any policy is asked, so that nothing can lock the owner out."""

    management: tuple[str, ...] = ()  # peers that may always reach the VM
    ports: tuple[int, ...] = (22,)  # at these TCP ports
    dhcp: bool = True
    neighbours: bool = True  # ARP and IPv6 neighbour discovery
    resolver: bool = True  # DNS to the persona's own resolvers
    place: Place | None = field(default=None, compare=False)  # None: no file said it


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Everything that the operator has said, as one value."""

    policies: tuple[Policy, ...] = ()
    allow: tuple[AllowListResource, ...] = ()
    always: AlwaysAllow = AlwaysAllow()
    unknown_vm: str = "allow"  # allow | deny: for a VM that has no persona
    redirects: dict[str, str] = field(default_factory=dict)  # names usable in `to:`, e.g. analyser: 10.77.0.9
