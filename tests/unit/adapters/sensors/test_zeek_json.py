"""Zeek's JSON logs: the styles of their makers, and lines that are not as they must be."""

import pytest

from log_samples import CONN, line, read, write
from netpersona.adapters.sensors.zeek_json import looks_like_json

ENDS = {name: CONN[name] for name in ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")}
DNS = ENDS | {"proto": "udp", "trans_id": 7, "query": "Example.COM.", "qtype_name": "A", "rcode_name": "NOERROR"}


def underscored(record):
    return {name.replace("id.", "id_"): value for name, value in record.items()}


def nested(record):
    ends = {name[3:]: value for name, value in record.items() if name.startswith("id.")}
    return {name: value for name, value in record.items() if not name.startswith("id.")} | {"id": ends}


@pytest.mark.parametrize("style", [dict, underscored, nested])
@pytest.mark.parametrize("first", [None, '{"broken'])
def test_every_style_gives_the_same_flow(tmp_path, style, first):
    text = line(style(CONN)) if first is None else line(style(CONN)) + first + "\n"
    found = read(write(tmp_path, text))
    flow = found.flows.row(0, named=True)
    assert flow["start"] == 1700828217314165
    assert flow["duration"] == 206964
    assert (flow["originator"], flow["originator_port"], flow["responder"]) == ("192.168.1.9", 50820, "45.33.32.156")
    assert (flow["bytes_orig"], flow["packets_resp"], flow["payload_orig"], flow["state"]) == (60, 1, 0, "REJ")
    assert flow["originator_mac"] == "c4:23:60:3d:fd:d3"
    assert found.skipped == ({} if first is None else {"not a JSON object": 1})


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2020-01-01T00:00:00.000Z", 1577836800000000),
        ("2020-01-01T00:00:00.123456Z", 1577836800123456),
        ("2020-01-01T02:00:00+02:00", 1577836800000000),
    ],
)
def test_iso_times(tmp_path, text, micros):
    assert read(write(tmp_path, line(CONN, ts=text) * 2)).flows["start"].to_list() == [micros] * 2
    mixed = line(CONN, ts=text) + line(CONN, ts=micros / 1e6)
    assert read(write(tmp_path, mixed)).flows["start"].to_list() == [micros] * 2


@pytest.mark.parametrize("spoilt", ["", '{"broken\n'])
def test_times_in_milliseconds(tmp_path, spoilt):
    text = line(CONN, ts=1577836800123) + line(CONN, ts=1577836800.5)
    assert read(write(tmp_path, text + spoilt)).flows["start"].to_list() == [1577836800123000, 1577836800500000]


@pytest.mark.parametrize("word", ["_path", "@stream"])
def test_a_stream_of_many_logs_is_told_apart_by_its_path(tmp_path, word):
    records = [{word: "conn", "@system": "tap-1"} | CONN, {word: "dns"} | DNS, {word: "x509"} | ENDS]
    found = read(write(tmp_path, "".join(map(line, records))))
    assert found.flows.select("uid", "sensor").rows() == [("CfykLO", "tap-1")]
    assert found.transactions.select("kind", "name").rows() == [("dns", "example.com")]


def test_logs_without_a_path_are_told_apart_by_their_fields(tmp_path):
    found = read(write(tmp_path, line(CONN) + line(DNS) + line({"ts": 1.0, "host": "10.0.0.1", "software_type": "X"})))
    assert found.flows["state"].to_list() == ["REJ"]
    assert found.transactions["name"].to_list() == ["example.com"]
    assert not found.skipped


def test_dns_answers_are_a_list(tmp_path):
    found = read(write(tmp_path, line(DNS, answers=["www.example.com", "192.0.2.1"])))
    assert found.transactions["answers"].to_list() == [["www.example.com", "192.0.2.1"]]


@pytest.mark.parametrize("first", [DNS, {**DNS, "TTLs": "none"}])
def test_the_least_time_to_live_of_the_answers(tmp_path, first):
    rows = [line(first), line(DNS, TTLs=[300, 60.5]), line(DNS, TTLs=[])]
    found = read(write(tmp_path, "".join(rows) if isinstance(rows[0], str) else b"".join(rows)))
    assert found.transactions["ttl"].to_list() == [None, 60, None]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("[1]\n", "not a JSON object"),
        ("5\n", "not a JSON object"),
        ("\x00\x01\n", "not a JSON object"),
        ('{"ts":' + "[" * 100_000 + "\n", "not a JSON object"),
        (line(CONN, ts="soon"), "not a time"),
        (line(CONN, ts=None), "no time"),
        (line(CONN, **{"id.orig_p": 70000}), "port out of range"),
        (line(CONN, **{"id.orig_p": "x"}), "not a number"),
        (line(CONN, **{"id.orig_h": "10.0.0"}), "not an address"),
        (line(CONN, **{"id.orig_h": None}), "not an address"),
        (line(CONN, **{"id.orig_h": ["10.0.0.1"]}), "not an address"),
        (line(CONN, orig_bytes=-1), "count out of range"),
        (line(CONN, orig_bytes=1e300), "not a number"),
        (line(CONN, orig_bytes=1.5), "not a number"),
    ],
)
def test_a_bad_line_is_counted_and_costs_no_other(tmp_path, bad, reason):
    found = read(write(tmp_path, line(CONN, uid="C1") + bad + line(CONN, uid="C2")))
    assert found.flows["uid"].to_list() == ["C1", "C2"]
    assert found.skipped == {reason: 1}


def test_a_last_line_cut_short(tmp_path):
    found = read(write(tmp_path, line(CONN) + line(CONN)[:40]))
    assert found.flows.height == 1
    assert found.skipped == {"cut short": 1}


def test_windows_line_ends_and_blank_lines(tmp_path):
    found = read(write(tmp_path, (line(CONN) + "\n" + line(CONN)).replace("\n", "\r\n")))
    assert found.flows.height == 2
    assert not found.skipped


@pytest.mark.parametrize(
    ("head", "is_zeek"),
    [
        (line(CONN), True),
        (line({"ts": 1.0, "orig_h": "10.0.0.1", "operation": "request"}), True),
        (line({"event_type": "flow", "ts": 1}), False),
        (line({"type": "bundle", "objects": []}), False),
        (line({"ts": "2025-06-25T06:50:28Z", "sha1": "029c", "reason": "listed"}), False),
        (line({"_path": "anything", "ts": 1.0}), True),
        (line({"ts": 1.0, "certificate.version": 3}), True),
        ("{\n", False),
        ("[]", False),
        (line(CONN)[:60], True),
        ("\x00junk\n\n" + line(CONN), True),
    ],
)
def test_what_looks_like_zeek(head, is_zeek):
    assert looks_like_json(head.encode()) is is_zeek
