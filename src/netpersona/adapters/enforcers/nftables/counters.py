"""What rules met, VM by VM: they count in sets, whose members are the interfaces or addresses that tell VMs' packets.

A set is there as long as any VM has the rule, so counts go on while other rules change.  Of a VM that has the rule no
more the count is forgotten: one that comes back counts anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from netpersona.adapters.enforcers.nftables import elements, installed, wire
from netpersona.flow.vm import VmId
from netpersona.ports import Count
from netpersona.ruleset.diff import Changes
from netpersona.ruleset.dispatch import told_by
from netpersona.ruleset.model import ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.tables import NAME, Table
from netpersona.ruleset.whose import EVERY, Whose, hits


def counted(to: wire.Wire, tables: Mapping[str, Table], ruleset: Ruleset, only: VmId | None) -> Iterator[Count]:
    """The counters by VM, policy and rule, in that order; of one VM, or of all."""
    rules = {vm: _rules(of) for vm, of in ruleset.vms.items() if only in {None, vm}}
    packets = Counter({(vm, *key): 0 for vm, of in rules.items() for key in of})
    octets: Counter[tuple[VmId, str, str, int]] = Counter()
    wanted = {key: rule for of in rules.values() for key, rule in of.items()}
    told = told_by(ruleset.vms)
    vms = {_packed(whose, value): vm for vm, each in told.items() for whose, values in each.items() for value in values}
    for family, table in tables.items():
        for key, rule in wanted.items():
            for name in (hits(rule, whose) for whose in EVERY):
                if name in table.filled:
                    for member, met, size in installed.counts(to, family, name):
                        if member in vms and (at := (vms[member], *key)) in packets:
                            packets[at] += met
                            octets[at] += size
    for at in sorted(packets):
        yield Count(*at, packets[at], octets[at])


def forgotten(before: installed.Installed | None, table: Table, changes: Changes) -> Iterator[bytes]:
    """Messages that make rules forget the VMs that do not have them any more."""
    there = table.filled.keys() & (set() if before is None else before.filled)
    known: dict[tuple[int, ...], list[ResolvedRule]] = {}
    for change in changes.vms:
        old, new = change.before, change.after
        if old is not None:
            stays = None if new is None or new.interface != old.interface else new
            key = tuple(id(of) for rules in (old, stays) if rules is not None for of in (rules.outbound, rules.inbound))
            if key not in known:
                known[key] = [rule for name, rule in _rules(old).items() if stays is None or name not in _rules(stays)]
            for whose, values in told_by({old.vm: old})[old.vm].items() if known[key] else ():
                for name in there.intersection(hits(rule, whose) for rule in known[key]):
                    keys = elements.joined(table.filled[name].key, values)
                    for kind in (wire.NEW_ELEMENT, wire.DEL_ELEMENT):  # to remove what is not there would be an error
                        yield from elements.of_keys(kind, table.family, NAME, name, keys)


def _rules(of: VmRules) -> dict[tuple[str, str, int], ResolvedRule]:
    return {(rule.policy, rule.rule, rule.version): rule for rule in (*of.outbound, *of.inbound)}


def _packed(whose: Whose, value: str) -> bytes:
    return elements.joined((whose.key,), [value]).tobytes()
