"""Every shared capture gives the flows of its reference table, which another program made; differences are explained.

The reference lists two kinds of ICMP otherwise than RFC 792 and RFC 4443 have it:

- an ICMP error quotes the packet that it is about, and the reference takes the quoted ports and protocol for the
  error's own; here it is an ICMP flow without ports;
- ICMPv6 behind a hop-by-hop header (multicast listener reports) is listed under that header's number, 0; here it is icmp6.

So the one flow that each names is the same flow with another protocol: addresses, packets and bytes are equal.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import Counter
from functools import cache
from math import inf
from pathlib import Path

import polars as pl
import pytest

from netpersona.adapters.sensors.packets.capture_file import read_capture
from netpersona.adapters.sensors.packets.meter import Meter
from netpersona.adapters.sensors.pcap import PcapSensor
from shared_data import CAPTURES, needs_shared

pytestmark = needs_shared
FILES = sorted(CAPTURES.glob("*/*.pcap"))
EXPLAINED = {  # reference protocol -> ours, by capture
    "corelight-asyncrat-30a385ed": {("udp", "icmp"): 1, ("0", "icmp6"): 2},
    "corelight-asyncrat-9596cf60": {("0", "icmp6"): 2},
    "corelight-asyncrat-cd010953": {("0", "icmp6"): 1},
    "slips-test7-hajime-like": {("udp", "icmp"): 4, ("tcp", "icmp"): 3, ("0", "icmp6"): 3},
}


@cache
def ours(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    parts = list(PcapSensor(path).batches())
    return pl.concat([part.flows for part in parts]), pl.concat([part.transactions for part in parts])


def counted(flows: pl.DataFrame) -> Counter[tuple[object, ...]]:
    """Flows as the reference writes them: no port is 0, payload is TCP's alone."""
    tcp = pl.col("transport") == "tcp"
    return Counter(
        flows.select(
            "transport",
            "originator",
            pl.col("originator_port").fill_null(0),
            "responder",
            pl.col("responder_port").fill_null(0),
            "start",
            "duration",
            "packets_orig",
            "packets_resp",
            "bytes_orig",
            "bytes_resp",
            pl.when(tcp).then("payload_orig").otherwise(0),
            pl.when(tcp).then("payload_resp").otherwise(0),
        ).rows()
    )


def reference(path: Path) -> Counter[tuple[object, ...]]:
    with (path.parent / "flows.reference.csv").open() as table:
        return Counter(
            (
                row["proto"],
                row["src"],
                int(row["sport"]),
                row["dst"],
                int(row["dport"]),
                round(float(row["ts"]) * 1e6),
                round(float(row["duration"]) * 1e6),
                *(int(row[f"{side}_{what}"]) for what in ("pkts", "bytes", "payload") for side in ("src", "dst")),
            )
            for row in csv.DictReader(table)
        )


def without_protocol(flow):
    return flow[1], flow[3], *flow[5:]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_flows_packets_bytes_and_payload_are_those_of_the_reference(path):
    mine, theirs = counted(ours(path)[0]), reference(path)
    assert mine.total() == theirs.total()
    for column in range(7, 13):
        assert sum(flow[column] * n for flow, n in mine.items()) == sum(flow[column] * n for flow, n in theirs.items())
    left = sorted((theirs - mine).elements(), key=without_protocol)
    right = sorted((mine - theirs).elements(), key=without_protocol)
    assert [without_protocol(flow) for flow in left] == [without_protocol(flow) for flow in right]
    changed = Counter((one[0], other[0]) for one, other in zip(left, right, strict=True))
    assert changed == EXPLAINED.get(path.parent.name, {})


@pytest.mark.parametrize(
    ("rows", "path"),
    [
        pytest.param(rows, path, id=f"{rows}-{path.parent.name}")
        for rows, most in ((1, 100_000), (7, 200_000), (97, inf))  # few at a time only where there are few
        for path in FILES
        if path.stat().st_size <= most
    ],
)
def test_the_cut_into_batches_changes_nothing(path, rows):
    meter, parts = Meter("pcap"), []
    with path.open("rb") as stream:
        for block in read_capture(stream, path.name, Counter()):
            parts += [meter.add(packets, Counter()) for packets in block.parts(rows)]
    parts.append(meter.finish())
    flows, said = ours(path)
    assert pl.concat([part.flows for part in parts]).sort("uid").equals(flows.sort("uid"))
    order = ["start", "uid", "kind", "name", "detail"]
    assert pl.concat([part.transactions for part in parts]).sort(order).equals(said.sort(order))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_names_are_those_that_tshark_sees(path):
    said = ours(path)[1]
    tls = said.filter(kind="tls")
    columns = ("tls.handshake.extensions_server_name", "tls.handshake.ja3")
    seen = tshark(path, "tls.handshake.type == 1 && tcp", *columns)
    assert Counter(tls.select("name", "agent").rows()) == Counter((row[0] or None, row[1]) for row in seen)
    requests = Counter(row[0] for row in tshark(path, "http.request && tcp && !icmp", "http.request.method"))
    assert Counter(said.filter(kind="http")["detail"].str.split(" ").list.first()) == requests


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_dns_questions_are_those_that_tshark_sees(path):
    said = ours(path)[1].filter((pl.col("kind") == "dns") & (pl.col("responder_port") == 53))
    queries = tshark(path, "dns.flags.response == 0 && udp.dstport == 53 && !icmp", "dns.id", "dns.qry.name")
    answers = tshark(path, "dns.flags.response == 1 && udp.srcport == 53 && !icmp", "dns.id", "dns.qry.name")
    asked = {(ident, name.lower()) for ident, name in queries}
    answered = {(ident, name.lower()) for ident, name in answers}
    assert set(said["name"]) == {name for _, name in asked | answered}
    assert len(asked | answered) <= said.height <= len(queries) + len(answered - asked)
    assert set(said.filter(pl.col("status").is_not_null())["name"]) == {name for _, name in answered}


def tshark(path: Path, condition: str, *fields: str) -> list[list[str]]:
    command = ["tshark", "-n", "-r", str(path), "-Y", condition, "-T", "fields", "-E", "occurrence=f"]
    done = subprocess.run(
        [*command, *[word for field in fields for word in ("-e", field)]],
        check=True,
        capture_output=True,
        text=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_the_dns_tunnel_keeps_its_long_names():
    flows, said = ours(CAPTURES / "ndpi-dns_exfiltration" / "dns_exfiltration.pcap")
    assert said.height == 150
    assert said["status"].unique().to_list() == ["NOERROR"]
    assert said["name"].str.len_chars().max() > 180
    assert flows["application"].to_list() == ["dns"]


def test_an_injected_query_string_is_seen_with_its_answer():
    _, said = ours(CAPTURES / "ndpi-WebattackSQLinj" / "WebattackSQLinj.pcap")
    assert said.height == 9
    assert said["status"].unique().to_list() == ["200"]
    assert said["detail"].str.contains("union").any()


def test_log_ins_on_another_port_are_recognised_as_ssh():
    flows, _ = ours(CAPTURES / "slips-ssh-bruteforce" / "malicious-ssh-bruteforce.pcap")
    assert flows.filter(pl.col("application") == "ssh")["responder_port"].unique().to_list() == [902]


def test_a_syn_scan_has_the_fingerprint_of_its_tool():
    flows, _ = ours(CAPTURES / "ndpi-synscan" / "synscan.pcap")
    prints = flows["tcp_fingerprint"].drop_nulls().value_counts(sort=True)
    assert prints["count"].sum() > 1900
    assert prints["tcp_fingerprint"].str.contains("^4:64:0:1460:[0-9]+,0:mss::0$").any()
