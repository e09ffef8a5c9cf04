"""What an answer means for the kernel, and that it is there before the VM has the answer.

    relay's thread     heard(answer) -> which of the VM's sets gain an address -> lend() -> the kernel has it: None
                       ... a set that only a resolution can make, or an enforcer that is busy: a future
    controller         with settling() as learned:    all that was heard; nothing is lent meanwhile
                           take what was learned; apply the ruleset that follows; publish(concerns)
                       at its end futures are done, and what was heard meanwhile is lent by the new rules

`lend` puts addresses into a set of the kernel until a time passes.  What was heard before settling() began is in what
it gives, so a ruleset resolved from it asks for every address that was lent: no answer ends early.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from netpersona.adapters.dns_relay.concerns import Concerns
from netpersona.adapters.dns_relay.held import Answered
from netpersona.errors import EnforcerError
from netpersona.flow.vm import VmId

LINGERS = 60  # s: an answer is honoured for this long at least, as resolvers and programs keep it
MOST_LEARNED = 20_000  # names that wait for the controller; the oldest go first
MANY_LEARNED = 1_000  # names that nothing asks for: they can wait
MOST_WAITING = 1_000  # answers that wait for a resolution, before those that were given up are dropped
MOST_LENT = 10_000  # addresses in one set between two resolutions

Lend = Callable[[str, Sequence[str], float], None]
"""Have the set of this name hold these addresses for so many seconds.  Raises EnforcerError."""


@dataclass(frozen=True, slots=True)
class Learned:
    """That a VM was told these addresses for a name, and until when (µs) each holds at least."""

    vm: VmId
    name: str
    addresses: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class AdmissionCounts:
    """What was done, in numbers."""

    lent: int = 0  # addresses put into sets at once
    resolved: int = 0  # answers that waited for a resolution
    failed: int = 0  # answers whose addresses the kernel did not take
    forgotten: int = 0  # names that the controller did not fetch in time


@dataclass(slots=True)
class Admission:
    """Between the relay's thread and the controller's.  `wake` tells the controller that a resolution is waited for."""

    lend: Lend
    wake: Callable[[], None]
    lingers: int = LINGERS  # s
    counts: AdmissionCounts = field(default_factory=AdmissionCounts)
    error: str | None = None  # why the kernel did not take an answer's addresses; None: it took the last ones
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _busy: int = 0
    _concerns: Concerns = field(default_factory=dict)
    _lent: dict[str, dict[str, float]] = field(default_factory=dict)  # set -> address -> until, s, monotonic
    _learned: deque[Learned] = field(default_factory=deque)
    _later: list[tuple[Answered, Future[None]]] = field(default_factory=list)  # heard while the enforcer was busy
    _unsettled: list[Future[None]] = field(default_factory=list)  # done by the next settling

    @property
    def vms(self) -> frozenset[VmId]:
        """The VMs whose answers must be held."""
        return frozenset(self._concerns)

    @property
    def waiting(self) -> bool:
        """Whether the controller should settle: something was lent or waits, or much was learned."""
        return bool(self._lent or self._unsettled) or len(self._learned) > MANY_LEARNED

    def heard(self, answered: Answered) -> Future[None] | None:
        """See that the kernel holds what this answer means; None: it does."""
        with self._guard:
            if self._busy:
                waiting: Future[None] = Future()
                self._later.append((answered, waiting))
                return waiting
            if self._admit(answered):
                return None
            future: Future[None] = Future()
            self._wait(future)
        self.wake()
        return future

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nothing is lent inside: for every use of the enforcer.  It may nest."""
        with self._guard:
            self._busy += 1
        try:
            yield
        finally:
            self._lend_what_came()

    @contextmanager
    def settling(self) -> Iterator[list[Learned]]:
        """What was heard since last time, to be resolved and applied inside; where that fails, it is given again."""
        with self.quiet():
            with self._guard:
                learned, self._learned = self._learned, deque()
                unsettled, self._unsettled = self._unsettled, []
            try:
                yield list(learned)
            except BaseException:  # whatever went wrong inside: what was learned is not lost
                with self._guard:
                    self._learned.extendleft(reversed(learned))
                    self._unsettled[:0] = unsettled
                raise
            _finish(unsettled)

    def publish(self, concerns: Concerns) -> None:
        """What names mean from now on; call it inside settling(), after the ruleset came in force."""
        self._concerns = concerns
        self._lent = {}

    def _lend_what_came(self) -> None:
        done: list[Future[None]] = []
        waits = False
        with self._guard:
            self._busy -= 1
            later, self._later = ([], self._later) if self._busy else (self._later, [])
            for answered, future in later:
                if self._admit(answered):
                    done.append(future)
                else:
                    self._wait(future)
                    waits = True
        _finish(done)
        if waits:
            self.wake()

    def _wait(self, future: Future[None]) -> None:
        self._unsettled.append(future)
        if len(self._unsettled) > MOST_WAITING:  # the controller is stuck, and most were given up
            self._unsettled = [each for each in self._unsettled if not each.done()]

    def _admit(self, answered: Answered) -> bool:
        """Whether the kernel holds now what the answer means."""
        now, seconds = time.time_ns() // 1000, self.lingers
        wanted: dict[str, list[str]] = {}
        held = True
        for told in answered.told:
            ends = tuple((address, now + max(self.lingers, ttl) * 1_000_000) for address, ttl in told.addresses)
            self._learn(Learned(answered.vm, told.name, ends))
            seconds = max(seconds, *(ttl for _, ttl in told.addresses))
            for concern in self._concerns.get(answered.vm, ()):
                missing = [address for address, _ in told.addresses if address not in concern.holds]
                if missing and concern.covers(told.name):
                    if concern.set_name is None:
                        held = False
                    else:
                        wanted.setdefault(concern.set_name, []).extend(missing)
        for name, addresses in wanted.items():
            held = self._lend(name, addresses, seconds) and held
        self.counts.resolved += not held
        return held

    def _learn(self, learned: Learned) -> None:
        self._learned.append(learned)
        if len(self._learned) > MOST_LEARNED:
            self._learned.popleft()
            self.counts.forgotten += 1

    def _lend(self, name: str, addresses: Sequence[str], seconds: int) -> bool:
        now, lent = time.monotonic(), self._lent.get(name, {})
        missing = sorted({address for address in addresses if lent.get(address, 0) < now + self.lingers / 2})
        if len(lent) + len(missing) > MOST_LENT:
            return False
        try:
            if missing:
                self.lend(name, missing, seconds)
        except EnforcerError as error:
            self.counts.failed += 1
            self.error = str(error)
            return False
        self.error = None
        self.counts.lent += len(missing)
        if missing:
            self._lent[name] = lent | dict.fromkeys(missing, now + seconds)
        return True


def _finish(futures: Sequence[Future[None]]) -> None:
    for future in futures:
        with suppress(InvalidStateError):  # given up meanwhile
            future.set_result(None)
