"""New indicators are hunted in the past at once, beside the controller: what VMs met becomes findings.

    consider(indicators) -> what of them is new -> hunt, in a thread of its own -> notices()

Which indicators were hunted is remembered beside the history, so a restart hunts what came meanwhile and no more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from netpersona.app.hunting import hunted
from netpersona.errors import StoreError
from netpersona.intel.indicators import IndicatorSet
from netpersona.ports import History
from netpersona.risk.finding import Finding
from netpersona.risk.retro_hunt import findings

WAITING_MOST = 10_000  # findings that nobody took yet
_PARTIAL = ".partial"

_Marks = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Retro:
    """How hunting goes."""

    hunts: int = 0
    indicators: int = 0  # hunted since the start
    found: int = 0
    lost: int = 0  # findings that nobody took in time
    busy: bool = False
    error: str | None = None  # why the last hunt failed; it is tried again with the next indicators


class RetroHunts:
    """One thread that hunts.  consider(), notices() and state() may be called from any thread, and never wait.

    `marks` is the file that remembers what was hunted; None: each start hunts everything.  `settled` is called before
    each hunt: it may wait until what was seen last is in the history.
    """

    def __init__(
        self, history: History, marks: Path | None = None, settled: Callable[[], object] = lambda: None
    ) -> None:
        self._history, self._marks, self._settled = history, marks, settled
        self._asked: tuple[IndicatorSet, int] | None = None
        self._news = threading.Condition()
        self._over = False
        self._found: deque[Finding] = deque()
        self._state = Retro()
        self._thread = threading.Thread(target=self._run, name="hunts", daemon=True)
        self._thread.start()

    def consider(self, indicators: IndicatorSet, at: int) -> None:
        """These are the indicators now, at `at` (µs): what is new is hunted once the last hunt is over."""
        with self._news:
            self._asked = indicators, at
            self._news.notify()

    def notices(self) -> list[Finding]:
        """What was found since this was last asked."""
        with self._news:
            taken = list(self._found)
            self._found.clear()
        return taken

    def state(self) -> Retro:
        """How it goes."""
        with self._news:
            return replace(self._state, busy=self._state.busy or self._asked is not None)

    def stop(self, patience: float | None = None) -> None:
        """End after the present hunt, or after so many seconds in any case."""
        with self._news:
            self._over = True
            self._news.notify()
        self._thread.join(patience)

    def _run(self) -> None:
        known = self._remembered()
        while (asked := self._next()) is not None:
            indicators, at = asked
            marks = indicators.table.select(pl.struct(pl.col("type").cast(pl.String), "value").hash()).to_series()
            new = indicators.table.filter(~marks.is_in(pl.Series(known).implode()))
            try:
                self._hunt(new, indicators, at)
                known = np.unique(marks.to_numpy())
                if new.height:
                    self._remember(known)
                self._end(None)
            except Exception as error:  # noqa: BLE001 - the one place: the next indicators are hunted nevertheless
                known_error = isinstance(error, StoreError | OSError)
                self._end(str(error) if known_error else f"a fault of netpersona: {error!r}")

    def _next(self) -> tuple[IndicatorSet, int] | None:
        with self._news:
            self._news.wait_for(lambda: self._over or self._asked is not None)
            asked, self._asked = self._asked, None
            self._state = replace(self._state, busy=True)
            return None if self._over else asked

    def _hunt(self, new: pl.DataFrame, indicators: IndicatorSet, at: int) -> None:
        if not new.height:
            return
        self._settled()
        found = findings(hunted(self._history, new, indicators.allow, at=at).met, at)
        with self._news:
            self._found.extend(found)
            lost = max(0, len(self._found) - WAITING_MOST)
            for _ in range(lost):
                self._found.popleft()
            was = self._state
            self._state = replace(
                was,
                hunts=was.hunts + 1,
                indicators=was.indicators + new.height,
                found=was.found + len(found),
                lost=was.lost + lost,
            )

    def _end(self, error: str | None) -> None:
        with self._news:
            self._state = replace(self._state, busy=False, error=error)

    def _remembered(self) -> _Marks:
        """What was hunted before; nothing, where it is not known: then all is hunted again, and found the same."""
        try:
            content = b"" if self._marks is None else self._marks.read_bytes()
        except OSError:
            content = b""
        return np.frombuffer(content[: len(content) // 8 * 8], dtype=np.uint64)

    def _remember(self, marks: _Marks) -> None:
        if self._marks is not None:
            partial = self._marks.with_name(self._marks.name + _PARTIAL)
            partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.write_bytes(marks.tobytes())
            partial.replace(self._marks)
