"""Replay: recorded traffic through the whole pipeline, into a store.

    sensors -> Spool (hours, in order) -> pipeline -> closed windows | open windows -> one checkpoint

The last LATENESS of event time stays open: its flows are kept with the checkpoint and judged again when a later replay
into the same store brings more of them.  So two runs over two halves end where one run over the whole ends.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

from netpersona import pipeline
from netpersona.app.progress import Meter
from netpersona.app.report import Intake
from netpersona.app.spool import Spool
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.account import SourceAccount
from netpersona.flow.vm import VmId
from netpersona.flow.window import HOUR, window_of
from netpersona.observation.model import Observation
from netpersona.persona.model import RiskTerm
from netpersona.persona.state import VmState
from netpersona.pipeline import Fleet, Ground
from netpersona.ports import Checkpoint, Outcome, PersonaVersion, Sensor, Store
from netpersona.risk.finding import Finding
from netpersona.risk.judge import Step

LATENESS = HOUR  # µs of event time for which a flow may come late
NAMES_KEPT = 2_000  # DNS names remembered for each VM
LEARNED = "its window was learned by an earlier replay into this store"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one replay read and judged; the store holds the rest."""

    intake: Intake
    fleet: Fleet
    at: int | None  # µs: the end of the last window judged


@dataclass(slots=True)
class _Verdicts:
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

    def outcome(self) -> Outcome:
        """The finished Outcome."""
        findings = sorted(self.findings.values(), key=lambda f: (f.judged_at, f.id))
        return Outcome(self.states, self.versions, findings, self.terms)


def replay(
    sensors: Sequence[Sensor],
    fleet: Fleet,
    ground: Ground,
    store: Store,
    context: Mapping[str, bytes],
    meter: Meter,
) -> Replayed:
    """Read every sensor to its end, judge what it saw, and write one checkpoint into the store.

    Interrupted at any point before the last, the store is as it was.  Raises SourceError and StoreError.
    """
    with Spool() as spool:
        accounts = _read(sensors, spool, store, meter)
        judged = _judged(spool, fleet, ground, store, meter)
        intake = _intake(accounts, spool, judged, fleet)
    store.commit(judged.checkpoint(store, context))
    return Replayed(intake, judged.fleet, judged.at)


def _read(sensors: Sequence[Sensor], spool: Spool, store: Store, meter: Meter) -> list[SourceAccount]:
    """Everything that the sensors have to say, into the spool, with the flows that a former run left open."""
    meter.stage("reading flows")
    spool.resume(store.pending())
    accounts: list[SourceAccount] = []
    for sensor in sensors:
        for part in sensor.batches():
            flows = part.flows.with_columns(pl.col("source").fill_null(sensor.path))
            spool.add(FlowBatch(flows, part.transactions))
            meter.advance(flows.height)
        accounts.extend(sensor.accounts())
    return accounts


@dataclass(slots=True)
class _Judged:
    """What judging gave: windows closed for good, and those that stay open from `horizon` on."""

    horizon: int | None  # µs
    fleet: Fleet
    closed: _Verdicts
    open: _Verdicts
    names: dict[VmId, dict[str, dict[str, int]]]
    pending: list[FlowBatch] = field(default_factory=list)
    flows: int = 0
    learned_before: int = 0  # flows of windows that an earlier replay closed
    at: int | None = None

    def checkpoint(self, store: Store, context: Mapping[str, bytes]) -> Checkpoint:
        """The store's next step."""
        return Checkpoint(
            closed_until=self.horizon,
            closed=self.closed.outcome(),
            open=self.open.outcome(),
            pending=_joined(self.pending),
            vms=[self.fleet.vms[vm] for vm in sorted(self.fleet.vms)],
            names=self.names,
            context=context,
        )


def _judged(spool: Spool, fleet: Fleet, ground: Ground, store: Store, meter: Meter) -> _Judged:
    before = store.closed_until()
    horizon = _horizon(spool.last, before, ground.window)
    done = _Judged(horizon, fleet, _Verdicts(store.states()), _Verdicts(), store.names())
    meter.stage("judging flows")
    with _no_collector():
        for slice_ in spool.hours():
            flows, late = _after(slice_.flows, before, ground.window)
            transactions, _ = _after(slice_.transactions, before, ground.window)
            done.fleet = done.fleet.joined(flows)
            done.flows += flows.height
            done.learned_before += late
            done.pending.append(_open_part(flows, transactions, horizon))
            _judge_hour(done, pipeline.observations(flows, transactions, done.fleet, ground), ground)
            meter.advance(flows.height)
    return done


def _judge_hour(done: _Judged, observations: Iterable[Observation], ground: Ground) -> None:
    addresses = frozenset(done.fleet.owners)
    for observation in observations:
        vm, end = observation.vm, observation.window.end
        closed = done.horizon is not None and end <= done.horizon
        state = done.closed.states.get(vm) if closed else done.open.states.get(vm, done.closed.states.get(vm))
        if state is None:
            state = pipeline.begun(done.fleet.vms[vm])
        step = pipeline.step(state, observation, addresses, ground)
        (done.closed if closed else done.open).take(step, end)
        _remember_names(done.names.setdefault(vm, {}), observation)
        done.at = end if done.at is None else max(done.at, end)


def _remember_names(names: dict[str, dict[str, int]], observation: Observation) -> None:
    """The addresses that DNS answers gave for each name: what policies on domains are enforced by."""
    for use in observation.names:
        if use.kind != "dns" or not use.answers:
            continue
        known = names.pop(use.name, {})
        known.update((answer, max(use.last, known.get(answer, 0))) for answer in use.answers)
        names[use.name] = known
    while len(names) > NAMES_KEPT:
        del names[next(iter(names))]


def _horizon(last: int | None, before: int | None, length: int) -> int | None:
    """Where the open windows begin: LATENESS before the last flow, and never earlier than they began before."""
    if last is None:
        return before
    horizon = window_of(last - LATENESS, length).start
    return horizon if before is None else max(before, horizon)


def _after(table: pl.DataFrame, before: int | None, length: int) -> tuple[pl.DataFrame, int]:
    """The rows of windows that are not closed yet, and how many were left out."""
    if before is None:
        return table, 0
    rest = table.filter(pl.col("start") - pl.col("start") % length >= before)
    return rest, table.height - rest.height


def _open_part(flows: pl.DataFrame, transactions: pl.DataFrame, horizon: int | None) -> FlowBatch:
    since = horizon or 0
    return FlowBatch(flows.filter(pl.col("start") >= since), transactions.filter(pl.col("start") >= since))


def _joined(parts: Sequence[FlowBatch]) -> FlowBatch:
    if not parts:
        return batch()
    return FlowBatch(pl.concat([p.flows for p in parts]), pl.concat([p.transactions for p in parts]))


def _intake(accounts: Sequence[SourceAccount], spool: Spool, judged: _Judged, fleet: Fleet) -> Intake:
    skipped: dict[str, int] = {LEARNED: judged.learned_before} if judged.learned_before else {}
    for account in accounts:
        for reason, count in account.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    return Intake(accounts, judged.flows, spool.repeated, skipped, spool.first, spool.last, fleet.inferred)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without Python's cycle collector: judging makes millions of tuples and no cycles, and it costs a third."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
