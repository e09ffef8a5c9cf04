"""One VM's chains, in the order that verdict.py draws.

    from_VM    what the VM sends: outbound flows, and, in from_VM.reply, its answers to inbound ones
    to_VM      what it is sent: inbound flows, and, in to_VM.reply, the answers to outbound ones
    nat_VM     new outbound flows that a rule redirects

Where the tap is bridged, the kernel may not track connections; then render_flows.py tells established flows apart,
and they have chains of their own: from_VM.going, to_VM.going.

Allow is `return`, so that the peer VM's chains and the host's own firewall still have their say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from netpersona.policy.model import Action, AlwaysAllow, Direction, Mode
from netpersona.ruleset.model import ResolvedRule, Ruleset, VmRules, last_concerning_established
from netpersona.ruleset.nft_text import address, comment, one_of, peers, port_ranges, protocols
from netpersona.ruleset.peers import peer_set, version_of
from netpersona.ruleset.render_flows import (
    ADDRESS_RESOLUTION,
    FROM_VM,
    ONLY_IP,
    OPENING,
    SPOOFED,
    TO_VM,
    Way,
    link_anti_spoof,
)
from netpersona.ruleset.render_rules import FAMILIES, NEW, RuleText, Side, set_parts
from netpersona.ruleset.verdict import DHCP, DHCP_EVERYBODY, MESSAGES_FROM_VM, MESSAGES_TO_VM

Chains = dict[str, list[str]]

STRANGER = "deny.unknown_vm"
_ASKED = {Direction.OUTBOUND: Side("daddr", "dport"), Direction.INBOUND: Side("saddr", "dport")}
_ANSWERED = {Direction.OUTBOUND: Side("saddr", "sport"), Direction.INBOUND: Side("daddr", "sport")}


def vm_chains(ruleset: Ruleset, rules: VmRules, text: RuleText) -> Chains:
    """The chains of one VM, by name."""
    sending, receiving = f"from_{rules.vm}", f"to_{rules.vm}"
    if not rules.known:
        return {
            sending: _of_stranger(ruleset, rules, "daddr", text),
            receiving: _of_stranger(ruleset, rules, "saddr", text),
        }
    chains: Chains = {sending: [], receiving: []}
    if text.bridged:
        chains[sending] += link_anti_spoof(rules)
        chains[receiving] += [ONLY_IP, ADDRESS_RESOLUTION]
    chains[sending] += [*_always(ruleset.always, rules, "daddr", text), *_anti_spoof(rules)]
    chains[receiving] += _always(ruleset.always, rules, "saddr", text)
    for name, field in ((sending, "daddr"), (receiving, "saddr")):
        chains[name] += _allow_lists(ruleset, rules, field)
    _ways(text, rules, (Direction.OUTBOUND, Direction.INBOUND), sending, chains)
    _ways(text, rules, (Direction.INBOUND, Direction.OUTBOUND), receiving, chains)
    if _redirects(rules) and not text.bridged:
        chains[f"nat_{rules.vm}"] = list(_nat(ruleset, rules, text))
    return chains


def _redirects(rules: VmRules) -> int:
    """How many outbound rules, counted from the first, the nat chain must know."""
    places = enumerate(rules.outbound, 1)
    return max((place for place, rule in places if rule.target is not None and rule.mode is Mode.ENFORCE), default=0)


def _always(always: AlwaysAllow, rules: VmRules, field: str, text: RuleText) -> list[str]:
    return [
        f"{condition} counter return {comment(f'always: {why}')}"
        for condition, why in _always_conditions(
            always, rules.gateways, rules.resolvers, sending=field == "daddr", tracked=not text.bridged
        )
    ]


@lru_cache(maxsize=1 << 14)
def _always_conditions(
    always: AlwaysAllow, gateways: tuple[str, ...], resolvers: tuple[str, ...], *, sending: bool, tracked: bool
) -> tuple[tuple[str, str], ...]:
    return tuple(_always_found(always, gateways, resolvers, sending=sending, tracked=tracked))


def _always_found(
    always: AlwaysAllow, gateways: tuple[str, ...], resolvers: tuple[str, ...], *, sending: bool, tracked: bool
) -> Iterator[tuple[str, str]]:
    field = "daddr" if sending else "saddr"
    here, there = ("sport", "dport") if sending else ("dport", "sport")
    managers = peer_set(always.management, "")
    for version, (family, _) in FAMILIES.items():
        found = [value for part in managers.of_family(version) for value in part]
        if found and always.ports:
            # An answer is anything but the opening of a flow, conntrack or not: no deleted entry ends a session.
            answer = " tcp flags & (syn | ack) != syn" if sending else ""
            ports = port_ranges((port, port) for port in sorted(set(always.ports)))
            yield f"{family} {field} {peers(found)} tcp {here} {ports}{answer}", "management"
        asked = [value for value in resolvers if version_of(value) == version]
        if asked and always.resolver:
            both = protocols(("tcp", "udp"))
            for answer in ("",) if sending else (" ct direction reply",) if tracked else TO_VM.replies(version):
                yield f"{family} {field} {peers(asked)} {both} th {there} 53{answer}", "resolver"
        if always.dhcp:
            client, server = DHCP[0 if version == 4 else 1]
            to = [address(a) for a in (*DHCP_EVERYBODY, *gateways) if version_of(a) == version]
            # A list of the VM's own would be a set of its own in the kernel, which looks sets up one after the other.
            for who in [f"{family} daddr {a}" for a in sorted(set(to))] if sending else [FAMILIES[version][1]]:
                yield f"{who} udp {here} {client} udp {there} {server}", "dhcp"
    if always.neighbours:
        types = one_of(map(str, MESSAGES_FROM_VM if sending else MESSAGES_TO_VM))
        yield f"ip6 hoplimit 255 icmpv6 type {types}", "neighbour discovery"


def _anti_spoof(rules: VmRules) -> Iterator[str]:
    if not rules.own:
        return
    for version, (family, only) in FAMILIES.items():
        own = [address(value) for value in rules.own if version_of(value) == version]
        own += ["fe80::/10"] if version == 6 else []
        condition = " ".join(f"{family} saddr != {value}" for value in own) if own else only
        yield f"{condition} counter goto {SPOOFED} {comment('anti-spoof')}"


def _allow_lists(ruleset: Ruleset, rules: VmRules, field: str) -> Iterator[str]:
    for name in rules.allow:
        for version, (family, _) in FAMILIES.items():
            for part in set_parts(name, ruleset.sets[name], version):
                yield f"{family} {field} @{part} counter return {comment('allow-list')}"


def _of_stranger(ruleset: Ruleset, rules: VmRules, field: str, text: RuleText) -> list[str]:
    if ruleset.unknown_vm != "deny":
        return [f"counter return {comment('unknown_vm: allow')}"]
    always = _always(ruleset.always, rules, field, text)
    return [
        *([ADDRESS_RESOLUTION] if text.bridged else []),
        *always,
        f"counter goto {STRANGER} {comment('unknown_vm: deny')}",
    ]


def _ways(text: RuleText, rules: VmRules, directions: tuple[Direction, Direction], chain: str, chains: Chains) -> None:
    """The packets that a chain is asked about: those of flows in their own direction, and answers to the others."""
    asked, answered = directions
    reply = _concerning_established(text, rules, answered, _ANSWERED[answered], f"{chain}.reply", chains)
    if text.bridged:
        going = _concerning_established(text, rules, asked, _ASKED[asked], f"{chain}.going", chains)
        way = FROM_VM if asked is Direction.OUTBOUND else TO_VM
        chains[chain] += _untracked(text, rules, asked, way, chain, chains=chains, reply=reply, going=going)
        return
    chains[chain].append(f"ct direction reply {reply}")
    own, side = rules.rules(asked), _ASKED[asked]
    split = _split(own)
    chains[chain] += _ordered(text, rules, own[:split], side, chain, chains=chains, guarded=True)
    chains[chain].append("ct state established,related return")
    chains[chain] += _ordered(text, rules, own[split:], side, chain, chains=chains, guarded=False)


def _concerning_established(
    text: RuleText, rules: VmRules, direction: Direction, side: Side, name: str, chains: Chains
) -> str:
    """The chain in which only what concerns established flows is asked, as the verdict that leads there."""
    own = rules.rules(direction)[: _split(rules.rules(direction))]
    asked = [rule for rule in own if rule.concerns_established or rule.action is Action.ALLOW]
    body = list(_ordered(text, rules, asked, side, name, chains=chains, guarded=False))
    if not body:
        return "return"
    chains[name] = body
    return f"goto {name}"


def _untracked(
    text: RuleText,
    rules: VmRules,
    direction: Direction,
    way: Way,
    chain: str,
    *,
    chains: Chains,
    reply: str,
    going: str,
) -> Iterator[str]:
    """The same without connection tracking: what opens a flow, and what belongs to none, is asked everything."""
    new = f"{chain}.new"
    yield f"{OPENING} goto {new}"
    yield from way.lines(reply, going)
    chains[new] = list(
        _ordered(text, rules, rules.rules(direction), _ASKED[direction], new, chains=chains, guarded=False)
    )
    yield f"goto {new}"


def _split(rules: tuple[ResolvedRule, ...]) -> int:
    """Where established flows are let through; never inside a staged policy, which has a chain of its own."""
    split = last_concerning_established(rules)
    while 0 < split < len(rules) and rules[split].mode is Mode.STAGE and rules[split].policy == rules[split - 1].policy:
        split += 1
    return split


def _ordered(
    text: RuleText,
    rules: VmRules,
    own: Iterable[ResolvedRule],
    side: Side,
    chain: str,
    *,
    chains: Chains,
    guarded: bool,
) -> Iterator[str]:
    """The statements of these rules in their order; a staged policy stands in a chain of its own and is jumped to."""
    for (policy, mode), group in groupby(own, key=lambda rule: (rule.policy, rule.mode)):
        body = [
            line
            for rule in group
            for line in text.statements(rule, rules, side, NEW if guarded and _is_for_new(rule) else "")
        ]
        if mode is not Mode.STAGE:
            yield from body
        elif body:
            name = f"{chain}.stage{sum(1 for other in chains if other.startswith(f'{chain}.stage'))}"
            chains[name] = body
            yield f"jump {name} {comment(f'staged: {policy}')}"


def _is_for_new(rule: ResolvedRule) -> bool:
    return not rule.concerns_established and rule.action is not Action.ALLOW


def _nat(ruleset: Ruleset, rules: VmRules, text: RuleText) -> Iterator[str]:
    """What stands before a redirect in the rules' order keeps a flow from being redirected."""
    side = _ASKED[Direction.OUTBOUND]
    sent = _always_conditions(ruleset.always, rules.gateways, rules.resolvers, sending=True, tracked=True)
    for condition, _ in sent:
        yield f"{condition} return"
    for line in _allow_lists(ruleset, rules, "daddr"):
        yield line.replace(" counter ", " ")
    for rule in rules.outbound[: _redirects(rules)]:
        if rule.mode is Mode.ENFORCE and rule.decides:
            for condition in text.conditions(rule, rules, side):
                yield f"{condition} {_translation(rule)} {comment(rule.name)}".lstrip()


def _translation(rule: ResolvedRule) -> str:
    if rule.target is None:
        return "return"
    family, _ = FAMILIES[version_of(rule.target.address)]
    where = address(rule.target.address)
    if rule.target.port is None:
        return f"counter dnat {family} to {where}"
    where = f"[{where}]" if version_of(where) == 6 else where
    tcp_or_udp = protocols(("tcp", "udp"))
    return f"{tcp_or_udp} counter dnat {family} to {where}:{rule.target.port}"
