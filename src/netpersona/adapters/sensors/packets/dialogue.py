"""What one flow has said so far: its open questions, its first hello, what it is recognised as.

An answer is matched to its question inside the flow (DNS: id, name and type; HTTP: in order), so one question is one
transaction; a retransmission of either is not another.  A question still open when its flow ends has no status.
A hello spread over several segments is put together.  All of it is bounded: WAITING questions, one hello.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from netpersona.adapters.sensors.packets.dns import Message
from netpersona.adapters.sensors.packets.http import Request
from netpersona.adapters.sensors.packets.tls import hello_size, read_client_hello

WAITING = 256  # questions of one flow that may wait for their answer
PATIENCE = 60_000_000  # µs that a DNS question waits for its answer
ANSWERED = 16  # questions of one flow whose answers are known again
LONGEST_HELLO = 16_384  # bytes


@dataclass(slots=True)
class Said:
    """One transaction, in the words of TRANSACTION_SCHEMA; `by_opener`: the flow's originator asked."""

    by_opener: bool
    start: int  # µs
    kind: str
    name: str | None
    detail: str | None = None
    status: str | None = None
    answers: tuple[str, ...] | None = None
    ttl: int | None = None  # s
    agent: str | None = None


@dataclass(slots=True)
class _Hello:
    """A hello of which segments are still missing."""

    begun: bytes
    by_opener: bool
    start: int
    next_seq: int


@dataclass(slots=True)
class Dialogue:
    """One open flow.  The hear methods return the transactions that are complete now."""

    application: str | None = None
    server_name: str | None = None
    fingerprint: str | None = None
    hello: _Hello | None = None
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
        done: list[Said] = []
        for name, kind in message.questions:
            key = (message.ident, name, kind)
            if not message.response:
                self._questions.setdefault(key, Said(by_opener, at, "dns", name, kind))
                continue
            said = self._questions.pop(key, None)
            if said is None and key in self._answered:
                continue
            said = said or Said(not by_opener, at, "dns", name, kind)
            said.status, said.answers, said.ttl = message.code, message.answers, message.ttl
            self._answered = [*self._answered[-ANSWERED:], key]
            done.append(said)
        return done + self._impatient(at)

    def _impatient(self, at: int) -> list[Said]:
        """The questions that have waited too long, or stand before too many others; they were asked in this order."""
        late: list[tuple[int, str, str]] = []
        for key, said in self._questions.items():
            if len(self._questions) - len(late) <= WAITING and at - said.start <= PATIENCE:
                break
            late.append(key)
        return [self._questions.pop(key) for key in late]

    def hear_hello(self, segment: bytes, seq: int, length: int, at: int, by_opener: bool) -> list[Said]:
        """The segment in which a client's hello begins; `length` is that of its payload on the wire."""
        self.recognise("ssl")
        if self.hello is not None or seq == self._hello_seq:
            return []
        self._hello_seq = seq
        self.hello = _Hello(segment[:LONGEST_HELLO], by_opener, at, seq + length & 0xFFFFFFFF)
        cut_short = len(segment) < length
        return self.end_hello() if cut_short or self._hello_is_whole() else []

    def go_on_with_hello(self, segment: bytes, seq: int, length: int) -> list[Said]:
        """A further segment of the side whose hello is incomplete; any but the next one is passed over."""
        hello = self.hello
        if hello is None or seq != hello.next_seq:
            return []
        hello.begun += segment[:LONGEST_HELLO]
        hello.next_seq = seq + length & 0xFFFFFFFF
        return self.end_hello() if len(segment) < length or self._hello_is_whole() else []

    def _hello_is_whole(self) -> bool:
        begun = self.hello.begun if self.hello else b""
        return len(begun) >= min(hello_size(begun), LONGEST_HELLO)

    def end_hello(self) -> list[Said]:
        """Read the hello as far as it has come."""
        begun, self.hello = self.hello, None
        hello = read_client_hello(begun.begun) if begun else None
        if begun is None or hello is None:
            return []
        self.server_name = self.server_name or hello.server_name
        self.fingerprint = self.fingerprint or hello.fingerprint
        return [Said(begun.by_opener, begun.start, "tls", hello.server_name, agent=hello.fingerprint)]

    def hear_request(self, request: Request, seq: int, at: int, by_opener: bool) -> list[Said]:
        """An HTTP request."""
        self.recognise("http")
        if seq == self._request_seq:
            return []
        self._request_seq = seq
        self.server_name = self.server_name or request.host
        detail = f"{request.method} {request.path}"
        self._requests.append(Said(by_opener, at, "http", request.host, detail, agent=request.agent))
        return [self._requests.pop(0)] if len(self._requests) > WAITING else []

    def hear_status(self, status: str, by_opener: bool) -> list[Said]:
        """An HTTP response; the interim ones (1xx) answer nothing."""
        self.recognise("http")
        if status.startswith("1") or not self._requests or self._requests[0].by_opener == by_opener:
            return []
        said = self._requests.pop(0)
        said.status = status
        return [said]

    def end(self) -> list[Said]:
        """What is left when the flow ends."""
        left = [*self.end_hello(), *self._questions.values(), *self._requests]
        self._questions.clear()
        self._requests.clear()
        return left
