"""What Suricata's events mean in our two tables.

A flow event is a flow; dns, tls, quic, http and alert events are transactions; a query and its answer are one.
Suricata does not name a connection's end as Zeek does.  The words are given by this table (ts: flags that the
originator sent, tc: that the responder sent; the first row that fits holds):

    TCP, flags known     no SYN in ts: SYN and FIN in tc SHR, SYN and RST in tc RSTRH, else OTH
                         no SYN in tc: RST in tc REJ, RST in ts RSTOS0, FIN in ts SH, else S0
                         FIN both ways SF, RST in ts RSTO, RST in tc RSTR, FIN in ts S2, FIN in tc S3, else S1
    TCP, flags unknown   state closed SF, established S1; no answer S0; an answer but no handshake REJ
    ICMP                 OTH
    others               answered SF, not answered S0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from netpersona.adapters.sensors.address_column import canonical_addresses
from netpersona.adapters.sensors.suricata_events import DnsPart, Event, TlsPart
from netpersona.adapters.sensors.zeek_shape import host_name, request

_FIN, _SYN, _RST = 1, 2, 4
_MOST = 2**53  # bytes or packets; more is a broken counter
_ENDS: dict[str, type[pl.DataType]] = {
    "timestamp": pl.String,
    "transport": pl.String,
    "originator": pl.String,
    "originator_port": pl.Int64,
    "responder": pl.String,
    "responder_port": pl.Int64,
    "uid": pl.String,
    "sensor": pl.String,
    "application": pl.String,
    "vlan": pl.Int64,
}
_COUNTERS = {"packets_orig": "pkts_toserver", "packets_resp": "pkts_toclient"} | {
    "bytes_orig": "bytes_toserver",
    "bytes_resp": "bytes_toclient",
}
_WORDS = {"tls": "ssl", "failed": None, "unknown": None}  # app_proto in Zeek's words


def flows(events: Iterable[Event], label: str, skipped: dict[str, int]) -> pl.DataFrame:
    """Flow events as flows."""
    chosen = [event for event in events if event.event_type == "flow" and event.flow is not None]
    columns = _ends(chosen, label)
    parts = [event.flow for event in chosen]
    texts = {name: [getattr(part, name) for part in parts] for name in ("start", "end", "state")}
    counts = {name: [getattr(part, theirs) for part in parts] for name, theirs in _COUNTERS.items()}
    flags = {f"flags_{way}": [_flags(event, way) for event in chosen] for way in ("ts", "tc")}
    columns["timestamp"] = [started or seen for started, seen in zip(texts["start"], columns["timestamp"], strict=True)]
    schema = _ENDS | dict.fromkeys(("end", "flow_state"), pl.String) | dict.fromkeys((*counts, *flags), pl.Int64)
    table = {**columns, "end": texts["end"], "flow_state": texts["state"], **counts, **flags}
    frame = _sound(pl.DataFrame(table, schema=schema, strict=False), skipped, list(counts))
    return frame.with_columns(
        pl.when(pl.col("end") >= pl.col("start")).then(pl.col("end") - pl.col("start")).alias("duration"),
        _state().alias("state"),
    ).drop("end", "flow_state", *flags)


def _ends(events: list[Event], label: str) -> dict[str, list[Any]]:
    """The columns that every event has, the flow's originator first."""
    turned = [_turned(event) for event in events]
    return {
        "timestamp": [event.timestamp for event in events],
        "transport": [_transport(event.proto) for event in events],
        "originator": [ends[0] for ends in turned],
        "originator_port": [ends[1] for ends in turned],
        "responder": [ends[2] for ends in turned],
        "responder_port": [ends[3] for ends in turned],
        "uid": [None if event.flow_id is None else str(event.flow_id) for event in events],
        "sensor": [event.host or label for event in events],
        "application": [_application(event) for event in events],
        "vlan": [_vlan(event.vlan) for event in events],
    }


def _turned(event: Event) -> tuple[str | None, int | None, str | None, int | None]:
    """The originator's address and port, then the responder's: alerts and DNS answers may be told in reverse."""
    there = (event.src_ip, event.src_port, event.dest_ip, event.dest_port)
    back = (event.dest_ip, event.dest_port, event.src_ip, event.src_port)
    if event.event_type == "alert":
        part = event.flow
        if part is not None and part.src_ip is not None and part.dest_ip is not None:
            return part.src_ip, part.src_port, part.dest_ip, part.dest_port
        return back if event.direction == "to_client" else there
    if event.event_type == "dns" and event.src_port == 53 and event.dest_port != 53:
        return back
    return there


def _transport(proto: str | None) -> str | None:
    word = (proto or "").lower()
    return {"": None, "ipv6-icmp": "icmp6", "icmpv6": "icmp6"}.get(word, word[:20])


def _application(event: Event) -> str | None:
    named = event.event_type if event.event_type in {"dns", "http", "ssh", "tls"} else event.app_proto
    return None if named is None else _WORDS.get(named, named.lower()[:64])


def _vlan(vlan: list[int] | int | None) -> int | None:
    outer = (vlan[0] if vlan else None) if isinstance(vlan, list) else vlan
    return outer if outer is None or 0 <= outer < 4096 else None


def _flags(event: Event, way: str) -> int | None:
    text = getattr(event.tcp, f"tcp_flags_{way}", None)
    try:
        return None if text is None else int(text, 16)
    except ValueError:
        return None


def _sound(frame: pl.DataFrame, skipped: dict[str, int], counters: Iterable[str] = ()) -> pl.DataFrame:
    """The rows that can be records, with `start` (and `end`) in µs and canonical addresses; the others are counted."""
    times = [_micros("timestamp").alias("start"), *([_micros("end").alias("end")] if "end" in frame.columns else [])]
    ends = [canonical_addresses(frame[name]) for name in ("originator", "responder")]
    timed = frame.with_columns(*times, *ends).drop("timestamp")
    ports = [
        ~pl.col(name).is_between(0, 65_535).fill_null(value=True) for name in ("originator_port", "responder_port")
    ]
    complaints = {
        "no time": pl.col("start").is_null() | (pl.col("start") < 0),
        "not an address": pl.col("originator").is_null() | pl.col("responder").is_null(),
        "no transport": pl.col("transport").is_null(),
        "port out of range": pl.any_horizontal(ports),
        "count out of range": pl.any_horizontal(
            [pl.lit(value=False), *(~pl.col(name).is_between(0, _MOST).fill_null(value=True) for name in counters)]
        ),
    }
    why = pl.coalesce(pl.when(test).then(pl.lit(reason)) for reason, test in complaints.items())
    judged = timed.with_columns(why.alias("why"))
    for reason, count in judged.drop_nulls("why").group_by("why").len().iter_rows():
        skipped[reason] = skipped.get(reason, 0) + count
    portless = pl.col("transport").is_in(["icmp", "icmp6"])
    return (
        judged.filter(pl.col("why").is_null())
        .drop("why")
        .with_columns(pl.when(~portless).then(pl.col("originator_port", "responder_port")).cast(pl.UInt16))
    )


def _micros(name: str) -> pl.Expr:
    """ISO 8601 text with an offset (+0200, +02:00 or Z; none is UTC) as µs since the epoch; null where it is none."""
    offset = pl.col(name).str.replace("[Zz]$", "+0000").str.replace(r"([+-]\d\d):(\d\d)$", "$1$2")
    whole = pl.when(offset.str.contains(r"[+-]\d{4}$")).then(offset).otherwise(offset + "+0000")
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False).dt.epoch("us")


def _state() -> pl.Expr:
    ts, tc = pl.col("flags_ts"), pl.col("flags_tc")

    def has(flags: pl.Expr, flag: int) -> pl.Expr:
        return (flags & flag) != 0

    answered = pl.col("packets_resp").fill_null(0) > 0
    flagged = (ts.fill_null(0) | tc.fill_null(0)) != 0
    unopened = pl.when(~has(tc, _SYN)).then(pl.lit("OTH")).when(has(tc, _FIN)).then(pl.lit("SHR"))
    unanswered = pl.when(has(tc, _RST)).then(pl.lit("REJ")).when(has(ts, _RST)).then(pl.lit("RSTOS0"))
    ended = pl.when(has(ts, _FIN) & has(tc, _FIN)).then(pl.lit("SF")).when(has(ts, _RST)).then(pl.lit("RSTO"))
    by_flags = (
        pl.when(~has(ts, _SYN))
        .then(unopened.when(has(tc, _RST)).then(pl.lit("RSTRH")).otherwise(pl.lit("OTH")))
        .when(~has(tc, _SYN))
        .then(unanswered.when(has(ts, _FIN)).then(pl.lit("SH")).otherwise(pl.lit("S0")))
        .otherwise(
            ended.when(has(tc, _RST))
            .then(pl.lit("RSTR"))
            .when(has(ts, _FIN))
            .then(pl.lit("S2"))
            .when(has(tc, _FIN))
            .then(pl.lit("S3"))
            .otherwise(pl.lit("S1"))
        )
    )
    life = pl.col("flow_state")
    by_state = pl.when(life == "closed").then(pl.lit("SF")).when(life == "established").then(pl.lit("S1"))
    unflagged = by_state.when(answered).then(pl.lit("REJ")).otherwise(pl.lit("S0"))
    others = pl.when(answered).then(pl.lit("SF")).otherwise(pl.lit("S0"))
    transport = pl.col("transport")
    tcp = pl.when(flagged).then(by_flags).otherwise(unflagged)
    icmp = pl.when(transport.is_in(["icmp", "icmp6"])).then(pl.lit("OTH"))
    return icmp.when(transport == "tcp").then(tcp).otherwise(others)


def said(events: Iterable[Event], label: str, skipped: dict[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Transactions and mentions of the tls, quic, http, ssh and alert events."""
    chosen = [event for event in events if event.event_type in _READ]
    read = [_READ[event.event_type](event) for event in chosen]
    schema = _ENDS | dict.fromkeys(("kind", "host", "method", "uri", "status", "agent"), pl.String)
    columns = {
        name: [row[place] for row in read]
        for place, name in enumerate(("kind", "host", "method", "uri", "status", "agent"))
    }
    frame = _sound(pl.DataFrame({**_ends(chosen, label), **columns}, schema=schema, strict=False), skipped)
    alert = pl.col("kind") == "alert"
    rows = frame.with_columns(
        pl.when(alert).then(pl.col("host").str.slice(0, 255)).otherwise(host_name("host")).alias("name"),
        request("method", "uri").alias("detail"),
        pl.col("agent").str.slice(0, 400),
    )
    tls = pl.col("kind") == "tls"
    known = rows.with_columns(
        pl.when(~alert).then(pl.col("name")).alias("server_name"),
        pl.when(tls).then(pl.col("agent")).alias("tls_fingerprint"),
    )
    return rows.filter(pl.col("kind") != "ssh"), known


def _tls(part: TlsPart | None) -> tuple[str | None, ...]:
    found = part or TlsPart()
    return "tls", found.sni, None, None, None, found.ja3.hash if found.ja3 else None


def _http(event: Event) -> tuple[str | None, ...]:
    part = event.http
    if part is None:
        return "http", None, None, None, None, None
    status = None if part.status is None else str(part.status)
    return "http", part.hostname, part.http_method, part.url, status, part.http_user_agent


def _alert(event: Event) -> tuple[str | None, ...]:
    part = event.alert
    if part is None:
        return "alert", None, None, None, None, None
    severity = None if part.severity is None else str(part.severity)
    return "alert", part.signature, part.category, None, severity, None


_READ: dict[str, Callable[[Event], tuple[str | None, ...]]] = {
    "tls": lambda event: _tls(event.tls),
    "quic": lambda event: _tls(event.quic),
    "http": _http,
    "ssh": lambda _: ("ssh", None, None, None, None, None),
    "alert": _alert,
}


def dns_messages(events: Iterable[Event], label: str, skipped: dict[str, int]) -> pl.DataFrame:
    """Every question of every DNS message, asked or answered: columns of a transaction, `message` and `answered`."""
    parts = [(event, event.dns) for event in events if event.event_type == "dns" and event.dns is not None]
    rows = [(event, dns, *asked) for event, dns in parts for asked in _questions(dns)]
    schema = _ENDS | {"question": pl.String, "detail": pl.String, "status": pl.String, "message": pl.Int64}
    columns = {
        "question": [name for _, _, name, _ in rows],
        "detail": [rrtype for _, _, _, rrtype in rows],
        "status": [dns.rcode for _, dns, _, _ in rows],
        "message": [dns.id for _, dns, _, _ in rows],
        "answers": [_answers(dns) for _, dns, _, _ in rows],
        "answered": [dns.type in {"answer", "response"} for _, dns, _, _ in rows],
    }
    types: dict[str, Any] = schema | {"answers": pl.List(pl.String), "answered": pl.Boolean}
    table = {**_ends([event for event, *_ in rows], label), **columns}
    frame = _sound(pl.DataFrame(table, schema=types, strict=False), skipped)
    return frame.with_columns(host_name("question").alias("name"), pl.lit("dns").alias("kind")).drop("question")


def _questions(dns: DnsPart) -> list[tuple[str | None, str | None]]:
    if dns.queries:
        return [(asked.rrname, asked.rrtype) for asked in dns.queries]
    return [(dns.rrname, dns.rrtype)]


def _answers(dns: DnsPart) -> list[str] | None:
    """What was answered: addresses, names and texts; None where nothing was."""
    if dns.answers:
        found = [answer.rdata for answer in dns.answers]
    elif dns.grouped:
        found = [value for rrtype in sorted(dns.grouped) for value in dns.grouped[rrtype]]
    else:
        found = [dns.rdata]
    return [value for value in found if isinstance(value, str) and value] or None


def paired(messages: pl.DataFrame) -> pl.DataFrame:
    """Each question once, with its answer: the n-th time a flow asks it (by message id) goes with the n-th answer."""
    key = ["uid", "message", "name", "detail"]
    # The first version tells an answer record by record: those of one instant are one answer.
    apart = pl.when(~pl.col("answered")).then(pl.int_range(pl.len())).alias("apart")
    one_answer = messages.group_by(*key, "answered", "start", apart, maintain_order=True).agg(
        pl.col("answers").list.explode(keep_nulls=False, empty_as_null=False).alias("answers"),
        pl.exclude("answers").first(),
    )
    turn = pl.int_range(pl.len()).over(*key, "answered")
    ordered = one_answer.sort("start", maintain_order=True).with_columns(turn.alias("turn"))
    asked, answered = ordered.filter(~pl.col("answered")), ordered.filter(pl.col("answered"))
    same = [*key, "turn"]
    reply = answered.select(
        *same, pl.col("status").alias("reply"), pl.col("answers").alias("given"), pl.lit(value=True).alias("heard")
    )
    both = asked.join(reply, on=same, how="left", nulls_equal=True).with_columns(
        pl.coalesce("reply", "status").alias("status"),
        pl.coalesce("given", "answers").alias("answers"),
        pl.col("heard").fill_null(value=False).alias("answered"),
    )
    alone = answered.join(asked.select(same), on=same, how="anti", nulls_equal=True)
    return pl.concat([both.select(messages.columns), alone.select(messages.columns)])
