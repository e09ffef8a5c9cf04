"""Traffic of the past for the tests of hunts and histories: two VMs, their peers, and what they said."""

import polars as pl

from netpersona.flow.orient import oriented, owner_table
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, FlowBatch, batch
from netpersona.flow.window import DAY, MINUTE, SECOND
from netpersona.intel.rollup import rolled_up

AT = 1_760_000_400_000_000 // DAY * DAY  # µs: the beginning of a day
OWNERS = {"10.0.0.1": "web-1", "10.0.0.2": "db-1", "fd00::1": "web-1"}


def flow(at, one, other, port=443, **more):
    base = {"start": at, "duration": SECOND, "transport": "tcp", "originator": one, "originator_port": 50_000}
    counted = {"bytes_orig": 100, "bytes_resp": 1_000, "packets_orig": 2, "packets_resp": 3, "state": "SF"}
    return {**base, "responder": other, "responder_port": port, **counted, "source": "conn.log", **more}


def said(at, one, other, kind, name, port=53, **more):
    base = {"start": at, "transport": "udp", "originator": one, "originator_port": 50_000, "responder": other}
    return {**base, "responder_port": port, "kind": kind, "name": name, "source": "dns.log", **more}


def traffic(*rows):
    """A batch of flows and of what was said in them."""
    told = [row for row in rows if "kind" in row]
    flows = [row for row in rows if "kind" not in row]
    return batch(pl.DataFrame(flows, schema_overrides=_types(flows, FLOW_SCHEMA)), _transactions(told))


def _types(rows, schema):
    return {name: dtype for name, dtype in schema.items() if any(name in row for row in rows)}


def _transactions(rows):
    return pl.DataFrame(rows, schema_overrides=_types(rows, TRANSACTION_SCHEMA))


def as_seen(rows):
    """The rows as the VMs of OWNERS see them."""
    owners = owner_table(OWNERS)
    return FlowBatch(oriented(rows.flows, owners), oriented(rows.transactions, owners))


def rolled(*rows):
    seen = as_seen(traffic(*rows))
    return rolled_up(seen.flows, seen.transactions)


def a_day(at=AT):
    """One day: a listed server talked to by address, another by name, a third by what DNS answered."""
    return [
        flow(at + MINUTE, "10.0.0.1", "203.0.113.7", source="first.log"),
        flow(at + 9 * MINUTE, "10.0.0.1", "203.0.113.7", 8443, bytes_orig=5_000),
        flow(at + 2 * MINUTE, "10.0.0.2", "198.51.100.9", server_name="cdn.evil.example"),
        flow(at + 3 * MINUTE, "10.0.0.2", "198.51.100.9", server_name="good.example"),
        said(at + 4 * MINUTE, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["198.51.100.20"]),
        flow(at + 5 * MINUTE, "10.0.0.1", "198.51.100.20", 4444),
        flow(at + 6 * MINUTE, "10.0.0.1", "198.51.100.20", server_name="good.example"),
        flow(at + 7 * MINUTE, "192.0.2.66", "10.0.0.2", 22, state="REJ", bytes_resp=0, packets_resp=0),
        flow(at + 8 * MINUTE, "fd00::1", "2001:db8::66", tls_fingerprint="a" * 32),
        flow(at + 8 * MINUTE, "10.0.0.9", "203.0.113.7"),
    ]
