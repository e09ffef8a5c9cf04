"""From a ruleset to the tables of the kernel: which chains, sets and maps there are, and what each VM brings to them.

VMs that have the same rules are alike: the chains in which these stand are made once, and kept while a VM has them.
What a VM brings of its own is kept as long as its rules stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import NamedTuple

from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, AlwaysAllow, Mode
from netpersona.ruleset.endings import built_in, ending
from netpersona.ruleset.model import ALLOW_NAMES, PORTED, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import address, protocol_number
from netpersona.ruleset.peers import PeerSet, version_of
from netpersona.ruleset.render_chains import redirects, shared_chains, vm_chains
from netpersona.ruleset.render_flows import FLOW_SETS, FROM_VM, TO_VM
from netpersona.ruleset.render_rules import PORTLESS, SERVICES, RuleText, is_of_names, set_parts
from netpersona.ruleset.tables import (
    ADDRESS_TYPES,
    Chains,
    Dispatch,
    Filled,
    Hook,
    Owned,
    OwnSet,
    SetPart,
    Table,
    of_version,
)
from netpersona.ruleset.whose import BY_ADDRESS, EVERY, INTERFACE, Whose, bucket, by_vm, hits, own_set

_INET = -5  # priority: before the host's own filter, which still has its say
_NAT = -105
_BRIDGE = -205  # before the host's own bridge filter, and before a bridge's address translation
_KEPT = 1 << 14  # rules of which is kept how they read

Told = dict[Whose, tuple[str, ...]]
"""By what a VM's packets are told: its interface, or its addresses of each IP version."""


class Tabulator:
    """Makes a ruleset's tables, and keeps what was made for as long as a VM has the same rules."""

    def __init__(self) -> None:
        self._families = {name: _Family(bridged=name == "bridge") for name in ("inet", "bridge")}
        self._parts: dict[str, tuple[PeerSet, dict[str, SetPart]]] = {}

    def tables(self, ruleset: Ruleset, bridged: frozenset[str] = frozenset()) -> tuple[Table, ...]:
        """The inet table, and, where a VM's interface is bridged, the bridge table."""
        routed = {vm: rules for vm, rules in ruleset.vms.items() if rules.interface not in bridged}
        over = {vm: rules for vm, rules in ruleset.vms.items() if rules.interface in bridged}
        shared = self._shared(ruleset)
        found = [self._families["inet"].table(ruleset, routed, shared)]
        if over:
            found.append(self._families["bridge"].table(ruleset, over, shared))
        return tuple(found)

    def _shared(self, ruleset: Ruleset) -> dict[str, dict[str, SetPart]]:
        """The parts of the sets that VMs share, by the set's name."""
        kept, self._parts = self._parts, {}
        for name, members in ruleset.sets.items():
            if members.shared:
                old = kept.get(name)
                parts = old[1] if old is not None and old[0] is members else _parts(name, members)
                self._parts[name] = (members, parts)
        return {name: parts for name, (_, parts) in self._parts.items()}


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
    own: tuple[str, ...]  # sets of each VM's own that are asked
    services: bool
    kinds: dict[str, _Kind]  # the kernel's sets for these


@dataclass(frozen=True, slots=True)
class _Part:
    """What one VM brings to a table, and what it was made of."""

    rules: VmRules
    asked: tuple[AlwaysAllow, str]
    told: Told
    sets: Mapping[str, PeerSet]
    likes: dict[Whose, _Like]
    own: dict[str, Owned]
    chains: Chains

    def still(self, ruleset: Ruleset, rules: VmRules, told: Told) -> bool:
        """Whether it would be made the same again."""
        return (
            self.rules is rules
            and self.told == told
            and self.asked == (ruleset.always, ruleset.unknown_vm)
            and all(members is ruleset.sets[name] for name, members in self.sets.items())
        )


class _Family:
    """The table of one family, and what is kept for the next one."""

    def __init__(self, *, bridged: bool) -> None:
        self._bridged = bridged
        self._texts = {whose: RuleText(whose, bridged=bridged) for whose in EVERY}
        self._likes: dict[str, _Like] = {}
        self._parts: dict[VmId, _Part] = {}
        self._read: dict[int, tuple[ResolvedRule, str]] = {}

    def table(
        self, ruleset: Ruleset, vms: Mapping[VmId, VmRules], shared: Mapping[str, Mapping[str, SetPart]]
    ) -> Table:
        """The table of these VMs."""
        told = told_by(vms)
        self._parts = {vm: self._part(ruleset, rules, told[vm]) for vm, rules in vms.items()}
        likes = {like.name: like for part in self._parts.values() for like in part.likes.values()}
        self._likes = {name: likes[name] for name in sorted(likes)}
        chains = built_in(bridged=self._bridged)
        filled = dict(FLOW_SETS) if self._bridged else {}
        for like in self._likes.values():
            chains.update(like.chains)
            filled.update(like.filled)
        for part in self._parts.values():
            chains.update(part.chains)
        maps, hooks, bodies = (_bridge if self._bridged else _inet)(_ways(told, chains))
        asked = frozenset().union(*(like.shared for like in likes.values())) if self._bridged else shared.keys()
        return Table(
            family="bridge" if self._bridged else "inet",
            sets={name: part for of, parts in shared.items() if of in asked for name, part in parts.items()},
            own=_own_sets(self._likes, self._parts),
            filled=filled,
            interfaces={"taps": tuple(sorted(each[INTERFACE][0] for each in told.values()))} if self._bridged else {},
            maps=maps,
            hooks=hooks,
            chains=chains | bodies,
        )

    def _part(self, ruleset: Ruleset, rules: VmRules, told: Told) -> _Part:
        kept = self._parts.get(rules.vm)
        if kept is not None and kept.still(ruleset, rules, told):
            return kept
        likes = {whose: self._like(rules, whose) for whose in told} if rules.known else {}
        names = {name: f"{name}.{rules.vm}" for like in likes.values() for name in like.own}
        sets = {name: ruleset.sets[name] for name in names.values()}
        chains = vm_chains(
            ruleset.always,
            ruleset.unknown_vm,
            rules,
            {whose: like.name for whose, like in likes.items()},
            nat=not self._bridged and redirects(rules) > 0,
            bridged=self._bridged,
        )
        return _Part(
            rules=rules,
            asked=(ruleset.always, ruleset.unknown_vm),
            told=told,
            sets=sets,
            likes=likes,
            own={
                name: owned for whose, like in likes.items() for name, owned in _owned(rules, whose, told, like, sets)
            },
            chains={name: tuple(body) for name, body in chains.items()},
        )

    def _like(self, rules: VmRules, whose: Whose) -> _Like:
        """What it shares with the VMs whose rules read alike."""
        allow = tuple(ALLOW_NAMES if name.startswith(f"{ALLOW_NAMES}.") else name for name in rules.allow)
        read = (
            whose.kind,
            allow,
            [self._as_read(r) for r in rules.outbound],
            [self._as_read(r) for r in rules.inbound],
        )
        name = blake2s(repr(read).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        if name not in self._likes:
            self._likes[name] = self._made(name, rules, allow, self._texts[whose])
        return self._likes[name]

    def _as_read(self, rule: ResolvedRule) -> str:
        """What is equal for two rules that read alike in the kernel."""
        kept = self._read.get(id(rule))
        if kept is None or kept[0] is not rule:
            if len(self._read) >= _KEPT:
                self._read.clear()
            kept = self._read[id(rule)] = (rule, repr(replace(rule, drains_until=None)))
        return kept[1]

    def _made(self, name: str, rules: VmRules, allow: tuple[str, ...], text: RuleText) -> _Like:
        every = (*rules.outbound, *rules.inbound)
        matches = [match for rule in every for match in rule.peers]
        refs = {ref for match in matches for ref in match.sets}
        chains = {chain: tuple(body) for chain, body in shared_chains(rules, name, allow, text).items()}
        ends = (ending(rule, bridged=self._bridged) for rule in every)
        own = sorted({ref.name for ref in refs if ref.own}.union(set(allow) & {ALLOW_NAMES}))
        services = any(match.known_service is not None for match in matches)
        return _Like(
            name=name,
            chains=chains | dict(end for end in ends if end is not None),
            filled=dict(_filled(every, text.whose)),
            shared=frozenset({ref.name for ref in refs if not ref.own}.union(set(allow) - {ALLOW_NAMES})),
            own=tuple(own),
            services=services,
            kinds=dict(_kinds(own, text.whose, services=services)),
        )


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


def told_by(vms: Mapping[VmId, VmRules]) -> dict[VmId, Told]:
    """By what each VM's packets are told.

    An address that two VMs claim goes to the one whose addresses are vouched for, else to the first by name.
    """
    found: dict[VmId, Told] = {}
    taken: set[str] = set()
    for vm, rules in sorted(vms.items(), key=lambda pair: (not pair[1].own, pair[0])):
        if rules.interface is not None:
            found[vm] = {INTERFACE: (rules.interface,)}
            continue
        hosts = [host for host in map(address, rules.addresses) if host not in taken]
        taken.update(hosts)
        by_version = {whose: tuple(h for h in hosts if version_of(h) == v) for v, whose in BY_ADDRESS.items()}
        found[vm] = {whose: each for whose, each in by_version.items() if each}
    return found


def _owned(
    rules: VmRules, whose: Whose, told: Told, like: _Like, sets: Mapping[str, PeerSet]
) -> Iterator[tuple[str, Owned]]:
    """The VM's members of the sets in which each VM has its own."""
    for name in like.own:
        members = sets[f"{name}.{rules.vm}"].addresses
        for version in whose.versions:
            yield own_set(name, whose, version), Owned(told[whose], of_version(members, version))
    if like.services:
        numbers = [(protocol_number(transport), transport, port) for transport, port in rules.services]
        known = [(number, transport in PORTED, port) for number, transport, port in numbers if number is not None]
        ported = sorted({f"{number} . {port}" for number, has_ports, port in known if has_ports})
        portless = sorted({str(number) for number, has_ports, _ in known if not has_ports})
        yield own_set(SERVICES, whose), Owned(told[whose], tuple(ported))
        yield own_set(PORTLESS, whose), Owned(told[whose], tuple(portless))


def _own_sets(likes: Mapping[str, _Like], parts: Mapping[VmId, _Part]) -> dict[str, OwnSet]:
    made = {name: kind for like in likes.values() for name, kind in like.kinds.items()}
    found: dict[str, dict[VmId, Owned]] = {name: {} for name in sorted(made)}
    for vm, part in parts.items():
        for name, owned in part.own.items():
            found[name][vm] = owned
    return {name: OwnSet(made[name].key, of, made[name].lasting) for name, of in found.items()}


def _parts(name: str, members: PeerSet) -> dict[str, SetPart]:
    found = {}
    for version in (4, 6):
        addresses, prefixes = set_parts(name, version)
        found[addresses] = SetPart(name, version, prefixes=False, of=members)
        found[prefixes] = SetPart(name, version, prefixes=True, of=members)
    return found


_Dispatched = tuple[dict[str, Dispatch], dict[str, Hook], Chains]
_Ways = dict[str, dict[Whose, dict[str, str]]]
"""For each side, and by what packets are told, which interface or address leads to which chain."""


def _ways(told: Mapping[VmId, Told], chains: Mapping[str, object]) -> _Ways:
    found: _Ways = {side: {whose: {} for whose in EVERY} for side in ("from", "to", "nat")}
    for vm, each in told.items():
        for side, ways in found.items():
            chain = f"{side}_{vm}"
            if chain in chains:
                for whose, values in each.items():
                    ways[whose].update(dict.fromkeys(values, chain))
    return found


def _inet(ways: _Ways) -> _Dispatched:
    maps: dict[str, Dispatch] = {}
    bodies: dict[str, list[str]] = {"forward": [], "input": [], "output": [], "prerouting": []}
    for side, names in (("from", ("forward", "input")), ("to", ("forward", "output")), ("nat", ("prerouting",))):
        for whose, leads in ways[side].items():
            if leads:
                name = f"{side}_{whose.kind}"
                maps[name] = Dispatch(whose.key, dict(sorted(leads.items())))
                for hook in names:
                    bodies[hook].append(f"{whose.field(sending=side != 'to')} vmap @{name}")
    hooks = {
        at: Hook("nat", at, _NAT) if at == "prerouting" else Hook("filter", at, _INET)
        for at, body in bodies.items()
        if body
    }
    return maps, hooks, {at: tuple(bodies[at]) for at in hooks}


def _bridge(ways: _Ways) -> _Dispatched:
    maps = {
        f"{side}_interface": Dispatch(INTERFACE.key, dict(sorted(ways[side][INTERFACE].items())))
        for side in ("from", "to")
    }
    sent, received = "iifname @taps jump track.from", "oifname @taps jump track.to"
    bodies = {
        "prerouting": ("iifname vmap @from_interface",),
        "forward": ("oifname vmap @to_interface", sent, received),
        "input": (sent,),
        "output": ("oifname vmap @to_interface", received),
        "track.from": tuple(FROM_VM.track()),
        "track.to": tuple(TO_VM.track()),
    }
    hooks = {at: Hook("filter", at, _BRIDGE) for at in ("prerouting", "forward", "input", "output")}
    return maps, hooks, bodies
