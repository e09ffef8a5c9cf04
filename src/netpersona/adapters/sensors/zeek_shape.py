"""What Zeek's columns mean in our two tables: conn rows are flows, dns, http and ssl rows are transactions.

A row of an application's log also *mentions* a flow (mentions); `mentions` says what it knows of it.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from netpersona.adapters.sensors.long_name import MARK, TOO_LONG
from netpersona.adapters.sensors.zeek_fields import Rows

STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
APPLICATIONS = {"dns": "dns", "http": "http", "ssl": "ssl", "ssh": "ssh"}  # the service of each log's flows

_LONGEST_DETAIL = 200
_LONGEST_AGENT = 400
_LONGEST_TTL = (1 << 31) - 1  # s (RFC 2181)


def flows(rows: Rows, label: str, file: str) -> pl.DataFrame:
    """Rows of conn as flows, all but what only other logs know.

    `label` names the sensor where the row does not; `file` is where the rows come from.
    """
    frame = rows.frame.with_columns(
        _relabelled(rows.frame["proto"], _transport),
        _relabelled(rows.frame["service"], str.lower),
    )
    icmp = pl.col("proto") == "icmp"
    return frame.select(
        _micros("ts").alias("start"),
        pl.when(pl.col("duration").is_between(0, 1e9)).then(_micros("duration")).alias("duration"),
        _with_icmp6(frame).alias("transport"),
        pl.col("orig_h").alias("originator"),
        pl.when(~icmp).then(pl.col("orig_p")).cast(pl.UInt16).alias("originator_port"),
        pl.col("resp_h").alias("responder"),
        pl.when(~icmp).then(pl.col("resp_p")).cast(pl.UInt16).alias("responder_port"),
        pl.coalesce("orig_ip_bytes", "orig_bytes").alias("bytes_orig"),
        pl.coalesce("resp_ip_bytes", "resp_bytes").alias("bytes_resp"),
        pl.col("orig_pkts").alias("packets_orig"),
        pl.col("resp_pkts").alias("packets_resp"),
        pl.col("orig_bytes").alias("payload_orig"),
        pl.col("resp_bytes").alias("payload_resp"),
        pl.when(pl.col("conn_state").is_in(STATES)).then(pl.col("conn_state")).alias("state"),
        pl.col("service").alias("application"),
        pl.col("orig_l2_addr").str.to_lowercase().alias("originator_mac"),
        pl.col("resp_l2_addr").str.to_lowercase().alias("responder_mac"),
        pl.col("vlan").cast(pl.UInt16, strict=False),
        pl.col("uid"),
        *_seen_by(rows, label, file),
    )


def _seen_by(rows: Rows, label: str, file: str) -> list[pl.Expr]:
    """`sensor` and `source`: what two nodes wrote into one file are two sources, which may have seen the same flow."""
    if rows.frame["node"].null_count() == rows.frame.height:
        return [pl.lit(label).alias("sensor"), pl.lit(file).alias("source")]
    node = pl.col("node")
    return [
        node.fill_null(label).alias("sensor"),
        pl.concat_str(pl.lit(f"{file}#"), node.fill_null("")).alias("source"),
    ]


def _relabelled(column: pl.Series, meaning: Callable[[str], str]) -> pl.Series:
    """The column with each of its few distinct values replaced by its meaning."""
    changed = {value: meaning(value) for value in column.unique().drop_nulls() if meaning(value) != value}
    return column.replace(changed) if changed else column


def _transport(proto: str) -> str:
    return {"ipv6-icmp": "icmp", "icmp6": "icmp", "unknown_transport": "unknown"}.get(proto.lower(), proto.lower())


def _with_icmp6(frame: pl.DataFrame) -> pl.Expr:
    over_ipv6 = (pl.col("proto") == "icmp") & pl.col("orig_h").str.contains(":", literal=True)
    numbered = pl.when((pl.col("proto") == "unknown") & pl.col("ip_proto").is_not_null())
    named = numbered.then(pl.col("ip_proto").cast(pl.String)) if frame["ip_proto"].null_count() < frame.height else None
    six = pl.when(over_ipv6).then(pl.lit("icmp6"))
    return six.otherwise(pl.col("proto")) if named is None else six.otherwise(named.otherwise(pl.col("proto")))


def _micros(name: str) -> pl.Expr:
    """Float seconds as whole µs: a float64 near 1.7e9 s is exact to 0.24 µs, so rounding gives what was written."""
    return (pl.col(name) * 1e6).round(0).cast(pl.Int64)


def transactions(rows: Rows, label: str) -> pl.DataFrame | None:
    """Rows of dns, http or ssl as transactions; None for a kind of log that has none."""
    if rows.kind not in _SAID:
        return None
    return rows.frame.select(
        *_ends(rows.kind), *_SAID[rows.kind], pl.col("uid"), pl.col("node").fill_null(label).alias("sensor")
    )


def _ends(kind: str) -> list[pl.Expr]:
    return [
        _micros("ts").alias("start"),
        _TRANSPORT[kind].alias("transport"),
        pl.col("orig_h").alias("originator"),
        pl.col("orig_p").cast(pl.UInt16).alias("originator_port"),
        pl.col("resp_h").alias("responder"),
        pl.col("resp_p").cast(pl.UInt16).alias("responder_port"),
    ]


def host_name(name: str) -> pl.Expr:
    """Names as they are compared: lower case, without the final dot or a port; null where nothing is left.

    A name that is too long for a host's loses its middle (see `long_name`).
    """
    bare = pl.col(name).str.to_lowercase().str.replace(r"^([^:]*|\[.*\]):[0-9]{1,5}$", "$1").str.strip_chars_end(".")
    return pl.when(bare != "").then(bare.str.replace(TOO_LONG, f"${{1}}{MARK}${{2}}"))


def request(method: str, uri: str) -> pl.Expr:
    """An HTTP request in a few words: method and path."""
    return pl.concat_str(pl.col(method), pl.col(uri), separator=" ", ignore_nulls=True).str.slice(0, _LONGEST_DETAIL)


_datagrams = pl.col("version").str.starts_with("DTLS").fill_null(value=False)
_TRANSPORT = {
    "dns": pl.col("proto").str.to_lowercase().fill_null("udp"),
    "http": pl.lit("tcp"),
    "ssl": pl.when(_datagrams).then(pl.lit("udp")).otherwise(pl.lit("tcp")),
    "ssh": pl.lit("tcp"),
}
_ttl = pl.col("TTLs").list.min()
_NAME = {"http": host_name("host"), "ssl": host_name("server_name")}
_SAID: dict[str, list[pl.Expr]] = {
    "dns": [
        pl.lit("dns").alias("kind"),
        host_name("query").alias("name"),
        pl.col("qtype_name").alias("detail"),
        pl.col("rcode_name").alias("status"),
        pl.col("answers"),
        pl.when(_ttl.is_between(0, _LONGEST_TTL)).then(_ttl.floor()).cast(pl.Int64).alias("ttl"),
    ],
    "http": [
        pl.lit("http").alias("kind"),
        _NAME["http"].alias("name"),
        request("method", "uri").alias("detail"),
        pl.col("status_code").alias("status"),
        pl.col("user_agent").str.slice(0, _LONGEST_AGENT).alias("agent"),
    ],
    "ssl": [pl.lit("tls").alias("kind"), _NAME["ssl"].alias("name"), pl.col("ja3").alias("agent")],
}


_ANSWER = {  # what only a server's reply can fill in
    "dns": ("rcode_name",),
    "http": ("status_code",),
    "ssl": ("version",),
    "ssh": ("server", "auth_success"),
}


def mentions(rows: Rows, label: str, file: str) -> pl.DataFrame:
    """What an application's log knows of the flows that it mentions: one row for each of its rows.

    Columns: the flow's ends, uid, sensor and source, `start`, `application`, and where known `server_name`,
    `tls_fingerprint`, `auth_success`, `payload_orig`, `payload_resp`, `state` (S1, established: the server spoke).
    """
    assert rows.kind is not None
    kind = rows.kind
    nothing = {
        "ja3": pl.String,
        "auth_success": pl.Boolean,
        "request_body_len": pl.Int64,
        "response_body_len": pl.Int64,
    }
    answered = pl.any_horizontal(pl.col(name).is_not_null() for name in _ANSWER[kind])
    known = {
        name: pl.col(name) if name in rows.frame.columns else pl.lit(None, dtype) for name, dtype in nothing.items()
    }
    return rows.frame.select(
        *_ends(kind),
        pl.col("uid"),
        *_seen_by(rows, label, file),
        pl.lit(APPLICATIONS[kind]).alias("application"),
        _NAME.get(kind, pl.lit(None, pl.String)).alias("server_name"),
        known["ja3"].alias("tls_fingerprint"),
        known["auth_success"].alias("auth_success"),
        known["request_body_len"].alias("payload_orig"),
        known["response_body_len"].alias("payload_resp"),
        pl.when(answered).then(pl.lit("S1")).alias("state"),
    )
