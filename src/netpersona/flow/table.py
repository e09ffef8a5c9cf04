"""The columnar tables in which every sensor reports, and how they are typed.

`flows` has one row for each flow (RFC 7011): who opened it, who answered, how much went each way.
`transactions` has one row for each thing that was said *inside* a flow and that judging needs: a DNS
question with its answers, a TLS hello's server name, an HTTP request, another sensor's alert.  They
are two tables, because one UDP flow may carry hundreds of DNS questions.  `banners` has what servers say that they are.

Times are whole microseconds since the epoch (UTC), so that sums do not depend on the order of adding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

FLOW_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "start": pl.Int64,  # µs since the epoch
    "duration": pl.Int64,  # µs; null: the sensor did not say
    "transport": pl.String,  # tcp udp icmp icmp6 sctp igmp gre ... (IANA keyword, lower case; else the number)
    "originator": pl.String,  # canonical address text (RFC 5952 for IPv6)
    "originator_port": pl.UInt16,  # null where the transport has none (ICMP)
    "responder": pl.String,
    "responder_port": pl.UInt16,
    "bytes_orig": pl.Int64,  # sent by the originator, with headers, as the sensor counts them; null: not said
    "bytes_resp": pl.Int64,
    "packets_orig": pl.Int64,
    "packets_resp": pl.Int64,
    "payload_orig": pl.Int64,  # transport payload only; null: not said
    "payload_resp": pl.Int64,
    "state": pl.String,  # Zeek's conn_state words: S0 S1 SF REJ S2 S3 RSTO RSTR RSTOS0 RSTRH SH SHR OTH; null: not said
    "application": pl.String,  # dns http ssl ssh smb ...; null: not recognised
    "server_name": pl.String,  # TLS server name or HTTP host of the flow's first hello or request, lower case
    "tls_fingerprint": pl.String,  # JA3 (md5, hex) of the client's hello
    "tcp_fingerprint": pl.String,  # of the originator's SYN, as p0f v3 writes it: ver:ittl:olen:mss:wsize,scale:...
    "auth_success": pl.Boolean,  # of a log-in inside the flow (SSH); null: none seen
    "originator_mac": pl.String,
    "responder_mac": pl.String,
    "vlan": pl.UInt16,
    "uid": pl.String,  # the sensor's own name for this flow; joins transactions to flows
    "part": pl.Int64,  # null, 0: the flow or its beginning; n: what that flow did in a later window, so no new flow
    "sensor": pl.String,  # which sensor saw it, in its own words
    "source": pl.String,  # the file or stream it came from
}

TRANSACTION_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "start": pl.Int64,  # µs since the epoch
    "transport": pl.String,
    "originator": pl.String,  # who asked
    "originator_port": pl.UInt16,
    "responder": pl.String,  # who was asked
    "responder_port": pl.UInt16,
    "kind": pl.String,  # dns | tls | http | alert
    "name": pl.String,  # the question, the server name, the host, the alert's signature; lower case but for alerts
    "detail": pl.String,  # dns: query type (A, TXT, ...); http: method and path; alert: category
    "status": pl.String,  # dns: NOERROR, NXDOMAIN, ... ; http: status code; null: no answer
    "answers": pl.List(pl.String),  # dns: addresses and names answered
    "ttl": pl.Int64,  # s, dns: the least of the answers' times to live (RFC 2181); null: no answers, or not said
    "agent": pl.String,  # http: user agent; tls: JA3
    "uid": pl.String,
    "sensor": pl.String,
    "source": pl.String,  # of a live sensor: the interface it was seen on; null: not said
}

BANNER_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "start": pl.Int64,  # µs since the epoch
    "transport": pl.String,
    "responder": pl.String,  # whose it is
    "responder_port": pl.UInt16,
    "text": pl.String,  # as it says it, printable
}


def no_banners() -> pl.DataFrame:
    """An empty table of banners."""
    return pl.DataFrame(schema=BANNER_SCHEMA)


@dataclass(frozen=True, slots=True)
class FlowBatch:
    """What a sensor reports in one go: tables with the columns of FLOW_SCHEMA, TRANSACTION_SCHEMA and BANNER_SCHEMA.

    The order of the rows carries no meaning.  `skipped` counts the records that could not be read,
    by reason; `records` counts the flow rows that came from the source (for the report's accounting).
    """

    flows: pl.DataFrame
    transactions: pl.DataFrame
    skipped: dict[str, int] = field(default_factory=dict)
    banners: pl.DataFrame = field(default_factory=no_banners)


def conform(frame: pl.DataFrame, schema: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """The frame with exactly the schema's columns in its order; absent columns are null.

    A column of another type is cast; a value that does not fit becomes null (readers count those before).
    """
    if frame.columns == list(schema) and frame.dtypes == list(schema.values()):
        return frame
    columns = [
        pl.col(name).cast(dtype, strict=False) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.items()
    ]
    return frame.select(columns) if frame.width else pl.DataFrame(schema=schema)


def telling(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame without its columns of nulls, which conform() brings back: half of what a sensor's flows would take."""
    return frame.select(column for column in frame if column.null_count() < frame.height)


def no_flows() -> pl.DataFrame:
    """An empty flow table."""
    return _NO_FLOWS.clone()


def no_transactions() -> pl.DataFrame:
    """An empty transaction table."""
    return _NO_TRANSACTIONS.clone()


def latest_banners(banners: pl.DataFrame) -> pl.DataFrame:
    """The last banner of each server, in the order of servers; of banners of one instant, the last in their order."""
    server = ["responder", "responder_port", "transport"]
    return banners.sort("start", "text").unique(server, keep="last", maintain_order=True).sort(server)


_NO_FLOWS, _NO_TRANSACTIONS = pl.DataFrame(schema=FLOW_SCHEMA), pl.DataFrame(schema=TRANSACTION_SCHEMA)


def batch(
    flows: pl.DataFrame | None = None,
    transactions: pl.DataFrame | None = None,
    skipped: dict[str, int] | None = None,
    banners: pl.DataFrame | None = None,
) -> FlowBatch:
    """A FlowBatch with its tables conformed to their schemas."""
    return FlowBatch(
        flows=no_flows() if flows is None else conform(flows, FLOW_SCHEMA),
        transactions=no_transactions() if transactions is None else conform(transactions, TRANSACTION_SCHEMA),
        skipped=skipped or {},
        banners=no_banners() if banners is None else conform(banners, BANNER_SCHEMA),
    )
