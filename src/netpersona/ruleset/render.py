"""The ruleset as tables of the kernel, and these as nft text: `inet netpersona`, and `bridge netpersona` for bridges.

inet    hooks forward, input, output -> verdict map (interface, or address) -> from_VM, to_VM -> from.LIKE, to.LIKE
        hook prerouting (nat)        -> verdict map                         -> nat_VM -> nat.LIKE, where redirected
bridge  hook prerouting              -> verdict map (interface)             -> from_VM -> from.LIKE
        hooks forward, output        -> verdict map (interface)             -> to_VM -> to.LIKE
        hooks forward, input, output -> track.from, track.to, where flows are remembered (render_flows.py)
sets        NAME.a4 NAME.a6 (addresses: hash), NAME.n4 NAME.n6 (prefixes: interval), shared by all VMs
            near.*.p4 (the blocks near which prefixes of several sets lie)
            NAME.4 NAME.6 (every VM's own: interface . address), hits.* limit.* (what rules count and slow, by VM)
deny.* reject.* log.* stage.*   what ends a packet's way, sampled to NFLOG; shared by all VMs

VMs that have the same rules share the chains in which these stand: a change of a policy is a change of a few chains,
and a change of one VM is a jump and some elements, however many VMs there are.

Loading the text twice gives the same: a table is declared, deleted and made again.  What is not in these tables is
neither read nor written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.tables import NAME, Table
from netpersona.ruleset.tabulate import Tabulator


def render(ruleset: Ruleset, bridged: frozenset[str] = frozenset()) -> str:
    """The ruleset as text for `nft -f`; `bridged` are the interfaces that are ports of a bridge.

    Equal rulesets give equal text.
    """
    return written(Tabulator().tables(ruleset, bridged))


def written(tables: Iterable[Table]) -> str:
    """Tables as text for `nft -f`, which replaces them whole in one transaction."""
    return "".join(_table_text(table) for table in tables)


def _table_text(table: Table) -> str:
    name = f"{table.family} {NAME}"
    lines = [f"table {name}", f"delete table {name}", f"table {name} {{"]
    for part, found in table.sets.items():
        flags = ["flags interval"] if found.prefixes else []
        lines += _block(f"set {part}", [f"type {found.type}", *flags, *_elements(found.members)])
    for own, of in table.own.items():
        flags = ["flags timeout"] if of.lasting else []
        quoted = (_quoted(of.key[0], element) for element in of.elements)
        lines += _block(f"set {own}", [f"type {' . '.join(of.key)}", *flags, *_elements(quoted)])
    for filled, kind in table.filled.items():
        flags = ["flags dynamic,timeout" if kind.forgets else "flags dynamic"]
        lines += _block(f"set {filled}", [f"type {' . '.join(kind.key)}", f"size {kind.size}", *flags])
    for taps, names in table.interfaces.items():
        lines += _block(f"set {taps}", ["type ifname", *_elements(f'"{each}"' for each in names)])
    for chain, rules in table.chains.items():
        if chain not in table.hooks:
            lines += _block(f"chain {chain}", rules)
    for way, dispatch in table.maps.items():
        leads = (f"{_quoted(dispatch.key, key)} : jump {chain}" for key, chain in dispatch.chains.items())
        lines += _block(f"map {way}", [f"type {dispatch.key} : verdict", *_elements(leads)])
    for chain, hook in table.hooks.items():
        lines += _block(f"chain {chain}", [str(hook), *table.chains[chain]])
    return "\n".join([*lines, "}", ""])


def _elements(members: Iterable[str]) -> list[str]:
    held = ",\n      ".join(members)
    return [f"elements = {{ {held} }}"] if held else []


def _quoted(kind: str, element: str) -> str:
    if kind != "ifname":
        return element
    name, dot, rest = element.partition(" . ")
    return f'"{name}"{dot}{rest}'


def _block(head: str, body: Iterable[str]) -> Iterator[str]:
    yield f"  {head} {{"
    for line in body:
        yield f"    {line}"
    yield "  }"


__all__ = ["Tabulator", "render", "written"]
