"""Who is in the sets: reputation and listings from intelligence, VMs from their personas, domains from DNS answers.

A set that several VMs share is made once.  What is particular to a VM (its learned peers, the addresses that its own
resolver answered for a name) is made again when that VM changes, and nothing else is; but for what it was answered for
listed names, which rests on what others were answered too (listed_answers.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain

from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.standing import Standing
from netpersona.persona.model import Persona
from netpersona.policy.conditions import Asked
from netpersona.policy.facts import Facts
from netpersona.policy.model import Condition, Place, PolicySet
from netpersona.ruleset.criteria import Criterion, coverage, is_of_listed, known_peers, set_name
from netpersona.ruleset.listed_answers import InForce, ListedAnswers
from netpersona.ruleset.model import ALLOW_NAMES, ALLOW_SET
from netpersona.ruleset.peers import PeerSet, canonical, is_peer, numerically, peer_set
from netpersona.ruleset.reasons import hosts, instant

Answers = Mapping[str, tuple[tuple[str, int | None], ...]]
"""For each domain the addresses that a VM's resolver answered, with the end (µs, exclusive) of each answer."""


class Members:
    """The members of every set that the rules ask for, at one instant."""

    def __init__(self, policies: PolicySet, intel: IndicatorSet, at: int) -> None:
        self._intel = intel
        self._at = self._listed_at = at
        self._asked: dict[str, Criterion] = {}
        self._made: dict[str, PeerSet] = {}  # by name; those of a VM are made again when it changes
        self._of_vm: dict[VmId, list[str]] = {}  # their names
        self._selectors: dict[str, Asked] = {}  # by expression
        self._fulfilled: dict[str, dict[VmId, tuple[str, ...]]] = {}  # by expression: the addresses of those that do
        self._personas: dict[VmId, Persona] = {}
        self._facts: dict[VmId, Facts] = {}
        self._answers: dict[VmId, InForce] = {}
        self._ends: dict[VmId, int | None] = {}
        self._listed: ListedAnswers | None = None  # None: no rule asks
        self._allowed_names = _allowed(policies, intel, at, names=True)
        allowed = _allowed(policies, intel, at, names=False)
        if allowed:
            self._made[ALLOW_SET] = peer_set((value for value, _ in allowed), "is allow-listed", allowed)
        entries = [entry.until for resource in policies.allow for entry in resource.entries]
        ends = [end for end in entries if end is not None and end > at] + [intel.next_change(at)]
        self.until = min((end for end in ends if end is not None), default=None)

    def put(self, persona: Persona, known: Facts, answers: Answers) -> None:
        """Take this persona's state, in place of an earlier one."""
        if persona.vm in self._personas:
            self.remove(persona.vm)
        self._personas[persona.vm] = persona
        self._facts[persona.vm] = known
        self._answers[persona.vm], self._ends[persona.vm] = _in_force(answers, self._at)
        self._of_vm[persona.vm] = []
        if self._listed is not None:
            self._listed.put(persona.vm, self._answers[persona.vm])
        if self._allowed_names:
            self._allow(persona.vm)

    def move(self, at: int) -> None:
        """Count answers as of a later instant (µs) from now on."""
        self._at = at

    def remove(self, vm: VmId) -> None:
        """Forget a VM."""
        for of_vm in (self._personas, self._facts, self._answers, self._ends, *self._fulfilled.values()):
            of_vm.pop(vm, None)  # type: ignore[attr-defined]
        if self._listed is not None:
            self._listed.remove(vm)
        for name in self._of_vm.pop(vm, ()):
            del self._made[name]

    def ask(self, criterion: Criterion) -> str:
        """Say that a rule asks this of peers; gives the name of the set, or how those of each VM begin."""
        name = set_name(criterion)
        self._asked[name] = criterion
        if criterion.kind == "listed_names" and self._listed is None:
            self._listed = ListedAnswers(self._intel, self._listed_at)
            for vm, answers in self._answers.items():
                self._listed.put(vm, answers)
        return name

    def settle(self) -> None:
        """Make again what rests on other VMs than its own; to be called before members()."""
        changed = self._listed.settle() if self._listed is not None else ()
        for vm in changed:
            for name in [name for name in self._of_vm.get(vm, ()) if is_of_listed(name)]:
                self._made[name] = self._listed_set(name.rpartition(".")[0], vm)

    def next_end(self, vm: VmId) -> int | None:
        """The first instant (µs) at which an answer to this VM ends."""
        return self._ends[vm]

    def asked(self) -> Mapping[str, Criterion]:
        """What was ever asked, by the name of the set."""
        return self._asked

    def allow_sets(self, vm: VmId) -> tuple[str, ...]:
        """The names of the sets of peers that are allow-listed for this VM."""
        return tuple(name for name in (ALLOW_SET, _allow_name(vm)) if name in self._made)

    def members(self, name: str) -> PeerSet:
        """The set of this name, as `ask` or `allow_sets` gave it."""
        criterion = self._asked.get(name)
        if criterion is not None and criterion.kind == "vms":
            self._made[name] = self._vms_set(criterion.values[0], self._made.get(name))
        elif name not in self._made:
            self._made[name] = self._shared(criterion) if criterion is not None else self._of_one(name)
        return self._made[name]

    def every(self, names: Sequence[str]) -> dict[str, PeerSet]:
        """The sets of these names, in their order."""
        made = self._made
        for name in [each for each in names if each not in made]:
            self.members(name)
        found = dict(zip(names, map(made.__getitem__, names), strict=True))
        of_vms = (name for name, criterion in self._asked.items() if criterion.kind == "vms" and name in found)
        return found | {name: self.members(name) for name in of_vms}

    def _shared(self, criterion: Criterion) -> PeerSet:
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
        return self._intel.standing(self._listed_at)

    def _vms_set(self, expression: str, before: PeerSet | None) -> PeerSet:
        """The addresses of the VMs that fulfil the expression; the very set of before where nothing changed."""
        fulfilled = self._fulfilled.setdefault(expression, {})
        if expression not in self._selectors:
            self._selectors[expression] = Asked((Condition(expression, Place("", 1, 1)),))
        selector = self._selectors[expression]
        for vm in self._personas.keys() - fulfilled.keys():
            (holds,) = selector.of(self._facts[vm])
            fulfilled[vm] = hosts(self._personas[vm].base.addresses) if holds else ()
        addresses = set(chain.from_iterable(fulfilled.values()))
        if before is not None and addresses == set(before.addresses):
            return before
        why = "is a VM" if expression == "true" else f"is a VM with {expression}"
        return PeerSet(numerically(addresses), (), why)

    def _of_one(self, name: str) -> PeerSet:
        base, _, text = name.rpartition(".")
        criterion, vm = self._asked[base], VmId(text)
        answers = self._answers[vm]
        self._of_vm[vm].append(name)
        if criterion.kind == "listed_names":
            return self._listed_set(base, vm)
        if criterion.kind == "profile":
            known = known_peers(self._personas[vm], answers)
            return PeerSet(numerically(known), (), f"is in the learned profile of {vm}", shared=False)
        why = f"was answered to {vm} for {', '.join(criterion.values)}"
        return _noted(_answered(answers, criterion.values), why)

    def _listed_set(self, base: str, vm: VmId) -> PeerSet:
        assert self._listed is not None
        return self._listed.set_of(vm, self._asked[base].values[0])

    def _allow(self, vm: VmId) -> None:
        """Make the set of the addresses that this VM was answered for allow-listed names."""
        notes = [
            (address, f"{text} ({why})")
            for suffix, why in self._allowed_names
            for address, text in _answered(self._answers[vm], (suffix,))
        ]
        if notes:
            self._made[_allow_name(vm)] = _noted(notes, "is allow-listed by name")
            self._of_vm[vm].append(_allow_name(vm))


def _allow_name(vm: VmId) -> str:
    return f"{ALLOW_NAMES}.{vm}"


def _noted(notes: list[tuple[str, str]], why: str) -> PeerSet:
    addresses = numerically({address for address, _ in notes})
    return PeerSet(addresses, (), why, tuple(sorted(set(notes))), shared=False)


def _in_force(answers: Answers, at: int) -> tuple[InForce, int | None]:
    """The answers that have not ended, and when the first of them does."""
    found, first = _addresses(answers, None)
    return (found, first) if first is None or first > at else _addresses(answers, at)


def _addresses(answers: Answers, at: int | None) -> tuple[InForce, int | None]:
    """Of all the answers what _canonical says of one."""
    found: dict[str, tuple[str, ...]] = {}
    first: int | None = None
    for domain, each in answers.items():
        found[domain], end = _canonical(each, at)
        if end is not None and (first is None or end < first):
            first = end
    return found, first


@lru_cache(maxsize=1 << 11)  # resolving 1,000 VMs asks for some 540; answers change for ever, so more only grows
def _canonical(found: tuple[tuple[str, int | None], ...], at: int | None) -> tuple[tuple[str, ...], int | None]:
    """The addresses in canonical text, and when the first of them ends; with `at` those only that have not."""
    held = [(address, end) for address, end in found if at is None or end is None or at < end]
    return tuple(canonical(address) for address, _ in held), min((e for _, e in held if e is not None), default=None)


def _answered(answers: InForce, suffixes: tuple[str, ...]) -> list[tuple[str, str]]:
    below = coverage(suffixes)
    return [
        (address, f"answered for {domain}") for domain, found in answers.items() if below[domain] for address in found
    ]


def _allowed(policies: PolicySet, intel: IndicatorSet, at: int, *, names: bool) -> list[tuple[str, str]]:
    """Allow-list entries in force, with their reasons: domains, or addresses and prefixes."""
    entries = [(e.value, e.until, e.comment, r.name) for r in policies.allow for e in r.entries]
    entries += [(e.value, e.until, e.comment, "intelligence") for e in intel.allow.entries]
    return sorted(
        (value, f"{comment}; list {source}" + ("" if until is None else f", until {instant(until)}"))
        for value, until, comment, source in entries
        if (until is None or at < until) and is_peer(value) is not names
    )
