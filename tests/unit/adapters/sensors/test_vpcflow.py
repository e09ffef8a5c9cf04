"""AWS VPC flow logs: default lines, custom fields, lines without data, damage."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged_logs import accounted_or_refused
from netpersona.adapters.sensors.vpcflow import DEFAULT_FIELDS, VpcFlowSensor, looks_like
from netpersona.errors import SourceError

THERE = "2 123456789010 eni-1 192.0.2.10 198.51.100.5 40000 443 6 10 1000 1700000000 1700000060 ACCEPT OK"
BACK = "2 123456789010 eni-1 198.51.100.5 192.0.2.10 443 40000 6 12 9000 1700000000 1700000060 ACCEPT OK"


def read(tmp_path, *lines):
    path = tmp_path / "log"
    path.write_bytes("\n".join(lines).encode())
    sensor = VpcFlowSensor(path)
    flows = [row for batch in sensor.batches() for row in batch.flows.sort("originator_port").rows(named=True)]
    return flows, sensor.accounts()[0].skipped


@pytest.mark.parametrize("header", [[], [" ".join(DEFAULT_FIELDS)]])
def test_default_lines_with_and_without_header(tmp_path, header):
    assert looks_like("\n".join([*header, THERE]).encode())
    [flow], skipped = read(tmp_path, *header, THERE, BACK, "", *header)
    assert (flow["originator"], flow["responder_port"], flow["bytes_orig"], flow["bytes_resp"]) == (
        "192.0.2.10",
        443,
        1000,
        9000,
    )
    assert (flow["start"], flow["duration"], flow["packets_resp"], flow["state"]) == (
        1_700_000_000_000_000,
        60_000_000,
        12,
        None,
    )
    assert (skipped, flow["sensor"]) == ({}, "vpcflow")


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("names", ["account-id", "account_id", "accountId", None])
def test_a_table_that_others_made_of_a_log(tmp_path, separator, quote, names):
    def styled(name):
        first, *rest = name.split("-")
        return first + "".join(map(str.title, rest)) if names == "accountId" else name.replace("-", names[7])

    header = [] if names is None else [[styled(name) for name in DEFAULT_FIELDS]]
    rows = [*header, THERE.split(), BACK.split(), *header]
    lines = [separator.join(f"{quote}{value}{quote}" for value in values) for values in rows]
    assert looks_like(lines[0].encode())
    [flow], skipped = read(tmp_path, *lines)
    assert (flow["bytes_orig"], flow["bytes_resp"], skipped) == (1000, 9000, {})


@pytest.mark.parametrize("before", ["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20+00:00 eni-1-all"])
def test_lines_that_cloudwatch_exported(tmp_path, before):
    lines = [f"{before} {line}" for line in (THERE, BACK)]
    assert looks_like(lines[0].encode())
    [flow], skipped = read(tmp_path, *lines)
    assert (flow["bytes_orig"], flow["bytes_resp"], skipped) == (1000, 9000, {})


def test_lines_of_an_hour_are_one_flow(tmp_path):
    fields = THERE.split()
    lines = [
        " ".join([*fields[:10], str(1_700_000_000 + 60 * n), str(1_700_000_060 + 60 * n), *fields[12:]])
        for n in range(60)
    ]
    [flow], _ = read(tmp_path, *lines)
    assert (flow["packets_orig"], flow["duration"]) == (600, 3600 * 10**6)


def test_lines_without_data_are_counted(tmp_path):
    nodata = "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA"
    flows, skipped = read(tmp_path, nodata, nodata.replace("NODATA", "SKIPDATA"), nodata, THERE)
    assert (len(flows), skipped) == (1, {"NODATA": 2, "SKIPDATA": 1})


def test_a_rejected_flow(tmp_path):
    [flow], _ = read(tmp_path, THERE.replace("ACCEPT", "REJECT"))
    assert flow["state"] == "REJ"


def test_custom_fields_in_any_order_prefer_the_packets_addresses(tmp_path):
    header = "tcp-flags pkt-dstaddr dstaddr srcaddr pkt-srcaddr srcport dstport protocol vpc-id bytes packets start end action flow-direction"
    there = "2 198.51.100.5 10.0.0.1 10.0.0.2 192.0.2.10 40000 443 6 vpc-1 1000 10 1700000001 1700000060 ACCEPT egress"
    back = "18 192.0.2.10 10.0.0.2 10.0.0.1 198.51.100.5 443 40000 6 vpc-1 9000 12 1700000000 1700000060 ACCEPT ingress"
    assert looks_like(header.encode())
    [flow], skipped = read(tmp_path, header, there, back)
    assert (flow["originator"], flow["responder"]) == ("192.0.2.10", "198.51.100.5")  # by the SYN, not by the start
    assert (flow["state"], skipped) == ("S1", {})


def test_a_dash_falls_back_to_the_interfaces_addresses(tmp_path):
    header = "srcaddr dstaddr pkt-srcaddr pkt-dstaddr protocol start end"
    [flow], _ = read(tmp_path, header, "192.0.2.10 198.51.100.5 - - 17 1700000000 1700000060")
    assert (flow["originator"], flow["responder"]) == ("192.0.2.10", "198.51.100.5")


def test_interfaces_observe_for_themselves(tmp_path):
    flows, _ = read(tmp_path, THERE, THERE.replace("eni-1", "eni-2"))
    assert [flow["bytes_orig"] for flow in flows] == [1000, 1000]


def test_ipv6_is_canonical_and_ports_may_be_absent(tmp_path):
    line = (
        THERE.replace("192.0.2.10", "2001:DB8:0::1").replace("198.51.100.5", "2001:db8::2").replace(" 6 10", " 58 10")
    )
    [flow], _ = read(tmp_path, line)
    assert (flow["originator"], flow["transport"], flow["originator_port"]) == ("2001:db8::1", "icmp6", None)


def test_bad_lines_are_counted_and_the_rest_is_read(tmp_path):
    bad = {
        "one more": THERE + " x",
        "address": THERE.replace("192.0.2.10", "192.0.2.300"),
        "time": THERE.replace("1700000000", "never"),
        "far": THERE.replace("1700000000", "9223372036854775807"),
        "bytes": THERE.replace(" 1000 ", " -5 "),
        "port": THERE.replace("40000", "70000"),
        "protocol": THERE.replace(" 6 ", " 999 "),
        "binary": "\x00\x01" + THERE,
    }
    flows, skipped = read(tmp_path, THERE, *bad.values())
    assert len(flows) <= 2
    assert sum(skipped.values()) in (len(bad) - 1, len(bad))
    assert skipped["line with another number of fields"] >= 1
    assert skipped["impossible time"] == 2
    assert (
        skipped["record without ports"]
        == skipped["record without addresses"]
        == skipped["record without a protocol"]
        == 1
    )


def test_gzip_and_windows_line_ends(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress((THERE + "\r\n" + BACK + "\r\n").encode()))
    assert [batch.flows.height for batch in VpcFlowSensor(path).batches()] == [1]


@pytest.mark.parametrize("content", ["", "hello world", "srcaddr protocol start end\n", "2 1 2 3"])
def test_what_is_no_flow_log_is_refused(tmp_path, content):
    with pytest.raises(SourceError, match=r"log:1: .*expected"):
        read(tmp_path, content)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=8))
def test_a_damaged_file_is_accounted_for_or_refused(tmp_path_factory, at, junk):
    whole = f"{THERE}\n{BACK}\n{THERE}".encode()
    path = tmp_path_factory.mktemp("fuzz") / "x"
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    accounted_or_refused(VpcFlowSensor(path))
