"""What every event of Suricata's says alike: when, between whom, by which transport, seen by which host.

Events come as a table of RAW columns, under Suricata's names; what is made of them are our names and types.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import polars as pl

from netpersona.adapters.sensors.address_column import canonical_addresses
from netpersona.adapters.sensors.suricata_events import Event

Schema = dict[str, pl.DataType | type[pl.DataType]]

RAW: Schema = {
    "event_type": pl.String,
    "timestamp": pl.String,
    "flow_id": pl.Int64,
    "src_ip": pl.String,
    "src_port": pl.Int64,
    "dest_ip": pl.String,
    "dest_port": pl.Int64,
    "proto": pl.String,
    "app_proto": pl.String,
    "host": pl.String,
    "direction": pl.String,
    "vlan": pl.List(pl.Int64),  # the outer first; we keep that one
}

_MOST = 2**53  # bytes or packets; more is a broken counter
_TRANSPORTS = {"ipv6-icmp": "icmp6", "icmpv6": "icmp6"}
_APPLICATIONS = {"tls": "ssl", "failed": None, "unknown": None}  # app_proto in Zeek's words


def raw(events: Sequence[Event]) -> dict[str, Any]:
    """The RAW columns of decoded events."""
    columns: dict[str, Any] = {name: [getattr(event, name) for event in events] for name in RAW if name != "vlan"}
    outer = [event.vlan[0] if isinstance(event.vlan, list) and event.vlan else event.vlan or None for event in events]
    columns["vlan"] = pl.Series(outer, dtype=pl.Int64).reshape((-1, 1)).arr.to_list()
    return columns


def plain(
    events: pl.DataFrame,
    label: str,
    skipped: dict[str, int],
    times: Collection[str] = (),
    counters: Collection[str] = (),
) -> pl.DataFrame:
    """The events that can be records, in our columns; the others are counted into `skipped`.

    `timestamp` becomes `start`, and each of `times` µs in its place; `counters` must be possible counts.
    """
    frame = events.with_columns(
        _transport(events["proto"]),
        canonical_addresses(events["src_ip"]),
        canonical_addresses(events["dest_ip"]),
        micros("timestamp").alias("start"),
        *(micros(name) for name in times),
    )
    return _sound(frame, skipped, counters).select(
        pl.col("start"),
        pl.col("proto").alias("transport"),
        *_turned(),
        pl.col("flow_id").cast(pl.String).alias("uid"),
        pl.col("host").fill_null(label).alias("sensor"),
        _application().alias("application"),
        pl.col("vlan").list.first().cast(pl.UInt16, strict=False),
        pl.exclude("start", "transport", "vlan", *RAW),
    )


def _transport(proto: pl.Series) -> pl.Series:
    words = {word: word.lower()[:20] for word in proto.unique().drop_nulls()}
    return proto.replace({word: _TRANSPORTS.get(low, low) or None for word, low in words.items()})


def _application() -> pl.Expr:
    own = pl.when(pl.col("event_type").is_in(["dns", "http", "ssh", "tls"])).then("event_type").otherwise("app_proto")
    return own.str.to_lowercase().replace(_APPLICATIONS).str.slice(0, 64)


def _turned() -> list[pl.Expr]:
    """The ends, the originator first: alerts and DNS answers may be told in reverse."""
    answer = (pl.col("event_type") == "dns") & (pl.col("src_port") == 53) & (pl.col("dest_port") != 53)
    alert = (pl.col("event_type") == "alert") & (pl.col("direction") == "to_client")
    back = (answer | alert).fill_null(value=False)
    portless = pl.col("proto").is_in(["icmp", "icmp6"])
    source, target = (
        pl.when(portless).then(None).otherwise("src_port"),
        pl.when(portless).then(None).otherwise("dest_port"),
    )
    return [
        pl.when(back).then("dest_ip").otherwise("src_ip").alias("originator"),
        pl.when(back).then(target).otherwise(source).cast(pl.UInt16).alias("originator_port"),
        pl.when(back).then("src_ip").otherwise("dest_ip").alias("responder"),
        pl.when(back).then(source).otherwise(target).cast(pl.UInt16).alias("responder_port"),
    ]


def _sound(frame: pl.DataFrame, skipped: dict[str, int], counters: Collection[str]) -> pl.DataFrame:
    outside = [~pl.col(name).is_between(0, _MOST).fill_null(value=True) for name in counters]
    ports = [~pl.col(name).is_between(0, 65_535).fill_null(value=True) for name in ("src_port", "dest_port")]
    complaints = {
        "no time": pl.col("start").is_null() | (pl.col("start") < 0),
        "not an address": pl.col("src_ip").is_null() | pl.col("dest_ip").is_null(),
        "no transport": pl.col("proto").is_null(),
        "port out of range": pl.any_horizontal(ports),
        "count out of range": pl.any_horizontal([pl.lit(value=False), *outside]),
    }
    if not any(frame.select(test.any().alias(reason) for reason, test in complaints.items()).row(0)):
        return frame
    why = pl.coalesce(pl.when(test).then(pl.lit(reason)) for reason, test in complaints.items())
    judged = frame.with_columns(why.alias("why"))
    for reason, count in judged.drop_nulls("why").group_by("why").len().iter_rows():
        skipped[reason] = skipped.get(reason, 0) + count
    return judged.filter(pl.col("why").is_null()).drop("why")


def micros(name: str) -> pl.Expr:
    """ISO 8601 text with an offset (+0200, +02:00 or Z; none is UTC) as µs since the epoch; null where it is none."""
    offset = pl.col(name).str.replace("[Zz]$", "+0000").str.replace(r"([+-]\d\d):(\d\d)$", "$1$2")
    whole = pl.when(offset.str.contains(r"[+-]\d{4}$")).then(offset).otherwise(offset + "+0000")
    return whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False).dt.epoch("us")
