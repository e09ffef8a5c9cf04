"""What it takes to come from the ruleset in force to the desired one, as a value and in words.

Applying the difference gives the desired ruleset exactly.  A VM's rules change as a whole (a chain is replaced in one
transaction); a set changes by its elements, since a big set must not be loaded again for one peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import ne
from typing import TypeVar

from netpersona.flow.vm import VmId
from netpersona.policy.model import AlwaysAllow, Direction, Mode
from netpersona.ruleset.model import ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.peers import PeerSet, numerically
from netpersona.ruleset.reasons import why
from netpersona.ruleset.tables import Key, member_order, renewed

Rules = tuple[ResolvedRule, ...]
Value = TypeVar("Value")

SHOWN = 5  # peers named in a sentence
_OWN = {
    "interface": "interface",
    "mac": "hardware address",
    "addresses": "addresses",
    "own": "source addresses",
    "gateways": "gateways",
    "resolvers": "resolvers",
    "allow": "allow-lists",
    "services": "services that others reach",
}
"""What a VM's part of a ruleset says beside its rules, in words."""


@dataclass(frozen=True, slots=True)
class SetChange:
    """One set: `kept` is the desired set without members; None: the set goes.  `made` says that it is new."""

    name: str
    kept: PeerSet | None
    made: bool
    added_addresses: tuple[str, ...] = ()
    removed_addresses: tuple[str, ...] = ()
    added_networks: tuple[str, ...] = ()
    removed_networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VmChange:
    """One VM's rules before and after; None: it is not there."""

    vm: VmId
    before: VmRules | None
    after: VmRules | None

    @property
    def for_packets(self) -> bool:
        """Whether any packet can be treated otherwise now; False where only ends differ."""
        return _bare(self.before) != _bare(self.after)


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything that differs.  `always` and `unknown_vm` are the desired ones, None where they stay."""

    sets: tuple[SetChange, ...] = ()
    vms: tuple[VmChange, ...] = ()
    always: AlwaysAllow | None = None
    unknown_vm: str | None = None
    until: int | None = None  # µs, of the desired ruleset

    def __bool__(self) -> bool:
        return bool(self.sets or self.vms or self.always is not None or self.unknown_vm is not None)


NOTHING = Ruleset(sets={}, vms={}, always=AlwaysAllow(), unknown_vm="allow")
"""The ruleset of a host on which nothing is in force."""


def diff(in_force: Ruleset, desired: Ruleset) -> Changes:
    """What must change so that `desired` is in force; false where nothing must."""
    return Changes(
        sets=tuple(
            _set_change(name, in_force.sets.get(name), desired.sets.get(name))
            for name in _differing(in_force.sets, desired.sets, _hold_others)
        ),
        vms=tuple(
            VmChange(vm, in_force.vms.get(vm), desired.vms.get(vm)) for vm in _differing(in_force.vms, desired.vms, ne)
        ),
        always=None if in_force.always == desired.always else desired.always,
        unknown_vm=None if in_force.unknown_vm == desired.unknown_vm else desired.unknown_vm,
        until=desired.until,
    )


def apply(in_force: Ruleset, changes: Changes) -> Ruleset:
    """The ruleset after the changes."""
    sets = dict(in_force.sets)
    for change in changes.sets:
        after = _changed(sets.pop(change.name, None), change)
        if after is not None:
            sets[change.name] = after
    vms = dict(in_force.vms)
    for moved in changes.vms:
        vms.pop(moved.vm, None)
        if moved.after is not None:
            vms[moved.vm] = moved.after
    return Ruleset(
        sets=dict(sorted(sets.items())),
        vms=dict(sorted(vms.items())),
        always=in_force.always if changes.always is None else changes.always,
        unknown_vm=in_force.unknown_vm if changes.unknown_vm is None else changes.unknown_vm,
        until=changes.until,
    )


def words(changes: Changes) -> list[str]:
    """The changes as sentences, the far-reaching ones first."""
    said = [] if changes.unknown_vm is None else [f"VMs without a persona: {changes.unknown_vm} from now on"]
    said += [] if changes.always is None else ["what is always allowed changes"]
    for change in changes.sets:
        said += _set_words(change)
    for moved in changes.vms:
        said += _vm_words(moved)
    return said


def _differing(old: Mapping[Key, Value], new: Mapping[Key, Value], differ: Callable[[Value, Value], bool]) -> list[Key]:
    """The keys whose values differ, in order."""
    return sorted(
        [*(old.keys() - new.keys()), *(k for k in renewed(old, new) if k not in old or differ(old[k], new[k]))]
    )


def _hold_others(one: PeerSet, other: PeerSet) -> bool:
    return len(one) != len(other) or one != other


def _set_change(name: str, before: PeerSet | None, after: PeerSet | None) -> SetChange:
    old, new = before or _EMPTY, after or _EMPTY
    added_addresses, removed_addresses = differences(old.addresses, new.addresses)
    added_networks, removed_networks = differences(old.networks, new.networks)
    return SetChange(
        name=name,
        kept=None if after is None else replace(after, addresses=(), networks=()),
        made=before is None,
        added_addresses=added_addresses,
        removed_addresses=removed_addresses,
        added_networks=added_networks,
        removed_networks=removed_networks,
    )


_EMPTY = PeerSet((), (), "")
_STRETCHES = (1024, 32, 1)  # members that are compared at once, where nothing differs


def differences(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What came and what went, of members in the order of a PeerSet.

    Both are walked together, whole stretches at a time: of a million members with a thousand changes, most are never
    looked at one by one, and no table of them is made.
    """
    if old is new:
        return (), ()
    added: list[str] = []
    removed: list[str] = []
    i = j = 0
    while i < len(old) and j < len(new):
        same = _same(old, new, i, j)
        i, j = i + same, j + same
        if i < len(old) and j < len(new):
            if member_order(old[i]) < member_order(new[j]):
                removed.append(old[i])
                i += 1
            else:
                added.append(new[j])
                j += 1
    return (*added, *new[j:]), (*removed, *old[i:])


def _same(old: tuple[str, ...], new: tuple[str, ...], i: int, j: int) -> int:
    """How many members from here on are the same."""
    begin = i
    for length in _STRETCHES:
        while i < len(old) and old[i : i + length] == new[j : j + length]:
            i, j = i + length, j + length
    return min(i, len(old)) - begin


def _changed(before: PeerSet | None, change: SetChange) -> PeerSet | None:
    if change.kept is None:
        return None
    old = before or _EMPTY
    return replace(
        change.kept,
        addresses=numerically((*_without(old.addresses, change.removed_addresses), *change.added_addresses)),
        networks=numerically((*_without(old.networks, change.removed_networks), *change.added_networks)),
    )


def _without(values: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    known = frozenset(others)
    return tuple(value for value in values if value not in known)


def _bare(rules: VmRules | None) -> VmRules | None:
    if rules is None:
        return None
    return replace(rules, outbound=_endless(rules.outbound), inbound=_endless(rules.inbound))


def _endless(rules: Iterable[ResolvedRule]) -> tuple[ResolvedRule, ...]:
    return tuple(replace(rule, drains_until=None) for rule in rules)


def _set_words(change: SetChange) -> Iterator[str]:
    added, removed = change.added_addresses + change.added_networks, change.removed_addresses + change.removed_networks
    if change.kept is None:
        yield f"no rule asks for {change.name} any more"
        return
    moved = [_listed("comes", "come", added)] if added else []
    moved += [_listed("goes", "go", removed)] if removed else []
    if moved:
        yield f"{change.name} (each peer that {change.kept.why}): {'; '.join(moved)}"


def _listed(one: str, many: str, peers: tuple[str, ...]) -> str:
    shown = ", ".join(peers[:SHOWN]) + (", ..." if len(peers) > SHOWN else "")
    return f"1 peer {one} ({shown})" if len(peers) == 1 else f"{len(peers)} peers {many} ({shown})"


def _vm_words(change: VmChange) -> Iterator[str]:
    before, after = change.before, change.after
    if after is None:
        yield f"{change.vm} is gone, and its rules with it"
        return
    if before is None:
        yield f"{change.vm} is new"
    elif before.known is not after.known:
        yield f"{change.vm} has {'a' if after.known else 'no'} persona now"
    elif changed := [word for name, word in _OWN.items() if getattr(before, name) != getattr(after, name)]:
        yield f"{change.vm}: its {' and '.join(changed)} change"
    for direction in (Direction.OUTBOUND, Direction.INBOUND):
        old = () if before is None else before.rules(direction)
        yield from _rule_words(after, f"{change.vm} {direction}", old, after.rules(direction))


def _rule_words(rules: VmRules, where: str, before: Rules, after: Rules) -> Iterator[str]:
    old, new = {(r.policy, r.rule): r for r in before}, {(r.policy, r.rule): r for r in after}
    for key, rule in old.items():
        if key not in new:
            yield f"{where}: {_named(rule)} ends"
    for key, rule in new.items():
        if key not in old:
            yield f"{where}: {_named(rule)} begins, because {why(rules, rule)}"
        elif _endless([rule]) != _endless([old[key]]):
            yield f"{where}: {_named(rule)} changes, because {why(rules, rule)}"
        elif rule != old[key]:
            yield f"{where}: {_named(rule)} drains to another end"
    if [key for key in old if key in new] != [key for key in new if key in old]:
        yield f"{where}: the order of the rules changes"


def _named(rule: ResolvedRule) -> str:
    return f"{rule.action} by {rule.name}" + (" (staged)" if rule.mode is Mode.STAGE else "")
