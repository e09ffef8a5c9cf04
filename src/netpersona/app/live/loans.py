"""Loans: addresses that were pushed, in the kernel's sets before they are worked into what is known.

Whatever is applied meanwhile holds them too, or it would take them out again.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from netpersona.app.live.indicators import PUSHED_CONFIDENCE
from netpersona.ruleset.criteria import Criterion
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.peers import PeerSet
from netpersona.ruleset.tables import member_order

_Made = tuple[PeerSet, frozenset[str], PeerSet]  # without, what is lent, with


class Loans:
    """What is lent to each set, with the number of the push that it came by.  For several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._lent: dict[str, dict[str, int]] = {}  # set -> address -> push
        self._made: dict[str, _Made] = {}

    def add(self, name: str, addresses: Collection[str], push: int) -> None:
        """Lend these addresses to a set."""
        with self._guard:
            self._lent.setdefault(name, {}).update(dict.fromkeys(addresses, push))

    def drop(self, addresses: Collection[str]) -> None:
        """Lend these to no set any more."""
        gone = set(addresses)
        self._keep(lambda address, _: address not in gone)

    def are_in(self, pushes: int) -> None:
        """So many pushes are part of what is known: they need no loan."""
        self._keep(lambda _, push: push > pushes)

    def added_to(self, ruleset: Ruleset) -> Ruleset:
        """The ruleset with what is lent to its sets; equal loans to the very same set make the very same set."""
        with self._guard:
            lent = {name: frozenset(found) for name, found in self._lent.items() if name in ruleset.sets}
        if not lent:
            return ruleset
        made = {name: self._with(name, ruleset.sets[name], found) for name, found in lent.items()}
        self._made = made
        return replace(ruleset, sets={**ruleset.sets, **{name: each[2] for name, each in made.items()}})

    def _with(self, name: str, base: PeerSet, lent: frozenset[str]) -> _Made:
        made = self._made.get(name)
        if made is not None and made[0] is base and made[1] == lent:
            return made
        return base, lent, replace(base, addresses=_merged(base.addresses, sorted(lent, key=member_order)))

    def _keep(self, wanted: Callable[[str, int], bool]) -> None:
        with self._guard:
            for name, found in list(self._lent.items()):
                kept = {address: push for address, push in found.items() if wanted(address, push)}
                self._lent[name] = kept
                if not kept:
                    del self._lent[name]


def admitting(criteria: Mapping[str, Criterion], feed: str) -> list[str]:
    """The sets that hold a peer as soon as it is pushed to this feed, whatever others say of it."""
    return [
        name
        for name, criterion in criteria.items()
        if (criterion.kind == "reputation_below" and float(criterion.values[0]) > 1.0 - PUSHED_CONFIDENCE)
        or (criterion.kind == "feeds" and feed in criterion.values)
    ]


def _merged(members: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Both in order, each once: whole stretches are taken over, as members may be a million."""
    found: list[str] = []
    begin = 0
    for each in more:
        place = bisect_left(members, member_order(each), begin, key=member_order)
        found += members[begin:place]
        found.append(each)
        begin = place + (members[place : place + 1] == (each,))
    found += members[begin:]
    return tuple(found)
