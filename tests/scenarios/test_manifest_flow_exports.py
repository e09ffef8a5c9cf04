"""Flows, packets and bytes of the shared flow exports equal what their manifests and references say."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from netpersona.adapters.sensors.argus import ArgusSensor
from netpersona.adapters.sensors.netflow import NetflowSensor
from netpersona.adapters.sensors.nfdump import NfdumpSensor
from netpersona.adapters.sensors.vpcflow import VpcFlowSensor
from shared_data import CAPTURES, SHARED, needs_shared

pytestmark = needs_shared

NETFLOW = SHARED / "data" / "netflow"
COUNTERS = ["bytes_orig", "bytes_resp", "packets_orig", "packets_resp"]
ENDS = ["transport", "originator", "originator_port", "responder", "responder_port"]


def read(sensor):
    flows = pl.concat([batch.flows for batch in sensor.batches()])
    [account] = sensor.accounts()
    assert account.flows == flows.height
    return flows, account


def sums(flows):
    return flows.select(pl.col(COUNTERS).sum()).row(0)


@pytest.mark.parametrize(
    ("name", "rows", "skipped"),
    [
        ("test2-malicious", 6751, {}),
        ("test3-mixed", 89, {}),
        ("test4-malicious", 394, {"not IP: arp": 2}),
        # The manifest counts 299 line ends less the header's; the last row has none, so there are 300 rows.
        ("test5-mixed", 300, {"not IP: arp": 2, "not IP: llc": 1, "not IP: man": 1}),
        ("test11-portscan", 66, {}),
    ],
)
def test_argus_rows_and_totals(name, rows, skipped):
    path = CAPTURES / "slips-binetflow" / f"{name}.binetflow"
    flows, account = read(ArgusSensor(path))
    assert account.skipped == skipped
    assert flows.height + sum(skipped.values()) == rows
    text = path.read_text()
    kept = [
        r
        for r in csv.DictReader(text.splitlines(), delimiter="\t" if "\t" in text else ",")
        if r["Proto"] not in ("arp", "llc", "man")
    ]
    orig_bytes, resp_bytes, orig_packets, resp_packets = sums(flows)
    assert (orig_bytes, orig_bytes + resp_bytes) == (
        sum(int(r["SrcBytes"]) for r in kept),
        sum(int(r["TotBytes"]) for r in kept),
    )
    # Without a SrcPkts column the split of a two-way flow of more than two packets is not said.
    unsaid = sum(
        int(r["TotPkts"]) for r in kept if "SrcPkts" not in r and r["SrcBytes"] != r["TotBytes"] and r["TotPkts"] != "2"
    )
    assert orig_packets + resp_packets == sum(int(r["TotPkts"]) for r in kept) - unsaid
    assert flows["state"].null_count() == 0


def test_nfdump_totals():
    path = CAPTURES / "slips-nfdump" / "test1-malicious.nfdump"
    flows, account = read(NfdumpSensor(path))
    assert account.skipped == {}
    orig_bytes, resp_bytes, orig_packets, resp_packets = sums(flows)
    assert (orig_packets + resp_packets, orig_bytes + resp_bytes) == (4652, 241025)
    scanned = flows.filter((pl.col("originator") == "147.32.80.119") & (pl.col("responder") == "147.32.82.62"))
    assert scanned.filter(pl.col("packets_orig") > 0).height == 2305  # records that way, by nfdump; each its own port
    assert scanned["responder_port"].unique().to_list() == [902]
    # The victim's resets are answers, also those whose SYN the exporter lost: it opens no flow to the scanner.
    assert flows.filter((pl.col("originator") == "147.32.82.62") & (pl.col("responder") == "147.32.80.119")).height == 0


@pytest.mark.skipif(shutil.which("nfdump") is None, reason="nfdump is not installed")
@pytest.mark.parametrize("option", [None, "-z", "-y", "-j"])
def test_nfdump_17_files_give_the_flows_of_the_16_file(tmp_path, option):
    old, new = CAPTURES / "slips-nfdump" / "test1-malicious.nfdump", tmp_path / "new"
    subprocess.run(["nfdump", "-r", old, "-w", new, *([option] if option else [])], check=True, capture_output=True)
    order = ["start", *ENDS, "bytes_orig"]
    assert read(NfdumpSensor(new))[0].sort(order).equals(read(NfdumpSensor(old))[0].sort(order))


def reference(item):
    frame = pl.read_csv(CAPTURES / item / "flows.reference.csv")
    return frame.with_columns(pl.col("sport", "dport").cast(pl.UInt16))


@pytest.mark.parametrize("version", ["v5", "v9", "v10"])
@pytest.mark.parametrize(("name", "item"), [("synscan", "ndpi-synscan"), ("test-cc-capture-1", "slips-test-cc-1")])
def test_netflow_equals_the_capture_it_was_made_from(name, item, version):
    flows, account = read(NetflowSensor(NETFLOW / f"{name}.pcap.{version}.datagrams"))
    assert account.skipped == {}
    told = reference(item)
    # The reference counts frames, NetFlow counts IP packets: 14 bytes of Ethernet header less for each.
    expected = told.group_by(pl.col("proto", "src", "sport", "dst", "dport")).agg(
        pl.col("src_bytes").sum() - 14 * pl.col("src_pkts").sum(),
        pl.col("dst_bytes").sum() - 14 * pl.col("dst_pkts").sum(),
        pl.col("src_pkts").sum(),
        pl.col("dst_pkts").sum(),
    )
    found = flows.group_by(ENDS).agg(pl.col(COUNTERS).sum())
    assert Counter(found.rows()) == Counter(expected.rows())
    # A port that was used again within softflowd's time-outs gave one record where the reference has two flows.
    used_again = told.height - told.n_unique(["proto", "src", "sport", "dst", "dport"])
    assert told.height - used_again <= flows.height <= told.height


@pytest.mark.parametrize(("name", "records", "flows"), [("synscan", 2002, 1994), ("test-cc-capture-1", 594, 297)])
def test_netflow_versions_say_the_same(name, records, flows):
    tables = {}
    for version in ("v5", "v9", "v10"):
        sensor = NetflowSensor(NETFLOW / f"{name}.pcap.{version}.datagrams")
        tables[version], account = read(sensor)
        assert (sensor.records, account.flows) == (records, flows)
    order = [*ENDS, "start"]
    names = [*ENDS, *COUNTERS, "state"]
    one, *others = [table.sort(order) for table in tables.values()]
    for other in others:
        assert one.select(names).equals(other.select(names))
        # v9 tells its own time in whole seconds.
        assert (one["start"] - other["start"]).abs().max() <= 2_000_000
        assert (one["duration"] - other["duration"]).abs().max() <= 2_000_000


def test_the_vpc_flow_log_sample():
    path = SHARED / "data" / "feeds" / "aws" / "vpcflow-v2.log"
    flows, account = read(VpcFlowSensor(path))
    rows = [line.split() for line in Path(path).read_text().splitlines()]
    used = [r for r in rows if r[-1] == "OK"]
    assert account.skipped == {"NODATA": 1, "SKIPDATA": 1}
    orig_bytes, resp_bytes, orig_packets, resp_packets = sums(flows)
    assert orig_bytes + resp_bytes == sum(int(r[9]) for r in used)
    assert orig_packets + resp_packets == sum(int(r[8]) for r in used)
    assert flows.height == 4  # the ping and its answer are one
