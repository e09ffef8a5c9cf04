"""NetFlow v5, v9 (RFC 3954) and IPFIX (RFC 7011) datagrams become record tables.

Pure: bytes in, columns out.  A recording and a live collector feed it alike.  Templates belong to an
exporter and its source id (observation domain); a template that comes again replaces the one before.
Data that comes before its template waits for it, and counts as skipped if none ever comes; IPFIX times
that are relative to the exporter's start wait for the options record that tells it.  Options records of
sampling say what counters stand for; others are the exporter's words about itself.  None gives flows.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

import polars as pl

from netpersona.adapters.sensors.flow_records import no_records
from netpersona.adapters.sensors.netflow_elements import (
    SYSTEM_START,
    Clock,
    Field,
    Layout,
    Records,
    decode,
    needs_uptime,
    read_fields,
    width,
)
from netpersona.adapters.sensors.netflow_sampling import SAMPLING, Sampled, Sampling

_V5_RECORD: Layout = tuple(
    Field(element, length)
    for element, length in [
        (8, 4), (12, 4), (0, 4), (0, 2), (0, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2), (0, 1), (6, 1),
        (4, 1), (0, 9),
    ]
)  # fmt: skip
_V5_HEADER, _V5_WIDTH = 24, 48
_V9_HEADER, _IPFIX_HEADER = 20, 16
_V5_SAMPLING, _V5_INTERVAL = 22, 0x3FFF  # where the header tells it; above its 14 bits stands the mode
_VARIABLE = 0xFFFF
_REVERSE_ENTERPRISE = 29305
_MOST_WAITING = 16 << 20  # bytes of data that wait for a template
_EARLY_SET = 64  # bytes that a waiting set counts for beside its own
_MOST_TEMPLATES = 65_536
_MOST_LAYOUTS = 1024  # decoding costs by the layout; exporters have a dozen

TRUNCATED = "truncated datagram"
NO_TEMPLATE = "data set without a template"
NO_SYSTEM_START = "data set with times relative to an unknown system start"
BROKEN_TEMPLATE = "broken template"


class _Speaker(NamedTuple):
    """Whose templates these are."""

    exporter: str
    version: int
    domain: int


class _Template(NamedTuple):
    layout: Layout
    options: bool


class _Set(NamedTuple):
    body: bytes
    clock: Clock


class Decoder:
    """Takes datagrams one by one and gives their records in bulk, as decoding pays by the thousand.

    `skipped` counts, by reason, what could not be used.
    """

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.waiting = 0  # records that `drain` would give
        self._templates: dict[tuple[_Speaker, int], _Template] = {}
        self._ready: dict[Layout, list[Records]] = {}
        self._layouts: set[Layout] = set()
        self._early: dict[_Speaker, dict[int, list[_Set]]] = {}
        self._early_bytes = 0
        self._started: dict[_Speaker, int] = {}  # ms since the epoch
        self._samplings: dict[_Speaker, Sampling] = {}
        self._sampled = Sampled()

    def feed(self, datagram: bytes, exporter: str = "") -> None:
        """Take one export datagram; never raises, whatever the bytes are."""
        version = int.from_bytes(datagram[:2], "big")
        if version == 5:
            self._feed_v5(datagram)
        elif version == 9:
            self._feed_v9(datagram, exporter)
        elif version == 10:
            self._feed_ipfix(datagram, exporter)
        else:
            self.skipped["datagram of an unknown version"] += 1

    def drain(self) -> pl.DataFrame:
        """The records (RECORD_SCHEMA) of all datagrams since the last call, as far as they can be read."""
        ready, self._ready, self.waiting = self._ready, {}, 0
        tables = [decode(layout, parts, self.skipped, self._sampled) for layout, parts in ready.items()]
        return pl.concat([no_records(), *tables])

    def notes(self) -> list[str]:
        """What is to be known of the records given so far: that they were sampled, and what was made of it."""
        return self._sampled.notes()

    def finish(self) -> None:
        """No more will come: what still waits for its template is counted as skipped."""
        for speaker, waiting in self._early.items():
            for template, sets in waiting.items():
                known = (speaker, template) in self._templates
                self.skipped[NO_SYSTEM_START if known else NO_TEMPLATE] += len(sets)
        self._early, self._early_bytes = {}, 0

    def _feed_v5(self, datagram: bytes) -> None:
        if len(datagram) < _V5_HEADER:
            self.skipped[TRUNCATED] += 1
            return
        count, uptime, seconds, nanoseconds = struct.unpack_from(">HIII", datagram, 2)
        present = min(count, (len(datagram) - _V5_HEADER) // _V5_WIDTH)
        if present < count:
            self.skipped[TRUNCATED] += 1
        clock = Clock(seconds * 1000 + nanoseconds // 1_000_000, uptime)
        interval = int.from_bytes(datagram[_V5_SAMPLING:_V5_HEADER], "big") & _V5_INTERVAL
        sampling = Sampling(of_all=(float(max(1, interval)),))
        records = datagram[_V5_HEADER : _V5_HEADER + present * _V5_WIDTH]
        self._add(_V5_RECORD, Records(records, present, clock, sampling))

    def _feed_v9(self, datagram: bytes, exporter: str) -> None:
        if len(datagram) < _V9_HEADER:
            self.skipped[TRUNCATED] += 1
            return
        uptime, seconds, _, domain = struct.unpack_from(">IIII", datagram, 4)
        speaker, clock = _Speaker(exporter, 9, domain), Clock(seconds * 1000, uptime)
        self._sets(datagram, _V9_HEADER, speaker, clock)

    def _feed_ipfix(self, datagram: bytes, exporter: str) -> None:
        if len(datagram) < _IPFIX_HEADER:
            self.skipped[TRUNCATED] += 1
            return
        length, seconds, _, domain = struct.unpack_from(">HIII", datagram, 2)
        if length > len(datagram):
            self.skipped[TRUNCATED] += 1
        self._sets(datagram[:length], _IPFIX_HEADER, _Speaker(exporter, 10, domain), Clock(seconds * 1000, None))

    def _sets(self, datagram: bytes, at: int, speaker: _Speaker, clock: Clock) -> None:
        while at + 4 <= len(datagram):
            kind, length = struct.unpack_from(">HH", datagram, at)
            if length < 4 or at + length > len(datagram):
                self.skipped[TRUNCATED] += 1
            if length < 4:
                return
            self._set(kind, datagram[at + 4 : at + length], speaker, clock)
            at += length

    def _set(self, kind: int, body: bytes, speaker: _Speaker, clock: Clock) -> None:
        templates, options = (0, 1) if speaker.version == 9 else (2, 3)
        if kind == templates:
            self._learn(body, speaker)
        elif kind == options:
            self._learn_options(body, speaker)
        elif kind >= 256:
            self._data((speaker, kind), _Set(body, clock))
        else:
            self.skipped["set of a reserved kind"] += 1

    def _learn(self, body: bytes, speaker: _Speaker) -> None:
        at = 0
        while at + 4 <= len(body):
            template, count = struct.unpack_from(">HH", body, at)
            if template < 256 and not (speaker.version == 10 and count == 0):
                return  # padding
            at = self._define(body, at + 4, count, (speaker, template), options=False)

    def _learn_options(self, body: bytes, speaker: _Speaker) -> None:
        at = 0
        while at + 6 <= len(body):
            template, first, second = struct.unpack_from(">HHH", body, at)
            if template < 256:
                return
            if speaker.version == 10 and first == 0:
                self._templates.pop((speaker, template), None)
                at += 4
                continue
            count = (first + second) // 4 if speaker.version == 9 else first
            scopes = first // 4 if speaker.version == 9 else 0
            at = self._define(body, at + 6, count, (speaker, template), options=True, scopes=scopes)

    def _define(
        self, body: bytes, at: int, count: int, key: tuple[_Speaker, int], *, options: bool, scopes: int = 0
    ) -> int:
        """Read one template's fields and remember it; where the next one begins."""
        if count == 0:  # IPFIX: withdrawn
            self._templates.pop(key, None)
            return at
        fields: list[Field] = []
        for number in range(count):
            if at + 4 > len(body):
                self.skipped[BROKEN_TEMPLATE] += 1
                return len(body)
            element, length = struct.unpack_from(">HH", body, at)
            at += 4
            enterprise = 0
            if key[0].version == 10 and element & 0x8000:
                element &= 0x7FFF
                enterprise = int.from_bytes(body[at : at + 4], "big")
                at += 4
            fields.append(Field(_element(element, enterprise) if number >= scopes else 0, length))
        self._remember(key, _Template(tuple(field for field in fields if field.length > 0), options))
        return at

    def _remember(self, key: tuple[_Speaker, int], template: _Template) -> None:
        """Take a template, unless it is empty or there are too many; then read what waited for it.

        One that is refused ends the one before, too: data would be read by the wrong layout.
        """
        self._templates.pop(key, None)
        self._layouts.add(template.layout)
        if not template.layout or len(self._templates) >= _MOST_TEMPLATES:
            self.skipped[BROKEN_TEMPLATE] += 1
        elif len(self._layouts) > _MOST_LAYOUTS:
            self._layouts.discard(template.layout)
            self.skipped["more than a thousand different templates"] += 1
        else:
            self._templates[key] = template
            self._revisit(*key)

    def _revisit(self, speaker: _Speaker, template: int) -> None:
        sets = self._early.get(speaker, {}).pop(template, [])
        self._early_bytes -= sum(len(early.body) + _EARLY_SET for early in sets)
        for early in sets:
            self._data((speaker, template), early)

    def _data(self, key: tuple[_Speaker, int], data: _Set) -> None:
        template = self._templates.get(key)
        if template is None:
            self._wait(key, data, NO_TEMPLATE)
            return
        layout, raw = _fixed(template.layout, data.body)
        count = len(raw) // width(layout) if width(layout) else 0
        if count == 0 and len(data.body) >= 4:
            self.skipped["data set shorter than its record"] += 1
        if template.options:
            self._read_options(key[0], layout, raw, count)
            return
        clock = self._told(key[0], data.clock)
        if clock.uptime is None and needs_uptime(layout):
            self._wait(key, data, NO_SYSTEM_START)
            return
        records = Records(raw[: count * width(layout)], count, clock, self._sampling(key[0]))
        self._add(layout, records)

    def _told(self, speaker: _Speaker, clock: Clock) -> Clock:
        started = self._started.get(speaker)
        return clock if clock.uptime is not None or started is None else Clock(clock.sent, clock.sent - started)

    def _wait(self, key: tuple[_Speaker, int], data: _Set, reason: str) -> None:
        size = len(data.body) + _EARLY_SET
        if self._early_bytes + size > _MOST_WAITING:
            self.skipped[reason] += 1
            return
        self._early.setdefault(key[0], {}).setdefault(key[1], []).append(data)
        self._early_bytes += size

    def _read_options(self, speaker: _Speaker, layout: Layout, raw: bytes, count: int) -> None:
        elements = {field.element for field in layout}
        if not count or elements.isdisjoint((SYSTEM_START, *SAMPLING)):
            return
        values = read_fields(layout, raw, count)
        self._sampling(speaker).tell(values)
        if SYSTEM_START in values:
            self._started[speaker] = min(int(values[SYSTEM_START][-1]), 1 << 50)
            for template in [t for t in self._early.get(speaker, {}) if (speaker, t) in self._templates]:
                self._revisit(speaker, template)

    def _sampling(self, speaker: _Speaker) -> Sampling:
        return self._samplings.setdefault(speaker, Sampling())

    def _add(self, layout: Layout, records: Records) -> None:
        if records.rows:
            self._ready.setdefault(layout, []).append(records)
            self.waiting += records.rows


def _element(element: int, enterprise: int) -> int:
    if enterprise == _REVERSE_ENTERPRISE:
        return -element
    return element if enterprise == 0 else 0


def _fixed(layout: Layout, body: bytes) -> tuple[Layout, bytes]:
    """The layout and its records without the fields of variable length (RFC 7011, 7).

    Those records have no common width, so that they are walked one by one; what is incomplete at the end is
    left out.
    """
    if all(field.length != _VARIABLE for field in layout):
        return layout, body
    kept = tuple(field for field in layout if field.length != _VARIABLE)
    records = bytearray()
    at = 0
    while at < len(body):
        record = bytearray()
        for field in layout:
            if field.length != _VARIABLE:
                record += body[at : at + field.length]
                at += field.length
                continue
            length, at = body[at] if at < len(body) else 0, at + 1
            if length == 0xFF:
                length, at = int.from_bytes(body[at : at + 2], "big"), at + 2
            at += length
        if at <= len(body):
            records += record
    return kept, bytes(records)
