"""Who is in the sets: reputation and listings from intelligence, VMs from their personas, domains from DNS answers.

A set that several VMs share is made once.  What is particular to a VM (its learned peers, the addresses that its own
resolver answered for a name) is made again when that VM changes, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_network

from netpersona.flow.vm import VmId, canonical_address
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.standing import Standing
from netpersona.persona.model import Persona
from netpersona.policy.conditions import holds
from netpersona.policy.facts import Facts
from netpersona.policy.model import Condition, Place, PolicySet
from netpersona.ruleset.criteria import Criterion, below, known_peers, set_name
from netpersona.ruleset.model import ALLOW_SET
from netpersona.ruleset.peers import PeerSet, is_address, numerically, peer_set
from netpersona.ruleset.reasons import hosts, instant

Answers = Mapping[str, tuple[tuple[str, int | None], ...]]
"""For each domain the addresses that a VM's resolver answered, with the end (µs, exclusive) of each answer."""


class Members:
    """The members of every set that the rules ask for, at one instant."""

    def __init__(self, policies: PolicySet, intel: IndicatorSet, at: int) -> None:
        self._intel = intel
        self._at = at
        self._asked: dict[str, Criterion] = {}
        self._shared: dict[str, PeerSet] = {}
        self._of_vm: dict[VmId, dict[str, PeerSet]] = {}
        self._fulfilled: dict[str, dict[VmId, bool]] = {}
        self._personas: dict[VmId, Persona] = {}
        self._facts: dict[VmId, Facts] = {}
        self._answers: dict[VmId, Answers] = {}
        self._allowed_names = _allowed(policies, intel, at, names=True)
        allowed = _allowed(policies, intel, at, names=False)
        if allowed:
            self._shared[ALLOW_SET] = peer_set((value for value, _ in allowed), "is allow-listed", allowed)
        entries = [entry.until for resource in policies.allow for entry in resource.entries]
        ends = [end for end in entries if end is not None and end > at] + [intel.next_expiry(at)]
        self.until = min((end for end in ends if end is not None), default=None)

    def put(self, persona: Persona, known: Facts, answers: Answers) -> None:
        """Take this persona's state, in place of an earlier one."""
        self.remove(persona.vm)
        self._personas[persona.vm] = persona
        self._facts[persona.vm] = known
        self._answers[persona.vm] = _in_force(answers, self._at)
        self._of_vm[persona.vm] = self._allowed_of_vm(persona.vm)

    def remove(self, vm: VmId) -> None:
        """Forget a VM."""
        for of_vm in (self._personas, self._facts, self._answers, self._of_vm, *self._fulfilled.values()):
            of_vm.pop(vm, None)  # type: ignore[attr-defined]

    def ask(self, criterion: Criterion, vm: VmId) -> str:
        """Say that a rule asks this of a VM's peers; gives the name of the set."""
        name = set_name(criterion)
        self._asked[name] = criterion
        return f"{name}.{vm}" if criterion.own else name

    def allow_sets(self, vm: VmId) -> tuple[str, ...]:
        """The names of the sets of peers that are allow-listed for this VM."""
        return tuple(name for name in (ALLOW_SET, _allow_name(vm)) if name in self._shared or name in self._of_vm[vm])

    def members(self, name: str) -> PeerSet:
        """The set of this name, as `ask` or `allow_sets` gave it."""
        base, _, vm = name.rpartition(".")
        criterion = self._asked.get(name)
        if criterion is not None and criterion.kind == "vms":
            return self._vms_set(name, criterion.values[0])
        if name in self._shared:
            return self._shared[name]
        if criterion is not None:
            return self._shared.setdefault(name, self._made(criterion))
        of_vm = self._of_vm[VmId(vm)]
        if name not in of_vm:
            of_vm[name] = self._made_for_vm(self._asked[base], VmId(vm))
        return of_vm[name]

    def _made(self, criterion: Criterion) -> PeerSet:
        listed = ", ".join(criterion.values)
        if criterion.kind == "networks":
            return peer_set(criterion.values, f"lies in {listed}")
        if criterion.kind == "reputation_below":
            found, why = self._standing.below(float(criterion.values[0])), f"has a reputation below {listed}"
        elif criterion.kind == "categories":
            found, why = self._standing.in_categories(criterion.values), f"is listed as {listed}"
        else:
            found, why = self._standing.in_feeds(criterion.values), f"is listed by {listed}"
        return PeerSet(found.addresses, found.networks, why)

    @cached_property
    def _standing(self) -> Standing:
        """What intelligence says at this instant, for all the sets that ask."""
        return self._intel.standing(self._at)

    def _vms_set(self, name: str, expression: str) -> PeerSet:
        fulfilled = self._fulfilled.setdefault(expression, {})
        condition = Condition(expression, Place("", 1, 1))
        addresses: set[str] = set()
        for vm, persona in self._personas.items():
            if vm not in fulfilled:
                fulfilled[vm] = holds(condition, self._facts[vm])
            if fulfilled[vm]:
                addresses.update(hosts(persona.base.addresses))
        made = PeerSet(numerically(addresses), (), "is a VM" if expression == "true" else f"is a VM with {expression}")
        kept = self._shared.setdefault(name, made)
        if kept != made:
            self._shared[name] = made
        return self._shared[name]

    def _made_for_vm(self, criterion: Criterion, vm: VmId) -> PeerSet:
        answers = self._answers[vm]
        if criterion.kind == "profile":
            known = known_peers(self._personas[vm], answers)
            addresses = {peer: why for peer, why in known.items() if is_address(peer)}
            return peer_set(addresses, f"is in the learned profile of {vm}", shared=False)
        notes = _answered(answers, criterion.values)
        why = f"was answered to {vm} for {', '.join(criterion.values)}"
        return peer_set((address for address, _ in notes), why, notes, shared=False)

    def _allowed_of_vm(self, vm: VmId) -> dict[str, PeerSet]:
        notes = [
            (address, f"{text} ({why})")
            for suffix, why in self._allowed_names
            for address, text in _answered(self._answers[vm], (suffix,))
        ]
        if not notes:
            return {}
        return {_allow_name(vm): peer_set((a for a, _ in notes), "is allow-listed by name", notes, shared=False)}


def _allow_name(vm: VmId) -> str:
    return f"allow_names.{vm}"


def _in_force(answers: Answers, at: int) -> Answers:
    return {
        domain: tuple((canonical_address(address), end) for address, end in found if end is None or at < end)
        for domain, found in answers.items()
    }


def _answered(answers: Answers, suffixes: tuple[str, ...]) -> list[tuple[str, str]]:
    return [
        (address, f"answered for {domain}")
        for domain, found in answers.items()
        if any(below(domain, suffix) for suffix in suffixes)
        for address, _end in found
    ]


def _allowed(policies: PolicySet, intel: IndicatorSet, at: int, *, names: bool) -> list[tuple[str, str]]:
    """Allow-list entries in force, with their reasons: domains, or addresses and prefixes."""
    entries = [(e.value, e.until, e.comment, r.name) for r in policies.allow for e in r.entries]
    entries += [(e.value, e.until, e.comment, "intelligence") for e in intel.allow.entries]
    return sorted(
        (value, f"{comment}; list {source}" + ("" if until is None else f", until {instant(until)}"))
        for value, until, comment, source in entries
        if (until is None or at < until) and _is_peer(value) is not names
    )


def _is_peer(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
