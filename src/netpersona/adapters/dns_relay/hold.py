"""All of it together, as a controller uses it: the relay, what answers mean, and how both are.

start -> (settling: take what was learned, apply, publish; follow) ... -> stop
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from netpersona.adapters.dns_relay.admission import Admission, Learned, Lend
from netpersona.adapters.dns_relay.concerns import Book, allowed_names
from netpersona.adapters.dns_relay.held import PATIENCE
from netpersona.adapters.dns_relay.relay import Relay
from netpersona.errors import EnforcerError, SourceError
from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.pipeline import Ground
from netpersona.ruleset.model import Ruleset

AGAIN = 30.0  # s until a relay that cannot begin, or failed, is tried again


@dataclass(frozen=True, slots=True)
class HoldHealth:
    """`says` is a sentence: what is held, or why answers reach VMs before the kernel holds what they mean."""

    well: bool
    says: str
    figures: Mapping[str, int]


class AnswerHold:
    """Holds the answers of VMs to which rules on names apply.

    `lend`: see Admission; `wake` is called, in another thread, when an answer waits for a settling, and `wait` returns;
    `patience`: how many seconds an answer waits at the most.  Everything but `wait` is for one thread at a time, in the
    network namespace in which the taps are.
    """

    def __init__(self, lend: Lend, wake: Callable[[], None] = lambda: None, patience: float = PATIENCE) -> None:
        self._asked = threading.Event()
        self._wake = wake
        self._admission = Admission(lend, self._waking)
        self._patience = patience
        self._relay: Relay | None = None
        self._book = Book()
        self._wanted, self._why_not, self._again = False, "not started", 0.0
        self._taps: Mapping[str, VmId] = {}

    def start(self) -> bool:
        """Begin; where this host cannot hold answers, gives False and health() says why: then nothing is held."""
        self._wanted = True
        if self._relay is not None and self._relay.running:
            return True
        self._end()
        relay = Relay(self._admission.heard, self._patience)
        try:
            relay.start()
        except (EnforcerError, SourceError) as error:
            relay.stop()
            self._why_not, self._again = str(error), time.monotonic() + AGAIN
            return False
        self._relay = relay
        return True

    def stop(self) -> None:
        """Let go what is held, and leave nothing in the kernel; it may be started again."""
        self._wanted, self._why_not = False, "stopped"
        self._end()

    def wait(self, seconds: float) -> bool:
        """Wait, in a thread of one's own, until an answer waits for a settling; False: none did in that time."""
        asked = self._asked.wait(seconds)
        self._asked.clear()
        return asked

    @property
    def waiting(self) -> bool:
        """Whether a settling is called for, so that what was lent becomes part of the ruleset."""
        return self._admission.waiting

    def settling(self) -> AbstractContextManager[list[Learned]]:
        """What was heard since last time, to be taken, resolved and applied inside."""
        return self._admission.settling()

    def quiet(self) -> AbstractContextManager[None]:
        """Nothing is lent inside: for every other use of the enforcer."""
        return self._admission.quiet()

    def publish(self, ruleset: Ruleset, ground: Ground, personas: Mapping[VmId, Persona]) -> None:
        """This ruleset is in force; call it inside settling()."""
        before = self._admission.vms
        allowed = allowed_names(ground.policies, ground.intel)
        listed = ground.intel.listed_names if ground.intel.lists_names else None
        self._admission.publish(self._book.concerns(ruleset, allowed=allowed, personas=personas, listed=listed))
        if self._admission.vms != before:
            self.follow(self._taps)

    def follow(self, taps: Mapping[str, VmId]) -> None:
        """The VMs behind these interfaces exist now; to be called every second or so.

        It also mends: what somebody took out of the kernel is put back, and a relay that failed begins again.
        """
        self._taps = dict(taps)
        is_ill = self._relay is None or not self._relay.running
        if is_ill and self._wanted and time.monotonic() >= self._again:
            self.start()
        if self._relay is not None:
            concerned = self._admission.vms
            self._relay.follow({tap: vm for tap, vm in taps.items() if vm in concerned})

    def health(self) -> HoldHealth:
        """How it is."""
        counts = asdict(self._admission.counts)
        if self._relay is None:
            says = f"{self._why_not}; answers are learned as they pass, and a first connection may come before"
            return HoldHealth(well=False, says=says, figures=counts)
        relay = self._relay.health()
        figures = {**relay.figures, **counts, "held_taps": len(relay.held)}
        error = relay.error or self._admission.error
        if error is not None:
            return HoldHealth(well=False, says=error, figures=figures)
        return HoldHealth(well=True, says=f"the answers on {len(relay.held)} taps are held", figures=figures)

    def _waking(self) -> None:
        self._asked.set()
        self._wake()

    def _end(self) -> None:
        if self._relay is not None:
            self._relay.stop()
            self._relay = None
