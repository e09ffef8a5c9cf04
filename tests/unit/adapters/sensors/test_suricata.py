"""Suricata's EVE: flows and the words for their ends, what was said in them, and the styles of its versions."""

import json

import polars as pl
import pytest

from log_samples import AT, BASE, FLOW
from netpersona.adapters.sensors.suricata import SuricataSensor, looks_like
from netpersona.errors import SourceError
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA, FlowBatch, no_flows, no_transactions


def event(kind, **part):
    return BASE | {"event_type": kind, kind: part}


def write(where, *events):
    file = where / "eve.json"
    file.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in events))
    return file


def read(file) -> FlowBatch:
    sensor = SuricataSensor(file)
    batches = list(sensor.batches())
    skipped: dict[str, int] = {}
    for part in batches:
        assert part.flows.schema == pl.Schema(FLOW_SCHEMA)
        assert part.transactions.schema == pl.Schema(TRANSACTION_SCHEMA)
        for reason, count in part.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    assert sensor.accounts()[0].skipped == skipped
    flows = pl.concat([no_flows(), *(part.flows for part in batches)]).sort("start", "uid")
    said = pl.concat([no_transactions(), *(part.transactions for part in batches)]).sort("start", "uid", "name")
    return FlowBatch(flows, said, skipped)


def test_a_flow_event_is_a_flow(tmp_path):
    flow = read(write(tmp_path, FLOW | {"host": "tap-1", "vlan": [12]})).flows.row(0, named=True)
    assert (flow["start"], flow["duration"], flow["transport"]) == (1622988000000001, 1_500_000, "tcp")
    assert (flow["originator"], flow["originator_port"]) == ("192.168.1.5", 4000)
    assert (flow["responder"], flow["responder_port"]) == ("192.0.2.9", 443)
    assert (flow["bytes_orig"], flow["bytes_resp"], flow["packets_orig"], flow["packets_resp"]) == (300, 200, 3, 2)
    assert (flow["state"], flow["application"], flow["uid"], flow["sensor"]) == ("SF", "ssl", "7", "tap-1")
    assert (flow["payload_orig"], flow["vlan"]) == (None, 12)


@pytest.mark.parametrize(
    ("ts", "tc", "answers", "life", "state"),
    [
        ("02", "00", 0, "new", "S0"),
        ("02", "14", 1, "closed", "REJ"),
        ("06", "00", 0, "closed", "RSTOS0"),
        ("03", "00", 0, "closed", "SH"),
        ("1b", "1b", 9, "closed", "SF"),
        ("1e", "1a", 9, "closed", "RSTO"),
        ("1a", "1e", 9, "closed", "RSTR"),
        ("13", "12", 9, "established", "S2"),
        ("12", "13", 9, "established", "S3"),
        ("1a", "1a", 9, "established", "S1"),
        ("10", "10", 9, "established", "OTH"),
        ("10", "13", 9, "established", "SHR"),
        ("10", "16", 9, "closed", "RSTRH"),
        (None, None, 9, "closed", "SF"),
        (None, None, 9, "established", "S1"),
        ("00", "00", 2, "new", "REJ"),
        ("00", "00", 0, "new", "S0"),
    ],
)
def test_how_a_tcp_flow_ended_in_zeeks_words(tmp_path, ts, tc, answers, life, state):
    flow = FLOW | {"flow": FLOW["flow"] | {"pkts_toclient": answers, "state": life}}
    if ts is not None:
        flow["tcp"] = {"tcp_flags": "ff", "tcp_flags_ts": ts, "tcp_flags_tc": tc}
    assert read(write(tmp_path, flow)).flows["state"].to_list() == [state]


@pytest.mark.parametrize(
    ("proto", "answers", "state"), [("UDP", 0, "S0"), ("UDP", 2, "SF"), ("ICMP", 2, "OTH"), ("IPv6-ICMP", 2, "OTH")]
)
def test_how_other_flows_ended(tmp_path, proto, answers, state):
    found = read(write(tmp_path, FLOW | {"proto": proto, "flow": FLOW["flow"] | {"pkts_toclient": answers}})).flows
    assert found["state"].to_list() == [state]
    assert found["transport"].to_list() == [{"IPv6-ICMP": "icmp6"}.get(proto, proto.lower())]
    assert (found["originator_port"][0] is None) is ("ICMP" in proto)


@pytest.mark.parametrize(
    "at", ["2021-06-06T14:00:00.000001Z", "2021-06-06T16:00:00.000001+02:00", "2021-06-06T14:00:00.000001"]
)
def test_times_with_any_offset(tmp_path, at):
    assert read(write(tmp_path, FLOW | {"flow": FLOW["flow"] | {"start": at}})).flows["start"].to_list() == [
        1622988000000001
    ]


def test_a_flow_learns_its_name_and_fingerprint(tmp_path):
    hello = event("tls", sni="Shop.Example", ja3={"hash": "b7202", "string": "770"}, version="TLS 1.1") | {
        "proto": "TCP"
    }
    found = read(write(tmp_path, hello, FLOW, FLOW | {"flow_id": 8}))
    assert found.flows.select("server_name", "tls_fingerprint").rows() == [("shop.example", "b7202"), (None, None)]
    assert found.transactions.select("kind", "name", "agent", "uid").rows() == [("tls", "shop.example", "b7202", "7")]


def test_a_request(tmp_path):
    asked = event("http", hostname="A.example:8080", url="/x", http_method="GET", http_user_agent="curl", status=404)
    said = read(write(tmp_path, asked, FLOW)).transactions.row(0, named=True)
    assert (said["kind"], said["name"], said["detail"], said["status"], said["agent"]) == (
        "http",
        "a.example",
        "GET /x",
        "404",
        "curl",
    )


def test_an_alert_keeps_its_words(tmp_path):
    raised = event("alert", signature="ET CINS Poor Reputation", category="Misc Attack", severity=2)
    found = read(write(tmp_path, raised, FLOW))
    said = found.transactions.row(0, named=True)
    assert (said["kind"], said["name"], said["detail"], said["status"]) == (
        "alert",
        "ET CINS Poor Reputation",
        "Misc Attack",
        "2",
    )
    assert found.flows["server_name"].to_list() == [None]


@pytest.mark.parametrize(
    "told",
    [
        {"direction": "to_client"},
        {"flow": {"src_ip": "192.0.2.9", "src_port": 53, "dest_ip": "192.168.1.5", "dest_port": 4000}},
    ],
)
def test_an_alert_on_an_answer_still_names_the_originator(tmp_path, told):
    found = read(write(tmp_path, event("alert", signature="x") | told)).flows
    assert found.select("originator", "originator_port", "responder").rows() == [("192.0.2.9", 53, "192.168.1.5")]


def test_an_event_without_a_flow_event_is_a_flow_without_counters(tmp_path):
    found = read(write(tmp_path, event("alert", signature="x"), FLOW | {"flow_id": 8})).flows
    own = found.filter(pl.col("uid") == "7").row(0, named=True)
    assert found.height == 2
    assert (own["start"], own["bytes_orig"], own["packets_orig"], own["state"]) == (1622987986457984, None, None, None)


QUERY = event("dns", type="query", id=2, rrname="WWW.example.com", rrtype="A", tx_id=0)
ANSWERS = {
    "detailed": event(
        "dns",
        version=2,
        type="answer",
        id=2,
        rrname="www.example.com",
        rrtype="A",
        rcode="NOERROR",
        answers=[{"rrname": "www.example.com", "rrtype": "A", "ttl": 91, "rdata": "192.0.2.1"}],
    ),
    "grouped": event(
        "dns",
        version=2,
        type="answer",
        id=2,
        rrname="www.example.com",
        rrtype="A",
        rcode="NOERROR",
        grouped={"A": ["192.0.2.1"]},
    ),
    "one by one": event(
        "dns", type="answer", id=2, rrname="www.example.com", rrtype="A", rcode="NOERROR", ttl=91, rdata="192.0.2.1"
    ),
    "version 3": event(
        "dns",
        version=3,
        type="response",
        id=2,
        queries=[{"rrname": "www.example.com", "rrtype": "A"}],
        rcode="NOERROR",
        answers=[{"rrname": "www.example.com", "rrtype": "A", "rdata": "192.0.2.1"}],
    ),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("block", [24 << 20, 10])
def test_a_query_and_its_answer_are_one(tmp_path, monkeypatch, answer, block):
    monkeypatch.setattr("netpersona.adapters.sensors.source.blocks.__defaults__", (block,))
    found = read(write(tmp_path, QUERY, answer))
    said = found.transactions.select("kind", "name", "detail", "status", "answers").rows()
    assert said == [("dns", "www.example.com", "A", "NOERROR", ["192.0.2.1"])]
    assert found.flows.select("transport", "application", "server_name").rows() == [("udp", "dns", None)]


def test_questions_asked_again_under_the_same_id(tmp_path):
    later = {"timestamp": "2021-06-06T16:59:46.457984+0200"}
    answer = ANSWERS["detailed"]
    found = read(write(tmp_path, QUERY, answer, QUERY | later, answer | later, QUERY | later)).transactions
    assert found["status"].to_list() == ["NOERROR", "NOERROR", None]


def test_several_answers_told_one_by_one(tmp_path):
    more = event("dns", type="answer", id=2, rrname="www.example.com", rrtype="A", rcode="NOERROR", rdata="192.0.2.2")
    found = read(write(tmp_path, QUERY, ANSWERS["one by one"], more)).transactions
    assert found["answers"].to_list() == [["192.0.2.1", "192.0.2.2"]]


def test_an_answer_alone_is_turned_round(tmp_path):
    back = {"src_ip": "192.0.2.9", "src_port": 53, "dest_ip": "192.168.1.5", "dest_port": 4000}
    found = read(write(tmp_path, ANSWERS["grouped"] | back))
    assert found.transactions.select("originator", "responder_port").rows() == [("192.168.1.5", 53)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"timestamp": "2021', "not a JSON object"),
        ("\x00\x01", "not a JSON object"),
        ("[1]", "field of another type"),
        (FLOW | {"src_port": "http"}, "field of another type"),
        (FLOW | {"src_ip": "<script>"}, "not an address"),
        (FLOW | {"src_port": 70000}, "port out of range"),
        (FLOW | {"src_port": 10**30}, "field of another type"),
        (FLOW | {"flow": FLOW["flow"] | {"start": "soon"}}, "no time"),
        (FLOW | {"flow": FLOW["flow"] | {"bytes_toserver": -1}}, "count out of range"),
        (event("dns", rrname="x") | {"proto": None}, "no transport"),
        (event("alert", signature="x") | {"timestamp": None}, "no time"),
    ],
)
def test_a_bad_event_is_counted_and_costs_no_other(tmp_path, bad, reason):
    found = read(write(tmp_path, FLOW, bad, FLOW | {"flow_id": 8}))
    assert found.flows["uid"].to_list() == ["7", "8"]
    assert found.skipped == {reason: 1}


def test_events_that_say_nothing_of_flows_are_read_over(tmp_path):
    stats = {"timestamp": AT, "event_type": "stats", "stats": {"uptime": 8}}
    found = read(write(tmp_path, stats, event("fileinfo", filename="/"), event("anomaly", type="stream"), FLOW))
    assert found.flows.height == 1
    assert found.transactions.is_empty()
    assert not found.skipped


def exported(flow_id=7, *, back=False, **part):
    """A netflow event: one way of the flow that FLOW tells."""
    ends = ("src_ip", "src_port", "dest_ip", "dest_port")
    turned = dict(zip(ends, (FLOW[name] for name in (*ends[2:], *ends[:2])), strict=True)) if back else {}
    way = {"pkts": 2, "bytes": 200} if back else {"pkts": 3, "bytes": 300}
    told = {name: FLOW["flow"][name] for name in ("start", "end")} | way | part
    plain = {name: value for name, value in FLOW.items() if name != "flow"}
    flags = {"tcp_flags": "1a" if back else "1b"}
    return plain | turned | {"event_type": "netflow", "flow_id": flow_id, "netflow": told, "tcp": flags}


def test_netflow_events_are_the_flows_where_there_are_no_others(tmp_path):
    shake = event("tls", sni="bank.example")
    found = read(write(tmp_path, exported(), shake, exported(back=True), exported(8), exported(9), exported(9)))
    both, alone, *again = found.flows.rows(named=True)
    whole = read(write(tmp_path, FLOW, shake)).flows.row(0, named=True)
    assert both == whole | {"state": "S2"}
    assert (alone["uid"], alone["packets_orig"], alone["packets_resp"], alone["bytes_resp"]) == ("8", 3, 0, 0)
    assert [flow["uid"] for flow in again] == ["9", "9"]
    assert not found.skipped


def test_netflow_events_beside_flow_events_tell_the_same_flows(tmp_path):
    found = read(write(tmp_path, exported(), exported(back=True), FLOW))
    assert found.flows.rows() == read(write(tmp_path, FLOW)).flows.rows()


def test_the_ways_of_a_flow_meet_across_blocks(tmp_path, monkeypatch):
    file = write(tmp_path, *(exported(n, back=back) for n in range(40) for back in (False, True)))
    whole = read(file).flows
    monkeypatch.setattr("netpersona.adapters.sensors.source.blocks.__defaults__", (700,))
    assert whole.height == 40
    assert read(file).flows.equals(whole)


def test_a_file_without_a_word_on_flows_says_so(tmp_path):
    stats = {"timestamp": AT, "event_type": "stats", "stats": {"uptime": 8}}
    sensor = SuricataSensor(write(tmp_path, stats, stats))
    list(sensor.batches())
    [account] = sensor.accounts()
    assert (account.flows, account.notes) == (
        0,
        ("no event of it speaks of flows: 2 stats; Suricata's eve-log needs 'flow'",),
    )


def test_the_account_counts_events(tmp_path):
    sensor = SuricataSensor(write(tmp_path, QUERY, ANSWERS["grouped"], FLOW, event("alert", signature="x")))
    list(sensor.batches())
    account = sensor.accounts()[0]
    assert (account.format, account.flows, account.first, account.last) == (
        "suricata",
        4,
        1622987986457984,
        1622988000000001,
    )


def test_small_blocks_give_what_one_block_gives(tmp_path, monkeypatch):
    events = [one | {"flow_id": n} for n in range(40) for one in (QUERY, ANSWERS["detailed"], FLOW | {"dest_port": 53})]
    file = write(tmp_path, *events)
    whole = read(file)
    monkeypatch.setattr("netpersona.adapters.sensors.source.blocks.__defaults__", (700,))
    small = read(file)
    assert small.flows.equals(whole.flows)
    assert small.transactions.equals(whole.transactions)


def test_another_makers_file_is_refused_and_an_empty_one_is_not(tmp_path):
    with pytest.raises(SourceError, match=r"eve\.json:1: .*begins no EVE file"):
        read(write(tmp_path, "hello"))
    assert read(write(tmp_path)).flows.is_empty()


@pytest.mark.parametrize(
    ("head", "is_eve"),
    [
        (json.dumps(FLOW), True),
        ('{"ts": 1.0, "uid": "C"}', False),
        ("[]", False),
        ("\x00junk\n" + json.dumps(FLOW) + "\n", True),
        (json.dumps(FLOW)[:90], False),
        ("#fields", False),
    ],
)
def test_what_looks_like_eve(head, is_eve):
    assert looks_like(head.encode()) is is_eve
