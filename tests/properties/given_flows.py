"""Hypothesis strategies for what sensors saw: few hosts, few instants, so that rows meet each other."""

from __future__ import annotations

import polars as pl
from hypothesis import strategies as st

from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, conform
from netpersona.flow.window import SECOND, WINDOW

START = 1_760_000_100_000_000 // WINDOW * WINDOW  # µs
VMS = {"10.0.0.1": "a", "10.0.0.2": "b", "2001:db8::1": "a", "fd00::2": "b"}
PEERS = ["93.184.216.34", "198.51.100.7", "2001:db8::99", "fe80::1"]
HOSTS = [*VMS, *PEERS]
STATES = [None, "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"]
NAMES = ["evil.example", "a.evil.example", "b.evil.example", "fine.example"]
MACS = ["52:54:00:00:00:01", "52:54:00:00:00:02"]

instants = st.integers(0, 3 * WINDOW - 1).map(lambda n: START + n) | st.sampled_from(
    [START, START + WINDOW - 1, START + WINDOW]
)
counts = st.none() | st.integers(0, 5_000)
hosts = st.sampled_from(HOSTS)


def _maybe(values):
    return st.none() | st.sampled_from(values)


_flow = st.fixed_dictionaries(
    {
        "start": instants,
        "duration": st.none() | st.integers(0, 10 * SECOND),
        "transport": st.sampled_from(["tcp", "udp", "icmp"]),
        "originator": hosts,
        "originator_port": st.none() | st.integers(1024, 1027),
        "responder": hosts,
        "responder_port": st.none() | st.sampled_from([22, 53, 443]),
        **{f"{what}_{who}": counts for what in ("bytes", "packets", "payload") for who in ("orig", "resp")},
        "state": st.sampled_from(STATES),
        "application": _maybe(["ssl", "http"]),
        "server_name": _maybe(NAMES),
        "tls_fingerprint": _maybe(["e1", "e2"]),
        "tcp_fingerprint": _maybe(["64:1:2:3", "128:1:2:3"]),
        "auth_success": st.none() | st.booleans(),
        "originator_mac": _maybe(MACS),
        "part": _maybe([0, 1]),
    }
)
_transaction = st.fixed_dictionaries(
    {
        "start": instants,
        "transport": st.sampled_from(["tcp", "udp"]),
        "originator": hosts,
        "responder": hosts,
        "responder_port": st.none() | st.sampled_from([53, 80]),
        "kind": st.sampled_from(["dns", "tls", "http", "alert"]),
        "name": _maybe(NAMES),
        "detail": _maybe(["A", "GET /x", "GET /y?q=1"]),
        "status": _maybe(["NOERROR", "NXDOMAIN"]),
        "answers": st.none() | st.lists(_maybe(["192.0.2.1", "192.0.2.2", "cname.example"]), max_size=3),
        "agent": _maybe(["curl", "wget"]),
    }
)
flow_rows = st.lists(_flow, max_size=25)
transaction_rows = st.lists(_transaction, max_size=15)


def flow_table(rows):
    """The rows as a sensor's flow table."""
    return _table(rows, FLOW_SCHEMA)


def transaction_table(rows):
    """The rows as a sensor's table of transactions."""
    return _table(rows, TRANSACTION_SCHEMA)


def _table(rows, schema):
    if not rows:
        return pl.DataFrame(schema=schema)
    types = {name: schema[name] for name in rows[0]}
    return conform(pl.DataFrame(rows, schema=types), schema)
