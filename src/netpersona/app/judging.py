"""Judging hour by hour: the windows that are closed for good, and those that stay open."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from netpersona import pipeline
from netpersona.flow.vm import VmId, canonical_address
from netpersona.observation.model import Observation
from netpersona.observation.observe import observe
from netpersona.persona.model import RiskTerm
from netpersona.persona.state import VmState
from netpersona.pipeline import Fleet, Ground
from netpersona.ports import Outcome, PersonaVersion
from netpersona.risk.finding import Finding
from netpersona.risk.judge import Step

AT_ONCE = 50_000  # rows that are observed at once
NAMES_KEPT = 2_000  # DNS names remembered for each VM

Names = dict[VmId, dict[str, dict[str, int]]]  # VM -> name -> address -> last seen, µs


class Hour(NamedTuple):
    """One hour of flows and transactions, each once, and whose of them are to be judged."""

    flows: pl.DataFrame
    transactions: pl.DataFrame
    fleet: Fleet
    addresses: frozenset[str]  # of all VMs, also of those that are judged elsewhere


@dataclass(slots=True)
class Verdicts:
    """An Outcome in the making."""

    states: dict[VmId, VmState] = field(default_factory=dict)
    versions: list[PersonaVersion] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    terms: list[tuple[VmId, RiskTerm]] = field(default_factory=list)

    def take(self, step: Step, at: int) -> None:
        """Add what one window of one VM gave."""
        persona = step.state.persona
        self.states[persona.vm] = step.state
        if step.changes:
            self.versions.append(PersonaVersion(persona, at, "; ".join(step.changes)))
        self.findings.update((finding.id, finding) for finding in step.findings)
        self.terms.extend((persona.vm, term) for term in step.terms)

    def join(self, other: Verdicts) -> None:
        """Add what was judged of other VMs."""
        self.states |= other.states
        self.versions += other.versions
        self.findings |= other.findings
        self.terms += other.terms

    def outcome(self) -> Outcome:
        """The finished Outcome, in an order of its own."""
        return Outcome(
            states=dict(sorted(self.states.items())),
            versions=sorted(self.versions, key=lambda v: (v.at, v.persona.vm)),
            findings=sorted(self.findings.values(), key=lambda f: (f.judged_at, f.id)),
            terms=sorted(self.terms, key=lambda t: (t[1].at, t[0], t[1].detector, t[1].finding)),
        )


@dataclass(slots=True)
class Judging:
    """The keyed states of some VMs on their way through the hours.

    Windows that end by `horizon` (µs) are closed for good; later ones are judged from there, beside them.
    """

    ground: Ground
    horizon: int | None
    closed: Verdicts = field(default_factory=Verdicts)
    open: Verdicts = field(default_factory=Verdicts)
    names: Names = field(default_factory=dict)
    at: int | None = None  # µs: the end of the last window judged

    def hour(self, hour: Hour) -> None:
        """Judge one hour; hours come in order."""
        flows, transactions = pipeline.as_seen(hour.flows, hour.transactions, hour.fleet, self.ground)
        for part in _in_parts(flows, transactions):
            seen = list(observe(*part, self.ground.intel, self.ground.window))
            seen.sort(key=_by_vm)  # what one VM's windows need stays in the processor's cache
            for observation in seen:
                self._window(observation, hour)

    def _window(self, observation: Observation, hour: Hour) -> None:
        vm, end = observation.vm, observation.window.end
        over = self.horizon is not None and end <= self.horizon
        state = self.closed.states.get(vm) if over else self.open.states.get(vm, self.closed.states.get(vm))
        step = pipeline.step(state or pipeline.begun(hour.fleet.vms[vm]), observation, hour.addresses, self.ground)
        (self.closed if over else self.open).take(step, end)
        remember_names(self.names.setdefault(vm, {}), observation)
        self.at = end if self.at is None else max(self.at, end)

    def join(self, other: Judging) -> None:
        """Add what was judged of other VMs."""
        self.closed.join(other.closed)
        self.open.join(other.open)
        self.names |= other.names
        self.at = max((at for at in (self.at, other.at) if at is not None), default=None)


def _in_parts(flows: pl.DataFrame, transactions: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The tables whole or, where they hold much, window by window: observations are made for a part at a time."""
    if flows.height + transactions.height <= AT_ONCE:
        yield flows, transactions
        return
    for window in pl.concat([flows["window"].unique(), transactions["window"].unique()]).unique().sort():
        now = pl.col("window") == window
        yield flows.filter(now), transactions.filter(now)


def _by_vm(observation: Observation) -> tuple[VmId, int]:
    return observation.vm, observation.window.start


def remember_names(names: dict[str, dict[str, int]], observation: Observation) -> None:
    """The addresses that DNS answers gave for each name: what policies on domains are enforced by."""
    for use in observation.names:
        addresses = [found for answer in use.answers if (found := _address(answer)) is not None]
        if use.kind != "dns" or not addresses:
            continue
        known = names.pop(use.name, {})
        known.update((address, max(use.last, known.get(address, 0))) for address in addresses)
        names[use.name] = known
    while len(names) > NAMES_KEPT:
        del names[next(iter(names))]


def _address(answer: str) -> str | None:
    """The answer's address in canonical text; None for the names and texts that DNS answers too."""
    try:
        return canonical_address(answer)
    except ValueError:
        return None


@contextmanager
def no_collector() -> Iterator[None]:
    """Without Python's cycle collector: judging makes millions of tuples and no cycles, and it costs a third.

    For the whole of a run, not for each hour: switched on again it would first walk over all that is kept.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
