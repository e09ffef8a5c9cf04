"""What must be sent so that the kernel has a table: the difference to what it has, as one transaction.

    sets, lists, maps: made empty -> elements -> chains -> rules (removed, added) -> map elements
    -> maps and chains that nothing leads to -> sets that nobody asks

All of it is one batch, so no packet ever meets half of it; the order only makes each name exist before it is used
and unused before it goes.  A rule that stays keeps its handle and its counter, an unchanged chain is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import chain

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import elements, objects, wire
from netpersona.adapters.enforcers.nftables import expressions as x
from netpersona.adapters.enforcers.nftables.assemble import Statement, assemble
from netpersona.adapters.enforcers.nftables.installed import Installed, Placed
from netpersona.ruleset.diff import differences
from netpersona.ruleset.tables import NAME, Key, OwnSet, SetPart, Table, renewed

Read = Callable[[str, int], tuple[elements.Keys, elements.Keys]]
"""Reads a set of the kernel whose members are not known, by name and bytes of a key: keys, and ends of intervals."""
Differences = Callable[[SetPart, SetPart], tuple[tuple[str, ...], tuple[str, ...]]]
"""What came into a set, and what went."""
Lent = Mapping[tuple[str, str], set[str]]
"""Members that were put into a set (family, name) for a time."""
_NOTHING_LENT: Lent = {}


@dataclass(slots=True)
class Transaction:
    """Messages, and what the kernel has after them.

    `made` says for each table what gets a handle from the kernel, in the order of the messages: a rule as its chain's
    list and the index in it, None for anything else.  `rules` are the places of new rules: in the messages, in `made`.
    """

    messages: list[bytes]
    differences: Differences = field(default=lambda old, new: differences(old.members, new.members))
    after: dict[str, Installed | None] = field(default_factory=dict)
    made: dict[str, list[tuple[list[Placed], int] | None]] = field(default_factory=dict)
    rules: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def ask_handles(self) -> None:
        """Let the kernel tell the handles of each table's first and last new rule: it counts, so all others follow."""
        for rules in self.rules.values():
            for place, _ in (rules[0], rules[-1]):
                sent = self.messages[place]
                flags = int.from_bytes(sent[6:8], "little") | wire.ECHO
                self.messages[place] = sent[:6] + flags.to_bytes(2, "little") + sent[8:]

    def number(self, answers: Iterable[wire.Message]) -> bool:
        """Give the new rules their handles; false where the kernel did not count as expected."""
        told = {m.sequence - 1: a.number(m.attributes()[3]) for m in answers if m.kind == wire.NEW_RULE}
        for family, rules in self.rules.items():
            (first, begin), (last, end) = rules[0], rules[-1]
            if first not in told or last not in told or told[last] - told[first] != end - begin:
                return False
            for index, place in enumerate(self.made[family][begin : end + 1], told[first]):
                if place is not None:
                    chain, at = place
                    chain[at] = Placed(chain[at].tag, index)
        return True


def removal(family: str, into: Transaction) -> None:
    """Remove the whole table."""
    into.messages += [objects.table(family), objects.no_table(family)]
    into.after[family] = None


def change(before: Installed | None, table: Table, read: Read, into: Transaction, lent: Lent = _NOTHING_LENT) -> None:
    """Add to the transaction what makes this table of that one."""
    if before is not None and any(before.hooks.get(name, str(hook)) != str(hook) for name, hook in table.hooks.items()):
        into.messages.append(objects.no_table(table.family))  # another version of netpersona made it
        before = None
    had = Installed(table.family) if before is None else before
    _Change(had, table, read, into, lent, new=before is None).write()


class _Change:
    def __init__(
        self, before: Installed, table: Table, read: Read, into: Transaction, lent: Lent, *, new: bool
    ) -> None:
        self._before = before
        self._table = table
        self._family = table.family
        self._read = read
        self._into = into
        self._lent = lent
        self._new = new
        self._made = into.made.setdefault(self._family, [])
        self._chains = dict(before.chains)
        self._asks: dict[str, tuple[str, ...]] = {}
        self._lists: set[str] = set()

    def write(self) -> None:
        before, table = self._before, self._table
        if self._new:
            self._say(objects.table(self._family))
        changed = self._changed()
        self._values(changed)
        self._sets()
        made = sorted(table.chains.keys() - before.chains.keys())
        for name in made:
            self._make(objects.chain(self._family, name, table.hooks.get(name)))
            self._chains[name] = []
        for name, statements in changed.items():
            self._rules(name, statements)
        self._verdicts()
        gone = sorted(before.chains.keys() - table.chains.keys())
        self._say(*(objects.emptied(self._family, name) for name in gone))
        self._say(*(objects.no_set(self._family, name) for name in before.maps if name not in table.maps))
        self._say(*(objects.no_chain(self._family, name) for name in gone))
        for name in gone:
            del self._chains[name]
        self._unused()
        self._into.after[self._family] = self._after()

    def _say(self, *messages: bytes) -> None:
        self._into.messages += messages

    def _make(self, message: bytes) -> None:
        """What gets a handle."""
        self._into.messages.append(message)
        self._made.append(None)

    def _sets(self) -> None:
        table = self._table
        for made in self._empty_sets():
            self._make(made)
        for name, part in table.sets.items():
            if self._before.sets.get(name) is not part or (self._family, name) in self._lent:
                self._say(*self._members(name, part))
        for name, own in table.own.items():
            if self._before.own.get(name) is not own or (self._family, name) in self._lent:
                self._say(*self._own(name, own))
        for name, taps in table.interfaces.items():
            old = self._before.interfaces.get(name, ())
            self._say(*self._taps(wire.DEL_ELEMENT, name, [tap for tap in old if tap not in set(taps)]))
            self._say(*self._taps(wire.NEW_ELEMENT, name, [tap for tap in taps if tap not in set(old)]))

    def _empty_sets(self) -> Iterator[bytes]:
        """The sets that are new."""
        before, table, family = self._before, self._table, self._family
        for name in sorted(table.filled.keys() - before.filled):
            yield objects.filled_set(family, name, table.filled[name])
        for name in table.interfaces.keys() - before.interfaces.keys():
            yield objects.interface_set(family, name)
        for name in table.maps.keys() - before.maps.keys():
            yield objects.dispatch(family, name, table.maps[name])
        for name in sorted(table.sets.keys() - before.sets.keys()):
            yield objects.peer_set(family, name, table.sets[name])
        for name in sorted(table.own.keys() - before.own.keys()):
            yield objects.own_set(family, name, table.own[name])

    def _taps(self, kind: int, name: str, taps: Sequence[str]) -> Iterator[bytes]:
        keys, _ = elements.intervals([(elements.packed_name(tap),) * 2 for tap in taps], 16)
        yield from elements.of_keys(kind, self._family, NAME, name, keys)

    def _members(self, name: str, part: SetPart) -> Iterator[bytes]:
        old = self._before.sets.get(name)
        if name not in self._before.sets:
            yield from of_members(wire.NEW_ELEMENT, self._family, name, part, part.members)
        elif old is None:
            yield from _reconciled(self._family, name, part, *self._read(name, 4 if part.version == 4 else 16))
        elif old.of is not part.of or (self._family, name) in self._lent:
            added, removed = self._into.differences(old, part)
            lent = self._lent.get((self._family, name), set())
            if lent:  # it may be there for good now
                keys = elements.addresses(sorted(lent), part.version)
                yield from elements.of_keys(wire.DROP_ELEMENT, self._family, NAME, name, keys)
                removed = tuple(each for each in removed if each not in lent)
                added = (*added, *(each for each in sorted(lent.difference(added)) if part.holds(each)))
            yield from of_members(wire.DEL_ELEMENT, self._family, name, part, removed)
            yield from of_members(wire.NEW_ELEMENT, self._family, name, part, added)

    def _own(self, name: str, own: OwnSet) -> Iterator[bytes]:
        """The members of all VMs' own: those that came and went, VM by VM."""
        old = self._before.own.get(name)
        if name in self._before.own and old is None:
            yield from self._own_reconciled(name, own)
            return
        lent = self._lent.get((self._family, name), set())
        added: list[str] = []
        removed: list[str] = []
        had = {} if old is None else old.of
        for vm in _differing(had, own.of):
            before, after = had.get(vm), own.of.get(vm)
            here = set() if before is None else set(before.elements)
            wanted = set() if after is None else set(after.elements)
            added += wanted - here
            removed += here - wanted
        if lent:  # it may be gone by itself, and what stays must stay for good
            yield from self._of_own(wire.DROP_ELEMENT, name, own, lent)
            removed = [each for each in removed if each not in lent]
            added += lent.intersection(own.elements).difference(added)
        yield from self._of_own(wire.DEL_ELEMENT, name, own, removed)
        yield from self._of_own(wire.NEW_ELEMENT, name, own, added)

    def _of_own(self, kind: int, name: str, own: OwnSet, texts: Collection[str]) -> Iterator[bytes]:
        if texts:
            yield from elements.of_keys(kind, self._family, NAME, name, elements.joined(own.key, sorted(texts)))

    def _own_reconciled(self, name: str, own: OwnSet) -> Iterator[bytes]:
        """The same for a set that was read back."""
        wanted = elements.joined(own.key, sorted(own.elements))
        keys = self._read(name, wanted.shape[1])[0]
        yield from _brought(self._family, name, keys, wanted, lasting=own.lasting)

    def _changed(self) -> dict[str, list[Statement]]:
        """The chains that may differ, ready for the kernel."""
        known = self._before.made_of
        found = {}
        self._asks = (
            {} if known is None else {n: asks for n, asks in self._before.asks.items() if n in self._table.chains}
        )
        for name in renewed({} if known is None else known.chains, self._table.chains):
            found[name] = statements = [assemble(line, self._family) for line in self._table.chains[name]]
            self._asks[name] = tuple(values.name for statement in statements for values in statement.values)
        return found

    def _values(self, changed: Mapping[str, list[Statement]]) -> None:
        """Lists of constants: nearly every rule asks one, so they stand before all other sets."""
        wanted = {values.name: values for found in changed.values() for each in found for values in each.values}
        for name, values in wanted.items():
            if name not in self._before.lists:
                first, *rest = objects.values(self._family, values)
                self._make(first)
                self._say(*rest)

    def _rules(self, name: str, statements: list[Statement]) -> None:
        old = self._chains[name]
        head, tail = _same_ends(old, statements)
        if head == len(old) == len(statements):
            return
        if head + tail == len(old) and tail == 0:  # only more at the end
            self._chains[name] = [*old]
            for statement in statements[head:]:
                self._put(name, self._chains[name], len(self._chains[name]), statement, last=True)
            return
        self._chains[name] = self._edited(name, old, statements, head, tail)

    def _edited(self, name: str, old: list[Placed], statements: list[Statement], head: int, tail: int) -> list[Placed]:
        middle, wanted = old[head : len(old) - tail], statements[head : len(statements) - tail]
        blocks = _blocks([placed.tag for placed in middle], [statement.tag for statement in wanted])
        kept: list[Placed] = []
        additions: list[tuple[int, Statement]] = []  # place in the chain that comes to be
        for what, i1, i2, j1, j2 in blocks:
            if what == "equal":
                kept += middle[i1:i2]
                continue
            self._say(*(objects.no_rule(self._family, name, placed.handle) for placed in middle[i1:i2]))
            for statement in wanted[j1:j2]:
                additions.append((head + len(kept), statement))
                kept.append(Placed(statement.tag, 0))
        made = [*old[:head], *kept, *(old[len(old) - tail :] if tail else [])]
        self._insert(name, made, additions)
        return made

    def _insert(self, name: str, chain: list[Placed], additions: list[tuple[int, Statement]]) -> None:
        """New rules stand behind a rule that stays: the last of them is sent first, so that the handle is known."""
        new = {place for place, _ in additions}
        for place, statement in reversed(additions):
            before = place - 1
            while before in new:
                before -= 1
            self._put(name, chain, place, statement, after=chain[before].handle if before >= 0 else None)

    def _put(
        self, name: str, chain: list[Placed], place: int, statement: Statement, *, after: int | None = None,
        last: bool = False,
    ) -> None:  # fmt: skip
        if place == len(chain):
            chain.append(Placed(statement.tag, 0))
        self._into.rules.setdefault(self._family, []).append((len(self._into.messages), len(self._made)))
        self._into.messages.append(
            objects.rule(self._family, name, statement, after=after, first=after is None and not last)
        )
        self._made.append((chain, place))

    def _verdicts(self) -> None:
        known = self._before.made_of
        for name, dispatch in self._table.maps.items():
            if known is not None and known.maps.get(name) is dispatch:
                continue
            old = self._before.maps.get(name, {})
            changed = {key for key in _differing(old, dispatch.chains) if old.get(key) != dispatch.chains.get(key)}
            self._pairs(wire.DEL_ELEMENT, name, {k: v for k, v in old.items() if k in changed})
            self._pairs(wire.NEW_ELEMENT, name, {k: v for k, v in dispatch.chains.items() if k in changed})

    def _pairs(self, kind: int, name: str, chains: Mapping[str, str]) -> None:
        interface = name.endswith("_interface")
        pairs = [
            (elements.packed_name(key) if interface else elements.addresses([key], 6 if ":" in key else 4).tobytes(),
             x.verdict_data("jump", chain))
            for key, chain in chains.items()
        ]  # fmt: skip
        self._say(*elements.of_verdicts(kind, self._family, NAME, name, pairs))

    def _unused(self) -> None:
        before, table = self._before, self._table
        self._lists = set(chain.from_iterable(self._asks.values()))
        for had, wanted in (
            (before.interfaces, table.interfaces),
            (before.sets, table.sets),
            (before.own, table.own),
            (sorted(before.filled), table.filled),
            (sorted(before.lists), self._lists),
        ):
            self._say(*(objects.no_set(self._family, name) for name in had if name not in wanted))
        self._say(*(objects.no_limit(self._family, name) for name in sorted(before.limits)))

    def _after(self) -> Installed:
        table = self._table
        return Installed(
            family=self._family,
            sets=dict(table.sets),
            own=dict(table.own),
            filled=set(table.filled),
            lists=self._lists,
            interfaces=dict(table.interfaces),
            maps={name: dict(dispatch.chains) for name, dispatch in table.maps.items()},
            hooks={name: str(hook) for name, hook in table.hooks.items()},
            chains=self._chains,
            made_of=table,
            asks=self._asks,
        )


def _blocks(old: list[bytes], new: list[bytes]) -> list[tuple[str, int, int, int, int]]:
    """What stays and what is replaced, as difflib tells it."""
    if set(old).isdisjoint(new):
        return [("replace", 0, len(old), 0, len(new))]
    return [*SequenceMatcher(None, old, new, autojunk=False).get_opcodes()]


def _differing(old: Mapping[Key, object], new: Mapping[Key, object]) -> Iterator[Key]:
    """The keys under which the two have not the same object."""
    found = renewed(old, new)
    yield from found
    if len(old) + sum(key not in old for key in found) > len(new):
        yield from old.keys() - new.keys()


def of_members(kind: int, family: str, name: str, part: SetPart, texts: Sequence[str]) -> Iterator[bytes]:
    """Messages that add (or remove) these members of a set."""
    if not texts:
        return
    if part.prefixes:
        starts, ends = elements.prefixes(texts, part.version)
        yield from elements.of_intervals(kind, family, NAME, name, starts, ends)
    else:
        yield from elements.of_keys(kind, family, NAME, name, elements.addresses(texts, part.version))


def _reconciled(family: str, name: str, part: SetPart, keys: elements.Keys, ends: elements.Keys) -> Iterator[bytes]:
    """The same for a set that was read back: what is in it too much goes, what is missing comes."""
    if part.prefixes:
        starts, behind = elements.prefixes(part.members, part.version)
        if not (_same(keys, starts) and _same(ends, behind[behind.any(axis=1)])):
            yield wire.message(wire.DEL_ELEMENT, family, _whole(name))
            yield from elements.of_intervals(wire.NEW_ELEMENT, family, NAME, name, starts, behind)
        return
    yield from _brought(family, name, keys, elements.addresses(part.members, part.version), lasting=False)


def _brought(family: str, name: str, keys: elements.Keys, wanted: elements.Keys, *, lasting: bool) -> Iterator[bytes]:
    """From these keys to those that are wanted."""
    if lasting:  # what was lent before would run out by itself, and what stays must stay for good
        yield from elements.of_keys(wire.DROP_ELEMENT, family, NAME, name, keys)
        yield from elements.of_keys(wire.NEW_ELEMENT, family, NAME, name, wanted)
        return
    yield from elements.of_keys(wire.DEL_ELEMENT, family, NAME, name, elements.without(keys, wanted))
    yield from elements.of_keys(wire.NEW_ELEMENT, family, NAME, name, elements.without(wanted, keys))


def _whole(name: str) -> bytes:
    return elements.set_name(NAME, name)


def _same(one: elements.Keys, other: elements.Keys) -> bool:
    return len(one) == len(other) and not len(elements.without(one, other))


def _same_ends(old: Sequence[Placed], new: Sequence[Statement]) -> tuple[int, int]:
    """How many rules at the beginning, and then at the end, are the same."""
    most = min(len(old), len(new))
    head = 0
    while head < most and old[head].tag == new[head].tag:
        head += 1
    tail = 0
    while tail < most - head and old[-1 - tail].tag == new[-1 - tail].tag:
        tail += 1
    return head, tail
