"""What is said inside flows: DNS, TLS, HTTP, SSH; and hostile messages."""

import hashlib
import struct
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.packets.dns import read_message
from netpersona.adapters.sensors.packets.http import read_request, read_status
from netpersona.adapters.sensors.packets.meter import Meter
from netpersona.adapters.sensors.packets.tls import read_client_hello
from packet_samples import (
    A6,
    ACK,
    B6,
    PSH,
    T0,
    A,
    B,
    client_hello,
    dns,
    dns_name,
    metered,
    packets_of,
    pcap,
    read,
    tcp,
    udp,
)

ASK, TELL = (A, 5000, B, 53), (B, 53, A, 5000)
C, S = (A, 40000, B, 443), (B, 443, A, 40000)
JA3 = hashlib.md5(b"771,4865-49195,0-10-11,29-23,0", usedforsecurity=False).hexdigest()


def said(frames, cuts=(), times=None):
    flows, rows = metered(frames, times, cuts)
    return flows, rows.sort("start", "name").to_dicts()


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2)])
@pytest.mark.parametrize("hosts", [(A, B), (A6, B6)])
def test_a_question_and_its_answer_are_one_transaction(cuts, hosts):
    one, two = hosts
    answers = [
        (5, dns_name("edge.example.NET")),
        (1, bytes([192, 0, 2, 1])),
        (28, bytes.fromhex("20010db8") + bytes(12)),
    ]
    frames = [
        udp(one, 5000, two, 53, dns(7, "WWW.Example.com")),
        udp(one, 5000, two, 53, dns(7, "WWW.Example.com")),
        udp(two, 53, one, 5000, dns(7, "www.example.com", answers=answers)),
        udp(two, 53, one, 5000, dns(7, "www.example.com", answers=answers)),
    ]
    flows, rows = said(frames, cuts)
    assert flows["application"].to_list() == ["dns"]
    (row,) = rows
    assert row["uid"] == flows["uid"].item()
    wanted = {
        "start": T0,
        "transport": "udp",
        "originator": one,
        "originator_port": 5000,
        "responder": two,
        "responder_port": 53,
        "kind": "dns",
        "name": "www.example.com",
        "detail": "A",
        "status": "NOERROR",
        "answers": ["edge.example.net", "192.0.2.1", "2001:db8::"],
    }
    assert {name: row[name] for name in wanted} == wanted


def test_other_answers_and_codes():
    txt = b"\x05hello\x03\x00\xffx"
    frames = [
        udp(*ASK, dns(1, "t.example", 16)),
        udp(*TELL, dns(1, "t.example", 16, [(16, txt), (15, b"\0\x0amail".replace(b"mail", dns_name("mx.example")))])),
        udp(*ASK, dns(2, "gone.example", 65)),
        udp(*TELL, dns(2, "gone.example", 65, [], code=3)),
        udp(*ASK, dns(3, "odd.example", 4711)),
        udp(*TELL, dns(3, "odd.example", 4711, [(10, b"abc"), (4711, b"x")], code=14)),
        udp(*ASK, dns(4, "", 2)),
    ]
    _, rows = said(frames)
    assert [(row["name"], row["detail"], row["status"], row["answers"]) for row in rows] == [
        ("t.example", "TXT", "NOERROR", ["hello\\000\\255x", "mx.example"]),
        ("gone.example", "HTTPS", "NXDOMAIN", []),
        ("odd.example", "TYPE4711", "RCODE14", []),
        ("", "NS", None, None),
    ]


def test_an_answer_whose_question_was_not_seen_names_who_asked():
    flows, (row,) = said([udp(*TELL, dns(1, "a.example", answers=[]))])
    assert (row["originator"], row["originator_port"], row["status"]) == (A, 5000, "NOERROR")
    assert flows["originator"].to_list() == [B]


def test_questions_wait_a_minute_and_not_more_than_a_few_hundred_at_once():
    many = [udp(A, 5353, "224.0.0.251", 5353, dns(place, f"n{place}.local")) for place in range(400)]
    _, rows = said(many)
    assert len(rows) == 400
    pair = [
        udp(*ASK, dns(1, "late.example")),
        udp(*ASK, dns(2, "b.example")),
        udp(*TELL, dns(1, "late.example", answers=[])),
    ]
    _, rows = said(pair, times=[T0, T0 + 59_000_000, T0 + 61_000_000])
    assert [(row["name"], row["status"]) for row in rows] == [
        ("late.example", None),
        ("b.example", None),
        ("late.example", "NOERROR"),
    ]


def test_dns_is_recognised_on_any_port_and_over_tcp():
    flows, rows = said([udp(A, 5000, B, 5300, dns(1, "x.example")), udp(A, 6000, B, 5301, b"\0\1" + bytes(30))])
    assert [row["name"] for row in rows] == ["x.example"]
    assert sorted(flows["application"].to_list(), key=str) == [None, "dns"]
    query, answer = dns(1, "tcp.example"), dns(1, "tcp.example", answers=[(1, bytes(4))])
    frames = [
        tcp(*ASK, ACK, len(query).to_bytes(2, "big") + query),
        tcp(*TELL, ACK, len(answer).to_bytes(2, "big") + answer),
    ]
    _, (row,) = said(frames)
    assert (row["transport"], row["name"], row["answers"]) == ("tcp", "tcp.example", ["0.0.0.0"])


def test_netbios_names_are_not_dns():
    flows, rows = said([udp(A, 137, B, 137, dns(1, "FHEPFCELEHFCEPFFFACACACACACACAAA", 32))])
    assert rows == []
    assert flows["application"].to_list() == [None]


def test_long_tunnel_names_are_kept_whole():
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 45, "t.co"])
    _, (row,) = said([udp(*ASK, dns(1, name, 10))])
    assert row["name"] == name


def test_octets_outside_ascii_are_written_as_numbers():
    wire = dns(1, "x")[:12] + b"\x05a\x00\xe9. \x00" + struct.pack(">HH", 1, 1)
    message = read_message(wire)
    assert message is not None
    assert message.questions[0][0] == "a\\000\\233\\.\\032"


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # points at itself
        b"\x01a\xc0\x0c",  # points at its own beginning
        b"\xc0\x0e\xc0\x0c",  # points forward
        b"\xff\xff",
        b"\x3f" + b"a" * 10,
        b"".join(b"\x3f" + b"a" * 63 for _ in range(4)) + b"\0",
        b"\x80abc",
        b"",
    ],
)
def test_hostile_names_are_refused(name, tmp_path):
    wire = dns(1, "x")[:12] + name
    assert read_message(wire) is None
    _, rows, skipped = read(tmp_path, pcap([udp(*ASK, wire)]))
    assert rows.height == 0
    assert skipped == {"DNS message damaged": 1}


def test_the_least_time_to_live_counts_and_one_with_the_top_bit_is_none():
    def lived(*ttls):
        wire = dns(1, "x", answers=[(1, bytes(4))] * len(ttls))
        at = len(wire) - 16 * len(ttls)
        for place, ttl in enumerate(ttls):
            wire = wire[: at + 16 * place + 6] + struct.pack(">I", ttl) + wire[at + 16 * place + 10 :]
        return read_message(wire).ttl

    assert [lived(), lived(300), lived(300, 20, 60), lived(300, 1 << 31)] == [None, 300, 20, 0]
    _, (row,) = said([udp(*ASK, dns(1, "a.example")), udp(*TELL, dns(1, "a.example", answers=[(1, bytes(4))]))])
    assert row["ttl"] == 60


def test_many_answers_that_point_far_are_bounded():
    labels = b"".join(b"\x01a" for _ in range(120)) + b"\0"
    answers = [(5, b"\xc0\x1d")] * 3000
    wire = dns(1, "x", answers=answers)[:29] + labels + dns(1, "x", answers=answers)[29:]
    message = read_message(wire)
    assert message is None or len(message.answers) <= 64


@settings(max_examples=100, deadline=500)
@given(wire=st.binary(max_size=300))
def test_of_any_message_only_what_may_be_shown_is_told(wire):
    for message in filter(None, (read_message(wire), read_message(dns(1, "x")[:12] + wire))):
        assert all(name.isascii() and name.isprintable() for name, _ in message.questions)
        assert all(answer.isprintable() for answer in message.answers)
    for hello in filter(None, (read_client_hello(wire), read_client_hello(client_hello()[:43] + wire))):
        assert hello.server_name is None or hello.server_name.isprintable()
        assert hello.fingerprint is None or len(hello.fingerprint) == 32
    request = read_request(b"GET " + wire)
    assert request is None or (request.method, request.path.isprintable()) == ("GET", True)
    status = read_status(b"HTTP/1.1 " + wire)
    assert status is None or 100 <= int(status) <= 599


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2, 3)])
def test_a_hello_in_one_segment_and_in_three(cuts):
    hello = client_hello("WWW.Example.com.")
    flows, (row,) = said([tcp(*C, ACK, hello)])
    assert (row["kind"], row["name"], row["agent"]) == ("tls", "www.example.com", JA3)
    assert flows.select("application", "server_name", "tls_fingerprint").rows() == [("ssl", "www.example.com", JA3)]
    parts, seq = [hello[:20], hello[20:70], hello[70:]], 100
    frames = []
    for part in parts:
        frames += [tcp(*C, ACK, part, seq=seq), tcp(*S, ACK)]
        seq += len(part)
    flows, (row,) = said([*frames, frames[0]], cuts)
    assert (row["name"], row["agent"], row["start"]) == ("www.example.com", JA3, T0)


def test_a_large_hello_whose_rest_is_missing_still_names_its_server():
    hello = client_hello(padding=2000)
    flows, (row,) = said([tcp(*C, ACK, hello[:1400]), tcp(*C, ACK, b"x", seq=5000)])
    assert (row["name"], row["agent"]) == ("www.example.com", None)
    assert flows["application"].to_list() == ["ssl"]


@pytest.mark.parametrize("name", ["a b", "<script>", "x..y", "", "ü.example", "-" * 300])
def test_a_server_name_that_cannot_be_one_is_none(name):
    hello = read_client_hello(client_hello("x" * 3).replace(b"xxx", name.encode("latin-1")[:3].ljust(3, b" ")))
    assert hello is not None
    assert hello.server_name is None


def test_a_server_hello_alone_is_ssl():
    flows, rows = said([tcp(*S, ACK, b"\x16\x03\x03\x00\x40\x02" + bytes(64))])
    assert flows["application"].to_list() == ["ssl"]
    assert rows == []


REQUEST = b"GET /a?b=c HTTP/1.1\r\nHost: WWW.Example.com:8080\r\nUser-Agent: curl/8\r\n\r\n"
WEB, BACK = (A, 40000, B, 80), (B, 80, A, 40000)


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2, 3)])
def test_requests_meet_their_responses_in_order(cuts):
    second = b"POST /login HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\nuser=x"
    frames = [
        tcp(*WEB, PSH | ACK, REQUEST, seq=1),
        tcp(*WEB, PSH | ACK, REQUEST, seq=1),
        tcp(*WEB, PSH | ACK, second, seq=1 + len(REQUEST)),
        tcp(*BACK, PSH | ACK, b"HTTP/1.1 100 Continue\r\n\r\n", seq=1),
        tcp(*BACK, PSH | ACK, b"HTTP/1.1 200 OK\r\n\r\n", seq=26),
        tcp(*BACK, PSH | ACK, b"HTTP/1.0 404 Not Found\r\n\r\n", seq=45),
        tcp(*WEB, PSH | ACK, b"HEAD / HTTP/1.1\r\n\r\n", seq=900),
    ]
    flows, rows = said(frames, cuts)
    assert [(row["name"], row["detail"], row["status"], row["agent"]) for row in rows] == [
        ("www.example.com", "GET /a?b=c", "200", "curl/8"),
        ("2001:db8::1", "POST /login", "404", None),
        (None, "HEAD /", None, None),
    ]
    assert flows.select("application", "server_name").rows() == [("http", "www.example.com")]


def test_request_lines():
    long = read_request(b"GET /" + b"x" * 5000)
    assert long is not None
    assert len(long.path) == 200
    assert read_request(b"GET / HTTP/1.1") is not None
    assert read_request(b"GET lost in prose\r\n") is None
    assert read_request(b"GETX / HTTP/1.1\r\n\r\n") is None
    strange = read_request(b"GET /\xe9\x1b[0m HTTP/1.1\r\nHost: a\x00b\r\nUser-Agent: \x1b]0;x\x07\r\n\r\n")
    assert strange is not None
    assert (strange.path, strange.host, strange.agent) == ("/%E9%1B[0m", None, "%1B]0;x%07")
    body = read_request(b"POST / HTTP/1.1\r\n\r\nHost: not-a-header\r\n")
    assert body is not None
    assert body.host is None


def test_ssh_is_known_by_its_banner_on_any_port():
    flows, rows = said([tcp(A, 1, B, 902, ACK, b"SSH-2.0-OpenSSH_9.2\r\n")])
    assert flows["application"].to_list() == ["ssh"]
    assert rows == []


def test_dialogues_end_with_their_flows():
    meter = Meter("tap")
    for minute in range(5):
        frames = [udp(A, 1000 + port, B, 53, dns(port, "x.example")) for port in range(50)]
        meter.add(packets_of(frames, [T0 + minute * 120_000_000 + port for port in range(50)]), Counter())
    assert len(meter._conversations._dialogues) == 50
    meter.finish()
    assert meter._conversations._dialogues == {}
