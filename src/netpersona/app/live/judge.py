"""Judging while it happens: the open window again whenever a VM has new evidence, and for good when it closes.

    report --> OpenWindows --+--> windows that are over  --> step() --> closed state   (learned, stored)
                             '--> windows that go on     --> step() --> open state     (shown, enforced, thrown away)

An open state always grows out of the closed one, so that judging ten times a second teaches nothing ten times.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
from msgspec import structs

from netpersona import pipeline
from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.adapters.stores.blobs import PackedNames, packed_names
from netpersona.app.judging import Names, Verdicts, remember_names
from netpersona.app.live.lasting import Lasting, stretched
from netpersona.app.live.notice import noticed
from netpersona.app.live.stopped import Stopped
from netpersona.app.past import Past
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import HOUR, Window
from netpersona.observation.model import Observation
from netpersona.observation.observe import observe
from netpersona.persona.model import Persona
from netpersona.persona.state import VmState
from netpersona.pipeline import Fleet, Ground
from netpersona.policy.triggers import next_end
from netpersona.ports import Checkpoint, PersonaVersion, Store
from netpersona.risk import ledger
from netpersona.risk.finding import Finding
from netpersona.risk.judge import Step

NAMES_HELD = 6 * HOUR  # µs for which a name is known after it was answered last: `why` says it beside an address
ADDRESSES_KEPT = 64  # of each name that a VM asks for
GONE_KEPT = 500  # VMs that left, whose states are held here; those of others are only in the store
REMEMBERED = 10_000  # findings of which it is remembered when they were first raised


@dataclass(slots=True)
class LiveJudge:
    """The keyed states of all VMs, and the windows that are open."""

    ground: Ground
    windows: OpenWindows
    closed: Verdicts = field(default_factory=Verdicts)  # since the last checkpoint, but for `states`: all of them
    open: dict[VmId, Verdicts] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    closed_until: int | None = None  # µs
    fleet: Fleet = field(default_factory=Fleet)
    stopped: Stopped = field(default_factory=Stopped)
    past: Past | None = None  # where the flows of closed windows are kept
    _over: list[tuple[Observation, Sequence[Finding]]] = field(default_factory=list)  # closed, and not told by over()
    recall: Callable[[VmId], VmState | None] = lambda _: None  # a state that is only in the store.  Raises StoreError
    _gone: dict[VmId, None] = field(default_factory=dict)  # VMs that left, the first first
    _forgotten: set[VmId] = field(default_factory=set)  # whose states are only in the store
    _taps: dict[str, VmId] = field(default_factory=dict)
    _lasting: Lasting = field(default_factory=Lasting)
    _handed: tuple[Verdicts, set[VmId]] | None = None  # what the checkpoint under way has of `closed` and `_learned`
    _told: dict[VmId, PackedNames] = field(default_factory=dict)  # names as they were handed out
    _named: set[VmId] = field(default_factory=set)  # whose names changed since
    _learned: set[VmId] = field(default_factory=set)  # whose closed state changed since the last checkpoint
    _aside: dict[VmId, int] = field(default_factory=dict)  # up to when what a VM did is set aside, µs
    _raised: dict[str, int] = field(default_factory=dict)  # finding -> when it was first raised, µs
    _exempt_at: int = 0  # µs: up to when the terms' marks follow the exemptions
    _exempt_until: int | None = None  # µs: when the next exemption ends

    def follow(self, vms: Iterable[Vm]) -> set[VmId]:
        """Take the VMs that exist now; gives those that are new, changed or gone.

        Raises StoreError where one that left long ago is back, and the store does not tell its state; then nothing is
        changed.
        """
        fleet = Fleet({vm.name: vm for vm in vms})
        back = {
            vm: pipeline.exempted(state, self._exempt_at, self.ground)
            for vm in self._forgotten & fleet.vms.keys()
            if (state := self.recall(vm)) is not None
        }
        self._forgotten -= fleet.vms.keys()
        self.closed.states.update(back)
        changed = {
            name for name in self.fleet.vms.keys() | fleet.vms.keys() if self.fleet.vms.get(name) != fleet.vms.get(name)
        }
        self.fleet = fleet
        self._taps = {vm.interface: vm.name for vm in fleet.vms.values() if vm.interface is not None}
        for name in changed & fleet.vms.keys():
            self._gone.pop(name, None)
            state = self.closed.states.get(name)
            self._learn(
                name, pipeline.begun(fleet.vms[name]) if state is None else pipeline.followed(state, fleet.vms[name])
            )
            self.open.pop(name, None)
        for name in changed - fleet.vms.keys():
            self.open.pop(name, None)
            self._gone[name] = None
        return changed

    def persona(self, vm: VmId) -> Persona:
        """The VM's persona as it stands now, and what it is exposed to by all that is known now."""
        return self.ground.exposures.on(self._state(vm).persona)

    def personas(self) -> dict[VmId, Persona]:
        """The personas of all VMs that exist, as they stand now."""
        return {vm: self.persona(vm) for vm in sorted(self.fleet.vms)}

    def findings(self) -> dict[str, Finding]:
        """What was found since the last checkpoint, the open windows' findings among it."""
        found = {**(self._handed[0].findings if self._handed is not None else {}), **self.closed.findings}
        for verdicts in self.open.values():
            found |= verdicts.findings
        return found

    def take(self, report: Report, now: int) -> set[VmId]:
        """Judge what the report brings; gives the VMs that were judged.  The open window goes up to `now` (µs)."""
        touched = self._touched(report.batch.flows, report.batch.transactions, report.asked)
        for start, rows in self.windows.add(report):
            self._close(start, rows)
            touched |= self.open.keys()
        touched &= self.fleet.vms.keys()
        self._judge_open(touched, now)
        return touched

    def over(self) -> list[tuple[Observation, Sequence[Finding]]]:
        """The windows that closed since this was last asked, each with what was found in it."""
        told, self._over = self._over, []
        return told

    def on_timer(self, now: int) -> set[VmId]:
        """Let end what was to hold for a while only; gives the VMs of which something ended."""
        ended = self.exempt(now) if self._exempt_until is not None and self._exempt_until <= now else set()
        for vm in self.fleet.vms:
            state = self._state(vm)
            end = next_end(state.persona.mitigations)
            if end is not None and end <= now and (after := pipeline.on_timer(state, now, self.ground)) is not state:
                self.open.setdefault(vm, Verdicts()).states[vm] = after
                ended.add(vm)
        return ended

    def worried(self) -> set[VmId]:
        """The VMs whose risk fades while nothing happens."""
        return {vm for vm in self.fleet.vms if self._state(vm).persona.risk_ledger}

    def notice(self, findings: Iterable[Finding], now: int) -> set[VmId]:
        """Take what was found beside the windows, for good; gives the VMs that it is about."""
        about = set()
        for finding in findings:
            state = self.closed.states.get(finding.vm)
            if state is None:
                continue
            about.add(finding.vm)
            after = noticed(state.persona, finding, now)
            self._learn(finding.vm, structs.replace(state, persona=after.persona))
            self.closed.findings[finding.id] = self._first_raised(finding)
            if after.term is not None:
                self.closed.terms.append((finding.vm, after.term))
            if after.change is not None:
                self.closed.versions.append(PersonaVersion(after.persona, now, after.change))
        self._judge_open(self.fleet.vms.keys() & about, now)
        return about

    def set_aside(self, vm: VmId, now: int) -> None:
        """What the VM did up to now (µs) counts no longer, where its window is still open."""
        self._aside[vm] = now

    def reground(self, ground: Ground, now: int) -> None:
        """Judge what is open by other policies and indicators from now on."""
        others = ground.exemptions is not self.ground.exemptions
        self.ground = ground
        if others:
            self.exempt(now)
        self._judge_open(set(self.fleet.vms), now)

    def exempt(self, now: int) -> set[VmId]:
        """Let count, of what is known of the VMs, what counts now (µs); gives those whose risk is another.

        Their mitigations follow at once.
        """
        self._exempt_at, self._exempt_until = now, self.ground.exemptions.next_end(now)
        changed = set()
        for vm, state in list(self.closed.states.items()):
            after = pipeline.exempted(state, now, self.ground)
            if after is not state:
                after = pipeline.on_timer(after, now, self.ground) if vm in self.fleet.vms else after
                self._learn(vm, self._versioned(state.persona, after, now))
                changed.add(vm)
        self._judge_open(self.fleet.vms.keys() & changed, now)
        return changed

    def _versioned(self, before: Persona, after: VmState, now: int) -> VmState:
        """The state as a new version, where a person would call it another risk."""
        then, word = (ledger.word(ledger.risk_score(each, now)) for each in (before, after.persona))
        if then == word:
            return after
        persona = structs.replace(after.persona, version=after.persona.version + 1)
        why = f"risk went from {then} to {word}, by what is allowed, or known of feeds, from now on"
        self.closed.versions.append(PersonaVersion(persona, now, why))
        return VmState(persona, after.memory)

    def again(self, vms: Collection[VmId], now: int) -> None:
        """Judge what is open of these VMs once more: what they are has changed, or nobody did yet."""
        self._judge_open(self.fleet.vms.keys() & set(vms), now)

    def edited(self, states: Mapping[VmId, VmState], now: int) -> None:
        """Take the closed states as the store has them: a person changed a persona there."""
        self.closed.states.update((vm, state) for vm, state in states.items() if vm not in self._forgotten)
        self._judge_open(set(self.fleet.vms), now)

    def to_bytes(self) -> bytes:
        """What a restart must not forget beside what the store knows: what is set aside."""
        return json.dumps(self._aside).encode()

    def remember(self, store: Store) -> None:
        """Take back what to_bytes() was given of, and what else the store knows; what is not held here is there."""
        content = store.context("aside")
        self._aside.update({} if content is None else json.loads(content))
        self.names.update(store.names())
        self._named.update(self.names)
        self._raised.update((found.id, found.judged_at) for found in store.findings()[-REMEMBERED:])
        self.recall = lambda vm: store.states().get(vm)
        self._gone = dict.fromkeys(sorted(self.closed.states.keys() - {vm.name for vm in store.vms()}))
        self._forget_gone()

    def checkpoint(self, context: Mapping[str, bytes]) -> Checkpoint:
        """All that a restart needs, for another thread to write; then call stored(), or not_stored()."""
        closed = replace(self.closed.outcome(), states={vm: self.closed.states[vm] for vm in sorted(self._learned)})
        still = Verdicts()
        for verdicts in self.open.values():
            still.join(verdicts)
        parts = [self.windows.table(start) for start in self.windows.starts()]
        pending = batch(
            pl.concat([p.flows for p in parts]) if parts else None,
            pl.concat([p.transactions for p in parts]) if parts else None,
        )
        vms = [self.fleet.vms[vm] for vm in sorted(self.fleet.vms)]
        self._handed = self.closed, self._learned
        self.closed, self._learned = Verdicts(self.closed.states), set()
        return Checkpoint(self.closed_until, closed, still.outcome(), pending, vms, self._names_told(), context)

    def stored(self) -> None:
        """The checkpoint is written: what it holds of closed windows need not be kept here."""
        self._handed = None
        self._forget_gone()

    def let_go(self, vms: Iterable[VmId]) -> None:
        """Hold nothing any more of these VMs, which the store forgot, but of one that is back or has news for it."""
        for vm in set(vms) - self.fleet.vms.keys() - self._learned:
            self._release(vm)
            self._forgotten.discard(vm)

    def not_stored(self) -> None:
        """It is not: the next one has to hold it."""
        if self._handed is not None:
            (closed, learned), since = self._handed, self.closed
            closed.join(since)
            self.closed, self._learned, self._handed = closed, learned | self._learned, None

    def _forget_gone(self) -> None:
        """Hold no more states of VMs that left than GONE_KEPT: hosts may have new VMs all the time."""
        for vm in [vm for vm in self._gone if vm not in self._learned][: max(0, len(self._gone) - GONE_KEPT)]:
            self._release(vm)
            self._forgotten.add(vm)

    def _release(self, vm: VmId) -> None:
        for held in (self._gone, self.closed.states, self.names, self._told):
            held.pop(vm, None)
        self._named.discard(vm)

    def _names_told(self) -> dict[VmId, PackedNames]:
        """The names, as nobody changes them any more; packed, since they are kept until they change."""
        for vm in self._named:
            self._told[vm] = PackedNames(packed_names(self.names[vm]))
        self._named.clear()
        return dict(self._told)

    def _close(self, start: int, rows: FlowBatch) -> None:
        self.closed_until = start + self.ground.window
        if self.past is not None:
            self.past.closed(rows, self._taps, self.fleet, self.ground, self.closed_until)
        self._aside = {vm: until for vm, until in self._aside.items() if until > start}
        for observation in self._observations(rows, self._taps.values()):
            step = self._step(self.closed.states.get(observation.vm), observation)
            self.closed.take(step, observation.window.end)
            self._over.append((observation, step.findings))
            self._learned.add(observation.vm)
            self._remember_names(observation)
            _bound(self.names[observation.vm], {use.name for use in observation.names}, start - NAMES_HELD)
        self._lasting.closed(rows.flows, self.closed_until)

    def _judge_open(self, vms: Collection[VmId], now: int) -> None:
        for vm in vms:
            self.open.pop(vm, None)
        sources = [tap for tap, vm in self._taps.items() if vm in vms]
        for start in self.windows.starts() if sources else ():
            for observation in self._observations(self.windows.table(start, sources), vms):
                so_far = structs.replace(
                    observation, window=Window(start, max(start + 1, min(observation.window.end, now)))
                )
                verdicts = self.open.setdefault(observation.vm, Verdicts())
                before = verdicts.states.get(observation.vm, self.closed.states.get(observation.vm))
                verdicts.take(self._step(before, so_far), so_far.window.end)
                self._remember_names(observation)

    def _remember_names(self, observation: Observation) -> None:
        remember_names(self.names.setdefault(observation.vm, {}), observation)
        self._named.add(observation.vm)

    def _observations(self, rows: FlowBatch, vms: Collection[VmId]) -> Iterable[Observation]:
        taps = {tap: vm for tap, vm in self._taps.items() if vm in vms}
        flows, transactions = pipeline.at_taps(rows.flows, rows.transactions, taps, self.fleet.part(vms), self.ground)
        flows, transactions = self._counting(self.stopped.without(flows)), self._counting(transactions)
        lengths = self._lasting.lengths(rows.flows)
        return (stretched(o, lengths) for o in observe(flows, transactions, self.ground.intel, self.ground.window))

    def _counting(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The oriented rows without what was set aside."""
        for vm, until in self._aside.items():
            rows = rows.filter((pl.col("vm") != vm) | (pl.col("start") >= until))
        return rows

    def _step(self, state: VmState | None, observation: Observation) -> Step:
        before = pipeline.begun(self.fleet.vms[observation.vm]) if state is None else state
        step = pipeline.step(before, observation, self.fleet.addresses, self.ground)
        return step._replace(findings=[self._first_raised(f) for f in step.findings]) if step.findings else step

    def _first_raised(self, finding: Finding) -> Finding:
        """The finding, raised when it was first raised: judging again is no news."""
        raised = self._raised.setdefault(finding.id, finding.judged_at)
        while len(self._raised) > REMEMBERED:
            del self._raised[next(iter(self._raised))]
        return finding if raised >= finding.judged_at else replace(finding, judged_at=raised)

    def _state(self, vm: VmId) -> VmState:
        verdicts = self.open.get(vm)
        state = verdicts.states.get(vm) if verdicts is not None else None
        return state or self.closed.states.get(vm) or pipeline.begun(self.fleet.vms[vm])

    def _learn(self, vm: VmId, state: VmState) -> None:
        self.closed.states[vm] = state
        self._learned.add(vm)

    def _touched(self, *tables: pl.DataFrame) -> set[VmId]:
        sources = {source for table in tables for source in table["source"].unique()}
        return {self._taps[source] for source in sources if source in self._taps}


def _bound(names: dict[str, dict[str, int]], asked: Iterable[str], before: int) -> None:
    """Forget the names that were answered last before then (µs), and the addresses of those asked for that were.

    Some names are answered with another address every minute: of each about ADDRESSES_KEPT are known at most.
    """
    for name in asked:
        known = {address: last for address, last in names.get(name, {}).items() if last >= before}
        if len(known) > ADDRESSES_KEPT:
            known = dict(sorted(known.items(), key=lambda item: (-item[1], item[0]))[: ADDRESSES_KEPT // 2])
        if known:
            names[name] = known
    while names and max(names[oldest := next(iter(names))].values()) < before:  # they stand in the order of their use
        del names[oldest]


def resumed(ground: Ground, states: Mapping[VmId, VmState], closed_until: int | None, pending: FlowBatch) -> LiveJudge:
    """A judge that goes on where a store stands: with the closed states, and the flows of the windows then open."""
    judge = LiveJudge(ground, OpenWindows(ground.window), Verdicts(dict(states)), closed_until=closed_until)
    again = pending.flows.with_columns(uid=pl.lit("before:") + pl.col("uid"))  # a new sensor counts anew
    judge.windows.add(Report(batch(again, pending.transactions), pending.transactions.clear(), closed_until or 0))
    return judge
