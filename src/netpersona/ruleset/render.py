"""The ruleset as tables of the kernel, and these as nft text: `inet netpersona`, and `bridge netpersona` for bridges.

inet    hooks forward, input, output -> verdict map (interface, or address) -> from_VM, to_VM (render_chains.py)
        hook prerouting (nat)        -> verdict map                         -> nat_VM, where something is redirected
bridge  hook prerouting              -> verdict map (interface)             -> from_VM
        hooks forward, output        -> verdict map (interface)             -> to_VM
        hooks forward, input, output -> track.from, track.to, where flows are remembered (render_flows.py)
sets        NAME.a4 NAME.a6 (addresses: hash), NAME.n4 NAME.n6 (prefixes: interval)
deny.* reject.* log.* stage.*   what ends a packet's way, sampled to NFLOG; shared by all VMs

Loading the text twice gives the same: a table is declared, deleted and made again.  What is not in these tables is
neither read nor written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, AlwaysAllow, Mode, Rate
from netpersona.ruleset.model import ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import address, plain
from netpersona.ruleset.peers import PeerSet, version_of
from netpersona.ruleset.render_chains import STRANGER, vm_chains
from netpersona.ruleset.render_flows import FROM_VM, NOT_IP, SETS, SIZE, SPOOFED, TO_VM
from netpersona.ruleset.render_rules import (
    RuleText,
    deny_chain,
    is_of_names,
    limit_name,
    log_chain,
    reject_chain,
    set_parts,
)
from netpersona.ruleset.tables import NAME, Dispatch, FlowSet, Hook, SetPart, Table, of_version

LOG_GROUP = 77  # NFLOG group that receipts are read from
LOG_RATE = "limit rate 10/second burst 20 packets"  # each chain's sample
LOG_BYTES = 128  # of each logged packet
_INET = -5  # priority: before the host's own filter, which still has its say
_NAT = -105
_BRIDGE = -205  # before the host's own bridge filter, and before a bridge's address translation

_TYPES = {"4": "ipv4_addr", "6": "ipv6_addr"}


def render(ruleset: Ruleset, bridged: frozenset[str] = frozenset()) -> str:
    """The ruleset as text for `nft -f`; `bridged` are the interfaces that are ports of a bridge.

    Equal rulesets give equal text.
    """
    return written(Tabulator().tables(ruleset, bridged))


def written(tables: Iterable[Table]) -> str:
    """Tables as text for `nft -f`, which replaces them whole in one transaction."""
    return "".join(_table_text(table) for table in tables)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one VM brings to a table, and what it was made of."""

    rules: VmRules
    asked: tuple[AlwaysAllow, str]
    own: dict[str, PeerSet]  # the VM's own sets: chains depend on which parts they have
    sets: frozenset[str]
    chains: dict[str, tuple[str, ...]]
    endings: dict[str, tuple[str, ...]]
    limits: dict[str, str]

    def still(self, ruleset: Ruleset, rules: VmRules) -> bool:
        """Whether it would be made the same again."""
        if self.asked != (ruleset.always, ruleset.unknown_vm) or not (self.rules is rules or self.rules == rules):
            return False
        return all(
            members is ruleset.sets[name] or _shape(members) == _shape(ruleset.sets[name])
            for name, members in self.own.items()
        )

    def is_of(self, ruleset: Ruleset, rules: VmRules) -> bool:
        """Whether these very values made it."""
        return self.rules is rules and all(members is ruleset.sets[name] for name, members in self.own.items())


class Tabulator:
    """Makes a ruleset's tables, and keeps each VM's part for as long as the VM's rules stay the same."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, VmId], _Part] = {}
        self._set_parts: dict[str, tuple[PeerSet, dict[str, SetPart]]] = {}
        self._dispatched: dict[str, tuple[object, _Dispatched]] = {}

    def tables(self, ruleset: Ruleset, bridged: frozenset[str] = frozenset()) -> tuple[Table, ...]:
        """The inet table, and, where a VM's interface is bridged, the bridge table."""
        routed = {vm: rules for vm, rules in ruleset.vms.items() if rules.interface not in bridged}
        over = {vm: rules for vm, rules in ruleset.vms.items() if rules.interface in bridged}
        found = [self._table("inet", ruleset, routed)]
        if over:
            found.append(self._table("bridge", ruleset, over))
        there = {"inet": routed, "bridge": over}
        self._kept = {key: kept for key, kept in self._kept.items() if key[1] in there[key[0]]}
        self._set_parts = {name: kept for name, kept in self._set_parts.items() if name in ruleset.sets}
        return tuple(found)

    def _table(self, family: str, ruleset: Ruleset, vms: Mapping[VmId, VmRules]) -> Table:
        text = RuleText(ruleset.sets, bridged=family == "bridge")
        known: _Endings = {}
        parts = [self._of_vm(family, ruleset, rules, text, known) for rules in vms.values()]
        chains: dict[str, tuple[str, ...]] = {}
        endings = _built_in_endings(bridged=text.bridged)
        limits: dict[str, str] = {}
        for part in parts:
            chains.update(part.chains)
            endings.update(part.endings)
            limits.update(part.limits)
        maps, hooks, bodies = self._dispatch(family, parts, vms, chains)
        asked = ruleset.sets.keys() if family == "inet" else frozenset().union(*(part.sets for part in parts))
        return Table(
            family=family,
            limits=limits,
            sets=self._sets(ruleset, asked),
            flows=_flow_sets() if text.bridged else {},
            interfaces={"taps": _taps(vms)} if text.bridged else {},
            maps=maps,
            hooks=hooks,
            chains=dict(sorted(endings.items())) | chains | bodies,
        )

    def _dispatch(
        self, family: str, parts: list[_Part], vms: Mapping[VmId, VmRules], chains: Mapping[str, object]
    ) -> _Dispatched:
        """Which interface and address leads where: made again only where one of these changed."""
        key = tuple((p.rules.vm, p.rules.interface, p.rules.addresses, p.rules.own, len(p.chains)) for p in parts)
        kept = self._dispatched.get(family)
        if kept is not None and kept[0] == key:
            return kept[1]
        made = (_bridge if family == "bridge" else _inet)(vms, chains)
        self._dispatched[family] = (key, made)
        return made

    def _of_vm(self, family: str, ruleset: Ruleset, rules: VmRules, text: RuleText, endings: _Endings) -> _Part:
        kept = self._kept.get((family, rules.vm))
        if kept is not None and kept.still(ruleset, rules):
            if not kept.is_of(ruleset, rules):
                own = {name: ruleset.sets[name] for name in kept.own}
                kept = self._kept[family, rules.vm] = replace(kept, rules=rules, own=own)
            return kept
        asked = {ref.of(rules.vm) for r in (*rules.outbound, *rules.inbound) for match in r.peers for ref in match.sets}
        names = frozenset(asked.union(rules.allow))
        made = _Part(
            rules=rules,
            asked=(ruleset.always, ruleset.unknown_vm),
            own={name: ruleset.sets[name] for name in names if name.endswith(f".{rules.vm}")},
            sets=names,
            chains={name: tuple(body) for name, body in vm_chains(ruleset, rules, text).items()},
            endings=_endings(rules, endings, bridged=text.bridged),
            limits=dict(_limits(rules)),
        )
        self._kept[family, rules.vm] = made
        return made

    def _sets(self, ruleset: Ruleset, asked: Collection[str]) -> dict[str, SetPart]:
        found: dict[str, SetPart] = {}
        for name, members in ruleset.sets.items():
            if name in asked:
                kept = self._set_parts.get(name)
                if kept is None or kept[0] is not members:
                    kept = self._set_parts[name] = (members, _parts(name, members))
                found.update(kept[1])
        return found


def _shape(members: PeerSet) -> tuple[bool, ...]:
    """Which parts a set of a VM's own has."""
    return tuple(bool(of_version(found, v)) for found in (members.addresses, members.networks) for v in (4, 6))


def _parts(name: str, members: PeerSet) -> dict[str, SetPart]:
    return {
        part: SetPart(name, version, part.rpartition(".")[2].startswith("n"), members, is_of_names(name))
        for version in (4, 6)
        for part in set_parts(name, members, version)
    }


def _table_text(table: Table) -> str:
    name = f"{table.family} {NAME}"
    lines = [f"table {name}", f"delete table {name}", f"table {name} {{"]
    for limit, rate in table.limits.items():
        lines += _block(f"limit {limit}", [rate])
    for part, found in table.sets.items():
        flags = ["flags interval"] if found.prefixes else ["flags timeout"] if found.lasting else []
        body = [f"type {_TYPES[str(found.version)]}", *flags]
        body += ["elements = { " + ",\n      ".join(found.members) + " }"] if found.members else []
        lines += _block(f"set {part}", body)
    for flows, of in table.flows.items():
        kind = f"type iface_index . {_TYPES[str(of.version)]} . inet_service . {_TYPES[str(of.version)]} . inet_service"
        lines += _block(f"set {flows}", [f"{kind} . inet_proto", f"size {of.size}", "flags dynamic,timeout"])
    for taps, names in table.interfaces.items():
        held = ", ".join(f'"{each}"' for each in names)
        lines += _block(f"set {taps}", ["type ifname", f"elements = {{ {held} }}"])
    for chain, rules in table.chains.items():
        hook = table.hooks.get(chain)
        if hook is None:
            lines += _block(f"chain {chain}", rules)
    for way, dispatch in table.maps.items():
        quote = '"' if dispatch.kind == "interface" else ""
        held = ", ".join(f"{quote}{key}{quote} : jump {chain}" for key, chain in dispatch.chains.items())
        lines += _block(f"map {way}", [f"type {KEYS[dispatch.kind]} : verdict", f"elements = {{ {held} }}"])
    for chain, hook in table.hooks.items():
        lines += _block(f"chain {chain}", [str(hook), *table.chains[chain]])
    return "\n".join([*lines, "}", ""])


def _limits(rules: VmRules) -> Iterator[tuple[str, str]]:
    for rule in (*rules.outbound, *rules.inbound):
        if rule.action is Action.RATE_LIMIT and rule.rate is not None and rule.mode is Mode.ENFORCE:
            yield limit_name(rule, rules.vm), _rate(rule.rate)


def _rate(rate: Rate) -> str:
    """Bits become bytes a second.  The bucket holds a tenth of a second, and 16 full frames at least."""
    if rate.unit == "packet":
        return f"rate over {max(1, rate.value)}/second burst {max(5, rate.value // 10)} packets"
    octets = max(1, rate.value // 8)
    return f"rate over {octets} bytes/second burst {max(16 * 1514, octets // 10)} bytes"


def _flow_sets() -> dict[str, FlowSet]:
    return {f"{name}.{version}": FlowSet(version, SIZE) for name in SETS for version in (4, 6)}


def _taps(vms: Mapping[VmId, VmRules]) -> tuple[str, ...]:
    return tuple(sorted(rules.interface for rules in vms.values() if rules.interface is not None))


_LOGGED = f'{LOG_RATE} log prefix "{{}}" group {LOG_GROUP} snaplen {LOG_BYTES}'


def _built_in_endings(*, bridged: bool) -> dict[str, tuple[str, ...]]:
    found = {SPOOFED: "anti-spoof", STRANGER: "unknown_vm"} | ({NOT_IP: "not-ip"} if bridged else {})
    return {chain: (_LOGGED.format(said), "drop") for chain, said in found.items()}


_Endings = dict[int, "tuple[str, tuple[str, ...]] | None"]


def _endings(rules: VmRules, known: _Endings, *, bridged: bool) -> dict[str, tuple[str, ...]]:
    """The chains at which the ways of its packets end; `known`: those of rules, by their id, that VMs share."""
    found = {}
    for rule in (*rules.outbound, *rules.inbound):
        if id(rule) not in known:
            known[id(rule)] = _ending(rule, bridged)
        ending = known[id(rule)]
        if ending is not None:
            found[ending[0]] = ending[1]
    return found


def _ending(rule: ResolvedRule, bridged: bool) -> tuple[str, tuple[str, ...]] | None:
    if rule.mode is Mode.STAGE:
        return log_chain(rule), (_LOGGED.format(plain(f"stage: {rule.name}")),)
    log = _LOGGED.format(plain(rule.name))
    if rule.action is Action.LOG:
        return log_chain(rule), (log,)
    if rule.action is Action.REJECT and not bridged:
        reset = "meta l4proto 6 reject with tcp reset"
        return reject_chain(rule), (log, reset, "reject with icmpx type admin-prohibited")
    return None if rule.action is Action.ALLOW else (deny_chain(rule), (log, "drop"))


_Dispatched = tuple[dict[str, Dispatch], dict[str, Hook], dict[str, tuple[str, ...]]]


def _inet(vms: Mapping[VmId, VmRules], chains: Mapping[str, object]) -> _Dispatched:
    maps: dict[str, Dispatch] = {}
    bodies: dict[str, list[str]] = {"forward": [], "input": [], "output": [], "prerouting": []}
    for side, names in (("from", ("forward", "input")), ("to", ("forward", "output")), ("nat", ("prerouting",))):
        for key, elements in _maps(vms, side, chains).items():
            name = f"{side}_{key}"
            maps[name] = Dispatch(key, elements)
            for hook in names:
                bodies[hook].append(f"{_FIELDS[side, key]} vmap @{name}")
    hooks = {
        at: Hook("nat", at, _NAT) if at == "prerouting" else Hook("filter", at, _INET)
        for at, body in bodies.items()
        if body
    }
    return maps, hooks, {at: tuple(bodies[at]) for at in hooks}


def _bridge(vms: Mapping[VmId, VmRules], chains: Mapping[str, object]) -> _Dispatched:
    maps = {
        f"{side}_interface": Dispatch("interface", _maps(vms, side, chains)["interface"]) for side in ("from", "to")
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


KEYS = {"interface": "ifname", "v4": "ipv4_addr", "v6": "ipv6_addr"}
_FIELDS = {
    (side, key): field
    for side, fields in {
        "from": ("iifname", "ip saddr", "ip6 saddr"),
        "to": ("oifname", "ip daddr", "ip6 daddr"),
        "nat": ("iifname", "ip saddr", "ip6 saddr"),
    }.items()
    for key, field in zip(KEYS, fields, strict=True)
}


def _maps(vms: Mapping[VmId, VmRules], side: str, chains: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """The elements of each dispatch map: by interface, or, for a VM without one, by address.

    An address that two VMs claim goes to the one whose addresses are vouched for, else to the first by name.
    """
    owners: dict[tuple[str, str], VmId] = {}
    for vm, rules in sorted(vms.items(), key=lambda pair: (not pair[1].own, pair[0])):
        if f"{side}_{vm}" not in chains:
            continue
        if rules.interface is not None:
            owners["interface", rules.interface] = vm
            continue
        for host in rules.addresses:
            owners.setdefault((f"v{version_of(host)}", address(host)), vm)
    found: dict[str, dict[str, str]] = {}
    for (key, value), vm in sorted(owners.items()):
        found.setdefault(key, {})[value] = f"{side}_{vm}"
    return found


def _block(head: str, body: Iterable[str]) -> Iterator[str]:
    yield f"  {head} {{"
    for line in body:
        yield f"    {line}"
    yield "  }"
