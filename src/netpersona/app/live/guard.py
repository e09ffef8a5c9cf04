"""What brings the old rules back although the controller is dead: armed before a trial, disarmed when it is over."""

from __future__ import annotations

from pathlib import Path

from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.adapters.enforcers.nftables.revert import arm, confirm
from netpersona.ruleset.model import Ruleset

GRACE = 3.0  # s: the controller itself goes back first, if it lives


class KernelGuard:
    """A revert of the kernel's rules by a process of its own; `path` is the socket by which it is disarmed."""

    def __init__(self, enforcer: Nftables, path: Path) -> None:
        self._enforcer = enforcer
        self._path = path

    def arm(self, earlier: Ruleset, seconds: float) -> None:
        """Rehearse the revert in the kernel, then arm it.  Raises EnforcerError; then nothing is armed."""
        arm(self._enforcer, earlier, seconds + GRACE, self._path)

    def disarm(self) -> None:
        """The trial is over; no error where nothing is armed."""
        confirm(self._path)
