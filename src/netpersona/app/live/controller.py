"""The controller: one thread that runs the loop, and answers to those who ask it something between two turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.app.feed_config import FeedSource
from netpersona.app.live.health import Health
from netpersona.app.live.loop import TURN, Loop
from netpersona.app.live.orders import PATIENCE, Orders
from netpersona.app.live.parts import Parts
from netpersona.app.live.service import Applied, FeedState, PolicyVersion
from netpersona.app.standing import Standing
from netpersona.errors import FeedError
from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.ports import Store
from netpersona.ruleset.diff import Changes
from netpersona.ruleset.model import Ruleset

_T = TypeVar("_T")


class Controller:
    """A Service.  `run()` is its thread; everything else may be called from others."""

    def __init__(self, parts: Parts, texts: Mapping[str, str], at: int) -> None:
        self.loop = Loop(parts, texts, at)
        self._sensor, self._store = parts.sensor, parts.store
        self._orders = Orders()
        self._over = threading.Event()

    def run(self) -> None:
        """Turn after turn, until stop() is called; then one last checkpoint."""
        while not self._over.is_set():
            self.turn()
        with self._orders.turn():
            self.loop.close()

    def turn(self) -> None:
        """One turn: what the VMs did, and what follows from it."""
        report = self.loop.listen()
        if report is None:
            self._over.wait(TURN)
        with self._orders.turn():
            self.loop.turn(report)

    def stop(self) -> None:
        """End after the present turn."""
        self._over.set()

    def let_go(self) -> None:
        """Hold no answer any more; the rules stay in force."""
        self.loop.enforcing.let_go()

    @property
    def now_watched(self) -> Mapping[str, VmId]:
        """Which VM is behind each interface that is watched."""
        return self._sensor.taps

    # What others ask; see Service

    def now(self) -> int:
        """The present instant, µs."""
        return self.loop.now

    def health(self) -> Health:
        """How each part is."""
        return self._orders.ask(self.loop.health)

    def store(self) -> Store:
        """Where history, findings and risk terms are read: it holds all that was judged up to now."""
        self._wait_for_store()
        return self._store

    def standing(self) -> Standing:
        """Personas, indicators and policies as they stand now."""
        self._wait_for_store()
        return self._orders.ask(self._standing)

    def ruleset(self) -> Ruleset:
        """The rules in force."""
        return self._orders.ask(self.loop.enforcing.in_force)

    def firewall(self) -> Mapping[str, Any]:
        """What the kernel holds."""
        return self._orders.ask(self.loop.enforcing.shown)

    def verify(self) -> Mapping[str, Any]:
        """Read the kernel back now."""
        return self._orders.ask(self.loop.enforcing.verified)

    def policies(self) -> Sequence[PolicyVersion]:
        """Every version of the policies, oldest first."""
        return self._orders.ask(lambda: tuple(self.loop.policies.ledger.versions))

    def plan(self, texts: Mapping[str, str]) -> tuple[Ruleset, Changes]:
        """What these policies would come to.  Raises PolicyError."""
        return self._orders.ask(lambda: self.loop.enforcing.planned(self.loop.policies.understood(texts)))

    def apply(self, texts: Mapping[str, str], who: str, why: str, confirm_within: int | None = None) -> Applied:
        """Put these policies in force, in place of all others."""
        return self._changed(lambda: self.loop.put(texts, who, why, confirm_within))

    def confirm(self, who: str) -> PolicyVersion:
        """Keep what waits to be confirmed."""
        return self._changed(lambda: self.loop.confirm(who))

    def roll_back(self, who: str, number: int | None = None) -> Applied:
        """Go back to an earlier version of the policies."""

        def gone_back() -> Applied:
            version = self.loop.policies.ledger.before(number)
            return self.loop.put(version.texts, who, f"back to version {version.number}")

        return self._changed(gone_back)

    def uninstall(self, who: str) -> None:
        """Take every rule of ours out of the kernel."""
        self._orders.ask(lambda: self.loop.enforcing.uninstall(who))

    def edit(self, persona: Persona, who: str, why: str) -> None:
        """Store what a person changed of a persona."""
        self._orders.ask(lambda: self.loop.edit(persona, who, why))

    def receipts(self, vm: VmId | None = None) -> Sequence[Receipt]:
        """The latest denied packets that the kernel told of, of one VM or of all, oldest first."""
        return self._orders.ask(lambda: self.loop.told.of(vm))

    def feeds(self) -> Sequence[FeedState]:
        """Every feed, in the order of their names."""
        return self.loop.threats.states()

    def add_feed(self, source: FeedSource, who: str) -> None:
        """Read a feed from now on, also after a restart."""
        self._changed(lambda: self.loop.threats.add(source, who))

    def remove_feed(self, name: str, who: str, why: str) -> None:
        """Forget a feed that was added or pushed to, and all that it said."""
        self._changed(lambda: self.loop.threats.remove(name, who, why))

    def refresh_feed(self, name: str, *, whole: bool = False) -> None:
        """Read a feed now."""
        self.loop.threats.feeds.refresh(name, whole=whole)

    def decide_feed(self, name: str, who: str, why: str, *, accept: bool) -> None:
        """Let count what is held of a feed, or throw it away."""
        self.loop.threats.feeds.decide(name, who, why, accept=accept)
        self._changed(lambda: None)

    def indicators(self, feed: str, values: Sequence[str], who: str, *, remove: bool = False) -> int:  # noqa: ARG002
        """Add to a feed that is pushed to, or take out of it."""
        threats, enforcing = self.loop.threats, self.loop.enforcing
        pushed = threats.push(feed, values, remove=remove)
        if remove:
            enforcing.take_back(pushed.values)
        at_once = not pushed.values or (not remove and enforcing.lend(feed, pushed.values, pushed.number))
        if not at_once and not threats.wait(pushed.number, PATIENCE):
            raise FeedError(f"feed {feed}: what was pushed is kept, and not in force yet; see 'netpersona status'")
        return len(pushed.values)

    def vms(self) -> Mapping[VmId, Persona]:
        """The VMs that exist now, with their personas."""
        return self._orders.ask(self.loop.judge.personas)

    def _standing(self) -> Standing:
        loop = self.loop
        ground = loop.judge.ground
        personas, texts = loop.judge.personas(), dict(loop.policies.texts)
        return Standing(self._store, personas, ground.intel, ground.policies, texts, loop.now, ground.exposures)

    def _changed(self, call: Callable[[], _T]) -> _T:
        """Change something, and wait until the store has it: a restart forgets nothing that was answered for."""
        given = self._orders.ask(call)
        self._wait_for_store()
        return given

    def _wait_for_store(self) -> None:
        """Until all is written that was judged and decided up to now, or the store refused it: health says so."""
        self.loop.saving.wait(self._orders.ask(self.loop.unsaved))
