"""Flows that a cutting rule now denies are forgotten by connection tracking, and nobody else's are.

Their packets are dropped by the rule itself, at once.  Forgetting them makes that last: a flow that was cut does not
come back to life when the rule is gone again.  But what the kernel forgot is new to it: the other end's next packet
would open a flow, in the other direction, and the VM's packets would be answers to it.  So a flow is forgotten only
where that is denied too; else it stays known, and cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import wire
from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, Direction, Mode
from netpersona.ruleset.diff import Changes, VmChange
from netpersona.ruleset.model import PORTED, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import PROTOCOL_NUMBERS
from netpersona.ruleset.tables import packed
from netpersona.ruleset.verdict import Packet, verdict

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_ORIGINAL, _STATUS, _ID, _ZONE = 1, 3, 12, 18
_TRANSLATED = 1 << 5  # IPS_DST_NAT
_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
# A flow is told with its original tuple first, and in it the addresses: the first one's type, and where they stand.
_ENDS = {1: (2, slice(12, 16), slice(20, 24)), 3: (10, slice(12, 28), slice(32, 48))}
_BOTH = 0  # families


@dataclass(frozen=True, slots=True)
class Tracked:
    """A flow that the kernel tracks, as its originator sees it; `entry` names it to the kernel."""

    family: int
    source: str
    destination: str
    protocol: int
    ports: tuple[int, int]  # the originator's and the responder's; 0 where there are none
    translated: bool
    entry: bytes


def cut(desired: Ruleset, changes: Changes) -> int:
    """Forget the flows that a rule of `desired` cuts, of VMs that the changes concern; gives how many."""
    concerned = _concerned(desired, changes)
    if not concerned:
        return 0
    to = wire.Wire()
    try:
        owners = _owners(concerned)
        denied = [flow for flow in _flows(to, owners) if _is_cut(desired, owners, flow)]
        return sum(_forget(to, flow) for flow in denied)
    finally:
        to.close()


def _concerned(desired: Ruleset, changes: Changes) -> dict[VmId, VmRules]:
    """VMs with cutting rules that may cut more now, or whose sets changed."""
    moved = {change.vm: change.after for change in changes.vms if change.after is not None and _may_cut_more(change)}
    sets = {change.name for change in changes.sets if change.kept is not None}
    shared = any(change.kept.shared for change in changes.sets if change.kept is not None)
    own = {vm: desired.vms[vm] for name in sets if (vm := VmId(name.rpartition(".")[2])) in desired.vms}
    return {
        vm: rules
        for vm, rules in (desired.vms if shared else {**own, **moved}).items()
        if any(vm in moved or _asks(rule, vm, sets) for rule in _cutting(rules))
    }


def _may_cut_more(change: VmChange) -> bool:
    """Whether a flow may be cut that was not: not where rules that allow nothing went, and all else is as it was."""
    before, after = change.before, change.after
    if before is None or after is None:
        return True
    if replace(before, outbound=(), inbound=()) != replace(after, outbound=(), inbound=()):
        return True
    return not all(
        _only_less(before.rules(each), after.rules(each)) for each in (Direction.OUTBOUND, Direction.INBOUND)
    )


def _only_less(before: tuple[ResolvedRule, ...], after: tuple[ResolvedRule, ...]) -> bool:
    had, has = ([r for r in rules if r.mode is Mode.ENFORCE and (r.cut or r.action is Action.ALLOW)]
                for rules in (before, after))  # fmt: skip
    place = 0
    for rule in had:
        if place < len(has) and rule == has[place]:
            place += 1
        elif rule.action is Action.ALLOW:
            return False
    return place == len(has)


def _cutting(rules: VmRules) -> Iterator[ResolvedRule]:
    return (rule for rule in (*rules.outbound, *rules.inbound) if rule.cut and rule.mode is Mode.ENFORCE)


def _asks(rule: ResolvedRule, vm: VmId, sets: Collection[str]) -> bool:
    return any(ref.of(vm) in sets for match in rule.peers for ref in match.sets)


def _owners(vms: Mapping[VmId, VmRules]) -> dict[bytes, VmId]:
    return {packed(host): vm for vm, rules in vms.items() for host in rules.addresses}


def _flows(to: wire.Wire, owners: Mapping[bytes, VmId]) -> Iterator[Tracked]:
    """The tracked flows that have one of these addresses at an end."""
    for found in to.ask_raw(wire.message(_GET, _BOTH, b"", wire.DUMP, _SUBSYSTEM)):
        body = found.body
        family, source, destination = _ENDS[int.from_bytes(body[10:12], "little")]
        if body[source] in owners or body[destination] in owners:
            yield _tracked(family, found.attributes())


def _tracked(family: int, entry: dict[int, bytes]) -> Tracked:
    tuple_ = a.read(entry[_ORIGINAL])
    ends, protocol = a.read(tuple_[1]), a.read(tuple_[2])
    first = 1 if family == 2 else 3
    named = [a.nest(_ORIGINAL, entry[_ORIGINAL])]
    named += [a.attribute(kind, entry[kind]) for kind in (_ID, _ZONE) if kind in entry]
    return Tracked(
        family=family,
        source=str(ip_address(ends[first])),
        destination=str(ip_address(ends[first + 1])),
        protocol=a.number(protocol[1]),
        ports=(a.number(protocol.get(2, b"\0")), a.number(protocol.get(3, b"\0"))),
        translated=bool(a.number(entry.get(_STATUS, b"\0")) & _TRANSLATED),
        entry=b"".join(named),
    )


def _is_cut(ruleset: Ruleset, owners: Mapping[bytes, VmId], flow: Tracked) -> bool:
    """Whether a rule of either end cuts it, and nothing of it could open it again from the other end."""
    return any(
        _denied(ruleset, vm, flow, direction) and not _reopened(ruleset, vm, flow, direction)
        for own, direction in ((flow.source, Direction.OUTBOUND), (flow.destination, Direction.INBOUND))
        if (vm := owners.get(packed(own))) is not None
    )


def _denied(ruleset: Ruleset, vm: VmId, flow: Tracked, direction: Direction) -> bool:
    decided = verdict(ruleset, _packet(vm, flow, direction, opened=direction, established=True))
    if decided.passes or decided.rule is None or not decided.rule.cut:
        return False
    return not (decided.rule.action is Action.REDIRECT and flow.translated)


def _reopened(ruleset: Ruleset, vm: VmId, flow: Tracked, direction: Direction) -> bool:
    other = Direction.INBOUND if direction is Direction.OUTBOUND else Direction.OUTBOUND
    return verdict(ruleset, _packet(vm, flow, direction, opened=other, established=False)).passes


def _packet(vm: VmId, flow: Tracked, direction: Direction, *, opened: Direction, established: bool) -> Packet:
    """A packet of a flow that has these ends, as if it had been opened in the direction `opened`."""
    transport = _NAMES.get(flow.protocol, str(flow.protocol))
    client, service = flow.ports if opened is direction else flow.ports[::-1]
    return Packet(
        vm=vm,
        direction=opened,
        peer=flow.destination if direction is Direction.OUTBOUND else flow.source,
        transport=transport,
        port=service if transport in PORTED else 0,
        established=established,
        client_port=client,
    )


def _forget(to: wire.Wire, flow: Tracked) -> bool:
    """Whether it was there still."""
    asked = wire.message(_DELETE, flow.family, flow.entry, wire.ACK, _SUBSYSTEM)
    try:
        for _ in to.ask_raw(asked):
            pass
    except wire.AbsentError:
        return False
    return True
