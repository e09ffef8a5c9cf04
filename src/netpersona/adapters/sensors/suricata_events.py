"""Suricata's EVE lines, typed: the few fields of each event that say something of flows.

The versions' styles are read alike: DNS as query and answer (1), with grouped answers (2), with lists of
queries (3); JA3 as an object.  Fields that we do not read may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # what a column can hold
TRANSACTIONS = frozenset({"dns", "tls", "quic", "http", "ssh", "alert"})


class FlowPart(msgspec.Struct, gc=False):
    """`flow`: the counters and the life of a flow; in an alert also which way the flow went."""

    pkts_toserver: Whole | None = None
    pkts_toclient: Whole | None = None
    bytes_toserver: Whole | None = None
    bytes_toclient: Whole | None = None
    start: str | None = None
    end: str | None = None
    state: str | None = None
    src_ip: str | None = None
    src_port: Whole | None = None
    dest_ip: str | None = None
    dest_port: Whole | None = None


class TcpPart(msgspec.Struct, gc=False):
    """`tcp`: every flag that was seen, each way, in hexadecimal; a netflow event tells those of its way."""

    tcp_flags_ts: str | None = None
    tcp_flags_tc: str | None = None
    tcp_flags: str | None = None


class NetflowPart(msgspec.Struct, gc=False):
    """`netflow`: the counters and the life of one way of a flow."""

    pkts: Whole | None = None
    bytes: Whole | None = None
    start: str | None = None
    end: str | None = None


class Question(msgspec.Struct, gc=False):
    """One question of a DNS message."""

    rrname: str | None = None
    rrtype: str | None = None


class Answer(msgspec.Struct, gc=False):
    """One resource record of a DNS answer."""

    rdata: Any = None


class DnsPart(msgspec.Struct, gc=False):
    """`dns` in all its versions."""

    type: str | None = None
    id: Whole | None = None
    rrname: str | None = None
    rrtype: str | None = None
    rcode: str | None = None
    rdata: Any = None
    answers: list[Answer] | None = None
    grouped: dict[str, list[Any]] | None = None
    queries: list[Question] | None = None


class Ja3(msgspec.Struct, gc=False):
    """`ja3` of a client's hello."""

    hash: str | None = None


class TlsPart(msgspec.Struct, gc=False):
    """`tls`, and `quic`, which has the same two fields."""

    sni: str | None = None
    ja3: Ja3 | None = None


class HttpPart(msgspec.Struct, gc=False):
    """`http`: one request with its answer."""

    hostname: str | None = None
    url: str | None = None
    http_user_agent: str | None = None
    http_method: str | None = None
    status: Whole | str | None = None


class AlertPart(msgspec.Struct, gc=False):
    """`alert`: what a signature said."""

    signature: str | None = None
    category: str | None = None
    severity: Whole | None = None


class Event(msgspec.Struct, gc=False):
    """One line."""

    event_type: str
    timestamp: str | None = None
    flow_id: Whole | None = None
    src_ip: str | None = None
    src_port: Whole | None = None
    dest_ip: str | None = None
    dest_port: Whole | None = None
    proto: str | None = None
    app_proto: str | None = None
    host: str | None = None
    direction: str | None = None
    vlan: list[Whole] | Whole | None = None
    flow: FlowPart | None = None
    netflow: NetflowPart | None = None
    tcp: TcpPart | None = None
    dns: DnsPart | None = None
    tls: TlsPart | None = None
    quic: TlsPart | None = None
    http: HttpPart | None = None
    alert: AlertPart | None = None


_JUNK = 5  # lines before the first object
_DECODER = msgspec.json.Decoder(Event)


def looks_like(head: bytes) -> bool:
    """Whether the first object is an EVE event; some junk may come before it."""
    for line in head.split(b"\n", _JUNK)[:_JUNK]:
        try:
            found = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(found, dict):
            return "event_type" in found and ("timestamp" in found or "flow_id" in found)
    first = head.lstrip().split(b"\n", 1)[0]
    return first.startswith(b'{"') and b'"event_type":' in first and b'"timestamp":' in first


def decode(lines: Iterable[bytes], skipped: dict[str, int]) -> list[Event]:
    """The lines' events; a line that is none is counted into `skipped`."""
    kept = list(lines)
    try:
        return _DECODER.decode_lines(b"\n".join(kept))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_each(kept, skipped)


def _decode_each(lines: list[bytes], skipped: dict[str, int]) -> list[Event]:
    events = []
    for line in lines:
        try:
            events.append(_DECODER.decode(line))
        except msgspec.ValidationError:
            reason = "field of another type"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            reason = "not a JSON object"
        else:
            continue
        skipped[reason] = skipped.get(reason, 0) + 1
    return events
