"""Judging window by window: the windows that are closed for good, and those that stay open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from netpersona import pipeline
from netpersona.app.spool import Slice
from netpersona.flow.vm import VmId, canonical_address
from netpersona.flow.window import HOUR
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


class Seen(NamedTuple):
    """Some hours of flows and transactions, each once, as the VMs see them (pipeline.as_seen)."""

    flows: pl.DataFrame
    transactions: pl.DataFrame
    fleets: Mapping[int, Fleet]  # which VMs were known by each hour, by its start (µs)


def seen_by(fleet: Fleet, part: Slice, ground: Ground) -> Seen:
    """An hour of the spool as the fleet's VMs see it."""
    return Seen(*pipeline.as_seen(part.flows, part.transactions, fleet, ground), {part.start: fleet})


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

    def judge(self, seen: Seen) -> None:
        """Judge some hours; they come in order."""
        for part in _in_parts(seen.flows, seen.transactions):
            observations = list(observe(*part, self.ground.intel, self.ground.window))
            observations.sort(key=_by_vm)  # what one VM's windows need stays in the processor's cache
            for observation in observations:
                start = observation.window.start
                self._window(observation, seen.fleets[start - start % HOUR])

    def _window(self, observation: Observation, fleet: Fleet) -> None:
        vm, end = observation.vm, observation.window.end
        over = self.horizon is not None and end <= self.horizon
        state = self.closed.states.get(vm) if over else self.open.states.get(vm, self.closed.states.get(vm))
        step = pipeline.step(state or pipeline.begun(fleet.vms[vm]), observation, fleet.addresses, self.ground)
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
    """The tables cut between windows, in order, into parts of about AT_ONCE rows."""
    if flows.height + transactions.height <= AT_ONCE:
        yield flows, transactions
        return
    windows = pl.concat([flows["window"], transactions["window"]]).value_counts(sort=False).sort("window")
    parts = windows.select("window", part=pl.col("count").cum_sum() // AT_ONCE)
    spans = parts.group_by("part").agg(first=pl.min("window"), last=pl.max("window")).sort("part")
    for _, first, last in spans.iter_rows():
        now = pl.col("window").is_between(first, last)
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
