"""What the kernel has of ours: remembered from what was sent, or read back.

    after `apply`: remembered, handles included          on start, after a refusal, in `verify`: read back

Both are the same value, so nothing depends on which of them it was.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import elements, objects, wire
from netpersona.ruleset.tables import NAME, OwnSet, SetPart, Table

NO_TAG = b""  # of a rule that we did not make


class Placed(NamedTuple):
    """A rule in a chain of the kernel."""

    tag: bytes
    handle: int


@dataclass(slots=True)
class Installed:
    """One table.  `sets` and `own` hold None for a set whose members are not known."""

    family: str
    limits: set[str] = field(default_factory=set)  # an earlier version made such
    sets: dict[str, SetPart | None] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # members of sets, where the kernel tells (Linux 6.17)
    own: dict[str, OwnSet | None] = field(default_factory=dict)  # None: its members are not known
    filled: set[str] = field(default_factory=set)  # sets that rules fill
    lists: set[str] = field(default_factory=set)  # sets of constants
    interfaces: dict[str, tuple[str, ...]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)  # chain -> hook, as in Hook.__str__
    chains: dict[str, list[Placed]] = field(default_factory=dict)
    made_of: Table | None = None  # what was sent; None: it was read back
    asks: dict[str, tuple[str, ...]] = field(default_factory=dict)  # chain -> the lists it asks, of what was sent


def read(wire_: wire.Wire, family: str) -> Installed | None:
    """The table as it is in the kernel; None: it has none."""
    names = {a.name(found.attributes()[1]) for found in _asked(wire_, wire.GET_TABLE, family)}
    if NAME not in names:
        return None
    found = Installed(family)
    for chain in _ours(wire_, wire.GET_CHAIN, family):
        name = a.name(chain[3])
        found.chains[name] = []
        if 4 in chain:
            found.hooks[name] = _hook(chain)
    for name in found.chains:
        found.chains[name] = list(rules(wire_, family, name))
    for limit in _ours(wire_, wire.GET_OBJECT, family):
        found.limits.add(a.name(limit[2]))
    for each_set in list(_ours(wire_, wire.GET_SET, family)):  # one conversation at a time
        _take_set(wire_, found, each_set)
    return found


def rules(wire_: wire.Wire, family: str, chain: str) -> Iterator[Placed]:
    """The rules of a chain in their order.

    Chain by chain: asked for all rules, the kernel counts from the first one again for each part of its answer.
    """
    for message in _asked(wire_, wire.GET_RULE, family, a.text(1, NAME) + a.text(2, chain)):
        rule = message.attributes()
        yield Placed(dict(_user_data(rule.get(7, b""))).get(objects.TAG, NO_TAG), a.number(rule[3]))


def counts(wire_: wire.Wire, family: str, name: str) -> Iterator[tuple[bytes, int, int]]:
    """What the members of a set that rules fill have counted: key, packets, bytes."""
    for message in _asked(wire_, wire.GET_ELEMENT, family, a.text(1, NAME) + a.text(2, name)):
        for _, element in a.each(message.attributes().get(3, b"")):
            yield a.read(a.read(element)[1])[1], *_counted(element)


def members(wire_: wire.Wire, family: str, name: str, width: int) -> tuple[elements.Keys, elements.Keys]:
    """The keys of a set, sorted as the kernel gives them, and the ends of its intervals.  This reads the whole set."""
    body = a.text(1, NAME) + a.text(2, name)
    keys, ends = elements.keys_of([m.body for m in _asked(wire_, wire.GET_ELEMENT, family, body)], width)
    return keys[~ends], keys[ends]


def _asked(wire_: wire.Wire, kind: int, family: str, body: bytes | None = None) -> Iterator[wire.Message]:
    try:
        yield from wire_.ask(kind, family, a.text(1, NAME) if body is None else body)
    except wire.AbsentError:
        return


def _ours(wire_: wire.Wire, kind: int, family: str) -> Iterator[dict[int, bytes]]:
    for message in _asked(wire_, kind, family):
        found = message.attributes()
        if a.name(found[1]) == NAME:
            yield found


def _hook(chain: dict[int, bytes]) -> str:
    at = a.read(chain[4])
    names = ("prerouting", "input", "forward", "output", "postrouting")
    priority = struct.unpack(">i", at[2])[0]
    policy = "accept" if a.number(chain.get(5, b"\1")) else "drop"
    return f"type {a.name(chain[7])} hook {names[a.number(at[1])]} priority {priority}; policy {policy};"


def _user_data(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 2 <= len(data):
        kind, length = data[at], data[at + 1]
        yield kind, data[at + 2 : at + 2 + length]
        at += 2 + length


_COUNT = 20  # NFTA_SET_COUNT
_SINGLE = 63  # the highest type of a key of one part
_COUNTER = a.text(1, "counter")


def _counted(element: bytes) -> tuple[int, int]:
    at = element.find(_COUNTER)
    if at < 0:
        return 0, 0
    data = a.read(a.read(element, at)[2])
    return a.number(data[2]), a.number(data[1])


def _take_set(wire_: wire.Wire, into: Installed, found: dict[int, bytes]) -> None:
    name, flags = a.name(found[2]), a.number(found.get(3, b"\0"))
    if flags & 8:
        into.maps[name] = _verdicts(wire_, into.family, name, is_interface=a.number(found[4]) == 41)
    elif flags & 0x20:
        into.filled.add(name)
    elif a.number(found[4]) == 41:
        keys, _ = members(wire_, into.family, name, 16)
        into.interfaces[name] = tuple(sorted(a.name(row.tobytes()) for row in keys))
    elif name.startswith(objects.LISTS):
        into.lists.add(name)
    else:
        if a.number(found[4]) > _SINGLE:
            into.own[name] = None
        else:
            into.sets[name] = None
        if _COUNT in found:
            into.counts[name] = a.number(found[_COUNT])


def _verdicts(wire_: wire.Wire, family: str, name: str, *, is_interface: bool) -> dict[str, str]:
    found = {}
    for message in _asked(wire_, wire.GET_ELEMENT, family, a.text(1, NAME) + a.text(2, name)):
        for _, element in a.each(message.attributes().get(3, b"")):
            inside = a.read(element)
            key = a.read(inside[1])[1]
            verdict = a.read(a.read(inside[2])[2])
            text = a.name(key) if is_interface else _address(key)
            found[text] = a.name(verdict.get(2, b""))
    return found


def _address(key: bytes) -> str:
    return str(ip_address(key))
