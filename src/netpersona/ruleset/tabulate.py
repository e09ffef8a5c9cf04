"""From a ruleset to the tables of the kernel: which chains, sets and maps there are, and what each VM brings to them.

VMs that have the same rules are alike: the chains in which these stand are made once, and kept while a VM has them.
What a VM brings of its own is kept as long as its rules stay the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import NamedTuple

from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, AlwaysAllow, Mode
from netpersona.ruleset.dispatch import Dispatched, Told, Ways, bridge_hooks, inet_hooks, leads, told_by
from netpersona.ruleset.endings import built_in, ending
from netpersona.ruleset.model import ALLOW_NAMES, PORTED, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import protocol_number
from netpersona.ruleset.peers import PeerSet, numerically
from netpersona.ruleset.render_chains import redirects, shared_chains, spoofed_chains, vm_chains
from netpersona.ruleset.render_flows import FLOW_SETS
from netpersona.ruleset.render_gates import near_any, near_groups
from netpersona.ruleset.render_rules import PORTLESS, SERVICES, RuleText, is_of_names, near_set, set_parts
from netpersona.ruleset.tables import (
    ADDRESS_TYPES,
    Chains,
    Filled,
    Owned,
    OwnSet,
    SetPart,
    Table,
    of_version,
    renewed,
)
from netpersona.ruleset.whose import EVERY, INTERFACE, Whose, bucket, by_vm, hits, own_set

_KEPT = 1 << 14  # rules of which is kept how they read


class Tabulator:
    """Makes a ruleset's tables, and keeps what was made for as long as a VM has the same rules."""

    def __init__(self) -> None:
        self._families = {name: _Family(bridged=name == "bridge") for name in ("inet", "bridge")}
        self._sets: Mapping[str, PeerSet] = {}
        self._parts: dict[str, dict[str, SetPart]] = {}  # of the sets that VMs share, by the set's name

    def tables(self, ruleset: Ruleset, bridged: frozenset[str] = frozenset()) -> tuple[Table, ...]:
        """The inet table, and, where a VM's interface is bridged, the bridge table."""
        routed, over = ruleset.vms, {}
        if bridged:
            routed = {vm: rules for vm, rules in ruleset.vms.items() if rules.interface not in bridged}
            over = {vm: rules for vm, rules in ruleset.vms.items() if rules.interface in bridged}
        renewed_sets = renewed(self._sets, ruleset.sets)
        self._share(ruleset, renewed_sets)
        moved = {VmId(name.rpartition(".")[2]) for name in renewed_sets if not ruleset.sets[name].shared}
        found = [self._families["inet"].table(ruleset, routed, self._parts, moved)]
        if over or self._families["bridge"].has_vms:
            found.append(self._families["bridge"].table(ruleset, over, self._parts, moved))
        return tuple(found) if over else tuple(found[:1])

    def _share(self, ruleset: Ruleset, renewed_sets: Iterable[str]) -> None:
        """Keep the parts of the sets that VMs share."""
        for name in self._sets.keys() - ruleset.sets.keys():
            self._parts.pop(name, None)
        for name in renewed_sets:
            self._parts.pop(name, None)
            if ruleset.sets[name].shared:
                self._parts[name] = _parts(name, ruleset.sets[name])
        self._sets = ruleset.sets


class _Near(NamedTuple):
    """The blocks near which a prefix of any of some sets lies, and the sets of which it was made."""

    of: tuple[PeerSet, ...]
    part: SetPart


class _Kind(NamedTuple):
    """Of a set of all VMs' own: nft's types of its key, and whether members may be put into it for a time."""

    key: tuple[str, ...]
    lasting: bool


@dataclass(frozen=True, slots=True)
class _Like:
    """What VMs with the same rules share."""

    name: str
    chains: Chains
    filled: dict[str, Filled]
    shared: frozenset[str]  # sets that are asked
    near: frozenset[tuple[str, ...]]  # those whose prefixes are asked for together
    own: tuple[str, ...]  # sets of each VM's own that are asked
    services: bool
    kinds: dict[str, _Kind]  # the kernel's sets for these
    redirects: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """What one VM brings to a table, and what it was made of."""

    rules: VmRules
    read: dict[Whose, str]
    likes: dict[Whose, _Like]
    own: dict[str, Owned]
    chains: Chains

    def leads_the_same_way(self, other: VmRules, likes: Mapping[Whose, _Like]) -> bool:
        """Whether the VM's own chains would be the same with these rules."""
        ways, others = ([(like.name, like.redirects) for like in each.values()] for each in (self.likes, likes))
        return _place(self.rules) == _place(other) and self.likes.keys() == likes.keys() and ways == others


class _Led(NamedTuple):
    """Where packets are led, and what that was made of."""

    told: Mapping[VmId, Told]
    redirecting: frozenset[VmId]
    ways: Ways
    made: Dispatched


class _Family:
    """The table of one family, and what is kept for the next one."""

    def __init__(self, *, bridged: bool) -> None:
        self._bridged = bridged
        self._texts = {whose: RuleText(whose, bridged=bridged) for whose in EVERY}
        self._reading = Reading()
        self._begin(None, "")

    @property
    def has_vms(self) -> bool:
        """Whether any VM was in the last table."""
        return bool(self._vms)

    def _begin(self, always: AlwaysAllow | None, unknown_vm: str) -> None:
        """Nothing is kept: every chain depends on this."""
        self._always, self._unknown_vm = always, unknown_vm
        self._vms: Mapping[VmId, VmRules] = {}
        self._told: dict[VmId, Told] = {}
        self._likes: dict[str, _Like] = {}  # by how their rules read
        self._uses: Counter[str] = Counter()  # how many VMs have them
        self._parts: dict[VmId, _Part] = {}
        self._own: dict[str, OwnSet] = {}
        self._nears: dict[tuple[str, ...], _Near] = {}
        self._chains: Chains = {}  # of VMs
        self._redirecting: frozenset[VmId] = frozenset()
        self._dispatched: _Led | None = None

    def table(
        self,
        ruleset: Ruleset,
        vms: Mapping[VmId, VmRules],
        shared: Mapping[str, Mapping[str, SetPart]],
        moved: Collection[VmId],
    ) -> Table:
        """The table of these VMs; `moved` are those of whose own sets some changed."""
        if (ruleset.always, ruleset.unknown_vm) != (self._always, self._unknown_vm):
            self._begin(ruleset.always, ruleset.unknown_vm)
        self._take(ruleset, vms, moved)
        likes = sorted(self._likes.values(), key=lambda like: like.name)
        chains = built_in(bridged=self._bridged)
        chains |= {name: tuple(body) for name, body in spoofed_chains(ruleset.always).items()}
        filled = dict(FLOW_SETS) if self._bridged else {}
        for like in likes:
            chains.update(like.chains)
            filled.update(like.filled)
        maps, hooks, bodies = self._dispatch()
        asked = frozenset().union(*(like.shared for like in likes)) if self._bridged else shared.keys()
        taps = tuple(sorted(each[INTERFACE][0] for each in self._told.values())) if self._bridged else ()
        sets = {part: of for name in sorted(shared) if name in asked for part, of in shared[name].items()}
        self._nears = {group: self._near(group, sets) for like in likes for group in like.near}
        return Table(
            family="bridge" if self._bridged else "inet",
            sets=sets | {near_any(group): of.part for group, of in sorted(self._nears.items())},
            own=dict(sorted(self._own.items())),
            filled=filled,
            interfaces={"taps": taps} if self._bridged else {},
            maps=maps,
            hooks=hooks,
            chains=chains | self._chains | bodies,
        )

    def _near(self, group: tuple[str, ...], sets: Mapping[str, SetPart]) -> _Near:
        """The blocks near which a prefix of these sets lies: the very part of before where they are the same."""
        of = tuple(sets[near_set(name)].of for name in group)
        kept = self._nears.get(group)
        if kept is not None and all(one is other for one, other in zip(kept.of, of, strict=True)):
            return kept
        blocks = numerically(set().union(*(each.near for each in of)))
        if kept is not None and kept.part.members == blocks:
            return _Near(of, kept.part)
        name = near_any(group)
        return _Near(of, SetPart(name, 4, prefixes=False, of=PeerSet(blocks, (), "is near a prefix")))

    def _take(self, ruleset: Ruleset, vms: Mapping[VmId, VmRules], moved: Collection[VmId]) -> None:
        """Make anew what differs from the last table."""
        gone = self._vms.keys() - vms.keys()
        changed = renewed(self._vms, vms)
        if gone or any(vm not in self._vms or _place(self._vms[vm]) != _place(vms[vm]) for vm in changed):
            old, self._told = self._told, told_by(vms)
            changed = [vm for vm in vms if vms[vm] is not self._vms.get(vm) or self._told[vm] != old[vm]]
        known = frozenset(changed)
        changed += sorted(vm for vm in moved if vm in vms and vm not in known)
        parts = {vm: self._parts.pop(vm) for vm in (*gone, *changed) if vm in self._parts}
        for part in parts.values():
            self._uses.subtract(part.read.values())
        self._vms = vms
        self._name_likes(changed, parts)
        made = {vm: self._part(ruleset, vms[vm], parts.get(vm)) for vm in changed}
        self._parts.update(made)
        self._put(parts, made)

    def _put(self, before: Mapping[VmId, _Part], after: Mapping[VmId, _Part]) -> None:
        """Bring the chains and sets of all VMs from these parts to those."""
        own: dict[str, dict[VmId, Owned]] = {}
        kinds = {name: kind for like in self._likes.values() for name, kind in like.kinds.items()}
        for vm in before.keys() | after.keys():
            old, new = before.get(vm), after.get(vm)
            had, has = ({} if part is None else part.own for part in (old, new))
            for name in (had.keys() | has.keys()) & kinds.keys():
                if name in self._own and had.get(name) == has.get(name):
                    continue
                of = own.setdefault(name, dict(self._own[name].of) if name in self._own else {})
                if name in has:
                    of[vm] = has[name]
                else:
                    of.pop(vm, None)
            for chain in {} if old is None else old.chains:
                self._chains.pop(chain, None)
            if new is not None:
                self._chains.update(new.chains)
        made = {name: OwnSet(kinds[name].key, self._ordered(name, of), kinds[name].lasting) for name, of in own.items()}
        self._own = {name: own for name, own in self._own.items() if name in kinds} | made
        redirecting = {vm for vm, part in after.items() if any(like.redirects for like in part.likes.values())}
        self._redirecting = self._redirecting - before.keys() | redirecting
        self._chains = dict(sorted(self._chains.items())) if before.keys() != after.keys() else self._chains

    def _ordered(self, name: str, of: dict[VmId, Owned]) -> dict[VmId, Owned]:
        """What VMs have in a set, by VM: in order already where the same VMs had something in it."""
        before = self._own.get(name)
        return of if before is not None and before.of.keys() == of.keys() else dict(sorted(of.items()))

    def _name_likes(self, changed: Iterable[VmId], parts: Mapping[VmId, _Part]) -> None:
        """Give the rules that VMs share their names.

        Where all VMs that had some rules have others now, these take over the name: so only the chains in which they
        stand change, and not those of each VM that lead there.
        """
        wanted: dict[str, tuple[VmRules, Whose, str]] = {}
        for vm in changed:
            had, rules = parts.get(vm), self._vms[vm]
            for whose in self._told[vm] if rules.known else ():
                read = self._reading.of(rules, whose)
                self._uses[read] += 1
                if read not in wanted:
                    wanted[read] = (rules, whose, "" if had is None else had.read.get(whose, ""))
        free = {read: like.name for read, like in self._likes.items() if not self._uses[read]}
        self._likes = {read: like for read, like in self._likes.items() if self._uses[read]}
        self._uses = +self._uses
        taken = {like.name for like in self._likes.values()}
        for read, (rules, whose, before) in wanted.items():
            if read not in self._likes:
                name = free.pop(before, read)
                while name in taken:
                    name += "_"
                taken.add(name)
                self._likes[read] = self._made(name, rules, self._texts[whose])

    def _part(self, ruleset: Ruleset, rules: VmRules, had: _Part | None) -> _Part:
        told = self._told[rules.vm]
        read = {whose: self._reading.of(rules, whose) for whose in told} if rules.known else {}
        likes = {whose: self._likes[each] for whose, each in read.items()}
        sets = {name: ruleset.sets[f"{name}.{rules.vm}"] for like in likes.values() for name in like.own}
        same = had is not None and had.leads_the_same_way(rules, likes)
        chains = had.chains if had is not None and same else self._own_chains(ruleset, rules, likes)
        own = {name: has for whose, like in likes.items() for name, has in _owned(rules, whose, told, like, sets)}
        return _Part(rules, read, likes, own, chains)

    def _own_chains(self, ruleset: Ruleset, rules: VmRules, likes: Mapping[Whose, _Like]) -> Chains:
        nat = any(like.redirects for like in likes.values())
        chains = vm_chains(ruleset.always, ruleset.unknown_vm, rules, _names(likes), nat=nat, bridged=self._bridged)
        return {name: tuple(body) for name, body in chains.items()}

    def _made(self, name: str, rules: VmRules, text: RuleText) -> _Like:
        assert self._always is not None
        allow = allowed_alike(rules)
        every = (*rules.outbound, *rules.inbound)
        matches = [match for rule in every for match in rule.peers]
        refs = {ref for match in matches for ref in match.sets}
        chains = {c: tuple(body) for c, body in shared_chains(self._always, rules, name, allow, text).items()}
        ends = (ending(rule, bridged=self._bridged) for rule in every)
        own = sorted({ref.name for ref in refs if ref.own}.union(set(allow) & {ALLOW_NAMES}))
        services = any(match.known_service is not None for match in matches)
        return _Like(
            name=name,
            chains=chains | dict(end for end in ends if end is not None),
            filled=dict(_filled(every, text.whose)),
            shared=frozenset({ref.name for ref in refs if not ref.own}.union(set(allow) - {ALLOW_NAMES})),
            near=frozenset(near_groups(rules) if not self._bridged and 4 in text.whose.versions else ()),
            own=tuple(own),
            services=services,
            kinds=dict(_kinds(own, text.whose, services=services)),
            redirects=not self._bridged and redirects(rules) > 0,
        )

    def _dispatch(self) -> Dispatched:
        """Which interface and address leads where: made again only where one of these changed."""
        kept = self._dispatched
        if kept is None or kept.told is not self._told or kept.redirecting != self._redirecting:
            kept = self._dispatched = self._led(kept)
        return kept.made

    def _led(self, kept: _Led | None) -> _Led:
        """The same made anew, but for the maps that are as before."""
        if kept is not None and kept.told is self._told:
            ways = dict(kept.ways)
        else:
            ways = {side: leads(side, self._told.items()) for side in ("from", "to")}
        ways["nat"] = leads("nat", ((vm, self._told[vm]) for vm in self._redirecting))
        maps, hooks, bodies = (bridge_hooks if self._bridged else inet_hooks)(ways)
        before = {} if kept is None else kept.made[0]
        same = {name: before[name] for name, found in maps.items() if before.get(name) == found}
        return _Led(self._told, self._redirecting, ways, (maps | same, hooks, bodies))


class Reading:
    """How rules read: equal text for VMs that can share the chains in which theirs stand."""

    def __init__(self) -> None:
        self._rules: dict[int, tuple[ResolvedRule, str]] = {}
        self._lists: dict[tuple[int, int, tuple[str, ...], str], tuple[VmRules, str]] = {}

    def of(self, rules: VmRules, whose: Whose) -> str:
        """A hash of what a VM's rules say to the kernel."""
        allow = allowed_alike(rules)
        key = (id(rules.outbound), id(rules.inbound), allow, whose.kind)  # what is kept keeps them alive
        kept = self._lists.get(key)
        if kept is None:
            if len(self._lists) >= _KEPT:
                self._lists.clear()
            said = repr(
                (whose.kind, allow, *([self._rule(rule) for rule in of] for of in (rules.outbound, rules.inbound)))
            )
            digest = blake2s(said.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
            kept = self._lists[key] = (rules, digest)
        return kept[1]

    def _rule(self, rule: ResolvedRule) -> str:
        kept = self._rules.get(id(rule))
        if kept is None:
            if len(self._rules) >= _KEPT:
                self._rules.clear()
            kept = self._rules[id(rule)] = (rule, repr(replace(rule, drains_until=None)))
        return kept[1]


def allowed_alike(rules: VmRules) -> tuple[str, ...]:
    """The sets of allow-listed peers, by names that do not name the VM."""
    return tuple([ALLOW_NAMES if name.startswith(f"{ALLOW_NAMES}.") else name for name in rules.allow])


def _names(likes: Mapping[Whose, _Like]) -> dict[Whose, str]:
    return {whose: like.name for whose, like in likes.items()}


def _place(rules: VmRules) -> tuple[object, ...]:
    """What makes the VM's own chains, and by what its packets are told."""
    return (rules.known, rules.interface, rules.addresses, rules.own, rules.gateways, rules.resolvers, rules.mac)


def _kinds(own: Iterable[str], whose: Whose, *, services: bool) -> Iterator[tuple[str, _Kind]]:
    for name in own:
        for version in whose.versions:
            yield own_set(name, whose, version), _Kind((whose.key, ADDRESS_TYPES[version]), is_of_names(name))
    if services:
        yield own_set(SERVICES, whose), _Kind((whose.key, "inet_proto", "inet_service"), lasting=False)
        yield own_set(PORTLESS, whose), _Kind((whose.key, "inet_proto"), lasting=False)


def _filled(rules: tuple[ResolvedRule, ...], whose: Whose) -> Iterator[tuple[str, Filled]]:
    for rule in rules:
        yield hits(rule, whose), by_vm(whose)
        if rule.action is Action.RATE_LIMIT and rule.mode is Mode.ENFORCE:
            yield bucket(rule, whose), by_vm(whose)


def _owned(
    rules: VmRules, whose: Whose, told: Told, like: _Like, sets: Mapping[str, PeerSet]
) -> Iterator[tuple[str, Owned]]:
    """The VM's members of the sets in which each VM has its own."""
    for name in like.own:
        members = sets[name].addresses
        for version in whose.versions:
            yield own_set(name, whose, version), Owned(told[whose], of_version(members, version))
    if like.services:
        numbers = [(protocol_number(transport), transport, port) for transport, port in rules.services]
        known = [(number, transport in PORTED, port) for number, transport, port in numbers if number is not None]
        ported = sorted({f"{number} . {port}" for number, has_ports, port in known if has_ports})
        portless = sorted({str(number) for number, has_ports, _ in known if not has_ports})
        yield own_set(SERVICES, whose), Owned(told[whose], tuple(ported))
        yield own_set(PORTLESS, whose), Owned(told[whose], tuple(portless))


def _parts(name: str, members: PeerSet) -> dict[str, SetPart]:
    found = {}
    for version in (4, 6):
        addresses, prefixes = set_parts(name, version)
        found[addresses] = SetPart(name, version, prefixes=False, of=members)
        found[prefixes] = SetPart(name, version, prefixes=True, of=members)
    found[near_set(name)] = SetPart(name, 4, prefixes=False, of=members, near=True)
    return found
