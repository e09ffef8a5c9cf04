"""What the running controller offers to those who ask it: the API, and through it the command line.

Every method may be called from any thread; it answers with values that nobody changes any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.app.feed_config import FeedSource
from netpersona.app.live.feed_state import FeedState
from netpersona.app.live.health import Health
from netpersona.app.standing import Standing
from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.ports import Store
from netpersona.ruleset.diff import Changes
from netpersona.ruleset.model import Ruleset

__all__ = ["Applied", "FeedState", "PolicyVersion", "Service"]


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """All policies as they stood from an instant on."""

    number: int
    at: int  # µs
    who: str
    why: str
    texts: Mapping[str, str]  # file or resource name -> YAML text
    confirmed: bool  # False: it goes back to the one before unless it is confirmed in time
    confirm_by: int | None = None  # µs: when it goes back


@dataclass(frozen=True, slots=True)
class Applied:
    """What a change of policies came to."""

    version: PolicyVersion
    changes: Changes
    confirm_by: int | None  # µs: when it goes back by itself; None: it stays


class Service(Protocol):
    """The running controller.  Methods that change something raise NetpersonaError; then nothing was changed."""

    def now(self) -> int:
        """The present instant, µs."""

    def health(self) -> Health:
        """How each part is."""

    def store(self) -> Store:
        """Where history, findings and risk terms are read."""

    def standing(self) -> Standing:
        """Personas, indicators and policies as they stand now: what `why`, plan and verdicts rest on."""

    def ruleset(self) -> Ruleset:
        """The rules in force."""

    def firewall(self) -> Mapping[str, Any]:
        """What the kernel holds.

        `installed` (bool), `vms` (as ruleset.words.plan), `nft` (text), `counters` (Count), `well` (bool), `drift`
        (Drift), `healed` (drifts mended since the start).
        """

    def verify(self) -> Mapping[str, Any]:
        """Read the kernel back now: `well` (bool), `drift` (sentences), `healed` (drifts mended since the start)."""

    def receipts(self, vm: VmId | None = None) -> Sequence[Receipt]:
        """The latest denied packets that the kernel told of, of one VM or of all, oldest first."""

    def policies(self) -> Sequence[PolicyVersion]:
        """Every version of the policies, oldest first; the last one is in force."""

    def plan(self, texts: Mapping[str, str]) -> tuple[Ruleset, Changes]:
        """What these policies would come to, and how that differs from what is in force.  Raises PolicyError."""

    def apply(self, texts: Mapping[str, str], who: str, why: str, confirm_within: int | None = None) -> Applied:
        """Put these policies in force, in place of all others.  `confirm_within` is in µs."""

    def confirm(self, who: str) -> PolicyVersion:
        """Keep what waits to be confirmed."""

    def roll_back(self, who: str, number: int | None = None) -> Applied:
        """Go back to an earlier version of the policies; the one before, unless a number is given."""

    def uninstall(self, who: str) -> None:
        """Take every rule of ours out of the kernel, and put none there until apply() or a restart."""

    def edit(self, persona: Persona, who: str, why: str) -> None:
        """Store what a person changed of a persona (freeze, reset, labels): the next version of it."""

    def feeds(self) -> Sequence[FeedState]:
        """Every feed, in the order of their names."""

    def add_feed(self, source: FeedSource, who: str) -> None:
        """Read a feed from now on, also after a restart."""

    def remove_feed(self, name: str, who: str, why: str) -> None:
        """Forget a feed that was added or pushed to, and all that it said."""

    def refresh_feed(self, name: str, *, whole: bool = False) -> None:
        """Read a feed now; `whole`: not only what was added to it.  What comes of it, feeds() tells."""

    def decide_feed(self, name: str, who: str, why: str, *, accept: bool) -> None:
        """Let count what is held of a feed, or throw it away."""

    def indicators(self, feed: str, values: Sequence[str], who: str, *, remove: bool = False) -> int:
        """Add addresses, networks or domains to a feed that is pushed to, or take them out; gives how many changed."""

    def vms(self) -> Mapping[VmId, Persona]:
        """The VMs that exist now, with their personas."""
