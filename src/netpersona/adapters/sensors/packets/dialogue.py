"""What one flow has said so far: its open questions, its first hello, what it is recognised as.

An answer is matched to its question inside the flow (DNS: id, name and type; HTTP: in order), so one question is one
transaction; a retransmission of either is not another.  A question still open when its flow ends has no status.
A hello spread over several segments is put together.  All of it is bounded: WAITING questions, one hello.

A DNS question waits PATIENCE for its answer, but no longer than LATENESS beyond the window in which it was asked: a
window must be complete soon after its end, or one name that nobody answers would hold up the judging of all VMs.  An
answer that comes later is a transaction of its own, at its own time.  So it is for a capture, too: live and replay tell
the same.  Where the dialogue is `impatient`, an HTTP request and an incomplete hello wait no longer either.  Of these a
replay tells more: the status of a late response, which nothing is judged by, and the window in which a hello began that
cannot be read until later; live it belongs to the window of the piece that makes it readable.  Whether patience has
ended depends on the times of packets alone, not on when that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from netpersona.adapters.sensors.packets.dns import Message
from netpersona.adapters.sensors.packets.http import Request
from netpersona.adapters.sensors.packets.tls import hello_size, read_client_hello
from netpersona.flow.window import WINDOW

WAITING = 256  # questions of one flow that may wait for their answer
PATIENCE = 60_000_000  # µs that a DNS question waits for its answer
LATENESS = 2_000_000  # µs that it waits beyond its window at the most
ANSWERED = 16  # questions of one flow whose answers are known again
LONGEST_HELLO = 16_384  # bytes
HELLO_SEGMENTS = 64  # segments after a hello's first that are looked at

# A flow's word, endpoints (a_hi, a_lo, b_hi, b_lo), opener and uid, as in the columns of open_flows
Flow: TypeAlias = tuple[int, int, int, int, int, int, int]


@dataclass(slots=True)
class Said:
    """One transaction, in the words of TRANSACTION_SCHEMA; `by_opener`: the flow's originator asked.

    `told`: it was reported; or there was nothing to report.
    """

    flow: Flow
    by_opener: bool
    start: int  # µs
    kind: str
    name: str | None
    detail: str | None = None
    status: str | None = None
    answers: tuple[str, ...] | None = None
    ttl: int | None = None  # s
    told: bool = False
    agent: str | None = None


@dataclass(slots=True)
class _Hello:
    """A hello of which segments are still missing."""

    begun: bytes
    said: Said
    next_seq: int
    left: int = HELLO_SEGMENTS


@dataclass(slots=True)
class Dialogue:
    """One open flow.  The hear methods return the transactions that are complete now.

    `asked` are the transactions begun since it was last emptied, complete or not, where it is impatient.
    """

    flow: Flow
    impatient: bool = False
    window: int = WINDOW  # µs
    application: str | None = None
    server_name: str | None = None
    fingerprint: str | None = None
    hello: _Hello | None = None
    asked: list[Said] = field(default_factory=list)
    _hello_seq: int | None = None
    _request_seq: int | None = None
    _questions: dict[tuple[int, str, str], Said] = field(default_factory=dict)
    _answered: list[tuple[int, str, str]] = field(default_factory=list)  # the last few, for retransmissions
    _requests: list[Said] = field(default_factory=list)  # lists, since an empty deque costs ten times as much

    def recognise(self, application: str) -> None:
        """Note what the flow is; what was recognised first stays."""
        self.application = self.application or application

    def hear_dns(self, message: Message, at: int, by_opener: bool) -> list[Said]:
        """A DNS message; multicast announcements without a question say nothing here."""
        self.recognise("dns")
        done = self._late_questions(at)
        for name, kind in message.questions:
            key = (message.ident, name, kind)
            if not message.response:
                if key not in self._questions:
                    self._questions[key] = self._begin(Said(self.flow, by_opener, at, "dns", name, kind))
                continue
            said = self._questions.pop(key, None)
            if said is None and key in self._answered:
                continue
            said = said or Said(self.flow, not by_opener, at, "dns", name, kind)
            said.status, said.answers, said.ttl = message.code, message.answers, message.ttl
            self._answered = [*self._answered[-ANSWERED:], key]
            done.append(said)
        if len(self._questions) > WAITING:
            done += self._late_questions(at)
        return _told(done) if done else done

    def _begin(self, said: Said) -> Said:
        if self.impatient:
            self.asked.append(said)
        return said

    def _late_questions(self, at: int) -> list[Said]:
        """The questions that have waited too long, or stand before too many others; they were asked in this order."""
        first = next(iter(self._questions.values()), None)
        if first is None or (len(self._questions) <= WAITING and at <= waits_until(first.start, self.window)):
            return []
        late: list[tuple[int, str, str]] = []
        for key, said in self._questions.items():
            if len(self._questions) - len(late) <= WAITING and at <= waits_until(said.start, self.window):
                break
            late.append(key)
        return [self._questions.pop(key) for key in late]

    def give_up(self, at: int) -> list[Said]:
        """What has waited too long by then."""
        done = self._late_questions(at)
        if self.impatient:
            # a request that is given up stays in its place: a response may still come
            done += [one for one in self._requests if at > waits_until(one.start, self.window)]
        return _told(done) + (self._read_half() if self._is_overdue(at) else [])

    def hear_hello(self, segment: bytes, seq: int, length: int, at: int, by_opener: bool) -> list[Said]:
        """The segment in which a client's hello begins; `length` is that of its payload on the wire."""
        self.recognise("ssl")
        given_up = self.give_up(at)
        if self.hello is not None or seq == self._hello_seq:
            return given_up
        self._hello_seq = seq
        said = self._begin(Said(self.flow, by_opener, at, "tls", None))
        self.hello = _Hello(segment[:LONGEST_HELLO], said, seq + length & 0xFFFFFFFF)
        cut_short = len(segment) < length
        return given_up + (self.end_hello() if cut_short or self._hello_is_whole() else [])

    def pass_segment(self, at: int, by_opener: bool) -> tuple[bool, list[Said]]:
        """A segment comes while the hello is incomplete: whether it is worth reading, and what is given up for it."""
        overdue = self._is_overdue(at)
        given_up = self._read_half() if overdue else []
        hello = self.hello
        if hello is None or hello.left == 0:
            return False, given_up + self.end_hello()
        if overdue:
            hello.said = self._begin(Said(self.flow, hello.said.by_opener, at, "tls", None))
        hello.left -= 1
        return by_opener == hello.said.by_opener, given_up

    def go_on_with_hello(self, segment: bytes, seq: int, length: int) -> list[Said]:
        """A further segment of the side whose hello is incomplete; any but the next one is passed over."""
        hello = self.hello
        if hello is None or seq != hello.next_seq:
            return []
        hello.begun += segment[:LONGEST_HELLO]
        hello.next_seq = seq + length & 0xFFFFFFFF
        return self.end_hello() if len(segment) < length or self._hello_is_whole() else []

    def _is_overdue(self, at: int) -> bool:
        return self.impatient and self.hello is not None and at > waits_until(self.hello.said.start, self.window)

    def _read_half(self) -> list[Said]:
        """Read the hello that is overdue, if it says anything yet; else it goes on in a later window."""
        if self.hello is None or read_client_hello(self.hello.begun) is not None:
            return self.end_hello()
        self.hello.said.told = True
        return []

    def _hello_is_whole(self) -> bool:
        begun = self.hello.begun if self.hello else b""
        return len(begun) >= min(hello_size(begun), LONGEST_HELLO)

    def end_hello(self) -> list[Said]:
        """Read the hello as far as it has come."""
        begun, self.hello = self.hello, None
        if begun is None:
            return []
        hello = read_client_hello(begun.begun)
        if hello is None:
            begun.said.told = True
            return []
        self.server_name = self.server_name or hello.server_name
        self.fingerprint = self.fingerprint or hello.fingerprint
        begun.said.name, begun.said.agent = hello.server_name, hello.fingerprint
        return _told([begun.said])

    def hear_request(self, request: Request, seq: int, at: int, by_opener: bool) -> list[Said]:
        """An HTTP request."""
        self.recognise("http")
        given_up = self.give_up(at)
        if seq == self._request_seq:
            return given_up
        self._request_seq = seq
        self.server_name = self.server_name or request.host
        detail = f"{request.method} {request.path}"
        said = Said(self.flow, by_opener, at, "http", request.host, detail, agent=request.agent)
        self._requests.append(self._begin(said))
        return given_up + _told([self._requests.pop(0)] if len(self._requests) > WAITING else [])

    def hear_status(self, status: str, at: int, by_opener: bool) -> list[Said]:
        """An HTTP response; the interim ones (1xx) answer nothing."""
        self.recognise("http")
        given_up = self.give_up(at)
        if status.startswith("1") or not self._requests or self._requests[0].by_opener == by_opener:
            return given_up
        said = self._requests.pop(0)
        said.status = said.status if said.told else status
        return given_up + _told([said])

    def end(self) -> list[Said]:
        """What is left when the flow ends."""
        hello = self.end_hello()
        left = [*self._questions.values(), *self._requests]
        self._questions.clear()
        self._requests.clear()
        return hello + _told(left)


def waits_until(start: int, window: int) -> int:
    """How long (µs) what was asked then waits, where windows have that length."""
    return min(start + PATIENCE, start - start % window + window + LATENESS)


def _told(said: list[Said]) -> list[Said]:
    """Those that were not told yet; they are now."""
    new = [one for one in said if not one.told]
    for one in new:
        one.told = True
    return new
