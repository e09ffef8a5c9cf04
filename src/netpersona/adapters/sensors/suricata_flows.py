"""Suricata's flow events as flows.

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

from collections.abc import Sequence

import polars as pl

from netpersona.adapters.sensors.suricata_ends import RAW, Schema, plain, raw
from netpersona.adapters.sensors.suricata_events import Event, FlowPart, TcpPart, decode

_FIN, _SYN, _RST = 1, 2, 4
_COUNTERS = {
    "packets_orig": "pkts_toserver",
    "packets_resp": "pkts_toclient",
    "bytes_orig": "bytes_toserver",
    "bytes_resp": "bytes_toclient",
}
_FLOW: Schema = {
    **dict.fromkeys(_COUNTERS.values(), pl.Int64),
    "start": pl.String,
    "end": pl.String,
    "state": pl.String,
}
_TCP: Schema = {"tcp_flags_ts": pl.String, "tcp_flags_tc": pl.String}


def flows(lines: Sequence[bytes], label: str, skipped: dict[str, int]) -> pl.DataFrame:
    """The flow events among the lines, as flows."""
    told = _at_once(lines)
    return _flows(_one_by_one(decode(lines, skipped)) if told is None else told, label, skipped)


def flows_of(events: list[Event], label: str, skipped: dict[str, int]) -> pl.DataFrame:
    """Flow events as flows."""
    return _flows(_one_by_one(events), label, skipped)


def _flows(events: pl.DataFrame, label: str, skipped: dict[str, int]) -> pl.DataFrame:
    begun = events.filter(pl.col("event_type") == "flow").with_columns(
        pl.coalesce("start", "timestamp").alias("timestamp")
    )
    named = begun.drop("start").rename({theirs: ours for ours, theirs in _COUNTERS.items()})
    frame = plain(named, label, skipped, times=("end",), counters=_COUNTERS)
    flags = [pl.col(name).str.to_integer(base=16, strict=False) for name in _TCP]
    return (
        frame.with_columns(flags)
        .with_columns(
            pl.when(pl.col("end") >= pl.col("start")).then(pl.col("end") - pl.col("start")).alias("duration"),
            _state().alias("ended"),
        )
        .drop("end", "state", *_TCP)
        .rename({"ended": "state"})
    )


def _at_once(lines: Sequence[bytes]) -> pl.DataFrame | None:
    """The lines' events in columns; None if one of them is not as it must be."""
    if not lines:
        return None
    schema: Schema = RAW | {"flow": pl.Struct(_FLOW), "tcp": pl.Struct(_TCP)}
    try:
        frame = pl.read_ndjson(b"\n".join(lines), schema=schema)
    except pl.exceptions.PolarsError:
        return None
    return frame.unnest("flow", "tcp") if frame.height == len(lines) else None


def _one_by_one(events: list[Event]) -> pl.DataFrame:
    flows_, tcps = [event.flow or FlowPart() for event in events], [event.tcp or TcpPart() for event in events]
    parts = {name: [getattr(part, name) for part in flows_] for name in _FLOW}
    flags = {name: [getattr(part, name) for part in tcps] for name in _TCP}
    return pl.DataFrame(raw(events) | parts | flags, schema=RAW | _FLOW | _TCP)


def _state() -> pl.Expr:
    ts, tc = pl.col("tcp_flags_ts"), pl.col("tcp_flags_tc")

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
    life = pl.col("state")
    by_state = pl.when(life == "closed").then(pl.lit("SF")).when(life == "established").then(pl.lit("S1"))
    unflagged = by_state.when(answered).then(pl.lit("REJ")).otherwise(pl.lit("S0"))
    others = pl.when(answered).then(pl.lit("SF")).otherwise(pl.lit("S0"))
    transport = pl.col("transport")
    tcp = pl.when(flagged).then(by_flags).otherwise(unflagged)
    icmp = pl.when(transport.is_in(["icmp", "icmp6"])).then(pl.lit("OTH"))
    return icmp.when(transport == "tcp").then(tcp).otherwise(others)
