"""Where the kernel differs from what was applied, in words; and what its rules counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from netpersona.adapters.enforcers.nftables import elements
from netpersona.adapters.enforcers.nftables.assemble import Statement, assemble
from netpersona.adapters.enforcers.nftables.installed import NO_TAG, Found, Installed, Placed
from netpersona.flow.vm import VmId
from netpersona.ports import Count, Drift
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.tables import NAME, SetPart, Table

Members = Callable[[str, str, SetPart], tuple[elements.Keys, elements.Keys]]
"""Reads a set back: family, name, part."""
Lent = Collection[tuple[str, str]]
"""Sets, by family and name, into which members were put beside the ruleset."""


def of(
    tables: Mapping[str, Table], has: Mapping[str, Installed | None], members: Members | None, lent: Lent
) -> Iterator[Drift]:
    """Every difference, table by table; sets by their members only where `members` is given.

    The sets in `lent` may hold more than was applied.
    """
    for family in sorted({*tables, *(family for family, found in has.items() if found is not None)}):
        table, found = tables.get(family), has.get(family)
        if found is None:
            yield Drift(f"{family} {NAME}", "the table is gone")
        elif table is None:
            yield Drift(f"{family} {NAME}", "the table should not be there")
        else:
            for what in _of_table(table, found, lent):
                yield Drift(f"{family} {NAME}", what)
            if members is not None:
                yield from _of_members(table, found, members, lent)


def counted(rules: Iterable[tuple[str, Found]], ruleset: Ruleset) -> Iterator[Count]:
    """The counters by VM, policy and rule, in that order."""
    packets: Counter[tuple[VmId, str, str, int]] = Counter()
    octets: Counter[tuple[VmId, str, str, int]] = Counter()
    for chain, found in rules:
        vm, said = vm_of(chain, ruleset), named(found.comment)
        if vm is not None and said is not None:
            packets[vm, *said] += found.packets
            octets[vm, *said] += found.octets
    for key in sorted(packets):
        yield Count(*key, packets[key], octets[key])


def vm_of(chain: str, ruleset: Ruleset) -> VmId | None:
    """Whose chain it is; None: one that VMs share."""
    for side in ("from_", "to_", "nat_"):
        if chain.startswith(side):
            vm = VmId(chain.removeprefix(side).partition(".")[0])
            return vm if vm in ruleset.vms else None
    return None


@lru_cache(maxsize=4096)
def named(comment: str) -> tuple[str, str, int] | None:
    """Policy, rule and version of `policy/rule@version`; None for a comment that is none."""
    policy, slash, rest = comment.partition("/")
    rule, at, version = rest.rpartition("@")
    return (policy, rule, int(version)) if slash and at and version.isdigit() else None


def _of_table(table: Table, has: Installed, lent: Lent) -> Iterator[str]:
    for what, wanted, found in (
        ("chain", table.chains, has.chains),
        ("set", {**table.sets, **table.interfaces}, {**has.sets, **has.interfaces}),
        ("map", table.maps, has.maps),
        ("limit", table.limits, has.limits),
    ):
        yield from (f"{what} {name} is gone" for name in wanted if name not in found)
        yield from (f"{what} {name} is not ours" for name in found if name not in wanted)
    yield from _elsewhere(table, has, lent)
    for name, lines in table.chains.items():
        if name in has.chains:
            statements = [assemble(line, table.family) for line in lines]
            yield from _of_chain(name, lines, statements, has.chains[name])


def _elsewhere(table: Table, has: Installed, lent: Lent) -> Iterator[str]:
    """What is there, but is not as it should be."""
    for name, hook in table.hooks.items():
        if name in has.chains and has.hooks.get(name) != str(hook):
            yield f"chain {name} hooks in as {has.hooks.get(name, 'nothing')}"
    for name, dispatch in table.maps.items():
        if has.maps.get(name, dispatch.chains) != dispatch.chains:
            yield f"map {name} leads elsewhere"
    for name, taps in table.interfaces.items():
        if has.interfaces.get(name, taps) != taps:
            yield f"set {name} holds other interfaces"
    for name, part in table.sets.items():
        wanted = _count(part)
        may_hold_more = part.lasting or (table.family, name) in lent
        if not may_hold_more and has.counts.get(name, wanted) != wanted:
            yield f"set {name} holds {has.counts[name]} members instead of {wanted}"


def _count(part: SetPart) -> int:
    """How many members the kernel says it has: two elements each of an interval set, but for one without an end."""
    members = part.members
    endless = part.prefixes and bool(members) and not elements.prefixes(members[-1:], part.version)[1].any()
    return len(members) - endless


def _of_chain(name: str, lines: tuple[str, ...], wanted: list[Statement], found: list[Placed]) -> Iterator[str]:
    if [statement.tag for statement in wanted] == [placed.tag for placed in found]:
        return
    there = Counter(placed.tag for placed in found)
    ours = Counter(statement.tag for statement in wanted)
    for line, statement in zip(lines, wanted, strict=True):
        if there[statement.tag] < ours[statement.tag]:
            ours[statement.tag] -= 1
            yield f"chain {name}: a rule is gone: {line}"
    for placed in found:
        if placed.tag == NO_TAG or placed.tag not in ours:
            yield f"chain {name}: a rule is not ours: handle {placed.handle}"
    if there == Counter(statement.tag for statement in wanted):
        yield f"chain {name}: the order of the rules is another"


def _of_members(table: Table, has: Installed, members: Members, lent: Lent) -> Iterator[Drift]:
    for name, part in table.sets.items():
        if name not in has.sets:
            continue
        keys, _ = members(table.family, name, part)
        wanted = (elements.prefixes(part.members, part.version)[0] if part.prefixes
                  else elements.addresses(part.members, part.version))  # fmt: skip
        missing, extra = len(elements.without(wanted, keys)), len(elements.without(keys, wanted))
        if missing or (extra and not part.lasting and (table.family, name) not in lent):
            yield Drift(f"{table.family} {NAME}", f"set {name}: {missing} members are gone, {extra} are not ours")
