"""One resolved rule as nft statements, for a side of the traffic.

A rule whose peers stand in a set becomes one statement for each part of the set (addresses, prefixes; IPv4, IPv6),
since a statement can ask a conjunction only.  Parts of a shared set are always asked, also while they are empty, so
that an indicator that comes or goes changes elements and no chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from netpersona.policy.model import Action, Mode
from netpersona.ruleset.model import PORTED, ResolvedRule, Target, VmRules
from netpersona.ruleset.nft_text import (
    PROTOCOL_NUMBERS,
    address,
    comment,
    identifier,
    one_of,
    port_ranges,
    protocol_number,
    protocols,
)
from netpersona.ruleset.peers import PeerSet, version_of
from netpersona.ruleset.tables import of_version

NEW = "ct state new,untracked,invalid"  # what is not established or related; also packets without conntrack
FAMILIES = {4: ("ip", "meta protocol ip"), 6: ("ip6", "meta protocol ip6")}


@dataclass(frozen=True, slots=True)
class Side:
    """How packets of a flow look: where the peer stands, and where the service port."""

    peer: str  # saddr | daddr
    port: str  # sport | dport

    @property
    def is_reply(self) -> bool:
        """Whether these packets go against the flow."""
        return self.port == "sport"


class RuleText:
    """Writes rules as nft statements; what VMs share is written once."""

    def __init__(self, sets: Mapping[str, PeerSet], *, bridged: bool = False) -> None:
        self._sets = sets
        self.bridged = bridged
        self._shared: dict[tuple[int, Side], tuple[str, ...]] = {}
        self._written: dict[tuple[int, Side, str], tuple[str, ...]] = {}
        self._own: dict[int, bool] = {}

    def statements(self, rule: ResolvedRule, rules: VmRules, side: Side, guard: str = "") -> tuple[str, ...]:
        """The nft statements of a VM's rule in a filter chain; `guard` is asked first."""
        if rule.action is Action.RATE_LIMIT or self._is_own(rule):
            return tuple(self._statements(rule, rules, side, guard))
        key = (id(rule), side, guard)  # the ruleset that is rendered keeps its rules alive
        if key not in self._written:
            self._written[key] = tuple(self._statements(rule, rules, side, guard))
        return self._written[key]

    def _statements(self, rule: ResolvedRule, rules: VmRules, side: Side, guard: str) -> Iterator[str]:
        if rule.target is not None and rule.mode is Mode.ENFORCE and not self.bridged:
            yield f"{_redirected(rule.target, side)} counter return {comment(rule.name)}"
        ends = _ending(rule, rules.vm, bridged=self.bridged)
        if ends:
            tail = f"{ends} {comment(rule.name)}"
            for condition in self.conditions(rule, rules, side):
                yield " ".join(part for part in (guard, condition, tail) if part)

    def conditions(self, rule: ResolvedRule, rules: VmRules, side: Side) -> tuple[str, ...]:
        """The conjunctions that tell the packets a rule concerns; none: it concerns nobody."""
        if self._is_own(rule):
            return tuple(_conditions(rule, rules, self._sets, side))
        key = (id(rule), side)
        if key not in self._shared:
            self._shared[key] = tuple(_conditions(rule, rules, self._sets, side))
        return self._shared[key]

    def _is_own(self, rule: ResolvedRule) -> bool:
        """Whether the rule reads otherwise for another VM."""
        if id(rule) not in self._own:
            self._own[id(rule)] = any(
                match.known_service is not None or any(ref.own for ref in match.sets) for match in rule.peers
            )
        return self._own[id(rule)]


def _conditions(rule: ResolvedRule, rules: VmRules, sets: Mapping[str, PeerSet], side: Side) -> Iterator[str]:
    service = _service(rule, side)
    if service is None:
        return
    families = (4, 6) if rule.target is None else (version_of(rule.target.address),)
    for match in rule.peers:
        named = {ref.of(rules.vm): ref.negated for ref in match.sets}
        for asked in _services(match.known_service, rules, side):
            for peer in _peers(named, sets, side, families, disjoint=not rule.decides):
                yield " ".join(part for part in (peer, service, asked) if part)


def set_parts(name: str, members: PeerSet, version: int) -> list[str]:
    """The names of the nft sets that hold a set's members of one IP version."""
    if members.shared:
        return [f"{name}.a{version}", f"{name}.n{version}"]
    if is_of_names(name):
        return [f"{name}.a{version}"]
    parts = [("a", members.addresses), ("n", members.networks)]
    return [f"{name}.{kind}{version}" for kind, found in parts if of_version(found, version)]


def is_of_names(name: str) -> bool:
    """Whether the set holds addresses that a VM's resolver answered: such come and go by themselves."""
    return name.startswith(("domains_", "allow_names."))


def deny_chain(rule: ResolvedRule) -> str:
    """The chain that logs and drops for this rule, shared by all VMs."""
    return identifier("deny", rule.name)


def reject_chain(rule: ResolvedRule) -> str:
    """The chain that logs and rejects for this rule."""
    return identifier("reject", rule.name)


def log_chain(rule: ResolvedRule) -> str:
    """The chain that logs only: for action log, and for what a staged rule would have decided."""
    return identifier("stage" if rule.mode is Mode.STAGE else "log", rule.name)


def limit_name(rule: ResolvedRule, vm: str) -> str:
    """The token bucket of a rate limit: one for the VM, rule and rate, whatever parts the rule falls into."""
    rate = "" if rule.rate is None else f"{rule.rate.value} {rule.rate.unit}"
    return identifier("limit", vm, f"{rule.name} {rate}")


def _ending(rule: ResolvedRule, vm: str, *, bridged: bool) -> str:
    """What a packet that the rule concerns meets; empty text: nothing in this chain.

    A bridge can neither send a flow elsewhere nor answer for a peer: there both are a plain deny.
    """
    if rule.mode is Mode.STAGE:
        return _staged_ending(rule)
    if rule.action is Action.RATE_LIMIT:
        return f'limit name "{limit_name(rule, vm)}" counter goto {deny_chain(rule)}'
    if rule.action is Action.REDIRECT:
        denied = rule.target is not None and (rule.cut or bridged)
        return f"counter goto {deny_chain(rule)}" if denied else ""
    return {
        Action.ALLOW: "counter return",
        Action.REJECT: f"counter goto {deny_chain(rule) if bridged else reject_chain(rule)}",
        Action.LOG: f"counter jump {log_chain(rule)}",
    }.get(rule.action, f"counter goto {deny_chain(rule)}")


def _staged_ending(rule: ResolvedRule) -> str:
    if not rule.decides:
        return "counter"
    return "counter return" if rule.action is Action.ALLOW else f"counter goto {log_chain(rule)}"


def _redirected(target: Target, side: Side) -> str:
    """The flows that the nat chain has sent to the target."""
    family, _ = FAMILIES[version_of(target.address)]
    port = "" if target.port is None else f" {protocols(('tcp', 'udp'))} th {side.port} {target.port}"
    return f"ct status dnat {family} {side.peer} {address(target.address)}{port}"


def _service(rule: ResolvedRule, side: Side) -> str | None:
    """Transport and port; None where no packet can have them."""
    names = rule.transports
    if rule.ports:
        names = tuple(name for name in PORTED if not names or name in names)
    asked = protocols(names)
    if (rule.ports or rule.transports) and not asked:
        return None
    return f"{asked} th {side.port} {port_ranges(rule.ports)}" if rule.ports else asked


def _services(known: bool | None, rules: VmRules, side: Side) -> list[str]:
    """The VM's known services, or what is none of them, as alternatives."""
    if known is None:
        return [""]
    services = [(protocol_number(transport), transport in PORTED, port) for transport, port in rules.services]
    ported = ", ".join(f"{number} . {port}" for number, has_ports, port in services if has_ports and number is not None)
    others = sorted({number for number, has_ports, _ in services if not has_ports and number is not None})
    key = f"meta l4proto . th {side.port}"
    if known:
        found = [f"{key} {{ {ported} }}"] if ported else []
        return found + ([f"meta l4proto {one_of(map(str, others))}"] if others else [])
    with_ports = {PROTOCOL_NUMBERS[name] for name in PORTED}
    return [
        f"{protocols(PORTED)} {key} != {{ {ported} }}" if ported else protocols(PORTED),
        f"meta l4proto != {one_of(map(str, sorted(with_ports.union(others))))}",
    ]


def _peers(
    named: Mapping[str, bool], sets: Mapping[str, PeerSet], side: Side, families: tuple[int, ...], *, disjoint: bool
) -> Iterator[str]:
    if not named:
        yield "" if len(families) == 2 else FAMILIES[families[0]][1]
        return
    for version in families:
        family, only = FAMILIES[version]
        asked = [
            _asked(f"{family} {side.peer}", set_parts(name, sets[name], version), negated=negated, disjoint=disjoint)
            for name, negated in named.items()
        ]
        for combination in product(*asked):
            yield " ".join(part for part in combination if part) or only


def _asked(field: str, parts: list[str], *, negated: bool, disjoint: bool) -> list[str]:
    """A set's parts as alternatives, or, negated, as one conjunction.

    `disjoint`: an address that is in both parts is told by one alternative only.
    """
    if negated:
        return [" ".join(f"{field} != @{part}" for part in parts)]
    found = [f"{field} @{part}" for part in parts]
    if disjoint and len(found) == 2:
        found[1] = f"{field} != @{parts[0]} {found[1]}"
    return found
