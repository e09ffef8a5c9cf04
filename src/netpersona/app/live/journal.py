"""What the controller writes to its log: what an operator asks for later, a line each.

Parts that fall ill and get well, what is put before a person, what people changed, faults with their trace.  Packets
that were denied are not in it: the receipts tell of them (told.py).  What repeats itself is bounded, and says so.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from netpersona.app.live.health import Part
from netpersona.flow.window import SECOND
from netpersona.risk.finding import Finding

_log = logging.getLogger("netpersona.live")
_MINUTE = 60 * SECOND
_LINES = 20  # that one part, or all alerts together, may have in a minute
_TELLS_ITSELF = "feed "  # feed_fetching.py
_KEPT = 10_000  # findings and faults of which is known that they were told, and parts that were ever ill


class _Bound:
    """Lets so many lines through in a minute."""

    def __init__(self) -> None:
        self._told: deque[int] = deque(maxlen=_LINES)  # when, µs

    def lets(self, now: int) -> bool:
        """Whether one more may be told at `now` (µs)."""
        if len(self._told) == _LINES and now - self._told[0] < _MINUTE:
            return False
        self._told.append(now)
        return True


@dataclass(slots=True)
class _Known:
    """What was told of a part."""

    well: bool = True
    says: str = ""
    bound: _Bound = field(default_factory=_Bound)
    silent: bool = False  # whether it changed since, and that was not told


class Journal:
    """Told again and again how things are, it writes down what is new."""

    def __init__(self, begun: int) -> None:
        self._begun = begun  # µs: what was found before was told by an earlier run
        self._parts: dict[str, _Known] = {}  # those that were ever ill: each new VM brings a tap of another name
        self._bound = _Bound()  # of all alerts together
        self._silent = 0  # alerts that were not told
        self._told: dict[str, None] = {}  # findings and faults, oldest first

    def part(self, part: Part, now: int) -> None:
        """A part is so at `now` (µs)."""
        if part.name.startswith(_TELLS_ITSELF):
            return
        known = self._parts.get(part.name)
        if known is None and part.well:
            return
        if known is None:
            known = self._parts[part.name] = _Known()
            if len(self._parts) > _KEPT:
                del self._parts[next(iter(self._parts))]
        says = "" if part.well else part.says
        if (part.well, says) == (known.well, known.says):
            return
        if not known.bound.lets(now):
            known.silent = True
            return
        more = "; it changed again and again before" if known.silent else ""
        known.well, known.says, known.silent = part.well, says, False
        if part.well:
            _log.info("%s: well again%s", part.name, more)
        else:
            _log.warning("%s: %s%s", part.name, says, more)

    def fault(self, name: str, error: Exception) -> None:
        """A part failed by a fault of ours, which is told once with its trace: it is wanted in a bug report."""
        if self._is_new(f"{name} {error!r}"):
            _log.error("%s: a fault of netpersona; please report it", name, exc_info=error)

    def alerts(self, findings: Iterable[Finding], now: int) -> None:
        """What is found at `now` (µs); the same may be told again."""
        for found in findings:
            if not found.alert or found.judged_at < self._begun or not self._is_new(found.id):
                continue
            if self._bound.lets(now):
                _log.warning("%s: %s (%s): %s (finding %s)", found.vm, found.kind, found.severity, found.why, found.id)
            else:
                self._silent += 1
        if self._silent and self._bound.lets(now):
            _log.warning("%d more findings within a minute: see 'netpersona findings'", self._silent)
            self._silent = 0

    def done(self, what: str, who: str, why: str = "") -> None:
        """A person changed something."""
        _log.info("%s, by %s%s", what, who, f": {why}" if why else "")

    def _is_new(self, what: str) -> bool:
        if what in self._told:
            return False
        self._told[what] = None
        if len(self._told) > _KEPT:
            del self._told[next(iter(self._told))]
        return True
