"""From personas, policies and intelligence to the ruleset in which no condition is left.

    PolicySet (off: dropped; order, then name) ---+
    persona -> facts -> selector, when, until -----+-> ResolvedRule per VM and direction --+
    peers -> criteria (criteria.py) -> set names --+   (choice.py)                         +-> Ruleset
    IndicatorSet, names, personas -> the sets' members (members.py) -----------------------+

The result is a function of its arguments alone: no order of theirs matters.  `Resolver` keeps what VMs share, so that
one persona's change costs that persona's rules only; its ruleset always equals that of `resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netpersona.errors import InventoryError
from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import Persona
from netpersona.policy.facts import Facts, facts
from netpersona.policy.model import Mode, PolicySet
from netpersona.policy.own import own_policy
from netpersona.ruleset import reasons
from netpersona.ruleset.choice import Began, Choice, Chosen
from netpersona.ruleset.criteria import Criterion, known_services
from netpersona.ruleset.members import Answers, Members
from netpersona.ruleset.model import Asked, Ruleset, VmRules

_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}")  # the kernel's limit is 15; `*` would be a wildcard
_SERVICES = Criterion("services", ())


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
    """Resolves one persona at a time; the policies and the intelligence stay as they were given.

    `names` and `began` are read when a persona is put, so they may have changed since.
    """

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
        acting = (policy for policy in policies.policies if policy.mode is not Mode.OFF)
        in_order = sorted(acting, key=lambda policy: (policy.order, policy.name, policy.version))
        self._choice = Choice(in_order, policies.redirects, began, by_name=intel.lists_names)
        self._at = at
        self._interfaces = _checked(interfaces)
        self._names = names
        self._members = Members(policies, intel, at)
        self._vms: dict[VmId, _Resolved] = {}
        self._sets: dict[tuple[Criterion, ...], tuple[frozenset[str], tuple[str, ...]]] = {}
        self._wanted: list[str] | None = None  # the names of all sets that are asked, in order; None: not known

    def __contains__(self, vm: VmId) -> bool:
        return vm in self._vms

    def put(self, persona: Persona) -> VmRules:
        """Resolve this persona, in place of an earlier one of the same VM; gives its rules."""
        wanted, self._wanted = self._wanted, None
        before = self._vms.pop(persona.vm, None)
        if before is not None:
            self._members.remove(persona.vm)
        known = facts(persona, self._at)
        self._members.put(persona, known, self._names.get(persona.vm, {}))
        resolved = self._vms[persona.vm] = self._resolved(persona, known)
        if before is not None and (before.shared, before.others) == (resolved.shared, resolved.others):
            self._wanted = wanted
        return resolved.rules

    def move(self, at: int) -> None:
        """Put personas as of a later instant (µs) from now on; what intelligence says stays as of the first.

        That is the same until the ruleset's `until`, but for reputations that fade.
        """
        self._at = at
        self._members.move(at)

    def ended(self, at: int) -> set[VmId] | None:
        """The VMs of which something has ended by this instant (µs), to be put again; None: begin anew with a Resolver.

        The latter where a listing has ended or begun, or what an allow-list entry covers.
        """
        if self._members.until is not None and self._members.until <= at:
            return None
        return {vm for vm, found in self._vms.items() if found.until is not None and found.until <= at}

    def criteria(self) -> Mapping[str, Criterion]:
        """What the sets that rules asked for are about, by name; not all need be in force now."""
        return self._members.asked()

    def remove(self, vm: VmId) -> None:
        """Forget a VM that is gone."""
        del self._vms[vm]
        self._wanted = None
        self._members.remove(vm)

    def ruleset(self) -> Ruleset:
        """The ruleset of all the VMs as they stand."""
        self._members.settle()
        strangers = {
            vm: VmRules(vm, known=False, interface=self._interfaces[vm], addresses=())
            for vm in self._interfaces
            if vm not in self._vms
        }
        vms = {vm: found.rules for vm, found in self._vms.items()} | strangers
        ends = [found.until for found in self._vms.values()] + [self._members.until]
        if self._wanted is None:
            wanted = set().union(*{id(found.shared): found.shared for found in self._vms.values()}.values())
            self._wanted = sorted(wanted.union(*[found.others for found in self._vms.values()]))
        return Ruleset(
            sets=self._members.every(self._wanted),
            vms=dict(sorted(vms.items())),
            always=self._policies.always,
            unknown_vm=self._policies.unknown_vm,
            until=min((end for end in ends if end is not None), default=None),
        )

    def _resolved(self, persona: Persona, known: Facts) -> _Resolved:
        chosen, policies = self._choice.of(persona, known), self._choice.policies
        own = own_policy(persona)
        if own is not None:
            first = self._choice.alone(own).of(persona, known)
            chosen, policies = _joined(first, chosen), (own, *policies)
        rules = self._vm_rules(persona, chosen, Asked(policies, known))
        shared, names = self._sets_of(chosen.criteria)
        others = (*(f"{name}.{persona.vm}" for name in names), *rules.allow)
        return _Resolved(rules, self._next_end(persona, chosen.until), shared, others)

    def _sets_of(self, criteria: tuple[Criterion, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
        """The names of the sets that are asked: those that VMs share, and those of each VM's own."""
        if criteria not in self._sets:
            asked = [(self._members.ask(c), c.own) for c in criteria if c != _SERVICES]
            own = tuple(name for name, of_vm in asked if of_vm)
            self._sets[criteria] = (frozenset(name for name, of_vm in asked if not of_vm), own)
        return self._sets[criteria]

    def _vm_rules(self, persona: Persona, chosen: Chosen, asked: Asked) -> VmRules:
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
            outbound=chosen.outbound,
            inbound=chosen.inbound,
            services=known_services(persona) if _SERVICES in chosen.criteria else (),
            mac=None if base.inferred else base.mac,
            asked=asked,
        )

    def _next_end(self, persona: Persona, drained: int | None) -> int | None:
        ends = [drained, self._members.next_end(persona.vm), *(mitigation.until for mitigation in persona.mitigations)]
        return min((end for end in ends if end is not None and end > self._at), default=None)


@dataclass(frozen=True, slots=True)
class _Resolved:
    rules: VmRules
    until: int | None  # µs
    shared: frozenset[str]  # names of sets
    others: tuple[str, ...]


def _joined(first: Chosen, second: Chosen) -> Chosen:
    ends = [end for end in (first.until, second.until) if end is not None]
    return Chosen(
        first.outbound + second.outbound,
        first.inbound + second.inbound,
        tuple(dict.fromkeys(first.criteria + second.criteria)),
        min(ends, default=None),
    )


def _checked(interfaces: Mapping[VmId, str]) -> dict[VmId, str]:
    owners: dict[str, VmId] = {}
    for vm, interface in sorted(interfaces.items()):
        if not _INTERFACE.fullmatch(interface):
            raise InventoryError(f"{vm}: {interface!r} is no interface name; expected 1 to 15 of A-Z a-z 0-9 _ . : @ -")
        if owners.setdefault(interface, vm) != vm:
            raise InventoryError(f"interface {interface} belongs to both {owners[interface]} and {vm}")
    return {vm: interface for interface, vm in owners.items()}
