"""Taps as a live sensor: interfaces come and go, polling gives reports of what their VMs did.

One sensor, in one process and one thread, serves all taps of a host (ring.py says why).  It is no `ports.Sensor`, whose
batches add up to all that a source holds: a Report's flow rows take the place of earlier ones (window_meter.py says
why), and open_windows.OpenWindows makes windows of them.

A flow's row names the interface on which it was seen in `source`, so a flow between two VMs of this host has two
rows, one for each VM; whoever judges a VM takes the rows of its own interface.  Addresses prove nothing: a VM may write
any into its packets.  Packets are counted as the interface's own counters count them: one that leaves the VM to be
segmented later is one.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np

from netpersona.adapters.sensors.packets.packets import SLACK, TAPS, Packets
from netpersona.adapters.sensors.packets.window_meter import MOST_OPEN, Report, WindowMeter
from netpersona.adapters.sensors.tap.blocks import packets_of
from netpersona.adapters.sensors.tap.ring import BLOCKS, SEEN_AFTER, Ring
from netpersona.errors import SourceError
from netpersona.flow.vm import VmId
from netpersona.flow.window import WINDOW

_LOST = "packet lost: the ring was full"
_ROOM = 32 << 20  # bytes of packets that are worked on at once; of the shortest some 200,000, and a second's work
_FORGOTTEN = 600.0  # s after which no flow of a tap that was let go can be open
_LOOK = 0.5  # s between looks whether the interfaces are still there
_AT_LEAST = 0.01  # s that a poll takes, though it is woken: so much of the time is left to others


@dataclass(frozen=True, slots=True)
class Health:
    """How the sensor does: counts since it was made, and what it holds now."""

    packets: int
    lost: int  # packets that found no room in the ring
    open_flows: int
    skipped: Mapping[str, int]  # by reason


@dataclass(frozen=True, slots=True)
class _Tap:
    interface: str
    vm: VmId
    index: int
    number: int


class TapSensor:
    """Watches interfaces of the network namespace in which it was made.  A context manager.

    Raises SourceError where it may not (CAP_NET_RAW), or the ring finds no memory.
    """

    format = "tap"

    def __init__(self, *, blocks: int = BLOCKS, window: int = WINDOW, most_open: int = MOST_OPEN) -> None:
        self._ring = Ring(blocks)
        self._names: dict[int, str] = {}  # of all taps that open flows may still be of, by number
        self._taps: dict[str, _Tap] = {}
        self._meter = WindowMeter(self.format, self._names, window, most_open)
        self._buffer = np.empty(_ROOM, np.uint8)
        self._number = -1
        self._left: deque[tuple[float, int]] = deque()  # when which number's tap was let go
        self._looked = 0.0
        self._vanished: list[str] = []
        self._total: Counter[str] = Counter()
        self._packets = self._lost = 0

    @property
    def taps(self) -> Mapping[str, VmId]:
        """Which VM is behind each interface that is watched now."""
        return MappingProxyType({tap.interface: tap.vm for tap in self._taps.values()})

    @property
    def health(self) -> Health:
        """Counts since the sensor was made, and what it holds."""
        return Health(self._packets, self._lost, self._meter.open_flows, dict(self._total))

    def add(self, interface: str, vm: VmId) -> None:
        """Watch an interface; one that was made anew under its name is watched instead.  Raises SourceError."""
        index = self._ring.index_of(interface)
        if index is None:
            raise SourceError(f"{interface}: no such interface; expected one of this network namespace")
        known = self._taps.get(interface)
        if known is not None and known.index == index:
            self._taps[interface] = replace(known, vm=vm)
            return
        following = (number % TAPS for number in range(self._number + 1, self._number + TAPS))
        number = next(number for number in following if number not in self._names)
        others = {name: tap for name, tap in self._taps.items() if tap.index != index}  # one that was renamed goes
        self._watch({**others, interface: _Tap(interface, vm, index, number)})
        self._number, self._names[number] = number, interface

    def remove(self, interface: str) -> None:
        """Watch an interface no longer; one that is not watched is no error."""
        self._watch({name: tap for name, tap in self._taps.items() if name != interface})

    def poll(self, seconds: float) -> Report:
        """What happened until `seconds` from now: earlier only where it is woken, or too much came to wait for more."""
        began = time.monotonic()
        deadline = began + seconds
        starts, at = self._ring.copy_out(self._buffer, 0)
        while (left := deadline - time.monotonic()) > 0 and at < len(self._buffer) * 3 // 4:
            if self._ring.wait(left):
                deadline = min(deadline, began + _AT_LEAST)
            more, at = self._ring.copy_out(self._buffer, at)
            starts += more
        now = self._ring.now()
        more, at = self._ring.copy_out(self._buffer, at)
        present = self._ring.now()
        skipped: Counter[str] = Counter()
        packets = self._packets_of([*starts, *more], at, skipped)
        self._account(skipped)
        until = now - SEEN_AFTER
        if self._ring.ready() and len(packets):  # there was no room for all
            until = min(until, int(packets.time[-1]))
        report = self._meter.report([packets], until, skipped)
        self._total.update(report.batch.skipped)
        self._look()
        vanished, self._vanished = tuple(self._vanished), []
        return replace(report, vanished=vanished, waits=report.waits + present - until)

    def wake(self) -> None:
        """End the present poll, or the next one, at once: something waits for what follows it.  From any thread."""
        self._ring.wake()

    def close(self) -> None:
        """Give the ring back."""
        self._ring.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _packets_of(self, starts: list[int], end: int, skipped: Counter[str]) -> Packets:
        taps = {tap.index: tap.number for tap in self._taps.values()}
        return packets_of(self._buffer[: end + SLACK], starts, taps, skipped)

    def _account(self, skipped: Counter[str]) -> None:
        seen = self._ring.seen()
        self._packets += seen.packets
        self._lost += seen.lost
        if seen.lost:
            skipped[_LOST] += seen.lost

    def _look(self) -> None:
        """Let go the interfaces that are there no longer, or not under their name."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        gone = [tap.interface for tap in self._taps.values() if self._ring.name_of(tap.index) != tap.interface]
        if gone:
            self._watch({name: tap for name, tap in self._taps.items() if name not in gone})
            self._vanished += gone
        while self._left and self._looked - self._left[0][0] > _FORGOTTEN:
            del self._names[self._left.popleft()[1]]

    def _watch(self, taps: dict[str, _Tap]) -> None:
        """Watch these; the numbers of those watched no longer are kept for a while."""
        self._ring.watch([tap.index for tap in taps.values()])
        staying = {tap.number for tap in taps.values()}
        self._left += [(time.monotonic(), tap.number) for tap in self._taps.values() if tap.number not in staying]
        self._taps = taps
