"""Packets into flows, against a slow reading of the same rules; and what headers say."""

import struct
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.packets import assemble
from netpersona.adapters.sensors.packets.meter import Meter
from packet_samples import (
    A6,
    ACK,
    B6,
    FIN,
    LINUX,
    RST,
    SYN,
    T0,
    A,
    B,
    ethernet,
    icmp,
    ip,
    ip6,
    metered,
    packets_of,
    pcap,
    read,
    session,
    tcp,
    udp,
)

SECOND = 1_000_000


def states(*frames):
    return metered(list(frames))[0]["state"].to_list()


ONE, TWO = (A, 40000, B, 80), (B, 80, A, 40000)


@pytest.mark.parametrize(
    ("frames", "state"),
    [
        ([(ONE, SYN)], "S0"),
        ([(ONE, SYN), (ONE, ACK)], "S0"),
        ([(ONE, SYN), (TWO, RST | ACK)], "REJ"),
        ([(ONE, SYN), (TWO, SYN | ACK)], "S1"),
        ([(ONE, SYN), (TWO, SYN | ACK), (ONE, ACK), (TWO, ACK)], "S1"),
        ([(ONE, SYN), (TWO, SYN | ACK), (ONE, RST)], "RSTO"),
        ([(ONE, SYN), (TWO, SYN | ACK), (ONE, ACK), (TWO, RST)], "RSTR"),
        ([(ONE, SYN), (TWO, SYN | ACK), (ONE, FIN | ACK)], "S2"),
        ([(ONE, SYN), (TWO, SYN | ACK), (TWO, FIN | ACK)], "S3"),
        ([(ONE, SYN), (TWO, SYN | ACK), (TWO, FIN | ACK), (ONE, FIN | ACK)], "SF"),
        ([(ONE, SYN), (TWO, SYN | ACK), (TWO, FIN | ACK), (ONE, FIN | ACK), (ONE, RST)], "SF"),
        ([(ONE, SYN), (TWO, SYN | ACK), (TWO, FIN | ACK), (ONE, RST)], "RSTO"),
        ([(ONE, SYN), (ONE, RST)], "RSTOS0"),
        ([(ONE, SYN), (ONE, FIN)], "SH"),
        ([(TWO, SYN | ACK), (TWO, RST)], "RSTRH"),
        ([(TWO, SYN | ACK), (TWO, FIN | ACK)], "SHR"),
        ([(TWO, SYN | ACK)], "OTH"),
        ([(ONE, ACK), (TWO, ACK)], "OTH"),
    ],
)
def test_tcp_states_are_zeeks(frames, state):
    flows, _ = metered([tcp(*ends, flags) for ends, flags in frames])
    assert flows["state"].to_list() == [state]
    assert flows["originator"].to_list() == [A]


def test_other_transports_are_answered_or_not():
    assert states(udp(A, 1, B, 2, b"x")) == ["S0"]
    assert states(udp(A, 1, B, 2, b"x"), udp(B, 2, A, 1, b"y")) == ["SF"]
    assert states(icmp(A, B)) == ["S0"]
    assert states(icmp(A, B), icmp(B, A, 0)) == ["SF"]
    assert states(ethernet(ip(A, B, 2, bytes(8)))) == ["OTH"]


def test_transports_have_their_names_and_ports():
    frames = [
        ethernet(ip(A, B, 2, bytes(8))),
        ethernet(ip(A, B, 47, bytes(8))),
        ethernet(ip(A, B, 132, struct.pack(">HH", 5, 6) + bytes(20))),
        ethernet(ip(A, B, 89, bytes(8))),
        ethernet(ip6(A6, B6, 58, bytes(8))),
        icmp(A, B, payload=b"12345"),
    ]
    flows, _ = metered(frames)
    assert flows.sort("start").select("transport", "originator_port", "responder_port", "payload_orig").rows() == [
        ("igmp", None, None, 8),
        ("gre", None, None, 8),
        ("sctp", 5, 6, 12),
        ("89", None, None, 8),
        ("icmp6", None, None, 0),
        ("icmp", None, None, 5),
    ]


def test_ipv6_extension_headers_are_walked(tmp_path):
    body = struct.pack(">HHHH", 1, 2, 12, 0) + b"data"
    hop = bytes([60, 0]) + bytes(6)
    options = bytes([17, 1]) + bytes(14)
    flows, _, _ = read(tmp_path, pcap([ethernet(ip6(A6, B6, 17, body, hop + options, 0))]))
    assert flows.select("transport", "originator", "originator_port", "payload_orig").rows() == [("udp", A6, 1, 4)]


@pytest.mark.parametrize("six", [False, True])
def test_fragments_after_the_first_have_no_ports(six):
    body = struct.pack(">HHHH", 1, 2, 2008, 0) + bytes(992)
    if six:
        frames = [
            ethernet(ip6(A6, B6, 17, part, struct.pack(">BBHI", 17, 0, place, 7), 44))
            for part, place in ((body, 1), (bytes(1000), 1000))
        ]
    else:
        frames = [ethernet(ip(A, B, 17, body, fragment=0x2000)), ethernet(ip(A, B, 17, bytes(1000), fragment=125))]
    flows, _ = metered(frames)
    assert flows.sort("start").select("originator_port", "payload_orig").rows() == [(1, 992), (None, 1000)]


def test_addresses_are_written_in_their_one_way():
    frames = [
        udp("2001:db8::", 1, "::ffff:1.2.3.4", 2),
        udp("::", 1, "fe80::1", 2),
        udp("0.0.0.0", 1, "255.255.255.255", 2),
    ]
    flows, _ = metered(frames)
    assert flows.sort("start").select("originator", "responder").rows() == [
        ("2001:db8::", "1.2.3.4"),
        ("::", "fe80::1"),
        ("0.0.0.0", "255.255.255.255"),
    ]


def test_a_bare_syn_after_the_end_opens_a_new_flow_and_a_repeated_one_does_not():
    frames = [*session(), tcp(*ONE, SYN), tcp(*ONE, SYN), tcp(*TWO, RST | ACK), tcp(*ONE, SYN)]
    flows, _ = metered(frames)
    assert flows.sort("start")["packets_orig"].to_list() == [5, 2, 1]
    assert flows["uid"].n_unique() == 3


@pytest.mark.parametrize(("frame", "idle"), [(tcp(*ONE, ACK), 300), (udp(A, 1, B, 2), 60), (icmp(A, B), 60)])
def test_silence_ends_a_flow(frame, idle):
    times = [T0, T0 + idle * SECOND, T0 + 2 * idle * SECOND + 1]
    for cuts in ((), (1,), (1, 2)):
        flows, _ = metered([frame] * 3, times, cuts)
        assert flows.sort("start").select("start", "duration", "packets_orig").rows() == [
            (T0, idle * SECOND, 2),
            (T0 + 2 * idle * SECOND + 1, 0, 1),
        ]


def test_packets_out_of_order_are_put_in_order():
    frames = session()
    times = [T0 + place * 1000 for place in range(8)]
    shuffled = [3, 1, 0, 2, 5, 4, 7, 6]
    flows, _ = metered([frames[place] for place in shuffled], [times[place] for place in shuffled])
    assert flows.equals(metered(frames, times)[0])


def test_too_many_open_flows_close_the_quietest(monkeypatch):
    monkeypatch.setattr(assemble, "MOST_OPEN", 3)
    skipped = Counter()
    meter = Meter("tap")
    first = meter.add(packets_of([udp(A, port, B, 9) for port in range(1, 6)]), skipped)
    assert first.flows.height == 0
    second = meter.add(packets_of([udp(A, 1, B, 9), udp(A, 9, B, 9)], [T0 + SECOND, T0 + SECOND]), skipped)
    assert second.flows["originator_port"].to_list() == [2]
    assert skipped == {"flow closed early: too many are open": 1}
    assert meter.finish().flows.sort("originator_port").select("originator_port", "packets_orig").rows() == [
        (1, 2),
        (3, 1),
        (4, 1),
        (5, 1),
        (9, 1),
    ]


def test_flows_with_neighbouring_ports_and_times_have_names_of_their_own():
    frames, times = [], []
    for port in range(1000, 1256):
        frames += [udp(A, port, B, 53), udp(A, 7, B, port)]
        times += [T0 + (port ^ 0x155), T0 + port % 64]
    flows, _ = metered(frames, sorted(times))
    assert flows.height == 512
    assert flows["uid"].n_unique() == 512


def test_two_keys_with_one_hash_are_kept_apart(monkeypatch):
    frames = [udp(A, port % 5 + 1, B, 9) for port in range(40)]
    expected, _ = metered(frames)
    mixed = assemble._mix
    monkeypatch.setattr(assemble, "_mix", lambda rows: mixed(rows) if "start" not in rows else mixed(rows) * 0)
    flows, _ = metered(frames)
    assert flows.sort("originator_port").drop("uid").equals(expected.sort("originator_port").drop("uid"))


def slow_flows(rows):
    """The reference's rules, packet by packet."""
    active, out = {}, []
    for at, protocol, source, target, flags, size in sorted(rows, key=lambda row: row[0]):
        key = (protocol, *sorted([source, target]))
        flow = active.get(key)
        idle = (300 if protocol == 6 else 60) * SECOND
        if flow and (at - flow["last"] > idle or (protocol == 6 and flags & 0x12 == 2 and flow["closed"])):
            out.append(flow)
            flow = None
        if flow is None:
            opener = target if protocol == 6 and flags & 0x12 == 0x12 else source
            other = source if opener == target else target
            flow = active[key] = {
                "ends": (opener, other),
                "first": at,
                "packets": [0, 0],
                "bytes": [0, 0],
                "closed": False,
            }
        side = 0 if source == flow["ends"][0] else 1
        flow["packets"][side] += 1
        flow["bytes"][side] += size
        flow["last"] = at
        flow["closed"] |= protocol == 6 and flags & 5 != 0
    out += active.values()
    return Counter(
        (*f["ends"][0], *f["ends"][1], f["first"], f["last"] - f["first"], *f["packets"], *f["bytes"]) for f in out
    )


FLAGS = [SYN, SYN | ACK, ACK, FIN | ACK, RST, SYN | FIN]
PACKET = st.tuples(
    st.sampled_from([0, 1, 1000, 59 * SECOND, 61 * SECOND, 301 * SECOND]),
    st.sampled_from([6, 17]),
    st.booleans(),
    st.sampled_from([(A, B), (A6, B6), (A, A)]),
    st.sampled_from([(1, 2), (2, 1), (7, 7)]),
    st.sampled_from(FLAGS),
    st.integers(0, 9),
)


@settings(max_examples=80, deadline=None)
@given(packets=st.lists(PACKET, min_size=1, max_size=40), cuts=st.sets(st.integers(1, 39), max_size=5))
def test_flows_are_those_of_the_slow_reading_however_cut(packets, cuts):
    at, rows, frames, times = T0, [], [], []
    for gap, protocol, back, hosts, ports, flags, size in packets:
        at += gap
        ends = list(zip(hosts, ports, strict=True))[:: -1 if back else 1]
        make = tcp if protocol == 6 else udp
        frame = make(*ends[0], *ends[1], *([flags] if protocol == 6 else []), bytes(size))
        frames.append(frame)
        times.append(at)
        rows.append((at, protocol, ends[0], ends[1], flags, len(frame)))
    flows, _ = metered(frames, times, sorted(cut for cut in cuts if cut < len(frames)))
    columns = ["originator", "originator_port", "responder", "responder_port", "start", "duration"]
    columns += ["packets_orig", "packets_resp", "bytes_orig", "bytes_resp"]
    assert Counter(flows.select(columns).rows()) == slow_flows(rows)


def syn_print(options=LINUX, source=A, payload=b"", **fields):
    return metered([tcp(source, 1, B6 if ":" in source else B, 2, SYN, payload, options=options, **fields)])[0][
        "tcp_fingerprint"
    ].item()


WINDOWS = bytes.fromhex("020405b40103030801010402")


@pytest.mark.parametrize(
    ("fingerprint", "made"),
    [
        ("4:64:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0", {}),
        ("4:128:0:1460:8192,8:mss,nop,ws,nop,nop,sok:df,id+:0", {"options": WINDOWS, "window": 8192, "ttl": 116}),
        ("4:64:0:1460:1024,0:mss::0", {"options": WINDOWS[:4], "window": 1024, "fragment": 0, "ttl": 40}),
        ("4:255:0:0:64240,0::df:0", {"options": b"", "ttl": 200, "ident": 0}),
        ("4:32:0:0:512,0::id-,ecn:0", {"options": b"", "ttl": 30, "ident": 0, "fragment": 0, "tos": 2, "window": 512}),
        ("4:64:0:1460:mtu*4,0:mss:df,id+:+", {"options": WINDOWS[:4], "window": 6000, "payload": b"x"}),
        ("4:64:0:0:64240,0:nop,eol+2:df,id+:0", {"options": b"\1\0\0\0"}),
        ("4:64:0:0:64240,0:eol+3:df,id+,opt+:0", {"options": b"\0\1\0\0"}),
        ("4:64:0:0:64240,15:nop,ws:df,id+,exws:0", {"options": b"\1\3\3\x0f"}),
        ("4:64:0:0:64240,0:mss:df,id+,bad:0", {"options": b"\2\x09\0\0"}),
        (
            "4:64:0:0:64240,0:ts,?77,nop:df,id+,seq-,ts1-,ts2+:0",
            {"options": b"\x08\x0a\0\0\0\0\0\0\0\1\x4d\x05abc\1", "seq": 0},
        ),
        ("6:64:0:1460:mss*44,7:mss,sok,ts,nop,ws::0", {"source": A6}),
    ],
)
def test_a_syn_is_written_as_a_p0f_signature(fingerprint, made):
    assert syn_print(**made) == fingerprint


def test_ip_options_are_counted_in_the_fingerprint():
    packet = tcp(A, 1, B, 2, SYN)[14:]
    longer = b"\x46" + packet[1:2] + struct.pack(">H", 44) + packet[4:20] + bytes(4) + packet[20:]
    assert metered([ethernet(longer)])[0]["tcp_fingerprint"].to_list() == ["4:64:4:0:64240,0::df,id+:0"]


def test_only_the_originators_syn_is_a_fingerprint():
    flows, _ = metered([tcp(*TWO, SYN | ACK, options=LINUX), tcp(*ONE, ACK)])
    assert flows["tcp_fingerprint"].to_list() == [None]
    flows, _ = metered([tcp(*ONE, SYN, options=LINUX), tcp(*TWO, SYN | ACK), tcp(*ONE, ACK)], cuts=(1, 2))
    assert flows["tcp_fingerprint"].str.starts_with("4:64:0:1460").to_list() == [True]
