"""Which addresses stand, for each VM, for names that feeds list: so a listed name decides the flow that follows it.

    answers of all VMs --> those of names that a listing may cover --> suspects: their addresses
    all that any VM was answered with a suspect --> intel.shared_hosting --> a listed name's alone, or many others' too

Names are looked up once, and rows are kept only of suspects: where no VM was answered a listed name, a VM that is put
costs the difference of two sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import polars as pl

from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.listed_names import listed_as
from netpersona.intel.shared_hosting import ANSWERS, listed_answers
from netpersona.intel.sites import registered_domain
from netpersona.ruleset.peers import PeerSet, numerically

InForce = Mapping[str, tuple[str, ...]]  # for each domain the addresses that it stands for, canonical

_KEPT = 200_000  # names of which is kept whether a listing may cover them
_NOBODY: frozenset[str] = frozenset()


class _Found(NamedTuple):
    """One answer of a listed name, in words, and why its address is not to be blocked; None: it may be."""

    address: str
    reputation: float
    words: str
    shared: str | None


class ListedAnswers:
    """The answers that hold, of all VMs, as intelligence stands at one instant (µs)."""

    def __init__(self, intel: IndicatorSet, at: int) -> None:
        self._intel, self._at = intel, at
        self._known: set[str] = set()  # names that were looked up
        self._listed: set[str] = set()  # those of them that a listing may cover
        self._answers: dict[VmId, InForce] = {}
        self._own: dict[VmId, frozenset[str]] = {}  # the addresses of listed names, of VMs that were answered any
        self._suspects = _NOBODY  # all of these
        self._rows: dict[VmId, frozenset[tuple[str, str]]] = {}  # (name, address) of suspects
        self._found: dict[VmId, tuple[_Found, ...]] = {}
        self._stale = False
        self._gone: set[VmId] = set()  # to be forgotten, where they are not put again

    def put(self, vm: VmId, answers: InForce) -> None:
        """Take a VM's answers, in place of earlier ones."""
        self._gone.discard(vm)
        self._answers[vm] = answers
        self._look_up(answers)
        own = frozenset(address for name in answers.keys() & self._listed for address in answers[name])
        self._suspect(vm, own)
        self._scan(vm)

    def remove(self, vm: VmId) -> None:
        """Forget a VM, unless it is put again before settle()."""
        self._gone.add(vm)

    def settle(self) -> set[VmId]:
        """Judge what changed; gives the VMs whose set_of() may be another one."""
        for vm in self._gone:
            self._forget(vm)
        self._gone.clear()
        if not self._stale:
            return set()
        self._stale = False
        before, self._found = self._found, self._judged()
        return {vm for vm in before.keys() | self._found.keys() if before.get(vm) != self._found.get(vm)}

    def set_of(self, vm: VmId, threshold: str) -> PeerSet:
        """What this VM was answered for names with a reputation below the threshold; settle() first."""
        own = self._own.get(vm)
        if own is None:
            return _empty(threshold)
        below = [each for each in self._found.get(vm, ()) if each.reputation < float(threshold)]
        notes = sorted({(each.address, each.words) for each in below if each.shared is None})
        spared = {each.address: f"{each.words}, but {each.shared}" for each in below if each.shared is not None}
        blocked = {address for address, _ in notes}
        return replace(
            _empty(threshold),
            addresses=numerically(blocked),
            notes=tuple(notes),
            spared=tuple((address, spared.get(address, "")) for address in numerically(own - blocked)),
        )

    def _forget(self, vm: VmId) -> None:
        self._answers.pop(vm, None)
        self._suspect(vm, _NOBODY)
        if self._rows.pop(vm, None) is not None:
            self._stale = True

    def _look_up(self, answers: InForce) -> None:
        fresh = answers.keys() - self._known
        if not fresh:
            return
        if len(self._known) > _KEPT:
            self._known, self._listed, fresh = set(), set(), set(answers)
        self._known |= fresh
        self._listed |= self._intel.listed_names.among(fresh)

    def _suspect(self, vm: VmId, own: frozenset[str]) -> None:
        if own == self._own.get(vm, _NOBODY):
            return
        if own:
            self._own[vm] = own
        else:
            del self._own[vm]
        before, self._suspects = self._suspects, _NOBODY.union(*self._own.values())
        self._stale = True
        if not self._suspects <= before:
            for other in self._answers:
                self._scan(other)

    def _scan(self, vm: VmId) -> None:
        """See which of a VM's answers are of suspects."""
        suspects, found = self._suspects, frozenset[tuple[str, str]]()
        if suspects:
            found = frozenset((name, a) for name, each in self._answers[vm].items() for a in each if a in suspects)
        if found != self._rows.get(vm, _NOBODY):
            self._rows[vm] = found
            self._stale = True

    def _judged(self) -> dict[VmId, tuple[_Found, ...]]:
        rows = [(vm, name, address) for vm, found in self._rows.items() for name, address in found]
        if not rows or not self._own:
            return {}
        answers = pl.DataFrame(rows, ANSWERS, orient="row")
        intel = self._intel
        told = listed_answers(answers, intel, self._at, intel.lists, registered_domain)
        words = listed_as(told["name"].unique(), intel, self._at)
        found: dict[VmId, list[_Found]] = {}
        for vm, name, address, reputation, shared in told.iter_rows():
            found.setdefault(vm, []).append(_Found(address, reputation, words[name], shared))
        return {vm: tuple(each) for vm, each in found.items()}


@lru_cache(maxsize=64)
def _empty(threshold: str) -> PeerSet:
    """One for all VMs, so that comparing them costs nothing."""
    return PeerSet((), (), f"was answered for a name with a reputation below {threshold}", shared=False)
