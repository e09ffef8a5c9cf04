"""The enforcer that only says what it would do: for recorded traffic, and for whoever wants to look first."""

from __future__ import annotations

from netpersona.policy.model import AlwaysAllow
from netpersona.ruleset.diff import Changes, diff
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.render import render

NOTHING = Ruleset(sets={}, vms={}, always=AlwaysAllow(), unknown_vm="allow")


class Plan:
    """An Enforcer that touches nothing: what was asked for last is what would be in force."""

    def __init__(self, in_force: Ruleset | None = None) -> None:
        self._in_force = NOTHING if in_force is None else in_force

    def apply(self, desired: Ruleset) -> Changes:
        """What changes if `desired` is in force instead."""
        changes = diff(self._in_force, desired)
        self._in_force = desired
        return changes

    def in_force(self) -> Ruleset:
        """What would be in force."""
        return self._in_force

    def text(self) -> str:
        """It as nft reads it."""
        return render(self._in_force)
