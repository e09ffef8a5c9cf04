"""Which addresses stand, for each VM, for names that feeds list: so a listed name decides the flow that follows it.

    answers of all VMs --> those of names that a listing may cover --> suspects: their addresses
    all that any VM was answered with a suspect --> intel.shared_hosting --> a listed name's alone, or many others' too

Names are looked up once, those of all VMs that changed together, and rows are kept only of suspects: where no VM was
answered a listed name, a VM that changed costs the difference of two sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import polars as pl

from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.listed_names import listed_as
from netpersona.intel.shared_hosting import ANSWERS, listed_answers
from netpersona.intel.sites import registered_domain
from netpersona.ruleset.peers import PeerSet, numerically

InForce = Mapping[str, tuple[str, ...]]  # for each domain the addresses that it stands for, canonical

_KEPT = 1 << 14  # names of which is kept whether a listing may cover them, or twice those that hold
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
        self._room = _KEPT  # names that may be known before those are forgotten that no VM is answered any more
        self._changed: dict[VmId, InForce | None] = {}  # what settle() is to take up; None: the VM is gone
        self._answers: dict[VmId, InForce] = {}
        self._own: dict[VmId, frozenset[str]] = {}  # the addresses of listed names, of VMs that were answered any
        self._suspects = _NOBODY  # all of these
        self._rows: dict[VmId, frozenset[tuple[str, str]]] = {}  # (name, address) of suspects, of VMs that have any
        self._found: dict[VmId, tuple[_Found, ...]] = {}

    def put(self, vm: VmId, answers: InForce) -> None:
        """Take a VM's answers, in place of earlier ones."""
        self._changed[vm] = answers

    def remove(self, vm: VmId) -> None:
        """Forget a VM, unless it is put again before settle()."""
        self._changed[vm] = None

    def settle(self) -> set[VmId]:
        """Judge what changed; gives the VMs whose set_of() may be another one."""
        changed, self._changed = self._changed, {}
        for vm, answers in changed.items():
            _keep(self._answers, vm, answers)
        self._look_up(set().union(*[answers for answers in changed.values() if answers is not None]))
        before = self._suspects
        self._suspect(changed)
        rows = dict(self._rows)
        for vm in changed if self._suspects <= before else changed.keys() | self._answers.keys():
            _keep(self._rows, vm, self._rows_of(vm))
        if self._rows == rows:
            return set()
        found, self._found = self._found, self._judged()
        return {vm for vm in found.keys() | self._found.keys() if found.get(vm) != self._found.get(vm)}

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

    def _look_up(self, names: set[str]) -> None:
        if len(self._known) > self._room:
            held = set().union(*self._answers.values())
            self._known &= held
            self._listed &= held
            self._room = max(_KEPT, 2 * len(held))
        fresh = names - self._known
        self._known |= fresh
        self._listed |= self._intel.listed_names.among(fresh)

    def _suspect(self, vms: Iterable[VmId]) -> None:
        """See which addresses these VMs were answered for listed names."""
        for vm in vms:
            answers = self._answers.get(vm, {})
            _keep(self._own, vm, frozenset(a for name in answers.keys() & self._listed for a in answers[name]))
        self._suspects = _NOBODY.union(*self._own.values())

    def _rows_of(self, vm: VmId) -> frozenset[tuple[str, str]]:
        """Those of a VM's answers that are of suspects."""
        suspects = self._suspects
        if not suspects:
            return frozenset()
        return frozenset((name, a) for name, each in self._answers.get(vm, {}).items() for a in each if a in suspects)

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


def _keep(table: dict[VmId, Any], vm: VmId, value: Any) -> None:
    """Put the VM's value in place of an earlier one; one that is empty is not kept."""
    if value:
        table[vm] = value
    else:
        table.pop(vm, None)


@lru_cache(maxsize=64)
def _empty(threshold: str) -> PeerSet:
    """One for all VMs, so that comparing them costs nothing."""
    return PeerSet((), (), f"was answered for a name with a reputation below {threshold}", shared=False)
