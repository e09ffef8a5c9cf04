"""The enforcer that only says what it would do: for recorded traffic, and for whoever wants to look first."""

from __future__ import annotations

from netpersona.flow.vm import VmId
from netpersona.ports import Count, Drift
from netpersona.ruleset.diff import NOTHING, Changes, diff
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.render import render


class Plan:
    """An Enforcer that touches nothing: what was asked for last is what would be in force."""

    def __init__(self, in_force: Ruleset | None = None) -> None:
        self._in_force = NOTHING if in_force is None else in_force

    def apply(self, desired: Ruleset) -> Changes:
        """What changes if `desired` is in force instead."""
        changes = diff(self._in_force, desired)
        self._in_force = desired
        return changes

    def settle(self) -> None:
        """Nothing is left to be done."""

    def in_force(self) -> Ruleset:
        """What would be in force."""
        return self._in_force

    def verify(self) -> tuple[Drift, ...]:
        """Nobody else can change a plan."""
        return ()

    def heal(self) -> tuple[Drift, ...]:
        """So there is nothing to heal."""
        return ()

    def counters(self, vm: VmId | None = None) -> tuple[Count, ...]:  # noqa: ARG002 (no packet meets a plan)
        """No packet meets a plan."""
        return ()

    def check(self, desired: Ruleset) -> None:
        """Everything that can be written can be planned."""
        render(desired)

    def uninstall(self) -> None:
        """Plan nothing."""
        self._in_force = NOTHING

    def text(self) -> str:
        """It as nft reads it."""
        return render(self._in_force)
