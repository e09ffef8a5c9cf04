"""All of it together, as a controller uses it: the relay, what answers mean, and how both are.

start -> (settling: take what was learned, apply, publish; follow) ... -> stop
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class HoldHealth:
    """`says` is a sentence: what is held, or why answers reach VMs before the kernel holds what they mean."""

    well: bool
    says: str
    figures: Mapping[str, int]


class AnswerHold:
    """Holds the answers of VMs to which rules on names apply.

    `lend`: see Admission; `wake` is called from another thread, to have the controller's next turn begin now;
    `patience`: how many seconds an answer waits at the most.
    Everything else is for the controller's thread, in whose network namespace the taps are.
    """

    def __init__(self, lend: Lend, wake: Callable[[], None], patience: float = PATIENCE) -> None:
        self._admission = Admission(lend, wake)
        self._relay = Relay(self._admission.heard, patience)
        self._book = Book()
        self._why_not: str | None = "not started"
        self._taps: Mapping[str, VmId] = {}

    def start(self) -> bool:
        """Begin; where this host cannot hold answers, gives False and health() says why: then nothing is held."""
        try:
            self._relay.start()
        except (EnforcerError, SourceError) as error:
            self._why_not = str(error)
            return False
        self._why_not = None
        return True

    def stop(self) -> None:
        """Let go what is held, and leave nothing in the kernel."""
        self._relay.stop()
        self._why_not = "stopped"

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
        self._admission.publish(self._book.concerns(ruleset, allowed=allowed, personas=personas))
        if self._admission.vms != before:
            self.follow(self._taps)

    def follow(self, taps: Mapping[str, VmId]) -> None:
        """The VMs behind these interfaces exist now; to be called every second or so."""
        self._taps = taps
        if self._why_not is None:
            concerned = self._admission.vms
            self._relay.follow({tap: vm for tap, vm in taps.items() if vm in concerned})

    def health(self) -> HoldHealth:
        """How it is."""
        relay = self._relay.health()
        figures = {**relay.figures, **asdict(self._admission.counts), "held_taps": len(relay.held)}
        if self._why_not is not None:
            says = f"{self._why_not}; answers are learned as they pass, and a first connection may come before"
            return HoldHealth(well=False, says=says, figures=figures)
        error = relay.error or self._admission.error
        if error is not None:
            return HoldHealth(well=False, says=error, figures=figures)
        return HoldHealth(well=True, says=f"the answers on {len(relay.held)} taps are held", figures=figures)
