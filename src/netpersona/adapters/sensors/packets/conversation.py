"""Payloads into transactions: DNS questions, TLS hellos, HTTP requests; and what a flow is recognised as.

A columnar test over the first bytes of every payload picks the few packets that may say something; those are read
one by one, in the order of their flow and of time, each by its flow's Dialogue.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from netpersona.adapters.sensors.packets.assemble import Assembled
from netpersona.adapters.sensors.packets.banners import Banners
from netpersona.adapters.sensors.packets.dialogue import Dialogue, Flow, Said, waits_until
from netpersona.adapters.sensors.packets.dissect import TCP, UDP, Headers
from netpersona.adapters.sensors.packets.dns import read_message
from netpersona.adapters.sensors.packets.http import METHODS, read_request, read_status
from netpersona.adapters.sensors.packets.packets import Flags, Ints, Words, u8, u16, u32
from netpersona.flow.window import WINDOW

LONGEST_READ = 16_384  # bytes of one payload

_DNS_PORTS = (53, 5353, 5355)
_NETBIOS_NAMES = 137  # the same message format, another name space
_DNS, _DNS_TCP, _HELLO, _TLS, _REQUEST, _RESPONSE, _SSH = range(1, 8)
_REQUEST_WORDS = [int.from_bytes(f"{method} "[:4].encode(), "big") for method in METHODS]
_HTTP_WORD, _SSH_WORD = int.from_bytes(b"HTTP", "big"), int.from_bytes(b"SSH-", "big")
_FLOW = ("word", "a_hi", "a_lo", "b_hi", "b_lo", "opener", "uid")


class Conversations:
    """The dialogues of the open flows of one sensor, by the flow's uid; `impatient` and `window` as in Dialogue."""

    def __init__(self, *, impatient: bool = False, window: int = WINDOW) -> None:
        self._dialogues: dict[int, Dialogue] = {}
        self._unfinished: set[int] = set()  # whose hello is incomplete
        self._impatient, self._window = impatient, window
        self._waiting: deque[Said] = deque()  # in the order of asking; some were told meanwhile
        self._asked: list[Said] = []
        self.banners = Banners()

    def __len__(self) -> int:
        """How many dialogues are open."""
        return len(self._dialogues)

    def hear(self, headers: Headers, batch: Assembled, skipped: Counter[str]) -> list[Said]:
        """The transactions that are complete after this batch of packets."""
        captured = np.clip(headers.end - headers.payload, 0, headers.payload_length)
        segments = _Segments(headers, batch, captured)
        heard = self._go_on_with_hellos(segments)
        kinds = _recognise(headers, captured)[batch.packet]
        for packet in segments.packets(np.flatnonzero(kinds), kinds):
            heard += self._hear_one(segments, packet, skipped)
        return heard

    def close(self, uids: Words) -> tuple[list[tuple[int, Dialogue]], list[Said]]:
        """The dialogues of the flows that have ended, each with its place in `uids`, and what they leave."""
        closed = self.known(uids)
        for _, dialogue in closed:
            del self._dialogues[dialogue.flow[-1]]
        self._unfinished.difference_update(uids.tolist())
        return closed, [said for _, dialogue in closed for said in dialogue.end()]

    def known(self, uids: Words) -> list[tuple[int, Dialogue]]:
        """The dialogues of these flows, each with its place in `uids`."""
        known = np.fromiter(self._dialogues, np.uint64, len(self._dialogues))
        places = np.flatnonzero(np.isin(uids, known))
        return [
            (place, self._dialogues[uid]) for place, uid in zip(places.tolist(), uids[places].tolist(), strict=True)
        ]

    def give_up(self, at: int) -> tuple[list[Said], list[int]]:
        """What has waited too long by then (µs), and the uids of the flows of which a name became known so."""
        told: list[Said] = []
        named: list[int] = []
        while self._waiting and at > waits_until(self._waiting[0].start, self._window):
            said = self._waiting.popleft()
            if not said.told:
                told += self._dialogues[said.flow[-1]].give_up(at)
                named += [said.flow[-1]] * (said.kind == "tls")
        return told, named

    def asked(self) -> list[Said]:
        """What was asked since this was last called, and still waits."""
        asked, self._asked = self._asked, []
        return [said for said in asked if not said.told and said.name is not None]

    def waiting_since(self) -> int | None:
        """When that which waits longest was asked (µs)."""
        while self._waiting and self._waiting[0].told:
            self._waiting.popleft()
        return self._waiting[0].start if self._waiting else None

    def _hear_one(self, segments: _Segments, packet: _Packet, skipped: Counter[str]) -> list[Said]:
        place, kind, payload, at, by_opener, uid = packet
        dialogue = self._dialogues.get(uid) or Dialogue(segments.flow(place), self._impatient, self._window)
        said: list[Said] = []
        if kind in {_DNS, _DNS_TCP}:
            message = read_message(payload[2:] if kind == _DNS_TCP else payload)
            if message is None:
                skipped["DNS message damaged"] += 1
                return []
            said = dialogue.hear_dns(message, at, by_opener)
        elif kind == _HELLO:
            said = dialogue.hear_hello(payload, segments.seq(place), segments.length(place), at, by_opener)
            said += self._look_ahead(dialogue, segments, place + 1, uid)
        elif kind == _REQUEST:
            request = read_request(payload)
            if request is None:
                return []
            said = dialogue.hear_request(request, segments.seq(place), at, by_opener)
        elif kind == _RESPONSE:
            status = read_status(payload)
            if status is None:
                return []
            said = dialogue.hear_status(status, at, by_opener)
        else:
            dialogue.recognise("ssh" if kind == _SSH else "ssl")
        if kind in {_RESPONSE, _SSH}:
            self.banners.hear(dialogue.flow, by_opener, at, payload)
        self._dialogues[uid] = dialogue
        self._wait_for(dialogue)
        return said

    def _wait_for(self, dialogue: Dialogue) -> None:
        """Take note of what it asked."""
        if dialogue.asked:
            self._waiting += dialogue.asked
            self._asked += dialogue.asked
            dialogue.asked.clear()

    def _go_on_with_hellos(self, segments: _Segments) -> list[Said]:
        """Hellos that were incomplete at the end of the batch before."""
        if not self._unfinished:
            return []
        heard: list[Said] = []
        for uid, place in segments.first_of(np.fromiter(self._unfinished, np.uint64, len(self._unfinished))):
            self._unfinished.discard(uid)
            heard += self._look_ahead(self._dialogues[uid], segments, place, uid)
            self._wait_for(self._dialogues[uid])
        return heard

    def _look_ahead(self, dialogue: Dialogue, segments: _Segments, place: int, uid: int) -> list[Said]:
        """Look for the rest of an incomplete hello from that place on."""
        said: list[Said] = []
        while dialogue.hello is not None:
            if not segments.belongs(place, uid):
                self._unfinished.add(uid)
                break
            read, given_up = dialogue.pass_segment(segments.time(place), segments.by_opener(place))
            said += given_up
            if read and segments.length(place):
                said += dialogue.go_on_with_hello(segments.payload(place), segments.seq(place), segments.length(place))
            place += 1
        return said


class _Packet(NamedTuple):
    """A packet that may say something."""

    place: int
    kind: int
    payload: bytes
    time: int
    by_opener: bool
    uid: int


class _Segments:
    """The packets of a batch one by one, by their place in the order of flows and time."""

    def __init__(self, headers: Headers, batch: Assembled, captured: Ints) -> None:
        self._headers, self._batch = headers, batch
        self._captured = np.minimum(captured, LONGEST_READ)
        self._data = headers.data.data

    def packets(self, places: Ints, kinds: Ints) -> Iterator[_Packet]:
        """Those at these places, each of its kind."""
        rows = self._batch.packet[places]
        begins = self._headers.payload[rows]
        ends = (begins + self._captured[rows]).tolist()
        payloads = [bytes(self._data[begin:end]) for begin, end in zip(begins.tolist(), ends, strict=True)]
        columns = (
            places.tolist(),
            kinds[places].tolist(),
            payloads,
            self._headers.time[rows].tolist(),
            self._batch.from_opener[places].tolist(),
            self._batch.flows["uid"][self._batch.flow[places]].tolist(),
        )
        return map(_Packet._make, zip(*columns, strict=True))

    def payload(self, place: int) -> bytes:
        row = self._batch.packet[place]
        begin = int(self._headers.payload[row])
        return bytes(self._data[begin : begin + int(self._captured[row])])

    def length(self, place: int) -> int:
        return min(int(self._headers.payload_length[self._batch.packet[place]]), LONGEST_READ)

    def seq(self, place: int) -> int:
        at = self._headers.transport[self._batch.packet[place]] + 4
        return int.from_bytes(bytes(self._headers.data[at : at + 4]), "big")

    def time(self, place: int) -> int:
        return int(self._headers.time[self._batch.packet[place]])

    def by_opener(self, place: int) -> bool:
        return bool(self._batch.from_opener[place])

    def uid(self, place: int) -> int:
        return int(self._batch.flows["uid"][self._batch.flow[place]])

    def flow(self, place: int) -> Flow:
        row = self._batch.flow[place]
        word, a_hi, a_lo, b_hi, b_lo, opener, uid = (int(self._batch.flows[name][row]) for name in _FLOW)
        return word, a_hi, a_lo, b_hi, b_lo, opener, uid

    def belongs(self, place: int, uid: int) -> bool:
        return place < len(self._batch.flow) and self.uid(place) == uid

    def first_of(self, uids: Words) -> list[tuple[int, int]]:
        """The place of the first packet of those of these flows that have packets here, in the order of places."""
        flows = np.flatnonzero(self._batch.touched & np.isin(self._batch.flows["uid"], uids))
        found = self._batch.flows["uid"][flows]
        return list(zip(found.tolist(), np.searchsorted(self._batch.flow, flows).tolist(), strict=True))


def _recognise(headers: Headers, captured: Ints) -> Ints:
    """What each packet's payload may be; 0: nothing that is read."""
    kinds = np.zeros(len(headers), np.int64)
    tcp = np.flatnonzero((headers.protocol == TCP) & (captured >= 8))
    at = headers.payload[tcp]
    word = u32(headers.data, at)
    record, spoken = word >> 16 == 0x1603, u8(headers.data, at + 5)
    asks = _on_ports(headers, tcp, (53,)) & (captured[tcp] >= 14) & (word >> 16 == captured[tcp] - 2)
    tests = {
        _HELLO: record & (spoken == 1),
        _TLS: record & (spoken == 2),
        _REQUEST: np.isin(word, _REQUEST_WORDS),
        _RESPONSE: word == _HTTP_WORD,
        _SSH: word == _SSH_WORD,
        _DNS_TCP: asks,
    }
    kinds[tcp] = np.select(list(tests.values()), list(tests), 0)
    udp = np.flatnonzero((headers.protocol == UDP) & (captured >= 12))
    kinds[udp] = np.where(_is_dns(headers, udp, captured[udp]), _DNS, 0)
    return kinds


def _on_ports(headers: Headers, rows: Ints, ports: tuple[int, ...]) -> Flags:
    return np.isin(headers.src_port[rows], ports) | np.isin(headers.dst_port[rows], ports)


def _is_dns(headers: Headers, rows: Ints, captured: Ints) -> Flags:
    """On DNS's own ports all is DNS; elsewhere what has a header with one question and the counts that go with it."""
    data, at = headers.data, headers.payload[rows]
    flags, asked, answered = u16(data, at + 2), u16(data, at + 4), u16(data, at + 6)
    sane = (flags & 0x7840 == 0) & (flags & 15 <= 10) & (asked == 1) & (captured >= 17)
    sane &= (u16(data, at + 8) <= 32) & (u16(data, at + 10) <= 32)
    sane &= np.where(flags & 0x8000 != 0, answered <= 256, (answered == 0) & (flags & 15 == 0))
    found: Flags = _on_ports(headers, rows, _DNS_PORTS) | (sane & ~_on_ports(headers, rows, (_NETBIOS_NAMES,)))
    return found
