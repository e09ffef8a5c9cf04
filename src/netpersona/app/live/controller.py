"""The controller: one thread that watches, judges, resolves and enforces, turn by turn; others give it orders.

    inventory --> judge.follow(), taps of the sensor          each second
    sensor.poll() --> judge.take() --> rules --> enforcer     each turn, a tenth of a second
    judge.checkpoint() --> store                              when a window closes, and every few seconds
    orders (the API) --> policies, indicators, edits          between two turns

A part that fails is written down as ill and tried again later; what it gave last stays.  So no failure here drops a
packet: the kernel keeps the last good rules.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Protocol, TypeVar

from netpersona.adapters.dns_relay.hold import AnswerHold
from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.app import policies as policy_files
from netpersona.app.live import notify
from netpersona.app.live.clock import Clock
from netpersona.app.live.health import Health, HealthBook
from netpersona.app.live.indicators import PUSHED_CONFIDENCE, LiveIndicators, Rebuilt
from netpersona.app.live.judge import REMEMBERED, resumed
from netpersona.app.live.ledger import PolicyLedger
from netpersona.app.live.orders import PATIENCE, Orders
from netpersona.app.live.rules import LiveRules
from netpersona.app.live.service import Applied, FeedState, PolicyVersion
from netpersona.app.run import allowed
from netpersona.app.standing import Standing
from netpersona.errors import ConfigError, FeedError, InventoryError, NetpersonaError, SourceError
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import SECOND
from netpersona.intel.gate import Protected
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import Persona
from netpersona.pipeline import Ground
from netpersona.policy.model import PolicySet
from netpersona.ports import Enforcer, Inventory, Store
from netpersona.ruleset.diff import Changes, diff
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.render import render
from netpersona.ruleset.words import plan

TURN = 0.1  # s: how long the sensor is listened to before what it heard is judged
_LOOK = SECOND  # µs between looks at the inventory and the feeds
_SAVE = 5 * SECOND  # µs between checkpoints
_FADE = 5 * SECOND  # µs between resolutions where nothing happened: risk fades, listings end
_HEAL = 3 * SECOND  # µs between looks whether the kernel still holds our rules
_RETRY_MOST = 30 * SECOND
RECEIPTS_KEPT = 10_000

_T = TypeVar("_T")


class LiveSensor(Protocol):
    """What watches taps; see adapters.sensors.tap.sensor."""

    @property
    def taps(self) -> Mapping[str, VmId]:
        """Which VM is behind each interface that is watched now."""

    def add(self, interface: str, vm: VmId) -> None:
        """Watch an interface.  Raises SourceError."""

    def remove(self, interface: str) -> None:
        """Watch an interface no longer."""

    def poll(self, seconds: float) -> Report:
        """What happened until then."""


class Guard(Protocol):
    """What brings earlier rules back although the controller is dead; see app.live.guard."""

    def arm(self, earlier: Ruleset, seconds: float) -> None:
        """From now on they come back after so many seconds.  Raises EnforcerError; then nothing is armed."""

    def disarm(self) -> None:
        """They do not."""


class ReceiptSource(Protocol):
    """What tells of denied packets; see adapters.enforcers.nftables.receipts."""

    def concern(self, ruleset: Ruleset) -> None:
        """These are the rules whose packets are told of."""

    def waiting(self, now: int) -> list[Receipt]:
        """What was told since the last time."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is made of."""

    inventory: Inventory
    sensor: LiveSensor
    store: Store
    enforcer: Enforcer
    indicators: LiveIndicators
    policies: Callable[[Mapping[str, str]], PolicySet]  # policy texts -> what they mean here.  Raises PolicyError
    window: int  # µs
    guard: Guard | None = None  # None: a trial goes back only while the controller lives
    receipts: ReceiptSource | None = None
    hold: AnswerHold | None = None  # None: DNS answers are learned as they pass
    steady: Callable[[], float] | None = None  # s of a clock that nobody can set; None: the sensor's time is such


class Controller:
    """A Service.  `run()` is its thread; everything else may be called from others."""

    def __init__(self, parts: Parts, texts: Mapping[str, str], at: int) -> None:
        self._parts = parts
        self._clock = Clock(at, parts.store.closed_until(), parts.steady, parts.window)
        at = self._clock.event(at)
        self._health = HealthBook(at)
        self._orders = Orders()
        self._beside = ThreadPoolExecutor(1, "indicators")  # works in what was pushed
        self._rebuilding: Future[Rebuilt] | None = None
        self._worked_in = threading.Event()
        self._over = threading.Event()
        self._now = at
        self._due: dict[str, int] = {}  # what is to be done next when, µs
        self._delay: dict[str, int] = {}  # how long a failing part is left alone, µs
        self._rules = LiveRules.of_bytes(parts.store.context("rules"))
        self._ruleset: Ruleset | None = None
        self._behind = True  # whether the kernel may not have what it should: it refused, or was not asked yet
        self._changed: set[VmId] = set()  # whose persona or answers changed since the rules were resolved
        self._installed, self._healed = True, 0
        self._receipts: deque[Receipt] = deque(maxlen=RECEIPTS_KEPT)
        self._judged_since = False  # whether anything was judged since the last checkpoint
        self._ledger = PolicyLedger.of_bytes(parts.store.context("policy-ledger"))
        if self._ledger.current is None:
            self._ledger.add(texts, at, "configuration", "at the first start")
        self._versions = policy_files.decode(parts.store.context("policies"))[1]
        policies = self._understood(self._current_texts())
        store = parts.store
        parts.indicators.resume(store.context("pushed"))
        self._protected = Protected.of(store.vms(), policies.always.management)
        ground = Ground(parts.indicators.load(self._protected, allowed(policies), at), policies, None, parts.window)
        self._judge = resumed(ground, store.states(), store.closed_until(), store.pending())
        self._judge.remember(store.context("aside"), store.names(), store.findings()[-REMEMBERED:])
        self._told_taps: set[str] = set()
        self._resume()

    def _resume(self) -> None:
        """Go on with the VMs of the last checkpoint until the inventory is heard: while it cannot be, their rules stay.

        The rules that followed then are known before the open windows are judged again: what they stopped is no
        evidence now either.
        """
        store, ground = self._parts.store, self._judge.ground
        self._watch(store.vms())
        self._changed = self._judge.follow(store.vms())
        known = {vm: persona for vm, persona in store.personas().items() if vm in self._changed}
        with suppress(InventoryError):
            if known:
                self._judge.stopped.follow(self._rules.resolved(known, known, ground, self._now), self._rules.began)
        self._judge.again(self._changed, self._now)

    # The loop

    def run(self) -> None:
        """Turn after turn, until stop() is called; then one last checkpoint."""
        while not self._over.is_set():
            self.turn()
        self._beside.shutdown()
        with self._orders.turn():
            self._save()

    def stop(self) -> None:
        """End after the present turn."""
        self._over.set()

    def let_go(self) -> None:
        """Hold no answer any more; the rules stay in force."""
        if self._parts.hold is not None:
            self._parts.hold.stop()

    def turn(self) -> None:
        """One turn: what the VMs did, and what follows from it."""
        report = self._part("sensor", lambda: self._clock.level(self._parts.sensor.poll(TURN)))
        if report is None:
            self._over.wait(TURN)
        with self._orders.turn():
            self._turn(report)

    def _turn(self, report: Report | None) -> None:
        if report is None:  # time goes on without the sensor, or it would never be tried again
            self._now += int(TURN * SECOND)
        changed = self._follow() if self._is_due("inventory", _LOOK) else set()
        self._follow_answers()
        if report is not None:
            self._now = max(self._now, report.until)
            closed = self._judge.closed_until
            changed |= self._rules.hear(report.batch, self._parts.sensor.taps)
            changed |= self._judge.take(report, self._now)
            if closed != self._judge.closed_until:
                self._due["save"] = 0
        changed |= self._judge.on_timer(self._now)
        self._learn_of_threats()
        self._go_back_in_time()
        if (source := self._parts.receipts) is not None:
            self._receipts.extend(self._part("receipts", lambda: source.waiting(self._now)) or ())
        self._judged_since = self._judged_since or bool(changed)
        if self._is_due("fade", _FADE):
            changed |= self._judge.worried()
        if changed or self._behind or self._ends():
            self._enforce(changed)
        if self._is_due("heal", _HEAL):
            self._heal()
        if self._is_due("save", _SAVE):
            self._save()
        if self._is_due("notify", _LOOK):
            notify.alive(f"watching {len(self._parts.sensor.taps)} taps")
            self._tell_of_clock()

    def _tell_of_clock(self) -> None:
        shift = round(self._clock.shift / SECOND)
        if shift:
            where = f"{abs(shift)} s {'ahead of' if shift > 0 else 'behind'} it, and less by and by"
            self._health.well("clock", self._now, f"the clock was set; times here are {where}")
        else:
            self._health.gone("clock")

    def _follow_answers(self) -> None:
        """Hold the answers on the taps that are there, and have those worked in that wait for it."""
        hold = self._parts.hold
        if hold is None:
            return
        self._behind = self._behind or hold.waiting
        if self._is_due("answers", _LOOK):
            hold.follow(self._parts.sensor.taps)
            state = hold.health()
            if state.well:
                self._health.well("answers", self._now, state.says, **state.figures)
            else:
                self._health.ill("answers", self._now, state.says)

    def _learn_of_threats(self) -> None:
        """Take what feed files say anew, and what was pushed once it is worked in."""
        if self._is_due("feeds", _LOOK) and (intel := self._refreshed()) is not None:
            self._reground(replace(self._judge.ground, intel=intel))
        if self._rebuilding is not None and self._rebuilding.done():
            intel = self._parts.indicators.adopt(self._rebuilding.result())
            self._rebuilding = None
            if intel is None:
                self._rebuild()
                return
            self._reground(replace(self._judge.ground, intel=intel))
            self._worked_in.set()

    def _rebuild(self) -> None:
        self._rebuilding = self._beside.submit(self._parts.indicators.rebuild())

    def _follow(self) -> set[VmId]:
        """Take over what the inventory says; a failing one changes nothing."""
        vms = self._part("inventory", self._parts.inventory.vms)
        if vms is None:
            return set()
        self._watch(vms)
        changed = self._judge.follow(vms)
        self._judge.again(changed, self._now)
        protected = Protected.of(vms, self._judge.ground.policies.always.management)
        if protected != self._protected:  # the gate refuses what would cut these VMs off
            self._protected = protected
            self._reload(self._judge.ground.policies)
        return changed

    def _reload(self, policies: PolicySet) -> None:
        intel = self._parts.indicators.load(self._protected, allowed(policies), self._now)
        self._judge.reground(replace(self._judge.ground, policies=policies, intel=intel), self._now)

    def _refreshed(self) -> IndicatorSet | None:
        """The indicators, if any feed says something new."""
        indicators = self._parts.indicators
        intel = indicators.refreshed(self._now)
        for feed in indicators.feeds:
            name = feed.settings.name
            if name in indicators.errors:
                self._health.ill(f"feed {name}", self._now, indicators.errors[name])
            else:
                self._health.well(f"feed {name}", self._now)
        return intel

    def _watch(self, vms: Iterable[Vm]) -> None:
        wanted = {vm.interface: vm.name for vm in vms if vm.interface is not None}
        sensor = self._parts.sensor
        for interface in (self._told_taps | sensor.taps.keys()) - wanted.keys():
            sensor.remove(interface)
            self._health.gone(f"tap {interface}")
        self._told_taps = set(wanted)
        for interface, vm in wanted.items():
            try:
                sensor.add(interface, vm)
                self._health.well(f"tap {interface}", self._now, f"watched for {vm}")
            except SourceError as error:
                self._health.ill(f"tap {interface}", self._now, str(error))

    def _enforce(self, changed: Collection[VmId] = ()) -> Changes | None:
        """Bring what the moment asks for in force; where that fails, what was in force stays."""
        self._changed |= set(changed)
        self._behind = True
        self._rules.forget(self._now)
        return self._part("enforcer", self._applied) if self._installed else None

    def _applied(self) -> Changes:
        """Bring in force what follows from all that has changed since this was last done.  Raises NetpersonaError."""
        hold, ground, personas = self._parts.hold, self._judge.ground, self._judge.personas()
        with hold.settling() if hold is not None else nullcontext(()) as learned:
            self._changed |= self._rules.take(learned, self._now)
            desired = self._rules.resolved(personas, self._changed, ground, self._now)
            self._changed = set()
            changes = self._parts.enforcer.apply(desired)
            if hold is not None:
                hold.publish(desired, ground, personas)
        if changes or self._ruleset is None:
            self._judge.stopped.follow(desired, self._rules.began)
            if self._parts.receipts is not None:
                self._parts.receipts.concern(desired)
        self._ruleset, self._behind = desired, False
        return changes

    def _ends(self) -> bool:
        return self._ruleset is not None and self._ruleset.until is not None and self._ruleset.until <= self._now

    def _heal(self) -> None:
        """See whether the kernel holds what we put there, and put it there again where it does not."""
        if self._ruleset is None or not self._installed:
            return
        with self._quiet():
            drift = self._part("kernel", self._parts.enforcer.heal)
        if drift:
            self._healed += len(drift)
            self._health.ill("kernel", self._now, "healed: " + "; ".join(each.what for each in drift))

    def _quiet(self) -> AbstractContextManager[object]:
        """Nobody else uses the enforcer meanwhile: answers that come are lent to it in another thread."""
        return self._parts.hold.quiet() if self._parts.hold is not None else nullcontext()

    def _save(self) -> None:
        if self._part("store", self._stored) is None:
            self._due["save"] = self._now + _LOOK

    def _stored(self) -> bool:
        self._parts.store.commit(self._judge.checkpoint(self._context()))
        self._judge.stored()
        self._judged_since = False
        return True

    def _context(self) -> dict[str, bytes]:
        return {
            "policies": policy_files.encode(dict(self._current_texts()), self._versions),
            "policy-ledger": self._ledger.to_bytes(),
            "rules": self._rules.to_bytes(),
            "aside": self._judge.to_bytes(),
            **self._parts.indicators.context(),
        }

    def _is_due(self, what: str, every: int) -> bool:
        if self._now < self._due.get(what, 0):
            return False
        self._due[what] = self._now + every
        return True

    def _part(self, name: str, call: Callable[[], _T]) -> _T | None:
        """What the part gives; None where it fails, which is written down, or is left alone after it failed."""
        if self._now < self._due.get(f"retry {name}", 0):
            return None
        try:
            given = call()
        except Exception as error:  # noqa: BLE001 - the one place: no part takes the others with it
            known = isinstance(error, NetpersonaError)
            self._delay[name] = min(_RETRY_MOST, 2 * self._delay.get(name, SECOND // 4))
            self._due[f"retry {name}"] = self._now + self._delay[name]
            self._health.ill(name, self._now, str(error) if known else f"a fault of netpersona: {error!r}")
            return None
        self._delay.pop(name, None)
        self._health.well(name, self._now)
        return given

    # Policies

    def _current_texts(self) -> Mapping[str, str]:
        current = self._ledger.current
        return {} if current is None else current.texts

    def _understood(self, texts: Mapping[str, str]) -> PolicySet:
        policies, self._versions = policy_files.versioned(self._parts.policies(texts), self._versions)
        return policies

    def _go_back_in_time(self) -> None:
        """What was not confirmed in time is undone."""
        if self._ledger.confirm_by is not None and self._now >= self._ledger.confirm_by:
            texts = self._ledger.before().texts
            self._part("policies", lambda: self._put(texts, "netpersona", "not confirmed in time", None))

    def _put(self, texts: Mapping[str, str], who: str, why: str, confirm_within: int | None) -> Applied:
        before, versions, earlier = self._judge.ground, self._versions, self._ruleset
        policies = self._understood(texts)
        self._on_trial(earlier, confirm_within)
        self._reload(policies)
        try:
            self._changed |= set(self._judge.fleet.vms)
            changes = self._applied()
        except NetpersonaError:
            self._versions = versions
            self._reload(before.policies)
            self._disarm()
            raise
        if confirm_within is None:
            self._disarm()
        if not self._installed and self._parts.hold is not None:
            self._parts.hold.start()
        self._installed = True
        confirm_by = None if confirm_within is None else self._now + confirm_within
        version = self._ledger.add(texts, self._now, who, why, confirm_by)
        self._save()
        return Applied(version, changes, confirm_by)

    def _on_trial(self, earlier: Ruleset | None, confirm_within: int | None) -> None:
        """Make sure that the earlier rules come back, whatever becomes of the controller.  Raises NetpersonaError."""
        if confirm_within is None:
            return
        if self._ledger.confirm_by is not None:
            raise ConfigError("policies wait to be confirmed; confirm them or roll back first")
        if self._parts.guard is not None and earlier is not None:
            with self._quiet():
                self._parts.guard.arm(earlier, confirm_within / SECOND)

    def _disarm(self) -> None:
        if self._parts.guard is not None:
            self._parts.guard.disarm()

    def _reground(self, ground: Ground) -> None:
        self._judge.reground(ground, self._now)
        self._enforce(self._judge.fleet.vms)

    @property
    def now_watched(self) -> Mapping[str, VmId]:
        """Which VM is behind each interface that is watched."""
        return self._parts.sensor.taps

    # What others ask; see Service

    def now(self) -> int:
        """The present instant, µs."""
        return self._now

    def health(self) -> Health:
        """How each part is."""
        return self._orders.ask(lambda: self._health.at(self._now))

    def store(self) -> Store:
        """Where history, findings and risk terms are read: it holds all that was judged up to now."""
        return self._orders.ask(self._up_to_date)

    def _up_to_date(self) -> Store:
        if self._judged_since:
            self._save()
        return self._parts.store

    def standing(self) -> Standing:
        """Personas, indicators and policies as they stand now."""
        return self._orders.ask(self._standing)

    def ruleset(self) -> Ruleset:
        """The rules in force."""
        return self._orders.ask(lambda: self._ruleset or self._parts.enforcer.in_force())

    def firewall(self) -> Mapping[str, Any]:
        """What the kernel holds."""
        return self._orders.ask(self._firewall)

    def verify(self) -> Mapping[str, Any]:
        """Read the kernel back now."""
        return self._orders.ask(self._verified)

    def policies(self) -> Sequence[PolicyVersion]:
        """Every version of the policies, oldest first."""
        return self._orders.ask(lambda: tuple(self._ledger.versions))

    def plan(self, texts: Mapping[str, str]) -> tuple[Ruleset, Changes]:
        """What these policies would come to.  Raises PolicyError."""
        return self._orders.ask(lambda: self._planned(texts))

    def apply(self, texts: Mapping[str, str], who: str, why: str, confirm_within: int | None = None) -> Applied:
        """Put these policies in force, in place of all others."""
        return self._orders.ask(lambda: self._put(texts, who, why, confirm_within))

    def confirm(self, who: str) -> PolicyVersion:  # noqa: ARG002 - the ledger says who applied it
        """Keep what waits to be confirmed."""

        def kept() -> PolicyVersion:
            version = self._ledger.confirm()
            self._disarm()
            self._save()
            return version

        return self._orders.ask(kept)

    def roll_back(self, who: str, number: int | None = None) -> Applied:
        """Go back to an earlier version of the policies."""

        def gone_back() -> Applied:
            version = self._ledger.before(number)
            return self._put(version.texts, who, f"back to version {version.number}", None)

        return self._orders.ask(gone_back)

    def uninstall(self, who: str) -> None:
        """Take every rule of ours out of the kernel."""

        def taken_out() -> None:
            self.let_go()
            with self._quiet():
                self._parts.enforcer.uninstall()
            self._installed, self._ruleset = False, None
            self._health.well("enforcer", self._now, f"uninstalled by {who}; apply policies to install again")

        self._orders.ask(taken_out)

    def edit(self, persona: Persona, who: str, why: str) -> None:
        """Store what a person changed of a persona."""
        self._orders.ask(lambda: self._edited(persona, f"{why} ({who})"))

    def receipts(self, vm: VmId | None = None) -> Sequence[Receipt]:
        """The latest denied packets that the kernel told of, of one VM or of all, oldest first."""
        return self._orders.ask(lambda: [r for r in self._receipts if vm is None or r.vm == vm])

    def feeds(self) -> Sequence[FeedState]:
        """Every feed, in the order of their names."""
        return self._orders.ask(self._parts.indicators.states)

    def indicators(self, feed: str, values: Sequence[str], who: str, *, remove: bool = False) -> int:  # noqa: ARG002
        """Add to a feed that is pushed to, or take out of it."""
        moved, at_once, worked_in = self._orders.ask(lambda: self._pushed(feed, values, remove=remove))
        if not at_once and not worked_in.wait(PATIENCE):
            raise FeedError(f"feed {feed}: what was pushed is kept, and not in force yet; see 'netpersona status'")
        return moved

    def _pushed(self, feed: str, values: Sequence[str], *, remove: bool) -> tuple[int, bool, threading.Event]:
        """How many values changed, whether all of it is in force already, and what tells when it is."""
        if self._over.is_set():
            raise NetpersonaError("the controller is ending; nothing was pushed")
        moved = self._parts.indicators.push(feed, values, self._now, remove=remove)
        if not moved:
            return 0, True, self._worked_in
        if self._rebuilding is None:
            self._worked_in = threading.Event()
            self._rebuild()
        return len(moved), not remove and self._lent(feed, moved), self._worked_in

    def _lent(self, feed: str, values: Sequence[str]) -> bool:
        """Put addresses into the kernel's sets at once, before all else is worked out; whether that was all."""
        lend = getattr(self._parts.enforcer, "lend", None)
        names = [name for name in self._rules.admitting(feed, PUSHED_CONFIDENCE) if name in self._ruleset_sets()]
        allow = self._judge.ground.intel.allow
        if lend is None or not self._installed or not all(map(_is_address, values)):
            return False
        wanted = [value for value in values if not allow.covers_address(value, self._now)]
        with self._quiet():
            for name in names:
                lend(name, wanted, None)
        return True

    def _ruleset_sets(self) -> Collection[str]:
        return () if self._ruleset is None else self._ruleset.sets.keys()

    def vms(self) -> Mapping[VmId, Persona]:
        """The VMs that exist now, with their personas."""
        return self._orders.ask(self._judge.personas)

    def _standing(self) -> Standing:
        ground = self._judge.ground
        self._save()
        return Standing(
            self._parts.store,
            self._judge.personas(),
            ground.intel,
            ground.policies,
            dict(self._current_texts()),
            self._now,
        )

    def _planned(self, texts: Mapping[str, str]) -> tuple[Ruleset, Changes]:
        versions = self._versions
        try:
            policies = self._understood(texts)
        finally:
            self._versions = versions
        personas = self._judge.personas()
        desired = LiveRules(self._rules.answers, dict(self._rules.began)).resolved(
            personas, personas, replace(self._judge.ground, policies=policies), self._now
        )
        return desired, diff(self._parts.enforcer.in_force(), desired)

    def _firewall(self) -> Mapping[str, Any]:
        held = self._parts.enforcer.in_force()
        with self._quiet():
            counters = self._parts.enforcer.counters()
        shown = {"installed": self._installed, "vms": plan(held), "nft": render(held), "counters": counters}
        return {**shown, **self._verified()}

    def _verified(self) -> Mapping[str, Any]:
        with self._quiet():
            drift = self._parts.enforcer.verify() if self._installed else ()
        if drift:
            self._heal()  # at once, so that it is counted before a change mends it by the way
        return {"well": not drift, "drift": drift, "healed": self._healed}

    def _edited(self, persona: Persona, why: str) -> None:
        self._stored()
        now = self._judge.persona(persona.vm)
        if persona.version != now.version + 1:  # judged meanwhile: the change is kept, and what was learned too
            persona = replace(persona, version=now.version + 1)
        if now.risk_ledger and not persona.risk_ledger:
            self._judge.set_aside(persona.vm, self._now)
        self._parts.store.put_persona(persona, self._now, why)
        self._judge.edited(self._parts.store.states(), self._now)
        self._enforce(self._judge.fleet.vms)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
