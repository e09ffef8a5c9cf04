"""Flows that a cutting rule now denies are forgotten by connection tracking, and nobody else's are.

Their packets are dropped by the rule itself, at once.  Forgetting them makes that last: a flow that was cut does not
come back to life when the rule is gone again.  But what the kernel forgot is new to it: the other end's next packet
would open a flow, in the other direction, and the VM's packets would be answers to it.  So a flow is forgotten only
where that is denied too; else it stays known, and cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from netpersona.adapters.enforcers.nftables import wire
from netpersona.adapters.enforcers.nftables.tracked import Tracked, flows, forget
from netpersona.flow.vm import VmId
from netpersona.policy.model import Action, Direction, Mode
from netpersona.ruleset.diff import Changes, VmChange
from netpersona.ruleset.model import PORTED, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.nft_text import PROTOCOL_NUMBERS
from netpersona.ruleset.tables import packed
from netpersona.ruleset.verdict import Packet, verdict

_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}


def cut(to: wire.Wire, desired: Ruleset, changes: Changes) -> int:
    """Forget the flows that a rule of `desired` cuts, of VMs that the changes concern; gives how many."""
    concerned = _concerned(desired, changes)
    if not concerned:
        return 0
    owners = _owners(concerned)
    originators, responders = (
        {own for own, vm in owners.items() if any(_cutting(concerned[vm].rules(direction)))}
        for direction in (Direction.OUTBOUND, Direction.INBOUND)
    )
    denied = [flow for flow in flows(to, originators, responders) if _is_cut(desired, owners, flow)]
    return sum(forget(to, flow) for flow in denied)


def _concerned(desired: Ruleset, changes: Changes) -> dict[VmId, VmRules]:
    """VMs with cutting rules that may cut more now, or whose sets changed."""
    moved = {change.vm: change.after for change in changes.vms if change.after is not None and _may_cut_more(change)}
    sets = {change.name for change in changes.sets if change.kept is not None}
    shared = any(change.kept.shared for change in changes.sets if change.kept is not None)
    own = {vm: desired.vms[vm] for name in sets if (vm := VmId(name.rpartition(".")[2])) in desired.vms}
    return {
        vm: rules
        for vm, rules in (desired.vms if shared else {**own, **moved}).items()
        if any(vm in moved or _asks(rule, vm, sets) for rule in _cutting((*rules.outbound, *rules.inbound)))
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


def _cutting(rules: tuple[ResolvedRule, ...]) -> Iterator[ResolvedRule]:
    return (rule for rule in rules if rule.cut and rule.mode is Mode.ENFORCE)


def _asks(rule: ResolvedRule, vm: VmId, sets: Collection[str]) -> bool:
    return any(ref.of(vm) in sets for match in rule.peers for ref in match.sets)


def _owners(vms: Mapping[VmId, VmRules]) -> dict[bytes, VmId]:
    return {packed(host): vm for vm, rules in vms.items() for host in rules.addresses}


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
