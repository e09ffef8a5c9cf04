"""From personas, policies and intelligence to the ruleset in which no condition is left.

    PolicySet (off: dropped; order, then name) ---+
    persona -> facts -> selector, when, until -----+-> ResolvedRule per VM and direction --+
    peers -> criteria (criteria.py) -> set names --+                                       +-> Ruleset
    IndicatorSet, names, personas -> the sets' members ------------------------------------+

The result is a function of its arguments alone: no order of theirs matters.  `Resolver` keeps what VMs share, so that
one persona's change costs that persona's rules only; its ruleset always equals that of `resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netpersona.errors import InventoryError
from netpersona.flow.vm import VmId, canonical_address
from netpersona.flow.window import SECOND
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import Persona
from netpersona.policy.conditions import holds, ports_of
from netpersona.policy.facts import Facts, facts
from netpersona.policy.model import Action, Condition, Direction, Mode, Policy, PolicySet, Rule
from netpersona.policy.own import own_policy
from netpersona.policy.triggers import active
from netpersona.ruleset import reasons
from netpersona.ruleset.criteria import NO_VM, alternatives, as_match, known_services, particular
from netpersona.ruleset.members import Answers, Members
from netpersona.ruleset.model import Match, Origin, ResolvedRule, Ruleset, Target, VmRules

Began = Mapping[tuple[VmId, str, str], int]
"""When (µs) a VM's rule, named by policy and rule, came into force; what is not in it begins now."""

_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}")  # the kernel's limit is 15; `*` would be a wildcard
_DIRECTIONS = {
    Direction.OUTBOUND: (Direction.OUTBOUND,),
    Direction.INBOUND: (Direction.INBOUND,),
    Direction.BOTH: (Direction.OUTBOUND, Direction.INBOUND),
}


def resolve(
    personas: Iterable[Persona],
    policies: PolicySet,
    intel: IndicatorSet,
    at: int,
    *,
    interfaces: Mapping[VmId, str] = MappingProxyType({}),
    names: Mapping[VmId, Answers] = MappingProxyType({}),
    began: Began = MappingProxyType({}),
) -> Ruleset:
    """The ruleset that the policies mean for these personas at the instant `at` (µs).

    `interfaces`: the interface of each VM, also of those that have no persona; a VM without one is told by its
    addresses.  `names`: for each VM and domain the addresses its resolver answered, with the end of each (µs).
    Raises InventoryError for an interface name that no kernel has or that two VMs share, ValueError for two personas
    of one VM.
    """
    resolver = Resolver(policies, intel, at, interfaces=interfaces, names=names, began=began)
    for persona in personas:
        if persona.vm in resolver:
            raise ValueError(f"two personas of {persona.vm}")
        resolver.put(persona)
    return resolver.ruleset()


def next_change(ruleset: Ruleset) -> int | None:
    """The earliest instant (µs) at which something in the ruleset ends, so that it must be resolved again.

    Known ends are those of mitigations, listings, allow-list entries, domain answers and drains.  Risk that fades is
    not among them: it is judged with its window.
    """
    return ruleset.until


class Resolver:
    """Resolves one persona at a time; the policies, the intelligence and the instant stay as they were given."""

    def __init__(
        self,
        policies: PolicySet,
        intel: IndicatorSet,
        at: int,
        *,
        interfaces: Mapping[VmId, str] = MappingProxyType({}),
        names: Mapping[VmId, Answers] = MappingProxyType({}),
        began: Began = MappingProxyType({}),
    ) -> None:
        self._policies = policies
        self._ordered = tuple(
            sorted((p for p in policies.policies if p.mode is not Mode.OFF), key=lambda p: (p.order, p.name, p.version))
        )
        self._at = at
        self._interfaces = _checked(interfaces)
        self._names = names
        self._began = began
        self._members = Members(policies, intel, at)
        self._vms: dict[VmId, _Resolved] = {}
        self._memo: dict[tuple[object, ...], ResolvedRule] = {}

    def __contains__(self, vm: VmId) -> bool:
        return vm in self._vms

    def put(self, persona: Persona) -> VmRules:
        """Resolve this persona, in place of an earlier one of the same VM; gives its rules."""
        known = facts(persona, self._at)
        self._members.put(persona, known, self._names.get(persona.vm, {}))
        resolved = self._resolved(persona, known)
        self._vms[persona.vm] = resolved
        return resolved.rules

    def remove(self, vm: VmId) -> None:
        """Forget a VM that is gone."""
        del self._vms[vm]
        self._members.remove(vm)

    def ruleset(self) -> Ruleset:
        """The ruleset of all the VMs as they stand."""
        strangers = {
            vm: VmRules(vm, known=False, interface=self._interfaces[vm], addresses=())
            for vm in self._interfaces
            if vm not in self._vms
        }
        vms = {vm: found.rules for vm, found in self._vms.items()} | strangers
        ends = [found.until for found in self._vms.values()] + [self._members.until]
        return Ruleset(
            sets=self._members.sets(vms.values()),
            vms=dict(sorted(vms.items())),
            always=self._policies.always,
            unknown_vm=self._policies.unknown_vm,
            until=min((end for end in ends if end is not None), default=None),
        )

    def _resolved(self, persona: Persona, known: Facts) -> _Resolved:
        found: dict[Direction, list[ResolvedRule]] = {Direction.OUTBOUND: [], Direction.INBOUND: []}
        idle: list[Origin] = []
        own = own_policy(persona)
        for policy in self._ordered if own is None else (own, *self._ordered):
            concerned = bool(persona.mitigations) or holds(policy.selector, known)
            for rule in policy.rules:
                if not concerned or not active(rule, policy, persona, known, self._at):
                    idle.append(Origin(policy, rule))
                    continue
                for resolved in self._of_rule(policy, rule, persona, known):
                    found[resolved.direction].append(resolved)
        rules = self._vm_rules(persona, known, found, tuple(idle))
        drains = [r.drains_until for r in (*rules.outbound, *rules.inbound) if r.drains_until is not None]
        ends = [m.until for m in persona.mitigations if m.until is not None] + drains
        ends += [end for answers in self._names.get(persona.vm, {}).values() for _, end in answers if end is not None]
        return _Resolved(rules, min((end for end in ends if end > self._at), default=None))

    def _vm_rules(
        self,
        persona: Persona,
        known: Facts,
        found: Mapping[Direction, list[ResolvedRule]],
        idle: tuple[Origin, ...],
    ) -> VmRules:
        base = persona.base
        addresses = reasons.hosts(base.addresses)
        return VmRules(
            vm=persona.vm,
            known=True,
            interface=self._interfaces.get(persona.vm),
            addresses=addresses,
            own=() if base.inferred else addresses,
            gateways=reasons.hosts(base.gateways),
            resolvers=reasons.hosts(base.resolvers),
            allow=self._members.allow_sets(persona.vm),
            outbound=tuple(found[Direction.OUTBOUND]),
            inbound=tuple(found[Direction.INBOUND]),
            idle=idle,
            facts=known,
        )

    def _of_rule(self, policy: Policy, rule: Rule, persona: Persona, known: Facts) -> Iterable[ResolvedRule]:
        ports = ports_of(rule.ports, known) if isinstance(rule.ports, Condition) else rule.ports
        if ports == ():
            return  # the persona names no port, and no port is not every port
        why = reasons.why(policy, rule, persona, known)
        cut, drains_until = self._existing(policy, rule, persona)
        own = persona.vm if particular(rule.peers) else NO_VM
        key = (id(policy), id(rule), ports, why, cut, drains_until, own)
        both = rule.action is Action.ISOLATE
        for direction in _DIRECTIONS[Direction.BOTH if both else rule.direction]:
            found = self._memo.get((*key, direction))
            if found is None or own:
                found = ResolvedRule(
                    policy=policy.name,
                    version=policy.version,
                    rule=rule.name,
                    mode=policy.mode,
                    action=rule.action,
                    direction=direction,
                    peers=self._matches(rule, direction, own, persona),
                    transports=tuple(sorted(set(rule.protocols))),
                    ports=tuple(sorted(ports or ())),
                    cut=cut,
                    why=why,
                    drains_until=drains_until,
                    rate=rule.rate,
                    target=self._target(rule),
                    origin=Origin(policy, rule),
                )
                self._memo[*key, direction] = found
            yield found

    def _matches(self, rule: Rule, direction: Direction, own: VmId, persona: Persona) -> tuple[Match, ...]:
        found = alternatives(rule.peers, direction, own)
        for literals in found:
            for criterion, _negated in literals:
                self._members.ask(criterion)
        services = known_services(persona) if own and direction is Direction.INBOUND else ()
        return tuple(as_match(literals, services) for literals in found)

    def _existing(self, policy: Policy, rule: Rule, persona: Persona) -> tuple[bool, int | None]:
        if rule.existing.kind == "cut":
            return True, None
        if rule.existing.kind != "drain":
            return False, None
        since = self._since(policy, rule, persona)
        end = since + rule.existing.seconds * SECOND
        return (True, None) if end <= self._at else (False, end)

    def _since(self, policy: Policy, rule: Rule, persona: Persona) -> int:
        held = reasons.mitigation(policy, rule, persona, self._at)
        if held is not None:
            return held.since
        return self._began.get((persona.vm, policy.name, rule.name), self._at)

    def _target(self, rule: Rule) -> Target | None:
        if rule.action is not Action.REDIRECT or rule.to is None:
            return None
        return target_of(self._policies.redirects.get(rule.to, rule.to))


@dataclass(frozen=True, slots=True)
class _Resolved:
    rules: VmRules
    until: int | None  # µs


def target_of(text: str) -> Target | None:
    """The address and port that `to:` names; None where it names none: such a redirect does nothing and says so."""
    address, port = _split_port(text)
    try:
        return Target(canonical_address(address), port)
    except ValueError:
        return None


def _split_port(text: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", text)
    if found is None:
        return text, None
    port = int(found[2] or found[4] or 0)
    return found[1] or found[3], port if 0 < port < 65536 else None


def _checked(interfaces: Mapping[VmId, str]) -> dict[VmId, str]:
    owners: dict[str, VmId] = {}
    for vm, interface in sorted(interfaces.items()):
        if not _INTERFACE.fullmatch(interface):
            raise InventoryError(f"{vm}: {interface!r} is no interface name; expected 1 to 15 of A-Z a-z 0-9 _ . : @ -")
        if owners.setdefault(interface, vm) != vm:
            raise InventoryError(f"interface {interface} belongs to both {owners[interface]} and {vm}")
    return {vm: interface for interface, vm in owners.items()}
