"""The relay: one thread that holds the DNS answers of VMs until the kernel holds what they mean.

    tap socket  --questions-->  Held (one for each VM)  <--answers--  holding device  <-- kernel (table.py)
                                  |  heard(): the kernel's sets
    tap socket  <---frames--------+

The same thread sends the heartbeat: where it hangs, the kernel lets answers go by themselves after BREATH, just as if
the process had died.  No VM may keep the thread from the others: each has a turn of at most TURN frames.
"""

from __future__ import annotations

import contextlib
import re
import select
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from queue import Empty, SimpleQueue
from socket import if_nametoindex, socketpair

from netpersona.adapters.dns_relay.devices import Holding, Pulse, Tap
from netpersona.adapters.dns_relay.held import PATIENCE, Answered, Counts, Heard, Held
from netpersona.adapters.dns_relay.table import BREATH, Table
from netpersona.errors import EnforcerError, NetpersonaError, SourceError
from netpersona.flow.vm import VmId

BEAT = BREATH / 4_000  # s between heartbeats
TOLD_FOR = 10.0  # s for which health() tells of a failure that is over
TURN = 64  # frames of one VM before the others have their turn
_PULSE, _DEVICE = "npdns", "npd%d"
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}")


@dataclass(frozen=True, slots=True)
class RelayHealth:
    """How it is: `error` says why answers go unheld now; None: all is well."""

    running: bool
    held: tuple[str, ...]  # taps
    figures: Mapping[str, int]
    """Counts, and `overflown`: answers that found no room, `lost`: that the tap refused, `healed`: taps that somebody
    took out of the table."""
    error: str | None


@dataclass(slots=True)
class _Line:
    """A tap with its device, and what is held there."""

    tap: Tap
    device: Holding
    held: Held
    paused: bool = False  # nothing is read, since too much is parked
    broken: bool = False  # the device is gone: somebody deleted it

    def close(self) -> None:
        self.tap.close()
        self.device.close()


@dataclass(slots=True)
class _Loop:
    """The thread's own: which descriptor belongs to which line."""

    lines: dict[int, _Line] = field(default_factory=dict)  # by the descriptor of the device
    taps: dict[int, _Line] = field(default_factory=dict)  # by the descriptor of the tap
    pulse_at: float = 0.0


class Relay:
    """Holds answers in the network namespace of the thread that calls start() and follow()."""

    def __init__(self, heard: Heard, patience: float = PATIENCE) -> None:
        self._heard, self._patience = heard, patience
        self._lines: dict[str, _Line] = {}  # by interface
        self._gone = Counts()  # of lines that are no more
        self._lost = 0
        self._healed = 0
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._poll = select.epoll()
        self._loop = _Loop()
        self._woke, self._waker = socketpair()
        for end in (self._woke, self._waker):
            end.setblocking(False)  # noqa: FBT003 (it takes no keyword)
        self._poll.register(self._woke, select.EPOLLIN)
        self._over = threading.Event()
        self._mute = False  # the heartbeat does not reach the kernel: answers go by themselves
        self._thread: threading.Thread | None = None
        self._table: Table | None = None
        self._pulse: Pulse | None = None
        self._failures: dict[str, float] = {}  # what failed -> when last, s, monotonic
        self._unwatched: dict[str, str] = {}  # interface -> why it is not held

    def start(self) -> None:
        """Make the table and begin.  Raises EnforcerError, SourceError: then answers go by themselves; call stop()."""
        self._pulse = Pulse(_PULSE)
        self._table = Table()
        self._table.install(_PULSE)
        self._pulse.beat()
        self._thread = threading.Thread(target=self._run, name="dns-relay", daemon=True)
        self._thread.start()

    def follow(self, taps: Mapping[str, VmId]) -> None:
        """Hold the answers on these interfaces from now on, and on no others.  To be called again every second or so.

        What cannot be held goes by itself, and is said in health().  What somebody took out of the table is put back.
        """
        self._unwatched = {}
        try:
            self._heal()
        except EnforcerError as error:
            self._unwatched["table"] = str(error)
        for interface, line in list(self._lines.items()):
            if line.broken or taps.get(interface) != line.held.vm or not _is_there(interface, line.tap.index):
                self._release(interface)
        for interface, vm in sorted(taps.items()):
            if interface not in self._lines:
                try:
                    self._hold(interface, vm)
                except NetpersonaError as error:
                    self._unwatched[interface] = str(error)

    def stop(self) -> None:
        """Take the table out of the kernel, let go what is held, and end for good."""
        if self._table is not None:
            with contextlib.suppress(EnforcerError):
                self._table.remove()
            self._table.close()
            self._table = None
        for line in self._lines.values():
            self._order(lambda line=line: self._end(line))  # type: ignore[misc]
        self._lines = {}
        self._over.set()
        self._woken()
        if self._thread is not None:
            self._thread.join(5)
        if self._thread is None or not self._thread.is_alive():
            self._do_orders()  # of a thread that died
        self._thread = None
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None
        self._poll.close()
        self._woke.close()
        self._waker.close()

    @property
    def running(self) -> bool:
        """Whether its thread lives, and the kernel hears of it."""
        return self._thread is not None and self._thread.is_alive() and not self._mute

    def health(self) -> RelayHealth:
        """How it is."""
        lines = list(self._lines.values())
        figures = asdict(self._gone)
        for line in lines:
            for name, count in asdict(line.held.counts).items():
                figures[name] += count
        figures["overflown"] = sum(line.device.overflown() for line in lines)
        figures["healed"] = self._healed
        figures["lost"] = self._lost + sum(line.tap.lost for line in lines)
        running = self.running
        why = [] if running else ["not running"]
        why += [said for said, at in list(self._failures.items()) if time.monotonic() < at + TOLD_FOR]
        why += [f"{interface}: {error}" for interface, error in self._unwatched.items()]
        return RelayHealth(running, tuple(sorted(self._lines)), figures, "; ".join(why) or None)

    # What the caller's thread does

    def _heal(self) -> None:
        if self._table is None or not self._lines:
            return
        missing = self._table.missing(self._lines)
        if missing == self._lines.keys():
            self._table.install(_PULSE)
        for interface in sorted(missing):
            self._healed += 1
            if interface in self._lines and _is_there(interface, self._lines[interface].tap.index):
                if missing != self._lines.keys():
                    self._table.release(interface)
                self._table.hold(interface, self._lines[interface].device.index)

    def _hold(self, interface: str, vm: VmId) -> None:
        if self._table is None:
            raise EnforcerError("the relay is not running")
        if not _INTERFACE.fullmatch(interface):
            raise SourceError(f"{interface!r} is no interface name")
        tap = Tap(interface)
        try:
            device = Holding(_DEVICE, interface)
        except SourceError:
            tap.close()
            raise
        line = _Line(tap, device, Held(vm, self._hearing, time.monotonic(), self._patience))
        self._order(lambda: self._begin(line))
        try:
            self._table.hold(interface, device.index)
        except EnforcerError:
            self._order(lambda: self._end(line))
            raise
        self._lines[interface] = line

    def _release(self, interface: str) -> None:
        line = self._lines.pop(interface)
        if self._table is not None:
            try:
                self._table.release(interface)
            except EnforcerError as error:
                self._fail(error)
        self._order(lambda: self._end(line))

    def _fail(self, error: NetpersonaError) -> None:
        now = time.monotonic()
        self._failures = {said: at for said, at in self._failures.items() if now < at + TOLD_FOR} | {str(error): now}

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        self._woken()

    def _woken(self, _: Future[None] | None = None) -> None:
        with contextlib.suppress(OSError):  # no room: then it wakes anyway; closed: there is nobody to wake
            self._waker.send(b"!")

    def _hearing(self, answered: Answered) -> Future[None] | None:
        wait = self._heard(answered)
        if wait is not None:
            wait.add_done_callback(self._woken)
        return wait

    # What the thread does

    def _run(self) -> None:
        while not self._over.is_set():
            self._round()
        self._do_orders()

    def _round(self) -> None:
        loop = self._loop
        ready = self._poll.poll(self._until_due())
        now = time.monotonic()
        if now >= loop.pulse_at and self._pulse is not None:
            loop.pulse_at = now + BEAT
            self._beat(self._pulse)
        self._do_orders()
        for descriptor, _ in ready:
            if descriptor in loop.taps:
                self._listen(loop.taps[descriptor], now)
            elif descriptor in loop.lines:
                self._serve(loop.lines[descriptor], now)
            elif descriptor == self._woke.fileno():
                self._woke.recv(4096)
        for line in loop.lines.values():
            if line.held.due is not None:
                self._let_go(line, now)

    def _beat(self, pulse: Pulse) -> None:
        try:
            pulse.beat()
        except SourceError as error:  # somebody deleted its device
            self._mute = True
            self._fail(error)

    def _until_due(self) -> float:
        dues = [line.held.due for line in self._loop.lines.values()]
        first = min((due for due in dues if due is not None), default=self._loop.pulse_at)
        return max(0.0, min(first, self._loop.pulse_at) - time.monotonic())

    def _do_orders(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._orders.get_nowait()()

    def _listen(self, line: _Line, now: float) -> None:
        for frame in line.tap.questions():
            line.held.ask(frame, now)

    def _serve(self, line: _Line, now: float) -> None:
        frames = self._read(line, TURN)
        self._listen(line, now)  # after that: the question of an answer that is here has been sent
        for frame in frames:
            line.held.take(frame, now)
        self._let_go(line, now)

    def _read(self, line: _Line, most: int) -> list[bytes]:
        frames: list[bytes] = []
        try:
            frames.extend(line.device.frames(most))
        except SourceError as error:
            line.broken = True
            self._fail(error)
        return frames

    def _let_go(self, line: _Line, now: float) -> None:
        for frame in line.held.freed(now):
            line.tap.send(frame)
        pause = line.held.full or line.broken
        if pause != line.paused:
            line.paused = pause
            self._poll.modify(line.device.fileno(), 0 if pause else select.EPOLLIN)

    def _begin(self, line: _Line) -> None:
        self._loop.lines[line.device.fileno()] = line
        self._loop.taps[line.tap.fileno()] = line
        self._poll.register(line.device.fileno(), select.EPOLLIN)
        self._poll.register(line.tap.fileno(), select.EPOLLIN)

    def _end(self, line: _Line) -> None:
        """Let go what the line still holds, and close it."""
        for descriptor, of in ((line.device.fileno(), self._loop.lines), (line.tap.fileno(), self._loop.taps)):
            if of.pop(descriptor, None) is not None:
                self._poll.unregister(descriptor)
        now = time.monotonic()
        frames = self._read(line, TURN * 16)
        self._listen(line, now)
        for frame in frames:
            line.held.take(frame, now)
        for frame in line.held.rest():
            line.tap.send(frame)
        for name, count in asdict(line.held.counts).items():
            setattr(self._gone, name, getattr(self._gone, name) + count)
        self._lost += line.tap.lost
        line.close()


def _is_there(interface: str, index: int) -> bool:
    try:
        return if_nametoindex(interface) == index
    except OSError:
        return False
