"""What becomes of the answers of one VM, frame by frame: heard and then let go, or not let go at all.

    frame -> dissect -> does it answer a question of this VM? -> read -> heard -> parked until the kernel holds it -> VM

Not let go are: answers to what was not asked (spoofed ones), and those that cannot be read to their end.  An answer in
fragments is exchanged for one that asks for TCP, where it can be read whole.  Frames go on in the order in which they
came, so a piece that is sent again never overtakes the one that is parked.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from netpersona.adapters.dns_relay import message
from netpersona.adapters.dns_relay.frames import Datagram, Ends, Segment, answer_in_place, dissect
from netpersona.adapters.dns_relay.streams import Stream, Streams
from netpersona.flow.vm import VmId

MOST_QUESTIONS = 2_048  # of one VM that wait for their answer; the oldest go first
MOST_PARKED = 1_000  # frames of one VM; more wait in its device's queue
PATIENCE = 0.2  # s: what the kernel does not hold by then goes anyway, and is counted
_ANSWERED_WITHIN = 15.0  # s
_GRACE = 10.0  # s from the beginning, in which an answer may belong to a question that was not seen


class Answered(NamedTuple):
    """What a VM is about to be told, and by which resolver."""

    vm: VmId
    resolver: str
    told: tuple[message.Told, ...]


Heard = Callable[[Answered], "Future[None] | None"]
"""Has the kernel hold what an answer means: None: it does; else the future is done when it does.  It never waits."""


@dataclass(slots=True)
class Counts:
    """What happened to answers, in numbers."""

    heard: int = 0  # messages that named addresses
    late: int = 0  # went before the kernel held them
    spoofed: int = 0  # nobody had asked
    damaged: int = 0  # could not be read to the end
    strange: int = 0  # no UDP or TCP; what the kernel says on a device by itself is among it
    shortened: int = 0  # came in fragments: exchanged for one that asks for TCP
    unread: int = 0  # TCP that was not followed from its beginning, and went by


@dataclass(slots=True)
class _Parked:
    frame: bytes
    waits: tuple[Future[None], ...]
    until: float  # s, monotonic


@dataclass(slots=True)
class Held:
    """One VM's answers.  Times are monotonic seconds."""

    vm: VmId
    heard: Heard
    began: float
    patience: float = PATIENCE
    counts: Counts = field(default_factory=Counts)
    _questions: OrderedDict[tuple[Ends, int], tuple[float, bytes]] = field(default_factory=OrderedDict)
    _streams: Streams = field(default_factory=Streams)
    _parked: deque[_Parked] = field(default_factory=deque)

    @property
    def full(self) -> bool:
        """Whether no more frames should be taken for now."""
        return len(self._parked) >= MOST_PARKED

    @property
    def due(self) -> float | None:
        """When the next parked frame goes at the latest."""
        return self._parked[0].until if self._parked else None

    def ask(self, frame: bytes, now: float) -> None:
        """Take note of a question that the VM sends."""
        asked = dissect(frame)
        if not isinstance(asked, Datagram):
            return
        try:
            ident, question = message.question(asked.payload)
        except message.DamagedError:
            return
        key = asked.ends.back, ident
        self._questions[key] = now, question
        self._questions.move_to_end(key)
        oldest = next(iter(self._questions.values()))[0]
        if len(self._questions) > MOST_QUESTIONS or oldest + _ANSWERED_WITHIN < now:
            self._questions.popitem(last=False)

    def take(self, frame: bytes, now: float) -> None:
        """Take a frame for the VM; `freed` gives it once it may go."""
        found = dissect(frame)
        if found is None:
            self.counts.strange += 1
            return
        try:
            waits = self._of_datagram(found, frame, now) if isinstance(found, Datagram) else self._of_segment(found)
        except message.DamagedError:
            self.counts.damaged += 1
            return
        if waits is not None:
            self._parked.append(_Parked(frame, waits, now + self.patience))

    def freed(self, now: float) -> Iterator[bytes]:
        """The frames that may go to the VM now."""
        while self._parked:
            first = self._parked[0]
            if not all(wait.done() for wait in first.waits):
                if now < first.until:
                    return
                self.counts.late += 1
                for wait in first.waits:
                    wait.cancel()
            yield self._parked.popleft().frame

    def rest(self) -> Iterator[bytes]:
        """All that is still parked, to be let go at the end."""
        while self._parked:
            yield self._parked.popleft().frame

    def _of_datagram(self, found: Datagram, frame: bytes, now: float) -> tuple[Future[None], ...] | None:
        if found.cut:
            self._exchange(found, frame, now)
            return None
        said = message.read(found.payload)
        if not said.response:
            return ()
        if not self._was_asked(found.ends, said, now):
            self.counts.spoofed += 1
            return None
        return self._hear(found.ends, (said,))

    def _was_asked(self, ends: Ends, said: message.Message, now: float) -> bool:
        at, question = self._questions.get((ends, said.ident), (None, b""))
        if at is None or at + _ANSWERED_WITHIN < now:
            return now < self.began + _GRACE
        return said.question == question or not (said.question or said.told)

    def _exchange(self, found: Datagram, frame: bytes, now: float) -> None:
        short = message.truncated(found.payload)
        instead = None if short is None else answer_in_place(frame, short)
        if instead is None:
            self.counts.damaged += 1
            return
        self.counts.shortened += 1
        self.take(instead, now)

    def _of_segment(self, found: Segment) -> tuple[Future[None], ...] | None:
        stream = self._streams.of(found)
        pieces = stream.take(found)
        if pieces is None:
            return None
        try:
            said = tuple(self._read(stream, pieces))
        except message.DamagedError:
            self._streams.forget(found.ends)
            if stream.known:
                raise
            self.counts.unread += 1
            return ()
        return self._hear(found.ends, said)

    def _read(self, stream: Stream, pieces: Iterable[bytes]) -> Iterator[message.Message]:
        for piece in pieces:
            if not stream.transfer:
                said = message.read(piece)
                stream.transfer = said.transfer
                yield said

    def _hear(self, ends: Ends, said: tuple[message.Message, ...]) -> tuple[Future[None], ...]:
        waits = []
        for each in said:
            if each.response and each.told:
                self.counts.heard += 1
                wait = self.heard(Answered(self.vm, ends.sender, each.told))
                if wait is not None:
                    waits.append(wait)
        return tuple(waits)
