"""Which Zeek logs are read, which of their fields, and which rows of them are sound.

Both of Zeek's forms (TSV, JSON) become the same tables, named by kind, whose columns are the kind's
FIELDS with `id.` taken off; then `sound` drops what cannot be a record and counts it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import polars as pl

from netpersona.adapters.sensors.address_column import canonical_addresses

TIME, PORT, COUNT, SPAN, TEXT, FLAG = "time", "port", "count", "span", "text", "flag"
TEXTS, SPANS = "texts", "spans"

_EVERY = {"ts": TIME, "uid": TEXT, "orig_h": TEXT, "orig_p": PORT, "resp_h": TEXT, "resp_p": PORT}
FIELDS: dict[str, dict[str, str]] = {
    "conn": _EVERY
    | {"proto": TEXT, "service": TEXT, "duration": SPAN, "conn_state": TEXT, "ip_proto": COUNT}
    | {"orig_bytes": COUNT, "resp_bytes": COUNT, "orig_pkts": COUNT, "resp_pkts": COUNT}
    | {"orig_ip_bytes": COUNT, "resp_ip_bytes": COUNT, "vlan": COUNT, "orig_l2_addr": TEXT, "resp_l2_addr": TEXT},
    "dns": _EVERY
    | {"proto": TEXT, "query": TEXT, "qtype_name": TEXT, "rcode_name": TEXT, "answers": TEXTS, "TTLs": SPANS},
    "http": _EVERY
    | {"method": TEXT, "host": TEXT, "uri": TEXT, "user_agent": TEXT, "status_code": TEXT}
    | {"request_body_len": COUNT, "response_body_len": COUNT},
    "ssl": _EVERY | {"version": TEXT, "server_name": TEXT, "ja3": TEXT},
    "ssh": _EVERY | {"auth_success": FLAG, "server": TEXT},
}
SENSORS = ("_node_name", "_system_name", "@system")  # columns that name the sensor, the best first

_LATEST = 253_402_300_800.0  # s: the year 10000
_MOST = 2**53  # bytes or packets: more is a broken counter, and sums of less fit 64 bits


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one kind of log: a table with the kind's columns and `node`, and what was skipped on the way to it.

    `kind` is one of FIELDS, or None for a Zeek log that says nothing of flows (the table is empty then).
    Times are float seconds, as Zeek writes them; ports are whatever integer type was cheap.
    """

    kind: str | None
    frame: pl.DataFrame
    skipped: dict[str, int] = field(default_factory=dict)


def kind_of(path: str | None, fields: Collection[str]) -> str | None:
    """Which kind of log this is: by its own word (`#path`, `_path`, `@stream`), else by its field names.

    None: a Zeek log that is not one of FIELDS.
    """
    if path is not None:
        return path if path in FIELDS else None
    has = set(fields)
    if "conn_state" in has or {"orig_ip_bytes", "resp_ip_bytes"} <= has:
        return "conn"
    if "rcode_name" in has or "qtype_name" in has or {"query", "trans_id"} <= has:
        return "dns"
    if "trans_depth" in has and has & {"method", "response_body_len"} and not has & _SIP_ONLY:
        return "http"
    if "server_name" in has or ("established" in has and has & {"resumed", "version", "cipher"}):
        return "ssl"
    if "auth_attempts" in has or ("auth_success" in has and "server" in has) or "host_key_alg" in has:
        return "ssh"
    return None


_SIP_ONLY = {"call_id", "seq", "request_from", "request_to", "response_from", "response_to", "request_path"}


def plain_name(name: str) -> str:
    """A field's name without its record's: id.orig_h and id_orig_h are both orig_h."""
    return name[3:] if name.startswith(("id.", "id_")) else name


def iso_seconds(text: pl.Expr) -> pl.Expr:
    """ISO 8601 text (with Z or an offset) as float seconds; null where it is none."""
    micros = text.str.replace("Z$", "+00:00").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return micros.dt.epoch("us") / 1_000_000


def sound(rows: Rows) -> Rows:
    """The rows that can be records, their addresses canonical; the others are counted by reason.

    A table in which all is well (nearly every one) costs a few reductions.
    """
    if rows.kind is None or rows.frame.is_empty():
        return rows
    frame = rows.frame.with_columns(canonical_addresses(rows.frame[name]).alias(name) for name in ("orig_h", "resp_h"))
    if _all_well(frame):
        return Rows(rows.kind, frame, rows.skipped)
    reasons = _complaints(rows.kind)
    why = pl.coalesce(pl.when(test).then(pl.lit(reason)) for reason, test in reasons.items())
    judged = frame.with_columns(why.alias("why"))
    counts = judged.drop_nulls("why").group_by("why").len()
    skipped = dict(rows.skipped)
    for reason, count in counts.iter_rows():
        skipped[reason] = skipped.get(reason, 0) + count
    return Rows(rows.kind, judged.filter(pl.col("why").is_null()).drop("why"), skipped)


def _all_well(frame: pl.DataFrame) -> bool:
    """Whether the smallest and the largest of every column say that no row can be complained of."""
    whole = pl.col(pl.Int64)
    lowest, highest, first, last, *missing = frame.select(
        pl.min_horizontal(pl.lit(0), whole.min()).alias("lowest"),
        pl.max_horizontal(pl.lit(0), whole.max()).alias("highest"),
        pl.col("ts").min().alias("first"),
        pl.col("ts").max().alias("last"),
        pl.col("ts", "orig_h", "resp_h").null_count(),
        pl.col("ts").is_nan().any().alias("nan"),
    ).row(0)
    if any(missing) or lowest < 0 or highest > _MOST or not 0 <= first <= last < _LATEST:
        return False
    ports = [pl.col(name).max() for name in ("orig_p", "resp_p") if frame[name].dtype != pl.UInt16]
    return all(highest is None or highest <= 65_535 for highest in frame.select(ports).row(0)) if ports else True


def _complaints(kind: str) -> dict[str, pl.Expr]:
    """What makes a row no record: a condition that is never null, by reason; the first that holds is the reason."""
    at = pl.col("ts")
    ports = [name for name, what in FIELDS[kind].items() if what == PORT]
    counts = [name for name, what in FIELDS[kind].items() if what == COUNT]
    found = {
        "no time": at.is_null(),
        "time out of range": ~at.is_between(0.0, _LATEST, closed="left").fill_null(value=True),
        "not an address": pl.col("orig_h").is_null() | pl.col("resp_h").is_null(),
        "port out of range": pl.any_horizontal(
            ~pl.col(name).is_between(0, 65_535).fill_null(value=True) for name in ports
        ),
    }
    if counts:
        outside = [~pl.col(name).is_between(0, _MOST).fill_null(value=True) for name in counts]
        found["count out of range"] = pl.any_horizontal(outside)
    return found
