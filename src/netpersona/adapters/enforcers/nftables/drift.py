"""Where the kernel differs from what was applied, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from itertools import chain

from netpersona.adapters.enforcers.nftables import elements
from netpersona.adapters.enforcers.nftables.assemble import Statement, assemble
from netpersona.adapters.enforcers.nftables.installed import NO_TAG, Installed, Placed
from netpersona.ports import Drift
from netpersona.ruleset.tables import NAME, SetPart, Table

Members = Callable[[str, str, int], tuple[elements.Keys, elements.Keys]]
"""Reads a set back: family, name, bytes of a key."""
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


@lru_cache(maxsize=4096)
def named(comment: str) -> tuple[str, str, int] | None:
    """Policy, rule and version of `policy/rule@version`; None for a comment that is none."""
    policy, slash, rest = comment.partition("/")
    rule, at, version = rest.rpartition("@")
    return (policy, rule, int(version)) if slash and at and version.isdigit() else None


def _of_table(table: Table, has: Installed, lent: Lent) -> Iterator[str]:
    for what, wanted, found in (
        ("chain", table.chains, has.chains),
        ("set", {**table.sets, **table.own, **table.interfaces}, {**has.sets, **has.own, **has.interfaces}),
        ("set", table.filled, has.filled),
        ("map", table.maps, has.maps),
        ("limit", (), has.limits),
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
    numbers = {name: _count(part) for name, part in table.sets.items()}
    numbers |= {name: sum(1 for _ in own.elements) for name, own in table.own.items() if not own.lasting}
    for name, wanted in numbers.items():
        if (table.family, name) not in lent and has.counts.get(name, wanted) != wanted:
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
    parts = ((name, _keys(part), False) for name, part in table.sets.items() if name in has.sets)
    own = (
        (name, elements.joined(each.key, list(each.elements)), each.lasting)
        for name, each in table.own.items()
        if name in has.own
    )
    for name, wanted, lasting in chain(parts, own):
        keys, _ = members(table.family, name, wanted.shape[1])
        missing, extra = len(elements.without(wanted, keys)), len(elements.without(keys, wanted))
        if missing or (extra and not lasting and (table.family, name) not in lent):
            yield Drift(f"{table.family} {NAME}", f"set {name}: {missing} members are gone, {extra} are not ours")


def _keys(part: SetPart) -> elements.Keys:
    if part.prefixes:
        return elements.prefixes(part.members, part.version)[0]
    return elements.addresses(part.members, part.version)
