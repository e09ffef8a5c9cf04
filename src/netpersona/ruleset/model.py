"""The ruleset: what every VM may do with the network, as one value, resolved down to addresses and ports.

It is neither policy (no conditions are left in it) nor nft text (no syntax is in it yet).  The packets'
way through it is drawn in verdict.py, which decides it, and in render.py, which writes it for the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from netpersona.flow.vm import VmId, canonical_address
from netpersona.policy.facts import Facts
from netpersona.policy.model import Action, AlwaysAllow, Direction, Mode, Policy, Rate, Rule
from netpersona.ruleset.peers import PeerSet

ALLOW_SET = "allow_list"
ALLOW_NAMES = "allow_names"  # a set of each VM's own
BY_NAME = "domains_."  # before the name of a set: what a VM was answered for names of which the same holds

PORTED = ("tcp", "udp", "sctp", "dccp", "udplite")  # transports whose header opens with two ports


class SetRef(NamedTuple):
    """One thing asked of the peer: that it is in the set of this name, or, negated, that it is not.

    `own`: every VM has a set of its own of this name, called NAME.VM.
    """

    name: str
    negated: bool
    own: bool = False

    def of(self, vm: VmId) -> str:
        """What the set is called for this VM."""
        return f"{self.name}.{vm}" if self.own else self.name


class Match(NamedTuple):
    """A conjunction: every set must agree, and the service.

    `known_service`: the flow's service is (True) or is not (False) one that others are used to reach on the VM.
    """

    sets: tuple[SetRef, ...] = ()
    known_service: bool | None = None

    @property
    def told(self) -> tuple[SetRef, ...]:
        """What of it says something of a peer: that its address has no such reputation is asked beside its name's."""
        by_name = {ref.name.removeprefix(BY_NAME) for ref in self.sets if not ref.negated and ref.own}
        return tuple(ref for ref in self.sets if not (ref.negated and ref.name in by_name))


class Origin(NamedTuple):
    """The rule as the operator wrote it, with the policy it stands in."""

    policy: Policy
    rule: Rule


class Asked(NamedTuple):
    """The policies that were asked for a VM, in their order, and what they were asked of."""

    policies: tuple[Policy, ...]
    facts: Facts


class Target(NamedTuple):
    """Where a redirect leads; port None keeps the port."""

    address: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """A policy's rule for one VM and one direction of flows, with nothing left to find out.

    It concerns a packet if one of `peers` (disjoint alternatives) holds and transport and port are among those
    named.  `cut` says that it decides established flows too; before `drains_until` (µs) it does not yet.
    """

    policy: str
    version: int
    rule: str
    mode: Mode
    action: Action
    direction: Direction  # outbound: flows the VM opens; inbound: flows opened to it
    peers: tuple[Match, ...]  # disjoint; none at all: concerns nobody; one empty Match: everybody
    transports: tuple[str, ...]  # empty: every one
    ports: tuple[tuple[int, int], ...]  # inclusive ranges of the service port; empty: every one
    cut: bool
    drains_until: int | None = None  # µs
    rate: Rate | None = None
    target: Target | None = None
    origin: Origin | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """`policy/rule@version`, as counters and receipts carry it."""
        return f"{self.policy}/{self.rule}@{self.version}"

    @property
    def decides(self) -> bool:
        """Whether a packet that it concerns goes no further; a log, and a limit that is not reached, let it go on."""
        if self.action is Action.REDIRECT:
            return self.target is not None
        return self.action not in {Action.LOG, Action.RATE_LIMIT}

    @property
    def concerns_established(self) -> bool:
        """Whether it must stand before established flows are let through: it cuts them, or slows them."""
        return self.cut or self.action is Action.RATE_LIMIT


@dataclass(frozen=True, slots=True)
class VmRules:
    """One VM's part.  `own` are the source addresses it may use, empty where nobody vouches for them.

    `services` are those that others are used to reach on it, (transport, port) with port 0 where there is none; empty
    where no rule asks.  `asked` is what the rules in force were chosen from: for explanations only, so it makes no
    two rulesets differ.
    """

    vm: VmId
    known: bool  # False: the inventory has it, but it has no persona; `unknown_vm` decides
    interface: str | None  # None: its packets are told by its addresses
    addresses: tuple[str, ...]
    own: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # names of the sets of allow-listed peers
    outbound: tuple[ResolvedRule, ...] = ()
    inbound: tuple[ResolvedRule, ...] = ()
    services: tuple[tuple[str, int], ...] = ()
    mac: str | None = None  # the hardware address that it may use; asked where its tap is bridged
    asked: Asked | None = field(default=None, compare=False, repr=False)

    def rules(self, direction: Direction) -> tuple[ResolvedRule, ...]:
        """The rules for flows of this direction, in the order in which they are asked."""
        return self.outbound if direction is Direction.OUTBOUND else self.inbound


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The whole wish: give it to an enforcer, ask it for verdicts, compare it with another.

    Mappings are in the order of their keys.  `until` is the earliest instant (µs) at which something in it ends
    and resolving again gives another ruleset; None: nothing ends.
    """

    sets: Mapping[str, PeerSet]
    vms: Mapping[VmId, VmRules]
    always: AlwaysAllow
    unknown_vm: str  # allow | deny
    until: int | None = field(default=None, compare=False)


def target_of(text: str) -> Target | None:
    """The address and port that `to:` names; None where it names none: such a redirect does nothing and says so."""
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", text)
    address, port = (text, 0) if found is None else (found[1] or found[3], int(found[2] or found[4] or 0))
    try:
        return Target(canonical_address(address), port if 0 < port < 65536 else None)
    except ValueError:
        return None


def last_concerning_established(rules: tuple[ResolvedRule, ...]) -> int:
    """How many rules, counted from the first, must stand before established flows are let through."""
    return max((place for place, rule in enumerate(rules, 1) if rule.concerns_established), default=0)
