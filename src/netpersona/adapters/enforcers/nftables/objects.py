"""Tables, chains, rules, sets and maps as messages: what makes each, and what removes it.

Rules carry, beside their comment, a tag that tells their text: so what is in the kernel can be compared with what
should be, whoever put it there, without reading expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import elements, wire
from netpersona.adapters.enforcers.nftables import expressions as x
from netpersona.adapters.enforcers.nftables.assemble import Statement, Values
from netpersona.ruleset.tables import NAME, Dispatch, Filled, Hook, OwnSet, SetPart

COMMENT, TAG = 0, 200  # of a rule's user data; nft shows the first, and passes over what it does not know
LISTS = "list."  # how the names of constant sets begin

_CONSTANT, _INTERVAL, _MAP, _TIMEOUT, _EVALUATED = 2, 4, 8, 16, 32
TYPES = {"ipv4_addr": (7, 4), "ipv6_addr": (8, 16), "inet_proto": (12, 1),
         "inet_service": (13, 2), "iface_index": (20, 4), "ifname": (41, 16)}  # fmt: skip
"""Nft's number of each type, and its bytes."""

_HOOKS = {"inet": {"prerouting": 0, "input": 1, "forward": 2, "output": 3}}
_HOOKS["bridge"] = _HOOKS["inet"]
_LIMIT = 4


def table(family: str) -> bytes:
    """Make the table, or find it there."""
    return wire.message(wire.NEW_TABLE, family, a.text(1, NAME), wire.CREATE)


def no_table(family: str) -> bytes:
    """Remove the table with all that is in it."""
    return wire.message(wire.DEL_TABLE, family, a.text(1, NAME))


def no_limit(family: str, name: str) -> bytes:
    """Remove a named token bucket: an earlier version made such."""
    return wire.message(wire.DEL_OBJECT, family, a.text(1, NAME) + a.text(2, name) + a.u32(3, _LIMIT))


def peer_set(family: str, name: str, part: SetPart) -> bytes:
    """Make an empty set of peers."""
    return _set(family, name, _INTERVAL if part.prefixes else 0, *TYPES[part.type])


def own_set(family: str, name: str, of: OwnSet) -> bytes:
    """Make an empty set of all VMs' own members."""
    return _set(family, name, _TIMEOUT if of.lasting else 0, *_joined(of.key))


def filled_set(family: str, name: str, of: Filled) -> bytes:
    """Make a set that rules fill."""
    flags = _EVALUATED | (_TIMEOUT if of.forgets else 0)
    return _set(family, name, flags, *_joined(of.key), a.nest(9, a.u32(1, of.size)))


def interface_set(family: str, name: str) -> bytes:
    """Make an empty set of interface names."""
    return _set(family, name, 0, *TYPES["ifname"])


def values(family: str, of: Values) -> Iterator[bytes]:
    """Make a constant set with its members."""
    flags = _CONSTANT | (_INTERVAL if of.intervals else 0)
    size = () if of.intervals else (a.nest(9, a.u32(1, len(of.members))),)
    yield _set(family, of.name, flags, of.kind, of.length, *size)
    if of.intervals:
        starts, ends = elements.intervals(of.members, of.length)
        yield from elements.of_intervals(wire.NEW_ELEMENT, family, NAME, of.name, starts, ends)
    else:
        keys, _ = elements.intervals(of.members, of.length)
        yield from elements.of_keys(wire.NEW_ELEMENT, family, NAME, of.name, keys)


def dispatch(family: str, name: str, of: Dispatch) -> bytes:
    """Make an empty verdict map."""
    return _set(family, name, _MAP, *TYPES[of.key], a.u32(6, x.MANY_VALUES))


def no_set(family: str, name: str) -> bytes:
    """Remove a set or map that no rule asks any more."""
    return wire.message(wire.DEL_SET, family, a.text(1, NAME) + a.text(2, name))


def chain(family: str, name: str, hook: Hook | None) -> bytes:
    """Make an empty chain."""
    body = a.text(1, NAME) + a.text(3, name)
    if hook is not None:
        at = a.nest(4, a.u32(1, _HOOKS[family][hook.at]), a.u32(2, hook.priority))
        body += at + a.u32(5, 1) + a.text(7, hook.kind)
    return wire.message(wire.NEW_CHAIN, family, body, wire.CREATE | wire.EXCL)


def no_chain(family: str, name: str) -> bytes:
    """Remove a chain that nothing leads to any more, with its rules."""
    return wire.message(wire.DEL_CHAIN, family, a.text(1, NAME) + a.text(3, name))


def emptied(family: str, name: str) -> bytes:
    """Remove all rules of a chain."""
    return wire.message(wire.DEL_RULE, family, a.text(1, NAME) + a.text(2, name))


def rule(family: str, name: str, statement: Statement, *, after: int | None = None, first: bool = False) -> bytes:
    """Put a rule at the end of a chain, behind the rule with the handle `after`, or at the chain's head."""
    where = b"" if after is None else a.u64(6, after)
    flags = wire.CREATE if first else wire.CREATE | wire.APPEND
    return wire.message(wire.NEW_RULE, family, _of_chain(name) + where + _content(statement), flags)


def no_rule(family: str, name: str, handle: int) -> bytes:
    """Remove one rule."""
    return wire.message(wire.DEL_RULE, family, _of_chain(name) + a.u64(3, handle))


@lru_cache(maxsize=1 << 16)
def _of_chain(name: str) -> bytes:
    return a.text(1, NAME) + a.text(2, name)


@lru_cache(maxsize=1 << 18)
def _content(statement: Statement) -> bytes:
    said = b"" if not statement.comment else _user_data(COMMENT, statement.comment.encode() + b"\0")
    return a.nest(4, statement.expressions) + a.attribute(7, said + _user_data(TAG, statement.tag))


def _user_data(kind: int, data: bytes) -> bytes:
    return bytes((kind, len(data))) + data


def _joined(key: tuple[str, ...]) -> tuple[int, int]:
    """Nft's number of a key of several parts, and its bytes: each part fills words of four."""
    if len(key) == 1:
        return TYPES[key[0]]
    number = 0
    for each in key:
        number = number << 6 | TYPES[each][0]
    return number, sum((TYPES[each][1] + 3) & ~3 for each in key)


def _set(family: str, name: str, flags: int, kind: int, width: int, *more: bytes) -> bytes:
    # The kernel wants a number by which rules of the same batch may ask for the set; ours ask by its name.
    body = a.text(1, NAME) + a.text(2, name) + a.u32(3, flags) + a.u32(4, kind) + a.u32(5, width) + b"".join(more)
    order = (
        1 if kind == TYPES["ifname"][0] else 2
    )  # of the key's bytes, for nft, which shows it: the host's, or network
    shown = a.attribute(13, _user_data(0, order.to_bytes(4, "little")))
    return wire.message(wire.NEW_SET, family, body + a.u32(10, 1) + shown, wire.CREATE | wire.EXCL)
