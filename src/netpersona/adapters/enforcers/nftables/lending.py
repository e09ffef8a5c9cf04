"""Where addresses go that are lent to a set of the ruleset: a set that VMs share, or a VM's members of all VMs' own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netpersona.flow.vm import VmId
from netpersona.ruleset.peers import version_of
from netpersona.ruleset.tables import ADDRESS_TYPES, Table
from netpersona.ruleset.whose import EVERY, own_set


def wanted(table: Table, name: str, addresses: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """Each set of the table that takes some of them: its name, its key, and the elements that it has not yet."""
    base, _, vm = name.rpartition(".")
    for version, kind in ADDRESS_TYPES.items():
        given = [each for each in addresses if version_of(each) == version]
        part = table.sets.get(f"{name}.a{version}")
        if part is not None:
            yield f"{name}.a{version}", (kind,), [each for each in given if not part.holds(each)]
        for whose in EVERY:
            own = table.own.get(own_set(base, whose, version))
            owned = None if own is None else own.of.get(VmId(vm))
            if own is not None and owned is not None:
                new = [each for each in given if each not in owned.members]
                yield own_set(base, whose, version), own.key, [f"{of} . {each}" for of in owned.whose for each in new]
