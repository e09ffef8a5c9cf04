"""The loop: watch, judge, resolve and enforce, turn by turn, in one thread.

    inventory --> judge.follow(), taps of the sensor          each second
    sensor.poll() --> judge.take() --> rules --> enforcer     each turn, a tenth of a second
    feeds, what was pushed --> ground of the judge            each second, or when it is worked in
    judge.checkpoint() --> store                              when a window closes, and every few seconds

A part that fails is written down as ill and tried again later (supervisor.py); what it gave last stays.  So no failure
here drops a packet: the kernel keeps the last good rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from msgspec import structs

from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.app.live import notify
from netpersona.app.live.clock import Clock
from netpersona.app.live.enforcing import Enforcing
from netpersona.app.live.exempting import LiveExemptions
from netpersona.app.live.health import Health
from netpersona.app.live.judge import resumed
from netpersona.app.live.parts import Parts
from netpersona.app.live.policies import LivePolicies
from netpersona.app.live.saving import Saving
from netpersona.app.live.service import Applied, PolicyVersion
from netpersona.app.live.software import LiveSoftware
from netpersona.app.live.spoofing import Spoofing
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.live.threats import Known, Threats
from netpersona.app.live.told import Told
from netpersona.errors import ConfigError, InventoryError, NetpersonaError, SourceError
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import SECOND
from netpersona.persona.model import Persona
from netpersona.pipeline import Ground
from netpersona.policy.model import PolicySet

TURN = 0.1  # s: how long the sensor is listened to before what it heard is judged
_LOOK = SECOND  # µs between looks at the inventory
_SAVE = 5 * SECOND  # µs between checkpoints
_PUSHES = SECOND  # µs between checkpoints for what is pushed, which is answered for before the store has it
_FADE = 5 * SECOND  # µs between resolutions where nothing happened: risk fades, listings end
_SAID = 5  # problems of the inventory that are written out
_HEAL = 3 * SECOND  # µs between looks whether the kernel still holds our rules


class Loop:
    """All that the controller holds.  Not for several threads at once, but for `listen`."""

    def __init__(self, parts: Parts, texts: Mapping[str, str], at: int) -> None:
        store = parts.store
        self._parts = parts
        self._clock = Clock(at, store.closed_until(), parts.steady, parts.window)
        self.supervisor = Supervisor(self._clock.event(at))
        self.policies = LivePolicies(parts.policies, store, texts, self.now)
        self.threats = Threats(parts.indicators, self.supervisor)
        self.told = Told(store.context("receipts"))
        self._software = LiveSoftware.of_bytes(store.context("software"))
        self._spoofing = Spoofing()
        self.saving = Saving(store, parts.keep)
        self.supervisor.well("store")
        self._unsaved = False  # whether anything was judged, or decided, since the last checkpoint was begun
        self._stored_pushes = 0  # how many pushes were made before the last checkpoint
        self._told_taps: set[str] = set()
        policies = self.policies.understood(self.policies.texts)
        parts.indicators.resume(store.context)
        self.threats.trust.resume(store.context("precision"))
        intel = self.threats.load(store.vms(), policies).intel
        self._exemptions = LiveExemptions(store, parts.window)
        self._exemptions.follow(intel.allow, self.threats.trust.ledger, self.now)
        ground = Ground(intel, policies, None, parts.window, self._software.known, self._exemptions.present)
        self.judge = resumed(ground, store.states(), store.closed_until(), store.pending())
        self.judge.remember(store)
        self.judge.past = parts.past
        if parts.past is not None:
            parts.past.know(intel, self.now)
        self.enforcing = Enforcing(parts, self.judge, self.supervisor)
        self._resume()

    def _resume(self) -> None:
        """Go on with the VMs of the last checkpoint until the inventory is heard: while it cannot be, their rules stay.

        The rules that followed then are known before the open windows are judged again: what they stopped is no
        evidence now either.
        """
        store, judge = self._parts.store, self.judge
        self._watch(store.vms())
        changed = judge.follow(store.vms())
        known = {vm: persona for vm, persona in store.personas().items() if vm in changed}
        rules = self.enforcing.rules
        judge.stopped.resume(store.context("stopped"))
        with suppress(InventoryError):
            if known:
                judge.stopped.follow(rules.resolved(known, known, judge.ground, self.now), rules.began, self.now)
        judge.exempt(self.now)
        judge.again(changed, self.now)
        self.enforcing.note(changed)

    @property
    def now(self) -> int:
        """The present instant, µs of event time."""
        return self.supervisor.now

    # Turn by turn

    def health(self) -> Health:
        """How each part is; a feed that was just read, as it was found."""
        self.threats.tell()
        return self.supervisor.health.at(self.now)

    def listen(self) -> Report | None:
        """What the VMs did in a tenth of a second; None where the sensor fails."""
        return self.supervisor.part("sensor", lambda: self._clock.level(self._parts.sensor.poll(TURN)))

    def turn(self, report: Report | None) -> None:
        """What follows from it."""
        supervisor, judge = self.supervisor, self.judge
        if report is None:  # time goes on without the sensor, or it would never be tried again
            supervisor.now += int(TURN * SECOND)
        changed = self._follow() if supervisor.is_due("inventory", _LOOK) else set()
        taps = self._parts.sensor.taps  # as they are now: answers on a new one are held from its first turn on
        self.enforcing.follow_answers(taps)
        self._admit()  # first: a VM waits for that, and no rule for what is judged
        if report is not None:
            changed |= self._take(report)
        changed |= judge.on_timer(self.now) | self._follow_exemptions()
        known = self.threats.news(self.enforcing.preparing, ended=self.enforcing.listings_ended())
        if known is not None:
            self._know(known, judge.ground.policies)
            changed |= judge.fleet.vms.keys()
        self._go_back_in_time()
        changed |= self._read_receipts()
        self._hear_of_links()
        self._unsaved = self._unsaved or bool(changed)
        if supervisor.is_due("fade", _FADE):
            changed |= judge.worried()
        self.enforcing.follow(changed)
        self._admit()
        self.threats.came(self.enforcing.pushes)
        if self.threats.pushes != self._stored_pushes and supervisor.is_due("pushes", _PUSHES):
            self._unsaved = True
            supervisor.bring_forward("save")
        if supervisor.is_due("heal", _HEAL):
            self.enforcing.heal()
        self._saved()
        if not self.saving.busy and not supervisor.rests("store") and supervisor.is_due("save", _SAVE):
            self._save()
        if supervisor.is_due("beside", _LOOK):
            self._look_beside()
        if supervisor.is_due("notify", _LOOK):
            notify.alive(f"watching {len(taps)} taps")
            self._tell_of_clock()

    def close(self) -> None:
        """Write one last checkpoint, and end."""
        self.threats.close()
        self.saving.finish()
        self._saved()
        self._save()
        self.saving.finish()
        self._saved()
        self.saving.close()
        for beside in (self._parts.past, self._parts.outlets):
            if beside is not None:
                beside.stop()

    def _save(self) -> None:
        """Begin to write a checkpoint."""
        self._stored_pushes = self.threats.pushes  # at least: what is pushed from now on may be in it
        self.saving.begin(self.judge.checkpoint(self._context()))
        self._unsaved = False

    def _context(self) -> dict[str, bytes]:
        return {
            **self.policies.to_bytes(),
            "rules": self.enforcing.rules.to_bytes(),
            "aside": self.judge.to_bytes(),
            "stopped": self.judge.stopped.to_bytes(),
            "receipts": self.told.to_bytes(),
            "software": self._software.to_bytes(),
            **self.threats.context(),
            **self._exemptions.context(),
        }

    def _saved(self) -> None:
        """Where a checkpoint is done: it is stored; or it was refused, and is tried again soon."""
        done = self.saving.over()
        if done is None:
            return
        if self.supervisor.tried("store", lambda: done() is None):
            self.judge.stored()
            gone = set(self.saving.forgotten()) - self.judge.fleet.vms.keys()
            self.judge.let_go(gone)
            self._software.let_go(gone)
        else:
            self.judge.not_stored()
            self._unsaved = True
            self.supervisor.put_off("save", _LOOK)

    # What others ask, between two turns

    def unsaved(self) -> int:
        """The number of the checkpoint in which all is that was judged and decided up to now; see Saving.wait."""
        if self._unsaved and not self.saving.busy:
            self._save()
        elif self._unsaved:
            self.supervisor.bring_forward("save")
        return self.saving.next - (not self._unsaved)

    def put(self, texts: Mapping[str, str], who: str, why: str, confirm_within: int | None = None) -> Applied:
        """Put these policies in force, in place of all others.  Raises NetpersonaError; then nothing was changed."""
        before = self.judge.ground.policies
        policies = self.policies.understood(texts)
        armed = self._on_trial(confirm_within)
        self._reload(policies)
        try:
            changes = self.enforcing.bring(self.judge.fleet.vms)
        except NetpersonaError:
            self._reload(before)
            if armed:
                self.enforcing.disarm()
            raise
        if confirm_within is None:
            self.enforcing.disarm()
        self.enforcing.installed_again()
        confirm_by = None if confirm_within is None else self.now + confirm_within
        version = self.policies.came(texts, policies, self.now, who, why, confirm_by)
        trial = "" if confirm_within is None else f", for {confirm_within // SECOND} s unless confirmed"
        self.supervisor.journal.done(f"policies version {version.number} in force{trial}", who, why)
        self._unsaved = True
        return Applied(version, changes, confirm_by)

    def confirm(self, who: str) -> PolicyVersion:
        """Keep what waits to be confirmed.  Raises ConfigError where nothing does."""
        version = self.policies.ledger.confirm()
        self.supervisor.journal.done(f"policies version {version.number} confirmed", who)
        self.enforcing.disarm()
        self._unsaved = True
        return version

    def edit(self, persona: Persona, who: str, why: str) -> None:
        """Store what a person changed of a persona."""
        judge, store, told = self.judge, self._parts.store, f"{why} ({who})"
        self.saving.finish()
        self._saved()
        store.commit(self.judge.checkpoint(self._context()))
        judge.stored()
        now = judge.persona(persona.vm)
        if persona.version != now.version + 1:  # judged meanwhile: the change is kept, and what was learned too
            persona = structs.replace(persona, version=now.version + 1)
        if now.risk_ledger and not persona.risk_ledger:
            judge.set_aside(persona.vm, self.now)
            self.threats.trust.acquitted(store.findings(persona.vm), told)
        store.put_persona(persona, self.now, told)
        self.supervisor.journal.done(f"persona {persona.vm} edited", who, why)
        judge.edited(store.states(), self.now)
        self.enforcing.enforce(judge.fleet.vms)

    def _follow(self) -> set[VmId]:
        """Take over what the inventory says; a failing one changes nothing."""
        vms = self.supervisor.part("inventory", self._parts.inventory.vms)
        if vms is None:
            return set()
        self._watch(vms)
        changed = self.supervisor.part("inventory", lambda: self.judge.follow(vms))
        if changed is None:
            return set()
        problems = getattr(self._parts.inventory, "problems", ())
        if problems:
            self.supervisor.well("inventory", "; ".join(problems[:_SAID]), problems=len(problems))
        self.judge.again(changed, self.now)
        changed |= self._follow_software(vms)
        policies = self.judge.ground.policies
        if self.threats.concerns(vms, policies):  # the gate refuses what would cut these VMs off
            self._reload(policies)
        return changed

    def _follow_software(self, vms: Iterable[Vm]) -> set[VmId]:
        """Take over what bills of material say; gives the VMs that may be exposed to something else now."""
        changed = self._software.look(vms)
        if self._software.errors:
            self.supervisor.ill("software", "; ".join(sorted(self._software.errors.values())[:_SAID]))
        else:
            self.supervisor.well("software")
        return self._runs_other_software() if changed else set()

    def _runs_other_software(self) -> set[VmId]:
        self.judge.reground(replace(self.judge.ground, software=self._software.known), self.now)
        return set(self.judge.fleet.vms)

    def _watch(self, vms: Iterable[Vm]) -> None:
        wanted = {vm.interface: vm.name for vm in vms if vm.interface is not None}
        sensor = self._parts.sensor
        for interface in (self._told_taps | sensor.taps.keys()) - wanted.keys():
            sensor.remove(interface)
            self.supervisor.health.gone(f"tap {interface}")
        self._told_taps = set(wanted)
        for interface, vm in wanted.items():
            try:
                sensor.add(interface, vm)
                self.supervisor.well(f"tap {interface}", f"watched for {vm}")
            except SourceError as error:
                self.supervisor.ill(f"tap {interface}", str(error))

    def _admit(self) -> None:
        """Have those answers let go that wait until the rules are resolved anew: they wake the sensor's poll."""
        hold = self._parts.hold
        if hold is not None and hold.wait(0):
            self.enforcing.enforce(())

    def _take(self, report: Report) -> set[VmId]:
        self.supervisor.now = max(self.now, report.now)
        closed = self.judge.closed_until
        changed = self.enforcing.rules.hear(report.batch, self._parts.sensor.taps)
        changed |= self.judge.take(report, self.now)
        if self._software.hear(report.batch.banners, self.judge.fleet):
            changed |= self._runs_other_software()
        if closed != self.judge.closed_until:
            over = self.judge.over()
            self.threats.trust.closed([each for each, _ in over], [f for _, found in over for f in found])
            self.supervisor.bring_forward("save")
        return changed

    def _read_receipts(self) -> set[VmId]:
        """Keep what the kernel tells of denied packets; gives the VMs of which that finds something."""
        source, fleet = self._parts.receipts, self.judge.fleet
        if source is None:
            return set()
        told = self.supervisor.part("receipts", lambda: source.waiting(self.now)) or []
        self.told.add(told)
        self._spoofing.hear(told, fleet.owners, self.now)
        return self.judge.notice(self._spoofing.findings(fleet.vms, self.now), self.now)

    def _look_beside(self) -> None:
        """Take what was found in the past, and tell the sinks what is found."""
        past, outlets, supervisor = self._parts.past, self._parts.outlets, self.supervisor
        if past is not None:
            found = past.notices()
            self.judge.closed.findings.update({each.id: each for each in found})
            self._unsaved = self._unsaved or bool(found)
            for part in past.states():
                supervisor.state(part.name, part.says, well=part.well, **part.figures)
        findings = self.judge.findings().values()
        supervisor.journal.alerts(findings, self.now)
        if outlets is not None:
            outlets.give(findings)
            for sink in outlets.states():
                figures = {"taken": sink.taken, "waiting": sink.waiting, "dropped": sink.dropped}
                supervisor.state(f"sink {sink.place}", sink.error or "", well=sink.error is None, **figures)

    def _hear_of_links(self) -> None:
        source, taps = self._parts.links, self._parts.sensor.taps
        if source is not None and self.supervisor.part("links", lambda: source.changed(taps)):
            self.enforcing.look_again()

    def _go_back_in_time(self) -> None:
        """What was not confirmed in time is undone."""
        confirm_by = self.policies.confirm_by
        if confirm_by is not None and self.now >= confirm_by:
            texts = self.policies.ledger.before().texts
            self.supervisor.part("policies", lambda: self.put(texts, "netpersona", "not confirmed in time"))

    def _on_trial(self, confirm_within: int | None) -> bool:
        """Make sure that the earlier rules come back, whatever becomes of the controller.  Raises NetpersonaError."""
        if confirm_within is None:
            return False
        if self.policies.confirm_by is not None:
            raise ConfigError("policies wait to be confirmed; confirm them or roll back first")
        return self.enforcing.arm(confirm_within / SECOND)

    def _reload(self, policies: PolicySet) -> None:
        known = self.threats.load(self.judge.fleet.vms.values(), policies)
        self._know(known, policies)

    def _follow_exemptions(self) -> set[VmId]:
        """Let no risk count that is exempt since a moment ago; gives the VMs whose risk is another."""
        if not self._exemptions.follow(self.judge.ground.intel.allow, self.threats.trust.ledger, self.now):
            return set()
        self._unsaved = True
        self.judge.ground = replace(self.judge.ground, exemptions=self._exemptions.present)
        return self.judge.exempt(self.now)

    def _know(self, known: Known, policies: PolicySet) -> None:
        """Judge by what is known now; the rules are to follow."""
        self._exemptions.follow(known.intel.allow, self.threats.trust.ledger, self.now)
        exemptions = self._exemptions.present
        ground = replace(self.judge.ground, policies=policies, intel=known.intel, exemptions=exemptions)
        self.judge.reground(ground, self.now)
        self.enforcing.know(known)
        if self._parts.past is not None:
            self._parts.past.know(known.intel, self.now)

    def _tell_of_clock(self) -> None:
        shift = round(self._clock.shift / SECOND)
        if shift:
            where = f"{abs(shift)} s {'ahead of' if shift > 0 else 'behind'} it, and less by and by"
            self.supervisor.well("clock", f"the clock was set; times here are {where}")
        else:
            self.supervisor.health.gone("clock")
