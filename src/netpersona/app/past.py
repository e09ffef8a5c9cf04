"""The past of a running controller: what closed windows held is kept, and what is listed anew is hunted in it.

    window closes -> closed() -> Recorder -> History <- RetroHunts <- know() <- feeds say something new
                                                            `-> notices(): findings

Nothing here makes the controller wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netpersona.adapters.history.recorder import Recorder
from netpersona.app.history_config import HistoryPlace
from netpersona.app.history_view import by_tap
from netpersona.app.retro import RetroHunts
from netpersona.flow.table import FlowBatch
from netpersona.flow.vm import VmId
from netpersona.flow.words import counted
from netpersona.intel.indicators import IndicatorSet
from netpersona.pipeline import Fleet, Ground
from netpersona.risk.finding import Finding

_PATIENCE = 30.0  # s that a hunt waits for what was seen last to be written
_ENDING = 30.0  # s that the last windows have to be written, when the controller ends


@dataclass(frozen=True, slots=True)
class PartState:
    """How a part is, as app.live.health writes it down."""

    name: str
    well: bool
    says: str
    figures: Mapping[str, int]


class Past:
    """The history at a place, written and hunted beside everything else."""

    def __init__(self, place: HistoryPlace) -> None:
        self._recorder = Recorder(place.opened())
        self._hunts = RetroHunts(place.opened(), place.path / "hunted", lambda: self._recorder.settle(_PATIENCE))

    def closed(self, rows: FlowBatch, taps: Mapping[str, VmId], fleet: Fleet, ground: Ground, until: int) -> None:
        """Keep a window that is over, with all taps' rows; every window up to `until` (µs) is."""
        self._recorder.add(rows, by_tap(taps, fleet, ground))
        self._recorder.close(until)

    def know(self, indicators: IndicatorSet, at: int) -> None:
        """These are the indicators now, at `at` (µs); what of them is new is hunted."""
        self._hunts.consider(indicators, at)

    def notices(self) -> list[Finding]:
        """What hunts found since this was last asked."""
        return self._hunts.notices()

    def states(self) -> list[PartState]:
        """How keeping and hunting go."""
        kept, hunts = self._recorder.state(), self._hunts.state()
        lost = f"{counted(kept.dropped, 'flow')} could not be kept" if kept.dropped else ""
        return [
            PartState(
                "history",
                kept.error is None,
                kept.error or lost,
                {"flows_written": kept.written, "rows_waiting": kept.waiting, "flows_dropped": kept.dropped},
            ),
            PartState(
                "hunts",
                hunts.error is None,
                hunts.error or ("hunting" if hunts.busy else ""),
                {"hunts": hunts.hunts, "indicators": hunts.indicators, "found": hunts.found, "lost": hunts.lost},
            ),
        ]

    def stop(self) -> None:
        """Write what waits, and end."""
        self._recorder.stop(_ENDING)
        self._hunts.stop(1.0)
