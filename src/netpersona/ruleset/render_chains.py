"""The chains that a VM's packets go through, in the order that verdict.py draws.

    from_VM, to_VM    what is particular to the VM: its gateways, its resolvers, its own addresses; then on to
    from.LIKE         what it sends, rules for all VMs that have the same ones: outbound flows, and, in
                      from.LIKE.reply, its answers to inbound ones
    to.LIKE           what it is sent: inbound flows, and, in to.LIKE.reply, the answers to outbound ones
    nat_VM, nat.LIKE  new outbound flows that a rule redirects

LIKE is a hash of the rules.  Packets of established flows pass the gates of render_gates.py first, in from.LIKE.going
and from.LIKE.reply; the rules then stand in from.LIKE.rules and from.LIKE.reply.rules.  Where the tap is bridged, the
kernel may not track connections; then render_flows.py tells established flows apart.

Allow is `return`, so that the peer VM's chains and the host's own firewall still have their say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby

from netpersona.policy.model import Action, AlwaysAllow, Direction, Mode
from netpersona.ruleset.endings import NOT_OWN, SPOOFED, STRANGER
from netpersona.ruleset.model import ALLOW_NAMES, ResolvedRule, VmRules
from netpersona.ruleset.nft_text import address, comment, one_of, peers, port_ranges, protocols
from netpersona.ruleset.peers import peer_set, version_of
from netpersona.ruleset.render_flows import (
    ADDRESS_RESOLUTION,
    FROM_VM,
    ONLY_IP,
    OPENING,
    TO_VM,
    Way,
    link_anti_spoof,
)
from netpersona.ruleset.render_gates import by_version, gates, of_established, split
from netpersona.ruleset.render_rules import FAMILIES, NEW, RuleText, Side, in_parts
from netpersona.ruleset.verdict import DHCP, DHCP_EVERYBODY, MESSAGES_FROM_VM, MESSAGES_TO_VM
from netpersona.ruleset.whose import Whose, own_set

Chains = dict[str, list[str]]
PASSING = "ct state established,related return"

_ASKED = {Direction.OUTBOUND: Side("daddr", "dport"), Direction.INBOUND: Side("saddr", "dport")}
_ANSWERED = {Direction.OUTBOUND: Side("saddr", "sport"), Direction.INBOUND: Side("daddr", "sport")}


def vm_chains(
    always: AlwaysAllow, unknown_vm: str, rules: VmRules, likes: Mapping[Whose, str], *, nat: bool, bridged: bool
) -> Chains:
    """The chains of one VM, by name; `likes` are the names of the rules that it has, by what tells its packets."""
    sending, receiving = f"from_{rules.vm}", f"to_{rules.vm}"
    if not rules.known:
        return {
            sending: _of_stranger(always, unknown_vm, sending=True, bridged=bridged),
            receiving: _of_stranger(always, unknown_vm, sending=False, bridged=bridged),
        }
    chains: Chains = {sending: [], receiving: []}
    if bridged:
        chains[sending] += link_anti_spoof(rules)
        chains[receiving] += [ONLY_IP, ADDRESS_RESOLUTION]
    sent = own_always(always, rules.gateways, rules.resolvers, sending=True, tracked=not bridged)
    received = own_always(always, rules.gateways, rules.resolvers, sending=False, tracked=not bridged)
    chains[sending] += [*_returning(sent), *_anti_spoof(rules), *_on("from", likes)]
    chains[receiving] += [*_returning(received), *_on("to", likes)]
    if nat:
        chains[f"nat_{rules.vm}"] = [*(f"{condition} return" for condition, _ in sent), *_on("nat", likes)]
    return chains


def spoofed_chains(always: AlwaysAllow) -> Chains:
    """Where packets go that carry the address of another: what is always allowed passes before it is asked."""
    return {NOT_OWN: [*_returning(common_always(always, sending=True)), f"goto {SPOOFED}"]}


def shared_chains(always: AlwaysAllow, rules: VmRules, like: str, allow: tuple[str, ...], text: RuleText) -> Chains:
    """The chains of all VMs that have the same rules as this one, and whose peers in these sets are allow-listed."""
    chains: Chains = {}
    for chain, asked, answered in (
        (f"from.{like}", Direction.OUTBOUND, Direction.INBOUND),
        (f"to.{like}", Direction.INBOUND, Direction.OUTBOUND),
    ):
        side = _ASKED[asked]
        first = _returning(common_always(always, sending=side.sending))
        first += [f"{each} counter return {comment('allow-list')}" for each in _allowed(allow, side, text)]
        (_ways_of_bridge if text.bridged else _ways)(text, rules, (asked, answered), chain, chains, first)
    if redirects(rules) and not text.bridged:
        chains[f"nat.{like}"] = list(_nat(always, rules, allow, text))
    return chains


def redirects(rules: VmRules) -> int:
    """How many outbound rules, counted from the first, the nat chain must know."""
    places = enumerate(rules.outbound, 1)
    return max((place for place, rule in places if rule.target is not None and rule.mode is Mode.ENFORCE), default=0)


def _on(side: str, likes: Mapping[Whose, str]) -> Iterator[str]:
    for whose, like in likes.items():
        only = "" if len(whose.versions) == 2 else f"{FAMILIES[whose.versions[0]][1]} "
        yield f"{only}goto {side}.{like}"


Conditions = tuple[tuple[str, str], ...]
"""What is always allowed, each with the reason."""


def _returning(conditions: Conditions) -> list[str]:
    return [f"{condition} counter return {comment(f'always: {why}')}" for condition, why in conditions]


@lru_cache(maxsize=64)
def common_always(always: AlwaysAllow, *, sending: bool) -> Conditions:
    """What is always allowed to all VMs alike."""
    return tuple(_common(always, sending=sending))


@lru_cache(maxsize=1 << 12)  # two for each VM that has a network of its own
def own_always(
    always: AlwaysAllow, gateways: tuple[str, ...], resolvers: tuple[str, ...], *, sending: bool, tracked: bool
) -> Conditions:
    """What is always allowed to the VM with these gateways and resolvers."""
    return tuple(_own(always, gateways, resolvers, sending=sending, tracked=tracked))


def _common(always: AlwaysAllow, *, sending: bool) -> Iterator[tuple[str, str]]:
    field, here = ("daddr", "sport") if sending else ("saddr", "dport")
    managers = peer_set(always.management, "")
    for version, (family, only) in FAMILIES.items():
        found = [value for part in managers.of_family(version) for value in part]
        if found and always.ports:
            # An answer is anything but the opening of a flow, conntrack or not: no deleted entry ends a session.
            answer = " tcp flags & (syn | ack) != syn" if sending else ""
            ports = port_ranges((port, port) for port in sorted(set(always.ports)))
            yield f"{family} {field} {peers(found)} tcp {here} {ports}{answer}", "management"
        if always.dhcp:
            everybody = (address(a) for a in DHCP_EVERYBODY if version_of(a) == version)
            for who in [f"{family} daddr {a}" for a in everybody] if sending else [only]:
                yield f"{who} {_dhcp(version, sending=sending)}", "dhcp"
    if always.neighbours:
        types = one_of(map(str, MESSAGES_FROM_VM if sending else MESSAGES_TO_VM))
        yield f"ip6 hoplimit 255 icmpv6 type {types}", "neighbour discovery"


def _own(
    always: AlwaysAllow, gateways: tuple[str, ...], resolvers: tuple[str, ...], *, sending: bool, tracked: bool
) -> Iterator[tuple[str, str]]:
    field, there = ("daddr", "dport") if sending else ("saddr", "sport")
    for version, (family, _) in FAMILIES.items():
        asked = [value for value in resolvers if version_of(value) == version]
        if asked and always.resolver:
            both = protocols(("tcp", "udp"))
            for answer in ("",) if sending else (" ct direction reply",) if tracked else TO_VM.replies(version):
                yield f"{family} {field} {peers(asked)} {both} th {there} 53{answer}", "resolver"
        if always.dhcp and sending:
            # A list of the VM's own would be a set of its own in the kernel, which looks sets up one after the other.
            for gateway in sorted({address(a) for a in gateways if version_of(a) == version}):
                yield f"{family} daddr {gateway} {_dhcp(version, sending=True)}", "dhcp"


def _dhcp(version: int, *, sending: bool) -> str:
    here, there = ("sport", "dport") if sending else ("dport", "sport")
    client, server = DHCP[0 if version == 4 else 1]
    return f"udp {here} {client} udp {there} {server}"


def _anti_spoof(rules: VmRules) -> Iterator[str]:
    if not rules.own:
        return
    for version, (family, only) in FAMILIES.items():
        own = [address(value) for value in rules.own if version_of(value) == version]
        own += ["fe80::/10"] if version == 6 else []
        condition = " ".join(f"{family} saddr != {value}" for value in own) if own else only
        yield f"{condition} counter goto {NOT_OWN} {comment('anti-spoof')}"


def _allowed(allow: tuple[str, ...], side: Side, text: RuleText) -> Iterator[str]:
    """The conditions that tell a packet whose peer is allow-listed."""
    for name in allow:
        own = name == ALLOW_NAMES
        for version in text.whose.versions:
            field = f"{FAMILIES[version][0]} {side.peer}"
            if own:
                yield f"{text.whose.field(sending=side.sending)} . {field} @{own_set(name, text.whose, version)}"
            else:
                yield from in_parts(field, name, version)


def _of_stranger(always: AlwaysAllow, unknown_vm: str, *, sending: bool, bridged: bool) -> list[str]:
    if unknown_vm != "deny":
        return [f"counter return {comment('unknown_vm: allow')}"]
    return [
        *([ADDRESS_RESOLUTION] if bridged else []),
        *_returning(common_always(always, sending=sending)),
        f"counter goto {STRANGER} {comment('unknown_vm: deny')}",
    ]


def _ways(
    text: RuleText,
    rules: VmRules,
    directions: tuple[Direction, Direction],
    chain: str,
    chains: Chains,
    first: list[str],
) -> None:
    """The packets that a chain is asked about: answers to flows of the other direction, and its own flows.

    `first` is what comes before the rules.
    """
    asked, answered = directions
    body = chains[chain] = []
    reply = _answers(text, rules.rules(answered), _ANSWERED[answered], f"{chain}.reply", chains, first)
    own, side = rules.rules(asked), _ASKED[asked]
    place = split(own)
    if not place:
        body += [] if reply == "return" else [f"ct direction reply {reply}"]
        body += [PASSING, *first, *_ordered(text, own, side, chain, chains=chains)]
        return
    body.append(f"ct direction reply {reply}")
    found = [*first, *_ordered(text, own[:place], side, chain, chains=chains, guarded=True), PASSING]
    found += _ordered(text, own[place:], side, chain, chains=chains)
    passing = gates(text, of_established(own), side)
    if not passing:
        body += found
        return
    body += [f"ct state established,related goto {chain}.going", f"goto {chain}.rules"]
    chains[f"{chain}.rules"] = found
    chains.update(by_version(f"{chain}.going", [f"{each} goto {chain}.rules" for each in passing], text.whose.versions))


def _answers(
    text: RuleText, rules: tuple[ResolvedRule, ...], side: Side, name: str, chains: Chains, first: list[str]
) -> str:
    """The chain in which the answers to flows are asked what concerns them, as the verdict that leads there."""
    asked = of_established(rules)
    body = [*first, *_ordered(text, asked, side, name, chains=chains)]
    if len(body) == len(first):
        return "return"
    passing = gates(text, asked, side)
    if not passing or len(passing) >= len(body):
        chains[name] = body
    else:
        chains[f"{name}.rules"] = body
        chains.update(by_version(name, [f"{each} goto {name}.rules" for each in passing], text.whose.versions))
    return f"goto {name}"


def _ways_of_bridge(
    text: RuleText,
    rules: VmRules,
    directions: tuple[Direction, Direction],
    chain: str,
    chains: Chains,
    first: list[str],
) -> None:
    """The same without connection tracking."""
    asked, answered = directions
    own, side = rules.rules(asked), _ASKED[asked]
    chains[chain] = [*first]
    reply = _concerning_established(text, rules.rules(answered), _ANSWERED[answered], f"{chain}.reply", chains)
    going = _concerning_established(text, own, side, f"{chain}.going", chains)
    way = FROM_VM if asked is Direction.OUTBOUND else TO_VM
    chains[chain] += _untracked(text, own, side, way, chain, chains=chains, reply=reply, going=going)


def _concerning_established(
    text: RuleText, rules: tuple[ResolvedRule, ...], side: Side, name: str, chains: Chains
) -> str:
    """The chain in which only what concerns established flows is asked, as the verdict that leads there."""
    body = list(_ordered(text, of_established(rules), side, name, chains=chains))
    if not body:
        return "return"
    chains[name] = body
    return f"goto {name}"


def _untracked(
    text: RuleText,
    rules: tuple[ResolvedRule, ...],
    side: Side,
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
    chains[new] = list(_ordered(text, rules, side, new, chains=chains))
    yield f"goto {new}"


def _ordered(
    text: RuleText,
    rules: Iterable[ResolvedRule],
    side: Side,
    chain: str,
    *,
    chains: Chains,
    guarded: bool = False,
) -> Iterator[str]:
    """The statements of these rules in their order; a staged policy stands in a chain of its own and is jumped to."""
    for (policy, mode), group in groupby(rules, key=lambda rule: (rule.policy, rule.mode)):
        body = [
            line for rule in group for line in text.statements(rule, side, NEW if guarded and _is_for_new(rule) else "")
        ]
        if mode is not Mode.STAGE:
            yield from body
        elif body:
            name = f"{chain}.stage{sum(1 for other in chains if other.startswith(f'{chain}.stage'))}"
            chains[name] = body
            yield f"jump {name} {comment(f'staged: {policy}')}"


def _is_for_new(rule: ResolvedRule) -> bool:
    return not rule.concerns_established and rule.action is not Action.ALLOW


def _nat(always: AlwaysAllow, rules: VmRules, allow: tuple[str, ...], text: RuleText) -> Iterator[str]:
    """What stands before a redirect in the rules' order keeps a flow from being redirected."""
    side = _ASKED[Direction.OUTBOUND]
    exempt = [condition for condition, _ in common_always(always, sending=True)]
    for asked in (*exempt, *_allowed(allow, side, text)):
        yield f"{asked} return"
    for rule in rules.outbound[: redirects(rules)]:
        if rule.mode is Mode.ENFORCE and rule.decides:
            for condition in text.conditions(rule, side):
                yield f"{condition} {_translation(rule, text, side)} {comment(rule.name)}".lstrip()


def _translation(rule: ResolvedRule, text: RuleText, side: Side) -> str:
    if rule.target is None:
        return "return"
    family, _ = FAMILIES[version_of(rule.target.address)]
    where = address(rule.target.address)
    counted = text.counted(rule, side)
    if rule.target.port is None:
        return f"{counted} dnat {family} to {where}"
    where = f"[{where}]" if version_of(where) == 6 else where
    tcp_or_udp = protocols(("tcp", "udp"))
    return f"{tcp_or_udp} {counted} dnat {family} to {where}:{rule.target.port}"
