"""Zeek's logs together: what they say of one another's flows by uid, in any order and any cut."""

import random

import polars as pl
import pytest

from log_samples import CONN, FIELDS, header, line, read, row, write
from netpersona.adapters.sensors.zeek import ZeekSensor, home
from netpersona.flow.orient import answered_by_responder

ENDS = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"]
LOGS = {
    "dns": [*ENDS, "proto", "query", "qtype_name", "rcode_name", "answers", "TTLs"],
    "http": [*ENDS, "method", "host", "uri", "user_agent", "request_body_len", "response_body_len", "status_code"],
    "ssl": [*ENDS, "version", "server_name", "ja3"],
    "ssh": [*ENDS, "auth_success", "server"],
}


def log(where, kind, *rows):
    fields = LOGS[kind]
    usual = {
        "ts": "100.000000",
        "uid": "C1",
        "id.orig_h": "10.0.0.5",
        "id.orig_p": 4000,
        "id.resp_h": "192.0.2.7",
        "id.resp_p": 443,
    }
    lines = ["\t".join(str((usual | found).get(name, "-")) for name in fields) for found in rows]
    return write(where, header(fields, kind) + "".join(f"{text}\n" for text in lines), f"{kind}.log")


def conn(where, *uids, name="conn.log"):
    return write(where, header() + "".join(row(uid=uid, ts="100.000000") for uid in uids), name)


def test_a_flow_learns_its_name_and_fingerprint_from_the_tls_hello(tmp_path):
    files = [conn(tmp_path, "C1", "C2"), log(tmp_path, "ssl", {"server_name": "Shop.Example.", "ja3": "e0ff89"})]
    found = read(*files)
    assert found.flows.select("uid", "server_name", "tls_fingerprint").rows() == [
        ("C1", "shop.example", "e0ff89"),
        ("C2", None, None),
    ]
    assert found.transactions.select("kind", "name", "agent").rows() == [("tls", "shop.example", "e0ff89")]


def test_the_first_name_in_time_is_the_flows_name(tmp_path):
    later = log(
        tmp_path, "http", {"ts": "101.5", "host": "second.example:8080"}, {"ts": "101.0", "host": "FIRST.example:8080"}
    )
    found = read(conn(tmp_path, "C1"), later, log(tmp_path, "ssl", {"ts": "102.0", "server_name": "third.example"}))
    assert found.flows["server_name"].to_list() == ["first.example"]


def test_a_log_in_that_succeeded(tmp_path):
    rows = [{"uid": "C1", "auth_success": "T"}, {"uid": "C2", "auth_success": "F"}, {"uid": "C3"}]
    found = read(conn(tmp_path, "C1", "C2", "C3"), log(tmp_path, "ssh", *rows))
    assert found.flows.select("uid", "auth_success").rows() == [("C1", True), ("C2", False), ("C3", None)]
    assert found.transactions.is_empty()


def test_dns_rows_become_questions(tmp_path):
    asked = {
        "proto": "udp",
        "query": "WWW.Example.com",
        "qtype_name": "A",
        "rcode_name": "NOERROR",
        "answers": "cdn.example,192.0.2.9",
        "TTLs": "300.000000,60.500000",
    }
    said = read(conn(tmp_path, "C1"), log(tmp_path, "dns", asked)).transactions.row(0, named=True)
    assert (said["kind"], said["name"], said["detail"], said["status"]) == ("dns", "www.example.com", "A", "NOERROR")
    assert said["answers"] == ["cdn.example", "192.0.2.9"]
    assert said["ttl"] == 60
    assert (said["start"], said["transport"], said["uid"]) == (100_000_000, "udp", "C1")


@pytest.mark.parametrize("ttls", ["-", "(empty)", "never", "-5.0", "1e300"])
def test_a_time_to_live_that_cannot_be_is_not_known(tmp_path, ttls):
    asked = {"proto": "udp", "query": "a.example", "qtype_name": "A", "rcode_name": "NOERROR", "TTLs": ttls}
    said = read(conn(tmp_path, "C1"), log(tmp_path, "dns", asked)).transactions
    assert said.select("name", "ttl").rows() == [("a.example", None)]


def test_http_rows_become_requests(tmp_path):
    asked = {"method": "GET", "host": "a.example", "uri": "/" + "x" * 500, "user_agent": "curl/8", "status_code": 404}
    said = read(conn(tmp_path, "C1"), log(tmp_path, "http", asked)).transactions.row(0, named=True)
    assert (said["kind"], said["name"], said["status"], said["agent"]) == ("http", "a.example", "404", "curl/8")
    assert said["detail"] == "GET /" + "x" * 195


def test_a_log_of_requests_alone_is_a_log_of_flows(tmp_path):
    rows = [
        {"ts": "103.25", "host": "a.example", "request_body_len": 5, "response_body_len": 70},
        {"ts": "101.00", "host": "b.example", "request_body_len": 1, "response_body_len": "-"},
    ]
    flow = read(log(tmp_path, "http", *rows)).flows.row(0, named=True)
    assert (flow["start"], flow["duration"]) == (101_000_000, 2_250_000)
    assert (flow["transport"], flow["application"], flow["server_name"]) == ("tcp", "http", "b.example")
    assert (flow["payload_orig"], flow["payload_resp"], flow["bytes_orig"], flow["state"]) == (6, 70, None, None)


@pytest.mark.parametrize(("kind", "transport"), [("dns", "udp"), ("ssl", "tcp"), ("ssh", "tcp")])
def test_flows_that_only_an_application_log_mentions(tmp_path, kind, transport):
    found = read(conn(tmp_path, "C1"), log(tmp_path, kind, {"uid": "C9", "proto": "udp"}))
    own = found.flows.filter(pl.col("uid") == "C9").row(0, named=True)
    assert found.flows.height == 2
    assert (own["transport"], own["application"], own["originator"], own["state"]) == (
        transport,
        kind,
        "10.0.0.5",
        None,
    )


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("dns", {"rcode_name": "NXDOMAIN"}),
        ("http", {"status_code": 304}),
        ("ssl", {"version": "TLSv13"}),
        ("ssh", {"server": "SSH-2.0-OpenSSH_9.6"}),
        ("ssh", {"auth_success": "F"}),
    ],
)
def test_what_only_the_server_can_have_said_shows_that_it_answered(tmp_path, kind, reply):
    asked, answered = {"uid": "C1"}, {"uid": "C2", **reply}
    alone = read(log(tmp_path, kind, asked, answered)).flows.sort("uid")
    assert alone.select("state", answered=answered_by_responder()).rows() == [(None, False), ("S1", True)]
    told = read(conn(tmp_path, "C2"), log(tmp_path, kind, answered)).flows
    assert told["state"].to_list() == ["SF"]


def test_datagram_tls_is_udp(tmp_path):
    assert read(log(tmp_path, "ssl", {"version": "DTLSv12"})).flows["transport"].to_list() == ["udp"]


def test_rows_without_a_uid_are_told_apart_by_their_ends(tmp_path):
    rows = [
        {"uid": "-", "id.orig_p": 4000},
        {"uid": "-", "id.orig_p": 4000, "ts": "105.0"},
        {"uid": "-", "id.orig_p": 4001},
    ]
    found = read(conn(tmp_path, "-"), log(tmp_path, "ssl", *rows))
    assert found.flows.sort("originator_port").select("originator_port", "uid", "duration").rows() == [
        (4000, None, 5_000_000),
        (4001, None, 0),
        (62771, None, 1135424),
    ]


def test_accounts_are_per_file_and_count_records(tmp_path):
    files = [
        conn(tmp_path, "C1", "C2"),
        log(tmp_path, "ssh", {"ts": "99.5", "id.orig_h": "nobody"}, {"ts": "99.25"}),
        write(tmp_path, header(["ts", "fuid"], "files") + "1.0\tF\n", "files.log"),
    ]
    sensor = ZeekSensor(*files)
    assert sum(part.flows.height for part in sensor.batches()) == 2
    told = {account.path.rsplit("/", 1)[1]: account for account in sensor.accounts()}
    assert {name: account.flows for name, account in told.items()} == {"conn.log": 2, "files.log": 0, "ssh.log": 1}
    assert told["ssh.log"].skipped == {"not an address": 1}
    assert (told["ssh.log"].first, told["conn.log"].last, told["files.log"].first) == (99_250_000, 100_000_000, None)


def test_one_log_or_many_in_any_order_say_the_same(tmp_path):
    uids = [f"C{number}" for number in range(60)]
    names = [{"uid": uid, "server_name": f"{uid}.example", "ts": f"{100 + n % 7}.0"} for n, uid in enumerate(uids * 2)]
    whole = read(conn(tmp_path, *uids[:50]), log(tmp_path, "ssl", *names))
    shuffled = random.Random(1).sample(names, len(names))
    parts = []
    for number in range(5):
        where = tmp_path / f"part{number}"
        where.mkdir()
        parts += [conn(where, *uids[number:50:5]), log(where, "ssl", *shuffled[number::5])]
    cut = read(*reversed(parts))
    columns = [name for name in whole.flows.columns if name not in {"source", "sensor"}]
    assert cut.flows.select(columns).equals(whole.flows.select(columns))
    assert cut.transactions.height == whole.transactions.height
    assert whole.flows.height == 60


def test_many_mentions_are_merged_as_they_come(tmp_path, monkeypatch):
    files = [
        conn(tmp_path, "C1", "C2"),
        log(tmp_path, "ssl", *({"uid": f"C{n % 9}", "server_name": f"n{n}"} for n in range(200))),
    ]
    whole = read(*files)
    monkeypatch.setattr("netpersona.adapters.sensors.mentions._TOGETHER", 3)
    monkeypatch.setattr("netpersona.adapters.sensors.source.blocks.__defaults__", (300,))
    assert read(*files).flows.equals(whole.flows)


def test_logs_rotated_into_directories_by_day_belong_together(tmp_path):
    logs = tmp_path / "tap-1"
    for below in ("current", "2024-04-29"):
        (logs / below).mkdir(parents=True)
    assert home(logs / "current" / "conn.log") == home(logs / "2024-04-29" / "conn.log") == logs.resolve()
    found = read(conn(logs / "2024-04-29", "C1"), log(logs / "current", "ssl", {"server_name": "a.example"}))
    assert found.flows.select("server_name", "sensor").rows() == [("a.example", "tap-1")]


def test_two_nodes_in_one_file_are_two_sources(tmp_path):
    fields = ["_node_name", *FIELDS]
    text = header(fields) + "worker-1\t" + row() + "worker-2\t" + row()
    flows = read(write(tmp_path, text)).flows
    assert sorted(flows["sensor"]) == ["worker-1", "worker-2"]
    assert flows["source"].n_unique() == 2


def test_reading_again_gives_the_same(tmp_path):
    sensor = ZeekSensor(conn(tmp_path, "C1"), log(tmp_path, "ssl", {"uid": "C2"}))
    first = [(part.flows, part.transactions) for part in sensor.batches()]
    again = [(part.flows, part.transactions) for part in sensor.batches()]
    assert all(a.equals(b) and c.equals(d) for (a, c), (b, d) in zip(first, again, strict=True))
    assert sum(account.flows for account in sensor.accounts()) == 2


@pytest.mark.parametrize(("label", "whole"), [(60, True), (240, True), (241, False), (9000, False), (100_000, False)])
def test_a_name_too_long_loses_its_middle_and_says_so(tmp_path, label, whole):
    name = "first." + "x" * (label - 6) + ".evil.example"
    hello = {name: value for name, value in CONN.items() if name in {"ts", "uid"} or name.startswith("id.")}
    found = read(
        write(tmp_path, line(hello | {"version": "TLSv12", "server_name": name, "established": True}), "ssl.log")
    )
    (said,) = found.transactions["name"].to_list()
    assert (said == name) is whole
    assert len(said) == min(len(name), 253)
    assert said.startswith("first.x")
    assert said.endswith("x.evil.example")
    assert ("--cut--" in said) is not whole
