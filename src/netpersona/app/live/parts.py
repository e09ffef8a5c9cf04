"""What the controller is made of, and what each part must offer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from netpersona.adapters.dns_relay.hold import AnswerHold
from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.adapters.sensors.packets.window_meter import Report
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.outlets import Outlets
from netpersona.app.past import Past
from netpersona.flow.vm import VmId
from netpersona.policy.model import PolicySet
from netpersona.ports import Enforcer, Inventory, Keep, Store
from netpersona.ruleset.model import Ruleset


class LiveSensor(Protocol):
    """What watches taps; see adapters.sensors.tap.sensor."""

    @property
    def taps(self) -> Mapping[str, VmId]:
        """Which VM is behind each interface that is watched now."""

    def add(self, interface: str, vm: VmId) -> None:
        """Watch an interface.  Raises SourceError."""

    def remove(self, interface: str) -> None:
        """Watch an interface no longer."""

    def poll(self, seconds: float) -> Report:
        """What happened until then."""


class Guard(Protocol):
    """What brings earlier rules back although the controller is dead; see app.live.guard."""

    def arm(self, earlier: Ruleset, seconds: float) -> None:
        """From now on they come back after so many seconds.  Raises EnforcerError; then nothing is armed."""

    def disarm(self) -> None:
        """They do not."""


class ReceiptSource(Protocol):
    """What tells of denied packets; see adapters.enforcers.nftables.receipts."""

    def concern(self, ruleset: Ruleset) -> None:
        """These are the rules whose packets are told of."""

    def waiting(self, now: int) -> list[Receipt]:
        """What was told since the last time."""


class LinkSource(Protocol):
    """What tells of interfaces that change; see app.live.links."""

    def changed(self, interfaces: Collection[str]) -> bool:
        """Whether one of these did since this was last asked.  Raises SourceError."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the controller is made of."""

    inventory: Inventory
    sensor: LiveSensor
    store: Store
    enforcer: Enforcer
    indicators: LiveIndicators
    policies: Callable[[Mapping[str, str]], PolicySet]  # policy texts -> what they mean here.  Raises PolicyError
    window: int  # µs
    guard: Guard | None = None  # None: a trial goes back only while the controller lives
    receipts: ReceiptSource | None = None
    links: LinkSource | None = None  # None: a tap that moves into a bridge is noticed with the next change
    hold: AnswerHold | None = None  # None: DNS answers are learned as they pass
    past: Past | None = None  # None: flows are not kept, and what is listed anew is not hunted
    outlets: Outlets | None = None  # None: findings are told nobody beside the API
    steady: Callable[[], float] | None = None  # s of a clock that nobody can set; None: the sensor's time is such
    keep: Keep | None = None  # how long the store keeps what it knows; None: for ever
