"""One resolved rule as nft statements, for a side of the traffic: the same for every VM that has it.

A rule whose peers stand in a set becomes one statement for each part of the set (addresses, prefixes; IPv4, IPv6),
since a statement can ask a conjunction only.  Parts of a set are always asked, also while they are empty, so that an
indicator that comes or goes changes elements and no chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from netpersona.policy.model import Action, Mode, Rate
from netpersona.ruleset.endings import deny_chain, log_chain, reject_chain
from netpersona.ruleset.model import ALLOW_NAMES, PORTED, ResolvedRule, SetRef, Target
from netpersona.ruleset.nft_text import PROTOCOL_NUMBERS, address, comment, one_of, port_ranges, protocols
from netpersona.ruleset.peers import version_of
from netpersona.ruleset.whose import Whose, bucket, hits, own_set

NEW = "ct state new,untracked,invalid"  # what is not established or related; also packets without conntrack
FAMILIES = {4: ("ip", "meta protocol ip"), 6: ("ip6", "meta protocol ip6")}


@dataclass(frozen=True, slots=True)
class Side:
    """How packets of a flow look: where the peer stands, and where the service port."""

    peer: str  # saddr | daddr
    port: str  # sport | dport

    @property
    def sending(self) -> bool:
        """Whether the VM sends these packets."""
        return self.peer == "daddr"


class RuleText:
    """Writes rules as nft statements for VMs that are told in one way."""

    def __init__(self, whose: Whose, *, bridged: bool = False) -> None:
        self.whose = whose
        self.bridged = bridged

    def statements(self, rule: ResolvedRule, side: Side, guard: str = "") -> Iterator[str]:
        """The nft statements of a rule in a filter chain; `guard` is asked first."""
        said = comment(rule.name)
        if rule.target is not None and rule.mode is Mode.ENFORCE and self._redirects(rule.target):
            yield f"{_redirected(rule.target, side)} {self.counted(rule, side)} return {said}"
        ends = self._ending(rule, side)
        if ends:
            for condition in self.conditions(rule, side):
                yield " ".join(part for part in (guard, condition, ends, said) if part)

    def conditions(self, rule: ResolvedRule, side: Side) -> tuple[str, ...]:
        """The conjunctions that tell the packets a rule concerns; none: it concerns nobody."""
        return tuple(_conditions(rule, self.whose, side))

    def counted(self, rule: ResolvedRule, side: Side) -> str:
        """Count the packet for its VM."""
        return f"update @{hits(rule, self.whose)} {{ {self.whose.field(sending=side.sending)} counter }}"

    def _redirects(self, target: Target) -> bool:
        return not self.bridged and version_of(target.address) in self.whose.versions

    def _ending(self, rule: ResolvedRule, side: Side) -> str:
        """What a packet that the rule concerns meets; empty text: nothing in this chain.

        A bridge can neither send a flow elsewhere nor answer for a peer: there both are a plain deny.
        """
        counted = self.counted(rule, side)
        if rule.mode is Mode.STAGE:
            staged = (
                "" if not rule.decides else " return" if rule.action is Action.ALLOW else f" goto {log_chain(rule)}"
            )
            return counted + staged
        if rule.action is Action.RATE_LIMIT:
            return f"{self._exceeded(rule, side)} {counted} goto {deny_chain(rule)}"
        if rule.action is Action.REDIRECT:
            denied = rule.target is not None and (rule.cut or self.bridged)
            return f"{counted} goto {deny_chain(rule)}" if denied else ""
        return {
            Action.ALLOW: f"{counted} return",
            Action.REJECT: f"{counted} goto {deny_chain(rule) if self.bridged else reject_chain(rule)}",
            Action.LOG: f"{counted} jump {log_chain(rule)}",
        }.get(rule.action, f"{counted} goto {deny_chain(rule)}")

    def _exceeded(self, rule: ResolvedRule, side: Side) -> str:
        assert rule.rate is not None
        return (
            f"update @{bucket(rule, self.whose)} "
            f"{{ {self.whose.field(sending=side.sending)} limit {rate_text(rule.rate)} }}"
        )


def _staged_ending(rule: ResolvedRule) -> str:
    return " return" if rule.action is Action.ALLOW else f" goto {log_chain(rule)}"


def rate_text(rate: Rate) -> str:
    """Bits become bytes a second.  The bucket holds a tenth of a second, and 16 full frames at least."""
    if rate.unit == "packet":
        return f"rate over {max(1, rate.value)}/second burst {max(5, rate.value // 10)} packets"
    octets = max(1, rate.value // 8)
    return f"rate over {octets} bytes/second burst {max(16 * 1514, octets // 10)} bytes"


def _conditions(rule: ResolvedRule, whose: Whose, side: Side) -> Iterator[str]:
    service = _service(rule, side)
    if service is None:
        return
    versions = whose.versions
    if rule.target is not None:
        versions = tuple(v for v in versions if v == version_of(rule.target.address))
    for match in rule.peers:
        for asked in _services(match.known_service, whose, side):
            for peer in _peers(match.sets, whose, side, versions, disjoint=not rule.decides):
                yield " ".join(part for part in (peer, service, asked) if part)


def set_parts(name: str, version: int) -> tuple[str, str]:
    """The names of the nft sets that hold a shared set's members of one IP version: addresses, prefixes."""
    return f"{name}.a{version}", f"{name}.n{version}"


def near_set(name: str) -> str:
    """The set of the /16 networks of IPv4 in which a shared set's prefixes lie."""
    return f"{name}.p4"


def in_parts(field: str, name: str, version: int) -> tuple[str, str]:
    """What tells that a field of a packet is in a shared set: among its addresses, or its prefixes."""
    addresses, prefixes = set_parts(name, version)
    near = f"{field} & 255.255.0.0 @{near_set(name)} " if version == 4 else ""
    return f"{field} @{addresses}", f"{near}{field} @{prefixes}"


def is_of_names(name: str) -> bool:
    """Whether sets of this name hold addresses that VMs' resolvers answered: such come and go by themselves."""
    return name.startswith("domains_") or name == ALLOW_NAMES


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


SERVICES, PORTLESS = "services", "protocols"  # sets of the services that others are used to reach


def _services(known: bool | None, whose: Whose, side: Side) -> list[str]:
    """The VM's known services, or what is none of them, as alternatives."""
    if known is None:
        return [""]
    own = whose.field(sending=side.sending)
    port = f"{own} . meta l4proto . th {side.port}"
    ported, portless = f"@{own_set(SERVICES, whose)}", f"@{own_set(PORTLESS, whose)}"
    if known:
        return [f"{port} {ported}", f"{own} . meta l4proto {portless}"]
    others = one_of(str(number) for number in sorted(PROTOCOL_NUMBERS[name] for name in PORTED))
    return [f"{protocols(PORTED)} {port} != {ported}", f"meta l4proto != {others} {own} . meta l4proto != {portless}"]


def _peers(
    refs: tuple[SetRef, ...], whose: Whose, side: Side, versions: tuple[int, ...], *, disjoint: bool
) -> Iterator[str]:
    if not refs:
        yield from [FAMILIES[version][1] for version in versions] if versions != (4, 6) else [""]
        return
    for version in versions:
        asked = [_asked(ref, whose, side, version, disjoint=disjoint) for ref in refs]
        for combination in product(*asked):
            yield " ".join(combination)


def _asked(ref: SetRef, whose: Whose, side: Side, version: int, *, disjoint: bool) -> list[str]:
    """A set's parts as alternatives, or, negated, as one conjunction.

    `disjoint`: an address that is in both parts is told by one alternative only.
    """
    field = f"{FAMILIES[version][0]} {side.peer}"
    if ref.own:
        asked = f"{whose.field(sending=side.sending)} . {field}"
        return [f"{asked} {'!= ' if ref.negated else ''}@{own_set(ref.name, whose, version)}"]
    parts = set_parts(ref.name, version)
    if ref.negated:
        return [" ".join(f"{field} != @{part}" for part in parts)]
    addresses, prefixes = in_parts(field, ref.name, version)
    return [addresses, f"{field} != @{parts[0]} {prefixes}" if disjoint else prefixes]
