"""DNS over TCP (RFC 7766) as it passes: messages put together from segments, whatever order they come in.

A segment may go on once every message that it completes was heard.  The one that completes a message is the last of its
pieces to come here, so nobody behind us can have read the message before.  Bytes that come twice count as they came
first, as they do for the receiver.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from netpersona.adapters.dns_relay.frames import Ends, Segment

MOST_STREAMS = 128  # of one VM; the least recently used goes first
MOST_AHEAD = 1 << 16  # bytes of segments that came before their time
_CIRCLE = 1 << 32


@dataclass(slots=True)
class Stream:
    """What a resolver says on one connection."""

    known: bool  # whether it was followed from its beginning
    next: int  # sequence number
    transfer: bool = False  # it carries a whole zone
    _have: bytearray = field(default_factory=bytearray)
    _ahead: dict[int, bytes] = field(default_factory=dict)

    def take(self, segment: Segment) -> list[bytes] | None:
        """The messages that the segment completes; None: it lies so far ahead that it must come again."""
        if not segment.payload:
            return []
        place = _distance(self.next, segment.sequence + segment.opens)
        if place > 0:
            return [] if self._keep(segment, place) else None
        self._add(segment.payload[-place:])
        while self._ahead:
            reached = [start for start in self._ahead if _distance(self.next, start) <= 0]
            if not reached:
                break
            for start in reached:
                self._add(self._ahead.pop(start)[_distance(start, self.next) :])
        return self._messages()

    def _keep(self, segment: Segment, place: int) -> bool:
        """Whether there is room for what comes before its time."""
        room = MOST_AHEAD - sum(map(len, self._ahead.values()))
        if place > MOST_AHEAD or len(segment.payload) > room:
            return False
        known = self._ahead.get(segment.sequence, b"")
        self._ahead[segment.sequence] = known + segment.payload[len(known) :]
        return True

    def _add(self, data: bytes) -> None:
        self._have += data
        self.next = (self.next + len(data)) % _CIRCLE

    def _messages(self) -> list[bytes]:
        found, at, have = [], 0, self._have
        while len(have) - at >= 2:
            end = at + 2 + int.from_bytes(have[at : at + 2], "big")
            if end > len(have):
                break
            found.append(bytes(have[at + 2 : end]))
            at = end
        del have[:at]
        return found


class Streams:
    """The connections of one VM with its resolvers."""

    def __init__(self) -> None:
        self._streams: OrderedDict[Ends, Stream] = OrderedDict()

    def of(self, segment: Segment) -> Stream:
        """The connection that the segment belongs to; one whose beginning was not seen begins with it."""
        found = self._streams.get(segment.ends)
        if segment.opens and found is not None and found.next != (segment.sequence + 1) % _CIRCLE:
            found = None  # the same ports once more
        if found is None:
            found = Stream(known=segment.opens, next=(segment.sequence + segment.opens) % _CIRCLE)
        self._streams[segment.ends] = found
        self._streams.move_to_end(segment.ends)
        if segment.resets:
            del self._streams[segment.ends]
        if len(self._streams) > MOST_STREAMS:
            self._streams.popitem(last=False)
        return found

    def forget(self, ends: Ends) -> None:
        """Follow the connection no longer."""
        self._streams.pop(ends, None)


def _distance(start: int, end: int) -> int:
    """How far `end` lies behind `start` on the circle of sequence numbers, negative where before it."""
    return (end - start + (_CIRCLE >> 1)) % _CIRCLE - (_CIRCLE >> 1)
