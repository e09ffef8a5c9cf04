"""Every Zeek and Suricata capture of the reference data gives the counts of its manifest, and what a naive reader sums."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import polars as pl
import pytest

from netpersona.adapters.sensors.recognise import recognise, sensors
from shared_data import CAPTURES, SHARED, needs_shared

pytestmark = needs_shared

# Rows by kind of log, as the manifest says.  One difference: it counts 142 conn rows in test10, of which one is
# the file's first line, a header line that a tab pushed in.
MANIFEST = {
    "ctu-normal-40-day1": {"conn": 5663, "http": 342, "ssl": 545},
    "ctu-normal-42-day2": {"conn": 5347, "dns": 8, "http": 5, "ssl": 1039},
    "njrat-botnet-230": {"conn": 992},
    "simda-botnet-355": {"conn": 992, "dns": 992, "http": 992},
    "rpi-honeypot-infected": {"ssh": 8528, "http": 6721},
    "slips-portscan-horizontal": {"conn": 41},
    "slips-portscan-vertical": {"conn": 50},
    "slips-remcos-ctu-sme-11": {"conn": 766, "dns": 22, "ssl": 2},
    "slips-test9-mixed-zeek-dir": {"conn": 576, "dns": 239, "http": 516, "ssl": 205},
    "slips-test10-mixed-zeek-dir": {"conn": 141, "dns": 93, "ssl": 13},
    "slips-test13-malicious-dhcpscan-zeek-dir": {"conn": 2},
    "slips-test14-malicious-zeek-dir": {"conn": 5, "http": 521},
    "slips-test15-malicious-zeek-dir": {"conn": 2, "ssl": 206},
    "slips-test16-malicious-zeek-dir": {},
    "otrf-apt29-day1": {"conn": 613, "dns": 53, "http": 62, "ssl": 378},
    "rita-acm-lab-http": {"http": 27204},
    "rita-proxy-rolling": {"conn": 7550, "dns": 3209, "http": 2368, "ssl": 2736},
}
KINDS = {"http": "http", "dns": "dns", "ssl": "tls"}


def logs(item):
    return sorted(path for path in (CAPTURES / item).glob("*.log*"))


def kind_of(path):
    return path.name.removeprefix("NASHUA_").removeprefix("SCRANTON_").split(".")[0]


def naively(path):
    """The file's rows as dicts of text or JSON values, the obvious way."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    fields: list[str] = []
    for line in text.splitlines():
        if line.startswith("{"):
            found = json.loads(line)
            yield {name.replace("id_", "id."): value for name, value in found.items()}
        elif line.startswith("#fields"):
            fields = line.split("\t")[1:]
        elif line and not line.lstrip().startswith("#"):
            yield {name: value for name, value in zip(fields, line.split("\t"), strict=True) if value != "-"}


def read(item):
    (sensor,) = sensors(logs(item))
    batches = list(sensor.batches())
    assert all(not part.skipped for part in batches)
    flows = pl.concat([part.flows for part in batches]) if batches else pl.DataFrame()
    said = pl.concat([part.transactions for part in batches]) if batches else pl.DataFrame()
    return sensor, flows, said


@pytest.mark.parametrize("item", MANIFEST)
def test_every_row_of_the_manifest_is_read(item):
    sensor, _, said = read(item)
    rows: Counter[str] = Counter()
    for account, path in zip(sensor.accounts(), logs(item), strict=True):
        rows[kind_of(path)] += account.flows
    assert {kind: count for kind, count in rows.items() if count} == MANIFEST[item]
    kinds = dict(said["kind"].value_counts().iter_rows()) if said.height else {}
    assert kinds == {KINDS[kind]: count for kind, count in MANIFEST[item].items() if kind in KINDS}


@pytest.mark.parametrize("item", MANIFEST)
def test_flows_and_their_sums_are_what_a_naive_reader_finds(item):
    _, flows, _ = read(item)
    rows = {
        kind: [row for path in logs(item) if kind_of(path) == kind for row in naively(path)]
        for kind in ("conn", "dns", "http", "ssl", "ssh")
    }
    conn = {row["uid"] for row in rows["conn"]}
    others = {row["uid"] for kind in ("dns", "http", "ssl", "ssh") for row in rows[kind]} - conn
    assert flows.height == len(rows["conn"]) + len(others)
    if not flows.height:
        return
    told = flows.filter(pl.col("uid").is_in(list(conn)))
    for column, field in (
        ("bytes_orig", "orig_ip_bytes"),
        ("bytes_resp", "resp_ip_bytes"),
        ("packets_orig", "orig_pkts"),
        ("payload_resp", "resp_bytes"),
    ):
        assert told[column].sum() == sum(int(row.get(field, 0)) for row in rows["conn"])
    assert sorted(told["start"]) == sorted(round(float(row["ts"]) * 1e6) for row in rows["conn"])
    assert dict(flows.drop_nulls("server_name").select("uid", "server_name").iter_rows()) == first_names(rows)


def first_names(rows):
    """Each uid's first TLS server name or HTTP host in time."""
    named = [
        (float(row["ts"]), row[field].lower().rstrip("."), row["uid"])
        for kind, field in (("ssl", "server_name"), ("http", "host"))
        for row in rows[kind]
        if row.get(field)
    ]
    plain = [(at, name.rsplit(":", 1)[0] if name.count(":") == 1 else name, uid) for at, name, uid in sorted(named)]
    return {uid: name for _, name, uid in reversed(plain) if name}


def test_each_of_two_sensors_flows_is_named_by_its_sensor_and_file():
    _, flows, _ = read("otrf-apt29-day1")
    assert flows["source"].n_unique() == 2
    assert dict(flows["sensor"].value_counts().iter_rows()) == {
        "bobs.bigwheel.local": 479,
        "simplerockbuild.simplerock.lan": 134,
    }


def test_the_mixed_scenarios_hold_both_their_parts():
    for scenario in json.loads((CAPTURES / "mixed" / "index.json").read_text()):
        name = f"{scenario['benign']}__{scenario['attack']}"
        (sensor,) = sensors([CAPTURES / "mixed" / name / "conn.log.gz"])
        assert sum(part.flows.height for part in sensor.batches()) == scenario["benign_rows"] + scenario["injected"]


def test_suricata_events_are_all_read():
    (sensor,) = sensors([CAPTURES / "slips-suricata-eve" / "test6-malicious.suricata.json"])
    batches = list(sensor.batches())
    flows = pl.concat([part.flows for part in batches])
    said = pl.concat([part.transactions for part in batches])
    lines = [json.loads(line) for line in (CAPTURES / "slips-suricata-eve" / "test6-malicious.suricata.json").open()]
    told = [line for line in lines if line["event_type"] == "flow"]
    assert len(told) == 3512
    speaks = {"flow", "dns", "tls", "http", "alert"}
    apart = {line["flow_id"] for line in lines if line["event_type"] in speaks} - {line["flow_id"] for line in told}
    assert flows.height == 3512 + len(apart)
    assert sensor.accounts()[0].flows == 3512 + 745 + 680 + 56 + 1
    assert flows["bytes_orig"].sum() == sum(line["flow"]["bytes_toserver"] for line in told)
    assert flows["packets_resp"].sum() == sum(line["flow"]["pkts_toclient"] for line in told)
    # 680 dns events are 340 queries and their 340 answers.
    assert dict(said["kind"].value_counts().iter_rows()) == {"alert": 745, "dns": 340, "http": 56, "tls": 1}
    assert said.filter(pl.col("kind") == "dns")["status"].null_count() == 0


@pytest.mark.skipif(
    not (SHARED / "data" / "throughput" / "wrccdc").is_dir(), reason="the throughput data is not on this machine"
)
def test_a_directory_of_thirty_kinds_of_log():
    where = SHARED / "data" / "throughput" / "wrccdc"
    found = recognise([where])
    assert [path.name for path, _ in found.unread] == ["LICENSE", "README.md"]
    (sensor,) = found.sensors
    uids = {row["uid"] for kind in ("dns", "ssl", "ssh") for row in naively(where / f"{kind}.log.gz")}
    assert sum(part.flows.height for part in sensor.batches()) == len(uids)
    assert all(not account.skipped for account in sensor.accounts())
    assert len(sensor.accounts()) == 28
