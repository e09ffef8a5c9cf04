"""What was said in the flows that Suricata saw: dns, tls, quic, http and alert events as transactions.

A query and its answer are one transaction.  Each event also mentions its flow (see `mentions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from netpersona.adapters.sensors.suricata_ends import RAW, plain, raw
from netpersona.adapters.sensors.suricata_events import DnsPart, Event, TlsPart
from netpersona.adapters.sensors.zeek_shape import host_name, request

_BETWEEN = "\x1f"


def said(events: Iterable[Event], label: str, skipped: dict[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Transactions and mentions of the tls, quic, http, ssh and alert events."""
    chosen = [event for event in events if event.event_type in _READ]
    read = [_READ[event.event_type](event) for event in chosen]
    for event in chosen:
        _turn_alert(event)
    schema = RAW | dict.fromkeys(("kind", "named", "method", "uri", "status", "agent"), pl.String)
    columns = {
        name: [row[place] for row in read]
        for place, name in enumerate(("kind", "named", "method", "uri", "status", "agent"))
    }
    frame = plain(pl.DataFrame(raw(chosen) | columns, schema=schema), label, skipped)
    alert = pl.col("kind") == "alert"
    rows = frame.with_columns(
        pl.when(alert).then(pl.col("named").str.slice(0, 255)).otherwise(host_name("named")).alias("name"),
        request("method", "uri").alias("detail"),
        pl.col("agent").str.slice(0, 400),
    )
    tls = pl.col("kind") == "tls"
    known = rows.with_columns(
        pl.when(~alert).then(pl.col("name")).alias("server_name"),
        pl.when(tls).then(pl.col("agent")).alias("tls_fingerprint"),
    )
    return rows.filter(pl.col("kind") != "ssh"), known


def _turn_alert(event: Event) -> None:
    """An alert tells the ends of the packet that raised it; newer ones also those of its flow, which count."""
    part = event.flow
    if event.event_type == "alert" and part is not None and part.src_ip is not None and part.dest_ip is not None:
        event.src_ip, event.src_port = part.src_ip, part.src_port
        event.dest_ip, event.dest_port = part.dest_ip, part.dest_port
        event.direction = None


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
    schema = RAW | {"question": pl.String, "detail": pl.String, "status": pl.String, "message": pl.Int64}
    columns = {
        "question": [name for _, _, name, _ in rows],
        "detail": [rrtype for _, _, _, rrtype in rows],
        "status": [dns.rcode for _, dns, _, _ in rows],
        "message": [dns.id for _, dns, _, _ in rows],
        "answers": [_answers(dns) for _, dns, _, _ in rows],
        "answered": [dns.type in {"answer", "response"} for _, dns, _, _ in rows],
    }
    types: dict[str, Any] = schema | {"answers": pl.String, "answered": pl.Boolean}
    table = raw([event for event, *_ in rows]) | columns
    frame = plain(pl.DataFrame(table, schema=types), label, skipped)
    return frame.with_columns(
        host_name("question").alias("name"), pl.lit("dns").alias("kind"), pl.col("answers").str.split(_BETWEEN)
    ).drop("question")


def _questions(dns: DnsPart) -> list[tuple[str | None, str | None]]:
    if dns.queries:
        return [(asked.rrname, asked.rrtype) for asked in dns.queries]
    return [(dns.rrname, dns.rrtype)]


def _answers(dns: DnsPart) -> str | None:
    """What was answered: addresses, names and texts, as one text with _BETWEEN between them; None where nothing was.

    One text a message, because a column of them is built ten times as fast as one of lists.
    """
    if dns.answers:
        found = [answer.rdata for answer in dns.answers]
    elif dns.grouped:
        found = [value for rrtype in sorted(dns.grouped) for value in dns.grouped[rrtype]]
    else:
        found = [dns.rdata]
    return _BETWEEN.join(value.replace(_BETWEEN, " ") for value in found if isinstance(value, str) and value) or None


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
