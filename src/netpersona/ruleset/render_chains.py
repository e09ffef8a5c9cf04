"""One VM's chains, in the order that verdict.py draws.

    from_VM    what the VM sends: outbound flows, and, in from_VM.reply, its answers to inbound ones
    to_VM      what it is sent: inbound flows, and, in to_VM.reply, the answers to outbound ones
    nat_VM     new outbound flows that a rule redirects

Allow is `return`, so that the peer VM's chains and the host's own firewall still have their say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from netpersona.policy.model import Action, AlwaysAllow, Direction, Mode
from netpersona.ruleset.model import ResolvedRule, Ruleset, VmRules, last_concerning_established
from netpersona.ruleset.nft_text import address, comment, one_of, peers, port_ranges, protocols
from netpersona.ruleset.peers import peer_set, version_of
from netpersona.ruleset.render_rules import FAMILIES, NEW, RuleText, Side, set_parts
from netpersona.ruleset.verdict import DHCP, DHCP_EVERYBODY, MESSAGES_FROM_VM, MESSAGES_TO_VM

Chains = dict[str, list[str]]

SPOOFED = "deny.spoofed"
STRANGER = "deny.unknown_vm"
_ASKED = {Direction.OUTBOUND: Side("daddr", "dport"), Direction.INBOUND: Side("saddr", "dport")}
_ANSWERED = {Direction.OUTBOUND: Side("saddr", "sport"), Direction.INBOUND: Side("daddr", "sport")}


def vm_chains(ruleset: Ruleset, rules: VmRules, text: RuleText) -> Chains:
    """The chains of one VM, by name."""
    sending, receiving = f"from_{rules.vm}", f"to_{rules.vm}"
    if not rules.known:
        return {sending: _of_stranger(ruleset, rules, "daddr"), receiving: _of_stranger(ruleset, rules, "saddr")}
    chains: Chains = {sending: [], receiving: []}
    chains[sending] += [*_always(ruleset.always, rules, "daddr"), *_anti_spoof(rules)]
    chains[receiving] += _always(ruleset.always, rules, "saddr")
    for name, field in ((sending, "daddr"), (receiving, "saddr")):
        chains[name] += _allow_lists(ruleset, rules, field)
    _answered(text, rules, Direction.INBOUND, sending, chains)
    _answered(text, rules, Direction.OUTBOUND, receiving, chains)
    _asked(text, rules, Direction.OUTBOUND, sending, chains)
    _asked(text, rules, Direction.INBOUND, receiving, chains)
    if _redirects(rules):
        chains[f"nat_{rules.vm}"] = list(_nat(ruleset, rules, text))
    return chains


def _redirects(rules: VmRules) -> int:
    """How many outbound rules, counted from the first, the nat chain must know."""
    places = enumerate(rules.outbound, 1)
    return max((place for place, rule in places if rule.target is not None and rule.mode is Mode.ENFORCE), default=0)


def _always(always: AlwaysAllow, rules: VmRules, field: str) -> Iterator[str]:
    for condition, why in _always_conditions(always, rules, field):
        yield f"{condition} counter return {comment(f'always: {why}')}"


def _always_conditions(always: AlwaysAllow, rules: VmRules, field: str) -> Iterator[tuple[str, str]]:
    sending = field == "daddr"
    here, there = ("sport", "dport") if sending else ("dport", "sport")
    managers = peer_set(always.management, "")
    for version, (family, _) in FAMILIES.items():
        found = [value for part in managers.of_family(version) for value in part]
        if found and always.ports:
            # An answer is anything but the opening of a flow, conntrack or not: no deleted entry ends a session.
            answer = " tcp flags & (syn | ack) != syn" if sending else ""
            ports = port_ranges((port, port) for port in sorted(set(always.ports)))
            yield f"{family} {field} {peers(found)} tcp {here} {ports}{answer}", "management"
        resolvers = [value for value in rules.resolvers if version_of(value) == version]
        if resolvers and always.resolver:
            answer = "" if sending else " ct direction reply"
            asked = protocols(("tcp", "udp"))
            yield f"{family} {field} {peers(resolvers)} {asked} th {there} 53{answer}", "resolver"
        if always.dhcp:
            client, server = DHCP[0 if version == 4 else 1]
            to = [a for a in (*DHCP_EVERYBODY, *rules.gateways) if version_of(a) == version]
            who = f"{family} daddr {peers(sorted(set(to)))}" if sending else FAMILIES[version][1]
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
        condition = f"{family} saddr != {{ {', '.join(own)} }}" if own else only
        yield f"{condition} counter goto {SPOOFED} {comment('anti-spoof')}"


def _allow_lists(ruleset: Ruleset, rules: VmRules, field: str) -> Iterator[str]:
    for name in rules.allow:
        for version, (family, _) in FAMILIES.items():
            for part in set_parts(name, ruleset.sets[name], version):
                yield f"{family} {field} @{part} counter return {comment('allow-list')}"


def _of_stranger(ruleset: Ruleset, rules: VmRules, field: str) -> list[str]:
    if ruleset.unknown_vm != "deny":
        return [f"counter return {comment('unknown_vm: allow')}"]
    return [*_always(ruleset.always, rules, field), f"counter goto {STRANGER} {comment('unknown_vm: deny')}"]


def _answered(text: RuleText, rules: VmRules, direction: Direction, chain: str, chains: Chains) -> None:
    """The way of packets that answer: only what concerns established flows is asked."""
    own = rules.rules(direction)[: _split(rules.rules(direction))]
    asked = [rule for rule in own if rule.concerns_established or rule.action is Action.ALLOW]
    name = f"{chain}.reply"
    body = list(_ordered(text, rules, asked, _ANSWERED[direction], name, chains=chains, guarded=False))
    if body:
        chains[name] = body
    chains[chain].append(f"ct direction reply goto {name}" if body else "ct direction reply return")


def _asked(text: RuleText, rules: VmRules, direction: Direction, chain: str, chains: Chains) -> None:
    own, side = rules.rules(direction), _ASKED[direction]
    split = _split(own)
    chains[chain] += _ordered(text, rules, own[:split], side, chain, chains=chains, guarded=True)
    chains[chain].append("ct state established,related return")
    chains[chain] += _ordered(text, rules, own[split:], side, chain, chains=chains, guarded=False)


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
    for condition, _ in _always_conditions(ruleset.always, rules, "daddr"):
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
