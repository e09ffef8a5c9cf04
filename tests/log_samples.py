"""Zeek logs and Suricata events that the tests write, and a reader of what a Zeek sensor says of them."""

import json
from pathlib import Path

import polars as pl

from netpersona.adapters.sensors.zeek import ZeekSensor
from netpersona.flow.table import FLOW_SCHEMA, FlowBatch, no_flows, no_transactions

FIELDS = (  # noqa: SIM905
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state local_orig "
    "local_resp missed_bytes history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents"
).split()
ROW = dict(
    zip(
        FIELDS,
        [
            "1655071198.444458",
            "CHLX",
            "10.0.0.5",
            "62771",
            "40.74.108.123",
            "443",
            "tcp",
            "ssl",
            "1.135424",
            "1596",
            "4039",
            "SF",
            "T",
            "F",
            "5138",
            "ShADdaFf",
            "14",
            "1016",
            "16",
            "1226",
            "(empty)",
        ],
        strict=True,
    )
)


def header(fields=FIELDS, path="conn", separator="\t"):
    lines = [f"#separator \\x{ord(separator):02x}", f"#set_separator{separator},", f"#empty_field{separator}(empty)"]
    lines += [f"#unset_field{separator}-", f"#path{separator}{path}", separator.join(["#fields", *fields])]
    return "\n".join(lines) + "\n"


def row(separator="\t", fields=FIELDS, **changes):
    values = ROW | {name.replace("id_", "id."): value for name, value in changes.items()}
    return separator.join(str(values.get(name, "-")) for name in fields) + "\n"


def write(where: Path, text, name="conn.log") -> Path:
    file = where / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def read(*files: Path) -> FlowBatch:
    """Everything that a sensor says, in one batch."""
    sensor = ZeekSensor(*files)
    batches = list(sensor.batches())
    skipped: dict[str, int] = {}
    for part in batches:
        assert part.flows.schema == pl.Schema(FLOW_SCHEMA)
        for reason, count in part.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    told: dict[str, int] = {}
    for account in sensor.accounts():
        for reason, count in account.skipped.items():
            told[reason] = told.get(reason, 0) + count
    assert told == skipped
    if not batches:
        return FlowBatch(no_flows(), no_transactions())
    return FlowBatch(
        pl.concat([part.flows for part in batches]).sort("start", "uid"),
        pl.concat([part.transactions for part in batches]).sort("start", "uid"),
        skipped,
    )


CONN = {
    "ts": 1700828217.314165,
    "uid": "CfykLO",
    "id.orig_h": "192.168.1.9",
    "id.orig_p": 50820,
    "id.resp_h": "45.33.32.156",
    "id.resp_p": 443,
    "proto": "tcp",
    "duration": 0.20696377754211426,
    "orig_bytes": 0,
    "resp_bytes": 0,
    "conn_state": "REJ",
    "orig_pkts": 1,
    "orig_ip_bytes": 60,
    "resp_pkts": 1,
    "resp_ip_bytes": 40,
    "orig_l2_addr": "C4:23:60:3d:fd:d3",
}


def line(record, **changes):
    return json.dumps(record | changes) + "\n"


AT = "2021-06-06T15:59:46.457984+0200"  # 1622987986.457984
BASE = {
    "timestamp": AT,
    "flow_id": 7,
    "src_ip": "192.168.1.5",
    "src_port": 4000,
    "dest_ip": "192.0.2.9",
    "dest_port": 53,
    "proto": "UDP",
}
FLOW = BASE | {
    "event_type": "flow",
    "proto": "TCP",
    "dest_port": 443,
    "app_proto": "tls",
    "flow": {
        "pkts_toserver": 3,
        "pkts_toclient": 2,
        "bytes_toserver": 300,
        "bytes_toclient": 200,
        "start": "2021-06-06T16:00:00.000001+0200",
        "end": "2021-06-06T16:00:01.500001+0200",
        "state": "closed",
        "reason": "timeout",
    },
}
