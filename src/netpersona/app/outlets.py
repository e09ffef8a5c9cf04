"""All sinks that are configured, as one: what the running controller gives its findings to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netpersona.adapters.sinks.delivery import Delivered
from netpersona.app.sink_config import SinkPlace
from netpersona.risk.finding import Finding

ENDING = 5.0  # s that a sink has to take what waits, when the controller ends


class Outlets:
    """Every method may be called from any thread, and none but stop() waits."""

    def __init__(self, places: Sequence[SinkPlace]) -> None:
        self._deliveries = [place.delivery() for place in places]

    def give(self, findings: Iterable[Finding]) -> None:
        """Tell every sink what is new of these findings; the same ones may be given again and again."""
        those = list(findings)
        for delivery in self._deliveries:
            delivery.give(those)

    def states(self) -> list[Delivered]:
        """How each of them is, in the order of the configuration."""
        return [delivery.state() for delivery in self._deliveries]

    def stop(self) -> None:
        """Tell what waits, and end."""
        for delivery in self._deliveries:
            delivery.stop(ENDING)
