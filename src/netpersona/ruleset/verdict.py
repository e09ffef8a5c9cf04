"""What happens to a packet, by which rule, and why.

The packet's way, the same in the kernel's chains (render.py):

    always allowed          management, DHCP, neighbour discovery, the VM's resolvers: before everything else
    anti-spoof              what a VM sends must carry one of its own addresses
    allow-lists             they win over every policy
    rules, in their order   of the flow's direction; the first that decides ends the way
        established flows   only allows, cutting denies and limits are asked; then they are let through
    nothing decided         let through

A flow belongs to a direction for its whole life: the answers to what a VM asked are part of its outbound flow.
A deny that keeps established flows says nothing about them, so a cutting deny after it still does.  A rate limit
drops what exceeds it, and lets the rest go on to the next rule: slowing a VM down never opens what is denied
further on.  A limit cannot tell flows that began before it, so it slows these too.  A staged policy is asked on its
own, as if it alone were enforced, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, Direction, Mode
from netpersona.ruleset.model import PORTED, Match, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.peers import PeerSet, version_of
from netpersona.ruleset.reasons import why

MESSAGES_FROM_VM = (133, 135, 136)  # ICMPv6 neighbour discovery (RFC 4861): solicitations and own advertisements
MESSAGES_TO_VM = (133, 134, 135, 136)  # and a router's advertisements
DHCP = ((68, 67), (546, 547))  # client port, server port (RFC 2131, RFC 8415)
DHCP_EVERYBODY = ("255.255.255.255", "ff02::1:2")
UNKNOWN = "unknown_vm"

Path = tuple[ResolvedRule, ...]


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as a rule can tell it.

    `direction` is the flow's, seen from the VM; `reply` says that this packet goes against it.  `peer` is the other
    end, in canonical text.  `port` is the service's, that is, the responder's; 0 where the transport has none.
    """

    vm: VmId
    direction: Direction  # outbound | inbound
    peer: str
    transport: str = "tcp"
    port: int = 0
    established: bool = False
    reply: bool = False  # implies established
    client_port: int | None = None  # the originator's; None: any unprivileged one
    source: str | None = None  # of a packet that the VM sends; None: one of its own addresses
    message: int | None = None  # ICMP type

    @property
    def sent_by_vm(self) -> bool:
        """Whether the VM sends it, rather than receives it."""
        return (self.direction is Direction.OUTBOUND) is not self.reply

    @property
    def goes_on(self) -> bool:
        """Whether it belongs to a flow that is established already."""
        return self.established or self.reply


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a packet.  `verdict` is allow, deny, reject, redirect, rate-limit or log.

    rate-limit and log are allows that were slowed or written down on their way.  `rule` is what decided, None where
    none did and the built-in order had the word.  `path` are the rules passed before, in their order, and `staged`
    those of staged policies that would have decided.
    """

    verdict: str
    why: str
    rule: ResolvedRule | None = None
    path: tuple[ResolvedRule, ...] = ()
    staged: tuple[ResolvedRule, ...] = ()
    step: str = "rules"  # always | spoof | allow-list | rules | established | default | unknown_vm

    @property
    def passes(self) -> bool:
        """Whether the packet reaches the peer it was meant for."""
        return self.verdict not in {"deny", "reject", "redirect"}

    @property
    def policy(self) -> str | None:
        """The deciding policy's name."""
        return None if self.rule is None else self.rule.policy

    @property
    def version(self) -> int | None:
        """The deciding policy's version."""
        return None if self.rule is None else self.rule.version


def verdict(ruleset: Ruleset, packet: Packet) -> Decision:
    """What the ruleset does with this packet, and why."""
    rules = ruleset.vms.get(packet.vm)
    if rules is None:
        return _of_unknown(ruleset, packet)
    built_in = _before_rules(ruleset, rules, packet)
    if built_in is not None:
        return built_in
    return _of_unknown(ruleset, packet) if not rules.known else _by_rules(ruleset, rules, packet)


def concerns(ruleset: Ruleset, rule: ResolvedRule, packet: Packet) -> bool:
    """Whether peer, transport, port and state of the packet are what the rule is about."""
    if packet.goes_on and not rule.concerns_established and rule.action is not Action.ALLOW:
        return False
    return concerns_flow(ruleset, rule, packet)


def concerns_flow(ruleset: Ruleset, rule: ResolvedRule, packet: Packet) -> bool:
    """Whether the packet's flow is what the rule is about, new or established."""
    if rule.transports and packet.transport not in rule.transports:
        return False
    if rule.ports and not (packet.transport in PORTED and any(low <= packet.port <= high for low, high in rule.ports)):
        return False
    if rule.target is not None and version_of(rule.target.address) != version_of(packet.peer):
        return False
    return any(agrees(ruleset, match, packet) for match in rule.peers)


def _of_unknown(ruleset: Ruleset, packet: Packet) -> Decision:
    said = f"{packet.vm} has no persona, and unknown_vm says {ruleset.unknown_vm}"
    return Decision(ruleset.unknown_vm, said, step=UNKNOWN)


def _before_rules(ruleset: Ruleset, rules: VmRules, packet: Packet) -> Decision | None:
    always = _always_allowed(ruleset, rules, packet)
    if always is not None:
        return Decision("allow", f"always allowed: {always}", step="always")
    if packet.sent_by_vm and packet.source is not None and not owns(rules, packet.source):
        own = ", ".join(rules.own)
        return Decision("deny", f"{packet.source} is not an address of {rules.vm} ({own}): spoofed", step="spoof")
    for name in rules.allow:
        if ruleset.sets[name].holds(packet.peer):
            said = of_peer(ruleset.sets[name], packet.peer, negated=False)
            return Decision("allow", said, step="allow-list")
    return None


def owns(rules: VmRules, source: str) -> bool:
    """Whether the VM may send from this address: its own, a link-local one, or any where none is vouched for."""
    return not rules.own or source in rules.own or (":" in source and ip_address(source).is_link_local)


def _always_allowed(ruleset: Ruleset, rules: VmRules, packet: Packet) -> str | None:
    always = ruleset.always
    inbound = packet.direction is Direction.INBOUND
    if inbound and packet.transport == "tcp" and packet.port in always.ports and _manages(ruleset, packet.peer):
        return f"{packet.peer} manages this VM at tcp port {packet.port}"
    if always.resolver and not inbound and _is_dns(packet) and packet.peer in rules.resolvers:
        return f"{packet.peer} is its resolver"
    if always.dhcp and packet.transport == "udp" and _is_dhcp(rules, packet):
        return "DHCP"
    if always.neighbours and packet.transport == "icmp6" and packet.message in _messages(packet):
        return "neighbour discovery"
    return None


def _is_dns(packet: Packet) -> bool:
    return packet.transport in {"udp", "tcp"} and packet.port == 53


def _messages(packet: Packet) -> tuple[int, ...]:
    return MESSAGES_FROM_VM if packet.sent_by_vm else MESSAGES_TO_VM


def _manages(ruleset: Ruleset, peer: str) -> bool:
    address = ip_address(peer)
    return any(address in ip_network(text) for text in ruleset.always.management)


def _is_dhcp(rules: VmRules, packet: Packet) -> bool:
    """Between the DHCP ports only, and from the VM only to everybody or to a gateway, or it would be a way out."""
    outbound = packet.direction is Direction.OUTBOUND
    here, there = (packet.client_port, packet.port) if outbound else (packet.port, packet.client_port)
    if (here, there) != DHCP[0 if version_of(packet.peer) == 4 else 1]:
        return False
    return not packet.sent_by_vm or packet.peer in (*DHCP_EVERYBODY, *rules.gateways)


def _by_rules(ruleset: Ruleset, rules: VmRules, packet: Packet) -> Decision:
    path: list[ResolvedRule] = []
    staged: dict[str, ResolvedRule] = {}
    for rule in rules.rules(packet.direction):
        if not concerns(ruleset, rule, packet) or (rule.mode is Mode.STAGE and rule.policy in staged):
            continue
        if rule.mode is Mode.STAGE:
            if rule.decides:
                staged[rule.policy] = rule
        elif rule.decides:
            return _decided(ruleset, rule, packet, tuple(path), tuple(staged.values()))
        else:
            path.append(rule)
    return _undecided(ruleset, packet, tuple(path), tuple(staged.values()))


def _decided(ruleset: Ruleset, rule: ResolvedRule, packet: Packet, path: Path, staged: Path) -> Decision:
    slowed = next((passed for passed in path if passed.action is Action.RATE_LIMIT), None)
    if rule.action is Action.ALLOW and slowed is not None:
        return Decision("rate-limit", _because(ruleset, slowed, packet), slowed, path, staged)
    because = _because(ruleset, rule, packet)
    if rule.action is Action.REDIRECT and packet.goes_on:
        return Decision("deny", f"{because}; it is cut, to be opened again and redirected", rule, path, staged)
    word = "deny" if rule.action is Action.ISOLATE else rule.action.value
    return Decision(word, because, rule, path, staged)


def _undecided(ruleset: Ruleset, packet: Packet, path: Path, staged: Path) -> Decision:
    for action in (Action.RATE_LIMIT, Action.LOG):
        for rule in path:
            if rule.action is action:
                return Decision(action.value, _because(ruleset, rule, packet), rule, path, staged)
    if packet.goes_on:
        return Decision("allow", "the flow is established, and no rule cuts it", None, (), staged, "established")
    return Decision("allow", f"no rule concerns this packet{_spared(ruleset, packet)}", None, path, staged, "default")


def _spared(ruleset: Ruleset, packet: Packet) -> str:
    """What speaks for stopping the packet, and why it is not enough: many others are behind the peer."""
    rules = ruleset.vms[packet.vm].rules(packet.direction)
    sets = dict.fromkeys(ref.of(packet.vm) for rule in rules for match in rule.peers for ref in match.sets if ref.own)
    found = dict.fromkeys(said for name in sets if (said := ruleset.sets[name].why_spared(packet.peer)))
    return "".join(f"; {packet.peer} was answered for {said}" for said in found)


def _because(ruleset: Ruleset, rule: ResolvedRule, packet: Packet) -> str:
    """Why the rule is in force, and why this peer is concerned."""
    match = next(match for match in rule.peers if agrees(ruleset, match, packet))
    said = [of_peer(ruleset.sets[ref.of(packet.vm)], packet.peer, negated=ref.negated) for ref in match.told]
    if match.known_service is not None:
        word = "a" if match.known_service else "no"
        said.append(f"{packet.transport} {packet.port} is {word} service that others are used to reach here")
    return "; ".join([why(ruleset.vms[packet.vm], rule), *said])


def of_peer(members: PeerSet, peer: str, *, negated: bool) -> str:
    """What its membership, or, negated, its absence says of a peer."""
    if negated:
        return f"{peer} is no peer that {members.why}"
    note = members.note(peer)
    return f"{peer} {members.why}" + (f" ({note})" if note else "")


def agrees(ruleset: Ruleset, match: Match, packet: Packet) -> bool:
    """Whether every set and the service agree on this packet."""
    if match.known_service is not None:
        service = (packet.transport, packet.port if packet.transport in PORTED else 0)
        if (service in ruleset.vms[packet.vm].services) is not match.known_service:
            return False
    return all(ruleset.sets[ref.of(packet.vm)].holds(packet.peer) is not ref.negated for ref in match.sets)
