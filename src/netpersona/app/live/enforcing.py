"""What is in force in the kernel: resolved anew when something changed, healed, shown, and guarded while on trial.

Addresses that were pushed are lent to the kernel's sets at once (loans.py), by whoever pushes them: the enforcer has a
lock of its own, so that this waits for no judging.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from netpersona.app.live import shared_names
from netpersona.app.live.judge import LiveJudge
from netpersona.app.live.loans import Loans, admitting
from netpersona.app.live.parts import Parts
from netpersona.app.live.rules import LiveRules
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.live.threats import Known, Prepare
from netpersona.flow.vm import VmId, is_address
from netpersona.flow.window import SECOND
from netpersona.pipeline import Ground
from netpersona.policy.model import PolicySet
from netpersona.ports import Drift
from netpersona.ruleset.criteria import Criterion
from netpersona.ruleset.diff import Changes, diff
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.render import render
from netpersona.ruleset.words import plan

_LOOK = SECOND  # µs between looks at the answers that are held
_SHARED = 30 * SECOND  # µs between looks at addresses that many names share
_SAID = 5  # of them that are written out
_ENDS = 5 * SECOND  # µs between looks at what ended, while listings that ended are worked in

_ANSWERS_GONE = Drift("netdev netpersona_dns", "the table that holds DNS answers was changed or flushed")


class Enforcing:
    """Keeps in force what follows from the judge's personas and ground, and from the DNS answers."""

    def __init__(self, parts: Parts, judge: LiveJudge, supervisor: Supervisor) -> None:
        self.rules = LiveRules.of_bytes(parts.store.context("rules"))
        self.ruleset: Ruleset | None = None
        self.installed = True
        self.pushes = self._known_pushes = 0  # how many are in force, and in what the judge's ground knows
        self._enforcer, self._hold = parts.enforcer, parts.hold
        self._guard, self._receipts = parts.guard, parts.receipts
        self._judge, self._supervisor = judge, supervisor
        self._kernel = threading.Lock()  # on the enforcer and the loans
        self._loans = Loans()
        self._criteria: Mapping[str, Criterion] = {}  # of the sets in force
        self._changed: set[VmId] = set()  # whose persona or answers changed since the rules were resolved
        self._must = True  # whether the kernel is to be asked, though the ruleset is the same
        self._ground: Ground | None = None  # that the ruleset in force rests on
        self._behind = True  # whether the kernel may not have what it should: it refused, or was not asked yet
        self._healed = self._held_again = 0  # drifts since the start; what the relay put back, since it began
        self._taps: Mapping[str, VmId] = {}

    # Turn by turn

    def follow_answers(self, taps: Mapping[str, VmId]) -> None:
        """Hold the answers on the taps that are there, and have those worked in that wait for it."""
        if self._supervisor.is_due("shared names", _SHARED):
            self._tell_of_shared()
        if self._hold is None:
            return
        self._behind = self._behind or self._hold.waiting
        self._taps = taps
        if self._supervisor.is_due("answers", _LOOK):
            self._mended(self._held())

    def _tell_of_shared(self) -> None:
        """Say which addresses stand for names that are restricted, or listed, and for others."""
        said = shared_names.told(self._judge.ground.policies, self.rules.answers, self.ruleset, self._supervisor.now)
        if said:
            self._supervisor.well("shared names", "; ".join(said[:_SAID]), addresses=len(said))
        else:
            self._supervisor.health.gone("shared names")

    def _held(self) -> Sequence[Drift]:
        """See that answers are held; gives what somebody had changed of that in the kernel, which is mended now."""
        if self._hold is None:
            return ()
        self._hold.follow(self._taps)
        state = self._hold.health()
        if state.well:
            self._supervisor.well("answers", state.says, **state.figures)
        else:
            self._supervisor.ill("answers", state.says)
        before, self._held_again = self._held_again, state.figures.get("healed", 0)
        return (_ANSWERS_GONE,) if self._held_again > before else ()

    def _mended(self, drift: Sequence[Drift]) -> None:
        if drift:
            self._healed += len(drift)
            self._supervisor.ill("kernel", "healed: " + "; ".join(each.what for each in drift))

    def look_again(self) -> None:
        """What is in force may have to be otherwise, though no VM has changed: an interface did."""
        self._behind = self._must = True
        if self._receipts is not None and self.ruleset is not None:
            self._receipts.concern(self.ruleset)  # a tap of the same name may be another one

    def note(self, changed: Iterable[VmId]) -> None:
        """These VMs have changed since the rules were resolved."""
        self._changed |= set(changed)

    def follow(self, changed: Collection[VmId]) -> None:
        """Bring in force what changed, or ended; where that fails, what was in force stays."""
        if changed or self._behind or self._ends():
            self.enforce(changed)

    def know(self, known: Known) -> None:
        """This is what the judge's ground knows of threats from now on."""
        self._must = self._must or known.pushes != self._known_pushes
        self._known_pushes = known.pushes
        if known.prepared is not None:
            self.rules.adopt(known.prepared, self._judge.personas())

    def enforce(self, changed: Collection[VmId]) -> None:
        """Bring what the moment asks for in force; where that fails, what was in force stays."""
        self._behind = True
        self._changed |= set(changed)
        self.rules.forget(self._supervisor.now)
        if self.installed:
            self._supervisor.part("enforcer", lambda: self.bring(()))
        else:
            self.pushes = self._known_pushes

    def bring(self, changed: Iterable[VmId]) -> Changes:
        """Bring in force what follows from all that has changed since this was last done.  Raises NetpersonaError."""
        self._changed |= set(changed)
        hold, judge = self._hold, self._judge
        ground, personas, now = judge.ground, judge.personas(), self._supervisor.now
        with hold.settling() if hold is not None else nullcontext(()) as learned:
            self._changed |= self.rules.take(learned, now)
            desired = self.rules.resolved(personas, self._changed, ground, now)
            self._changed = set()
            self._must = self._must or bool(learned) or ground is not self._ground
            if not self._must and self.ruleset is not None and not diff(self.ruleset, desired):
                self.ruleset, self._behind = desired, False
                return Changes()  # what is lent may go on as it is, and who lends does not have to wait
            self._must = True
            changes = self._apply(desired)
            if hold is not None:
                hold.publish(desired, ground, personas)
        if changes or self.ruleset is None:
            judge.stopped.follow(desired, self.rules.began, now)
            if self._receipts is not None:
                self._receipts.concern(desired)
        self._enforcer.settle()  # nobody who lends waits for this, and no answer
        self.ruleset, self._ground, self._behind, self._must = desired, ground, False, False
        return changes

    def _apply(self, desired: Ruleset) -> Changes:
        self._loans.added_to(desired)  # made ready before anybody who lends has to wait
        with self._kernel:
            self._loans.are_in(self._known_pushes)
            changes = self._enforcer.apply(self._loans.added_to(desired))
            self.pushes = self._known_pushes
            criteria = self.rules.criteria()
            self._criteria = {name: criteria[name] for name in desired.sets.keys() & criteria.keys()}
        return changes

    def heal(self) -> None:
        """See whether the kernel holds what we put there, and put it there again where it does not."""
        if self.ruleset is None or not self.installed:
            return
        self._mended(self._supervisor.part("kernel", self._as_applied) or ())

    # What others ask

    def in_force(self) -> Ruleset:
        """The rules in force."""
        return self._enforcer.in_force()

    def planned(self, policies: PolicySet) -> tuple[Ruleset, Changes]:
        """What these policies would come to, and how that differs from what is in force."""
        personas = self._judge.personas()
        ground = replace(self._judge.ground, policies=policies)
        rules = LiveRules(self.rules.answers, dict(self.rules.began))
        desired = rules.resolved(personas, personas, ground, self._supervisor.now)
        return desired, diff(self._enforcer.in_force(), desired)

    def shown(self) -> Mapping[str, Any]:
        """What the kernel holds; see Service.firewall."""
        with self._quiet(), self._kernel:
            held, counters = self._enforcer.in_force(), self._enforcer.counters()
        shown = {"installed": self.installed, "vms": plan(held), "nft": render(held), "counters": counters}
        return {**shown, **self.verified()}

    def verified(self) -> Mapping[str, Any]:
        """Read the kernel back now; see Service.verify."""
        with self._quiet(), self._kernel:
            drift = self._enforcer.verify() if self.installed else ()
        if drift:
            self.heal()  # at once, so that it is counted before a change mends it by the way
        answers = self._held() if self.installed else ()
        self._mended(answers)
        drift = (*drift, *answers)
        return {"well": not drift, "drift": drift, "healed": self._healed}

    def lend(self, feed: str, values: Sequence[str], number: int) -> bool:
        """Put pushed addresses into the kernel's sets at once, before all else is worked out; whether that was all.

        Called from any thread; `number` is that of the push.
        """
        lend = getattr(self._enforcer, "lend", None)
        if lend is None or not all(map(is_address, values)):
            return False
        allow, now = self._judge.ground.intel.allow, self._supervisor.now
        wanted = [value for value in values if not allow.covers_address(value, now)]
        with self._quiet(), self._kernel:
            if not self.installed or self.ruleset is None:
                return False
            for name in admitting(self._criteria, feed):
                self._loans.add(name, wanted, number)
                lend(name, wanted, None)
        return True

    def take_back(self, values: Sequence[str]) -> None:
        """These are lent no more, from the next time on that anything is brought in force."""
        with self._kernel:
            self._loans.drop(values)
            self._must = True

    def uninstall(self, who: str) -> None:
        """Take every rule of ours out of the kernel."""
        self.let_go()
        with self._quiet(), self._kernel:
            self._enforcer.uninstall()
            self.installed, self.ruleset = False, None
        self._supervisor.well("enforcer", f"uninstalled by {who}; apply policies to install again")
        self._supervisor.journal.done("all rules taken out of the kernel", who)

    def installed_again(self) -> None:
        """Rules are put into the kernel again, and answers held."""
        if not self.installed and self._hold is not None:
            self._hold.start()
        self.installed = True

    def let_go(self) -> None:
        """Hold no answer any more; the rules stay in force."""
        if self._hold is not None:
            self._hold.stop()

    def arm(self, seconds: float) -> bool:
        """Make sure that what is in force now comes back, whatever becomes of us; whether anything does.

        Raises EnforcerError; then nothing is armed.
        """
        if self._guard is None or self.ruleset is None:
            return False
        with self._quiet(), self._kernel:
            self._guard.arm(self._enforcer.in_force(), seconds)
        return True

    def disarm(self) -> None:
        """What is in force stays."""
        if self._guard is not None:
            self._guard.disarm()

    def preparing(self) -> Prepare:
        """What makes ready, in another thread, the rules that follow from other indicators."""
        judge = self._judge
        return self.rules.preparing(judge.personas(), judge.ground.policies, self._supervisor.now)

    def listings_ended(self) -> bool:
        """Whether what intelligence says stands no more as it was resolved, and must be prepared anew."""
        return self.rules.ended(self._supervisor.now)

    def _as_applied(self) -> Sequence[Drift]:
        with self._quiet(), self._kernel:
            drift = self._enforcer.verify()
            if drift and self.ruleset is not None:
                self._enforcer.apply(self._loans.added_to(self.ruleset))
        self._enforcer.settle()
        return drift

    def _ends(self) -> bool:
        until = None if self.ruleset is None else self.ruleset.until
        if until is None or until > self._supervisor.now:
            return False
        return not self.listings_ended() or self._supervisor.is_due("ends", _ENDS)

    def _quiet(self) -> AbstractContextManager[object]:
        """Nobody else uses the enforcer meanwhile: answers that come are lent to it in another thread."""
        return self._hold.quiet() if self._hold is not None else nullcontext()
