"""Payloads into transactions: DNS questions, TLS hellos, HTTP requests; and what a flow is recognised as.

A columnar test over the first bytes of every payload picks the few packets that may say something; those are read
one by one, in the order of their flow and of time, each by its flow's Dialogue.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import numpy as np

from netpersona.adapters.sensors.packets.assemble import Assembled
from netpersona.adapters.sensors.packets.dialogue import Dialogue, Said
from netpersona.adapters.sensors.packets.dissect import TCP, UDP, Headers
from netpersona.adapters.sensors.packets.dns import read_message
from netpersona.adapters.sensors.packets.http import METHODS, read_request, read_status
from netpersona.adapters.sensors.packets.packets import Flags, Ints, Words, u8, u16, u32

Heard: TypeAlias = list[tuple[int, Said]]  # each with its flow's row in the batch

LONGEST_READ = 16_384  # bytes of one payload

_HELLO_SEGMENTS = 64  # segments after a hello's first that are looked at
_DNS_PORTS = (53, 5353, 5355)
_NETBIOS_NAMES = 137  # the same message format, another name space
_DNS, _DNS_TCP, _HELLO, _TLS, _REQUEST, _RESPONSE, _SSH = range(1, 8)
_REQUEST_WORDS = [int.from_bytes(f"{method} "[:4].encode(), "big") for method in METHODS]
_HTTP_WORD, _SSH_WORD = int.from_bytes(b"HTTP", "big"), int.from_bytes(b"SSH-", "big")


class Conversations:
    """The dialogues of the open flows of one sensor, by the flow's uid."""

    def __init__(self) -> None:
        self._dialogues: dict[int, Dialogue] = {}
        self._unfinished: set[int] = set()  # whose hello is incomplete

    def hear(self, headers: Headers, batch: Assembled, skipped: Counter[str]) -> Heard:
        """The transactions that are complete after this batch of packets."""
        captured = np.clip(headers.end - headers.payload, 0, headers.payload_length)
        segments = _Segments(headers, batch, captured)
        heard = self._go_on_with_hellos(segments)
        kinds = _recognise(headers, captured)[batch.packet]
        places = np.flatnonzero(kinds)
        for place, kind in zip(places.tolist(), kinds[places].tolist(), strict=True):
            flow = int(batch.flow[place])
            said = self._hear_one(segments, place, kind, skipped)
            heard += [(flow, one) for one in said]
        return heard

    def close(self, uids: Words) -> tuple[list[tuple[int, Dialogue]], Heard]:
        """The dialogues of the flows that have ended and what they leave, each with its place in `uids`."""
        known = np.fromiter(self._dialogues, np.uint64, len(self._dialogues))
        places = np.flatnonzero(np.isin(uids, known)).tolist()
        closed = [(place, self._dialogues.pop(int(uids[place]))) for place in places]
        self._unfinished.difference_update(uids[places].tolist())
        return closed, [(place, said) for place, dialogue in closed for said in dialogue.end()]

    def _hear_one(self, segments: _Segments, place: int, kind: int, skipped: Counter[str]) -> list[Said]:
        payload, at, by_opener = segments.payload(place), segments.time(place), segments.by_opener(place)
        uid = segments.uid(place)
        dialogue = self._dialogues.get(uid) or Dialogue()
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
            said = dialogue.hear_status(status, by_opener)
        else:
            dialogue.recognise("ssh" if kind == _SSH else "ssl")
        self._dialogues[uid] = dialogue
        return said

    def _go_on_with_hellos(self, segments: _Segments) -> Heard:
        """Hellos that were incomplete at the end of the batch before."""
        heard: Heard = []
        for uid in sorted(self._unfinished):
            self._unfinished.discard(uid)
            flow = segments.flow_of(uid)
            if flow is None:
                self._unfinished.add(uid)
                continue
            said = self._look_ahead(self._dialogues[uid], segments, segments.first_of(flow), uid)
            heard += [(flow, one) for one in said]
        return heard

    def _look_ahead(self, dialogue: Dialogue, segments: _Segments, place: int, uid: int) -> list[Said]:
        """Look for the rest of an incomplete hello from that place on."""
        for follower in range(place, place + _HELLO_SEGMENTS):
            if dialogue.hello is None:
                return []
            if not segments.belongs(follower, uid):
                self._unfinished.add(uid)
                return []
            if segments.by_opener(follower) == dialogue.hello.by_opener and segments.length(follower):
                payload = segments.payload(follower)
                said = dialogue.go_on_with_hello(payload, segments.seq(follower), segments.length(follower))
                if said:
                    return said
        return dialogue.end_hello()


class _Segments:
    """The packets of a batch one by one, by their place in the order of flows and time."""

    def __init__(self, headers: Headers, batch: Assembled, captured: Ints) -> None:
        self._headers, self._batch, self._captured = headers, batch, captured

    def payload(self, place: int) -> bytes:
        row = self._batch.packet[place]
        begin = self._headers.payload[row]
        return bytes(self._headers.data[begin : begin + min(int(self._captured[row]), LONGEST_READ)])

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

    def belongs(self, place: int, uid: int) -> bool:
        return place < len(self._batch.flow) and self.uid(place) == uid

    def flow_of(self, uid: int) -> int | None:
        """The flow's row, if it has packets or is still open."""
        found = np.flatnonzero(self._batch.flows["uid"] == np.uint64(uid))
        return int(found[0]) if len(found) else None

    def first_of(self, flow: int) -> int:
        """The place of the flow's first packet."""
        return int(np.searchsorted(self._batch.flow, flow))


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
