"""From a policy's `peers` to the sets it asks: which sets, what they are called, and what is in them.

A criterion is a small tuple; equal criteria of different rules and VMs share one set, and its name is a function
of the criterion alone.  `not:` is expanded into disjoint alternatives, so that a peer fulfils at most one of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import blake2s
from itertools import islice
from typing import Any, NamedTuple

from netpersona.persona.model import Persona
from netpersona.policy.model import Direction, Peers
from netpersona.ruleset.model import BY_NAME, PORTED, Match, SetRef
from netpersona.ruleset.peers import is_address


class Criterion(NamedTuple):
    """One thing that can be asked of a peer, or, with `services`, of an inbound flow's service."""

    kind: str  # reputation_below categories feeds networks vms domains profile services listed_names
    values: tuple[str, ...]

    @property
    def own(self) -> bool:
        """Whether the answer differs from VM to VM."""
        return self.kind in {"domains", "profile", "services", "listed_names"}


Literal = tuple[Criterion, bool]  # with its sign: True is negated


@lru_cache(maxsize=4096)
def alternatives(
    peers: Peers | None, direction: Direction, *, by_name: bool = False
) -> tuple[tuple[Literal, ...], ...]:
    """The disjoint conjunctions whose union is `peers`; none: nobody, one empty: everybody.

    `by_name`: names are listed, so that a peer that the VM calls has the reputation also of the name that it was
    answered for.
    """
    if peers is None:
        return ((),)
    found = _fulfilled(peers, direction)
    if not by_name or direction is not Direction.OUTBOUND:
        return tuple(found)
    return tuple(literals for each in found for literals in _also_by_name(each))


def is_of_listed(name: str) -> bool:
    """Whether sets of this name hold what VMs were answered for listed names."""
    return name.startswith(BY_NAME)


@lru_cache(maxsize=4096)
def set_name(criterion: Criterion) -> str:
    """The set's name: readable, unique to the criterion, of letters, digits, `_`, `.` and `-` only."""
    if criterion.kind == "reputation_below":
        return f"reputation_below_{criterion.values[0]}"
    if criterion.kind == "listed_names":
        return f"{BY_NAME}{set_name(Criterion('reputation_below', criterion.values))}"
    if criterion.kind == "profile":
        return "profile"
    text = "\n".join(criterion.values)
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower())[:24].strip("_")
    digest = blake2s(text.encode(), digest_size=5).hexdigest()
    return f"{criterion.kind}_{slug}_{digest}"


def known_peers(persona: Persona, answers: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The addresses of this VM's learned outbound traffic.

    Learned are addresses and registered domains; a learned domain stands for the addresses that the VM was answered
    for it and the names below it.
    """
    known = {kind.peer for kind in persona.profile.kinds if kind.direction == "outbound" and is_address(kind.peer)}
    for domain, found in answers.items():
        if covered(domain, persona.profile.names):
            known.update(found)
    return known


def known_services(persona: Persona) -> tuple[tuple[str, int], ...]:
    """The services that others are used to reach on this VM: (transport, port), port 0 where there is none."""
    found = {
        (kind.transport, kind.port if kind.transport in PORTED else 0)
        for kind in persona.profile.kinds
        if kind.direction == "inbound"
    }
    return tuple(sorted(found))


def covered(name: str, suffixes: Collection[str]) -> bool:
    """Whether a domain is one of these or lies below one."""
    return not _STEMS[name].isdisjoint(suffixes)


@lru_cache(maxsize=1024)
def coverage(suffixes: tuple[str, ...]) -> Mapping[str, bool]:
    """For a domain, whether it is one of these or lies below one; what was asked before is remembered."""
    return _Coverage(suffixes)


class _Remembered(dict[str, Any]):
    """Answers for names: there are ever new ones, so the older half is forgotten now and then."""

    def room(self) -> None:
        """Make room for one more."""
        if len(self) >= _KEPT:
            for name in list(islice(self, _KEPT // 2)):
                self.pop(name, None)  # rules are prepared in another thread too


class _Coverage(_Remembered):
    def __init__(self, suffixes: tuple[str, ...]) -> None:
        super().__init__()
        self._suffixes = frozenset(suffixes)

    def __missing__(self, name: str) -> bool:
        self.room()
        found = self[name] = covered(name, self._suffixes)
        return found


class _Stems(_Remembered):
    """Of a domain: itself and every one above it."""

    def __missing__(self, name: str) -> frozenset[str]:
        self.room()
        labels = name.split(".")
        found = self[name] = frozenset(".".join(labels[place:]) for place in range(len(labels)))
        return found


_KEPT = 4096
_STEMS = _Stems()


def as_match(literals: tuple[Literal, ...]) -> Match:
    """A conjunction as the ruleset says it, with sets by name."""
    refs = tuple(SetRef(set_name(c), negated, c.own) for c, negated in literals if c.kind != "services")
    asked = [not negated for c, negated in literals if c.kind == "services"]
    return Match(refs, asked[0] if asked else None)


def _also_by_name(literals: tuple[Literal, ...]) -> list[tuple[Literal, ...]]:
    """The conjunctions in which each reputation is one of the address, or else of a name; disjoint as before."""
    found: list[tuple[Literal, ...]] = [()]
    for criterion, negated in literals:
        own: list[tuple[Literal, ...]] = [((criterion, negated),)]
        if criterion.kind == "reputation_below":
            of_name = Criterion("listed_names", criterion.values)
            by_name = ((of_name, negated), (criterion, True))
            own = [by_name] if negated else [*own, by_name]
        found = [(*before, *each) for before in found for each in own]
    return found


def _fulfilled(peers: Peers, direction: Direction) -> list[tuple[Literal, ...]]:
    own = _literals(peers, direction)
    if any((criterion, not negated) in own for criterion, negated in own):
        return []
    if peers.negated is None:
        return [own]
    return [_joined(own, rest) for rest in _violated(peers.negated, direction) if _possible(own, rest)]


def _violated(peers: Peers, direction: Direction) -> list[tuple[Literal, ...]]:
    """Not (a and b) as: not a; a and not b.  Each leaves the others out."""
    found: list[tuple[Literal, ...]] = []
    before: tuple[Literal, ...] = ()
    for criterion, negated in _literals(peers, direction):
        found.append((*before, (criterion, not negated)))
        before = (*before, (criterion, negated))
    if peers.negated is not None:
        found += [_joined(before, rest) for rest in _fulfilled(peers.negated, direction) if _possible(before, rest)]
    return found


def _joined(first: tuple[Literal, ...], second: tuple[Literal, ...]) -> tuple[Literal, ...]:
    return first + tuple(literal for literal in second if literal not in first)


def _possible(first: tuple[Literal, ...], second: tuple[Literal, ...]) -> bool:
    return not any((criterion, not negated) in first for criterion, negated in second)


def _literals(peers: Peers, direction: Direction) -> tuple[Literal, ...]:
    found: list[Literal] = []
    if peers.reputation_below is not None:
        found.append((Criterion("reputation_below", (repr(float(peers.reputation_below)),)), False))
    for kind, values in (("categories", peers.categories), ("feeds", peers.feeds), ("networks", peers.networks)):
        if values:
            found.append((Criterion(kind, tuple(sorted(set(values)))), False))
    if peers.vms is not None:
        found.append((Criterion("vms", (peers.vms.expression,)), False))
    if peers.domains:
        found.append((Criterion("domains", tuple(sorted(set(peers.domains)))), False))
    if peers.profile is not None:
        kind = "profile" if direction is Direction.OUTBOUND else "services"
        found.append((Criterion(kind, ()), peers.profile == "new"))
    return tuple(found)
