import gzip
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.packets import capture_file, pcapng
from netpersona.adapters.sensors.pcap import PcapSensor, looks_like
from netpersona.errors import SourceError
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA
from packet_samples import (
    A6,
    ACK,
    B6,
    SYN,
    T0,
    A,
    B,
    block,
    client_hello,
    dns,
    enhanced,
    ethernet,
    interface,
    ip,
    obsolete,
    pcap,
    read,
    section,
    session,
    simple,
    tcp,
    udp,
)


def whole(flows):
    return flows.select("start", "duration", "packets_orig", "packets_resp", "payload_orig", "payload_resp").rows()


SESSION = [(T0, 7000, 5, 3, 5, 7)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_pcap_of_both_orders_and_clocks(tmp_path, order, nano, packed):
    content = pcap(session(), order=order, nano=nano)
    assert looks_like(content[:64])
    flows, said, skipped = read(tmp_path, content, packed=packed)
    assert whole(flows) == SESSION
    assert flows.schema == FLOW_SCHEMA
    assert said.schema == TRANSACTION_SCHEMA
    assert skipped == {}


def test_a_flow_has_its_endpoints_state_macs_and_sizes(tmp_path):
    flows, _, _ = read(tmp_path, pcap(session()))
    row = flows.row(0, named=True)
    assert (row["originator"], row["originator_port"], row["responder"], row["responder_port"]) == (A, 40000, B, 80)
    assert (row["originator_mac"], row["responder_mac"]) == ("52:54:00:00:00:01", "52:54:00:00:00:02")
    assert (row["bytes_orig"], row["bytes_resp"]) == (54 * 5 + 20 + 5, 54 * 3 + 7)
    assert (row["transport"], row["state"], row["vlan"], row["sensor"]) == ("tcp", "SF", None, "pcap")


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (101, b""),
        (12, b""),
        (228, b""),
        (0, struct.pack("<I", 2)),
        (0, struct.pack(">I", 2)),
        (108, struct.pack(">I", 2)),
        (9, bytes.fromhex("ff030021")),
        (50, bytes.fromhex("0021")),
        (113, bytes.fromhex("0000000100065254000000010000") + b"\x08\x00"),
        (276, b"\x08\x00" + bytes.fromhex("000000000002000100065254000000010000")),
    ],
)
def test_link_types(tmp_path, link, header):
    flows, _, skipped = read(tmp_path, pcap([header + packet[14:] for packet in session()], link=link))
    assert whole(flows) == SESSION
    assert skipped == {}
    expected = "52:54:00:00:00:01" if link in {113, 276} else None
    assert flows["originator_mac"].to_list() == [expected]


def test_raw_ipv6_and_a_link_type_that_is_not_read(tmp_path):
    flows, _, _ = read(tmp_path, pcap([packet[14:] for packet in session(A6, 1, B6, 2)], link=229))
    assert flows["originator"].to_list() == [A6]
    flows, _, skipped = read(tmp_path, pcap(session(), link=105))
    assert flows.height == 0
    assert skipped == {"packet of link type 105, which is not read": 8}


@pytest.mark.parametrize(
    ("tags", "vlan"),
    [("8100002a", 42), ("88a8006481000007", 100), ("81006fff", 4095), ("9100000181000002", 1)],
)
def test_vlan_is_the_outer_tag(tmp_path, tags, vlan):
    frames = [packet[:12] + bytes.fromhex(tags) + packet[12:] for packet in session()]
    flows, _, _ = read(tmp_path, pcap(frames))
    assert flows["vlan"].to_list() == [vlan]
    assert whole(flows) == SESSION


def test_mpls_pppoe_and_snap_are_stepped_over(tmp_path):
    frames = session()
    mpls = [packet[:12] + bytes.fromhex("88470001004000020140") + packet[14:] for packet in frames]
    pppoe = [packet[:12] + bytes.fromhex("8864110000010030") + b"\x00\x21" + packet[14:] for packet in frames]
    snap = [packet[:12] + struct.pack(">H", 100) + bytes.fromhex("aaaa030000000800") + packet[14:] for packet in frames]
    for changed in (mpls, pppoe, snap):
        flows, _, skipped = read(tmp_path, pcap(changed))
        assert whole(flows) == SESSION
        assert skipped == {}


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_interfaces_have_their_own_clock_and_link(tmp_path, order):
    one, two, three, *rest = session()
    blocks = [
        section(order),
        interface(order=order),
        interface(link=101, order=order, resolution=9),
        interface(order=order, resolution=0x80 | 20, offset=1_600_000_000),
        block(4, b"\0" * 8, order),
        enhanced(one, T0, 0, order),
        enhanced(two[14:], (T0 + 1000) * 1000 + 999, 1, order),
        enhanced(three, (100_000_000 << 20) + (1 << 19), 2, order),
        *[obsolete(packet, T0 + 600_000 + place, 0, order) for place, packet in enumerate(rest)],
    ]
    content = b"".join(blocks)
    assert looks_like(content[:64])
    flows, _, skipped = read(tmp_path, content)
    assert whole(flows) == [(T0, 600_004, 5, 3, 5, 7)]
    assert skipped == {}


def test_a_simple_block_takes_the_time_before_it_and_the_snap_length(tmp_path):
    first, second, *_ = session()
    cut = block(3, struct.pack("<I", 1000) + udp(A, 1, B, 2, bytes(958), total=986)[:96])
    content = section() + interface(snap=96) + enhanced(first, T0) + simple(second) + cut
    flows, _, skipped = read(tmp_path, content)
    assert flows.select("transport", "start", "bytes_orig", "payload_orig").rows() == [
        ("udp", T0, 1000, 958),
        ("tcp", T0, 74, 0),
    ]
    assert skipped == {}


def test_several_sections_each_with_their_order_and_interfaces(tmp_path):
    frames = session()
    parts = [section("<"), interface(), *[enhanced(packet, T0 + at) for at, packet in enumerate(frames[:4])]]
    parts += [
        section(">"),
        interface(101, ">"),
        *[enhanced(p[14:], T0 + 4 + at, 0, ">") for at, p in enumerate(frames[4:])],
    ]
    parts += [section("<"), enhanced(frames[0], T0)]
    flows, _, skipped = read(tmp_path, b"".join(parts))
    assert whole(flows) == [(T0, 7, 5, 3, 5, 7)]
    assert skipped == {"packet of an interface that was not described": 1}


def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch):
    frames = session() + [udp(A, 5000 + at, B, 53, dns(at, "example.org")) for at in range(20)]
    ng = section() + interface() + b"".join(enhanced(packet, T0 + at * 1000) for at, packet in enumerate(frames))
    whole_file, said, _ = read(tmp_path, pcap(frames))
    for size in (64, 200, 1000):
        monkeypatch.setattr(capture_file, "BLOCK", size)
        monkeypatch.setattr(pcapng, "BLOCK", size)
        for content in (pcap(frames), ng):
            flows, again, skipped = read(tmp_path, content)
            assert flows.equals(whole_file)
            assert again.equals(said)
            assert skipped == {}


def test_packets_cut_by_snaplen_count_what_was_on_the_wire(tmp_path):
    frames = [udp(A, 1, B, 2, bytes(1000)), tcp(A, 1, B, 2, ACK, bytes(900)), tcp(A, 3, B, 4, ACK, bytes(5))[:40]]
    content = pcap([packet[:60] for packet in frames], lengths=[1042, 954, 59])
    flows, _, skipped = read(tmp_path, content)
    assert flows.sort("start").select("transport", "originator_port", "bytes_orig", "payload_orig").rows() == [
        ("udp", 1, 1042, 1000),
        ("tcp", 1, 954, 900),
        ("tcp", 3, 59, 0),
    ]
    assert skipped == {}


def test_ethernet_padding_is_no_payload_and_offloaded_lengths_are_taken_from_the_wire(tmp_path):
    padded = tcp(A, 1, B, 2, ACK) + b"GET / HTTP/1.1\r\n\r\n"
    offloaded = tcp(A, 3, B, 4, ACK, bytes(3000), total=0)
    flows, said, _ = read(tmp_path, pcap([padded, offloaded]))
    assert flows.select("originator_port", "payload_orig").rows() == [(1, 0), (3, 3000)]
    assert said.height == 0


def test_what_is_skipped_is_counted(tmp_path):
    arp = ethernet(b"\x45" + bytes(27))[:12] + b"\x08\x06" + bytes(28)
    short = [b"\0" * 6, ethernet(ip(A, B, 6, b""))[:30], ethernet(b"\x41" + ip(A, B, 6, bytes(20))[1:])]
    _, _, skipped = read(tmp_path, pcap([arp, *short]))
    assert skipped == {
        "not an IP packet": 1,
        "frame too short for its link layer": 1,
        "IP header damaged or cut short": 2,
    }


def test_a_last_packet_cut_short_costs_only_itself(tmp_path):
    content = pcap(session())
    flows, _, skipped = read(tmp_path, content[:-3])
    assert whole(flows) == [(T0, 6000, 4, 3, 5, 7)]
    assert skipped == {"packet cut short by the end of the file": 1}
    _, _, skipped = read(tmp_path, (section() + interface() + enhanced(session()[0], T0))[:-5])
    assert skipped == {"packet cut short by the end of the file": 1}


def test_reading_goes_on_after_a_damaged_record(tmp_path):
    frames = session() * 3
    content = bytearray(pcap(frames))
    at = 24 + sum(16 + len(packet) for packet in frames[:8])
    content[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    flows, _, skipped = read(tmp_path, bytes(content))
    assert skipped == {"damaged packet record": 1}
    assert flows.select(packets=flows["packets_orig"] + flows["packets_resp"])["packets"].sum() == 23


def test_damage_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(capture_file, "REPAIRS", 3)
    frames = session() * 30
    content, at = bytearray(pcap(frames)), 24
    for place, packet in enumerate(frames):
        if place % 8 == 4:
            content[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
        at += 16 + len(packet)
    flows, _, skipped = read(tmp_path, bytes(content))
    assert skipped == {"damaged packet record": 4, "rest of the file unreadable after a damaged packet record": 1}
    assert flows.height


NG = section() + interface()
DAMAGED = "damaged pcapng block"
UNKNOWN = "packet of an interface that was not described"


def packets_of(flows):
    return int((flows["packets_orig"] + flows["packets_resp"]).sum())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [5, 0, 0x7FFF_FFFF, 64, 1 << 20])
def test_behind_a_damaged_pcapng_block_reading_goes_on_at_the_next_sound_one(tmp_path, monkeypatch, order, length):
    blocks = [enhanced(packet, T0 + at, order=order) for at, packet in enumerate(session() * 4)]
    assert len(blocks[5]) != length
    blocks[5] = blocks[5][:4] + struct.pack(f"{order}I", length) + blocks[5][8:]
    content = section(order) + interface(order=order) + b"".join(blocks)
    for size in (pcapng.BLOCK, 400):
        monkeypatch.setattr(pcapng, "BLOCK", size)
        flows, _, skipped = read(tmp_path, content)
        assert packets_of(flows) == 31
        assert skipped == {DAMAGED: 1}


def test_a_pcapng_block_of_which_bytes_are_missing_costs_no_other(tmp_path):
    blocks = [enhanced(packet, T0 + at) for at, packet in enumerate(session() * 4)]
    blocks[5], blocks[20] = blocks[5][:-7], bytes(33) + blocks[20]
    flows, _, skipped = read(tmp_path, NG + b"".join(blocks))
    assert packets_of(flows) == 31
    assert skipped == {DAMAGED: 2}


def test_interfaces_described_behind_damage_are_not_believed(tmp_path):
    """The lost block may have described one, so that numbers moved, or have begun a section."""
    packet, junk = session()[0], struct.pack("<III", 6, 5, 0) + bytes(96)
    good = enhanced(packet, T0)
    flows, _, skipped = read(
        tmp_path, NG + good + junk + good + interface() + good + enhanced(packet, T0, 1) + NG + good
    )
    assert packets_of(flows) == 3
    assert skipped == {DAMAGED: 1, UNKNOWN: 2}
    broken = section()[:8] + bytes(4) + section()[12:]
    flows, _, skipped = read(tmp_path, NG + good + broken + interface() + good + NG + good)
    assert packets_of(flows) == 2
    assert skipped == {DAMAGED: 1, UNKNOWN: 1}


def test_a_pcapng_file_that_is_only_cut_short_is_not_damaged(tmp_path):
    blocks = [enhanced(packet, T0 + at) for at, packet in enumerate(session())]
    flows, _, skipped = read(tmp_path, (NG + b"".join(blocks))[:-9])
    assert packets_of(flows) == 7
    assert skipped == {"packet cut short by the end of the file": 1}


def test_pcapng_damage_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(pcapng, "REPAIRS", 3)
    blocks = [enhanced(packet, T0 + at) for at, packet in enumerate(session() * 6)]
    for at in range(4, 48, 8):
        blocks[at] = blocks[at][:4] + struct.pack("<I", 5) + blocks[at][8:]
    flows, _, skipped = read(tmp_path, NG + b"".join(blocks))
    assert skipped == {DAMAGED: 4, "rest of the file unreadable after a damaged pcapng block": 1}
    assert flows.height


def test_damaged_compression_gives_what_could_be_unpacked(tmp_path):
    path = tmp_path / "cut.pcap.gz"
    noise = random.Random(1).randbytes(60_000)
    path.write_bytes(gzip.compress(pcap([*session(), *[udp(A, 1, B, 2, noise)] * 8]), 1)[:-20_000])
    sensor = PcapSensor(path)
    assert sum(part.flows.height for part in sensor.batches()) == 2
    assert sensor.accounts()[0].skipped["compressed data damaged or cut short"] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no capture at all",
        b"\xd4\xc3\xb2\xa1\x02\x00",
        pcap([], order="<")[:4] + b"\x09\x00" + pcap([])[6:],
        b"\x0a\x0d\x0d\x0a" + bytes(40),
        section()[:20],
    ],
)
def test_a_wrong_header_is_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "wrong.pcap"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"wrong\.pcap.*expected"):
        list(PcapSensor(path).batches())


def test_a_missing_file_is_an_error():
    with pytest.raises(SourceError, match="cannot be opened"):
        list(PcapSensor(Path("/nonexistent/x.pcap")).batches())


def test_other_files_do_not_look_like_captures():
    for head in (b"", b"#separator \\x09", b'{"ts": 1}', b"\x0a\x0d\x0d\x0a" + bytes(20), b"\xa1\xb2"):
        assert not looks_like(head)


SAMPLE = [
    *session(),
    tcp(A, 41000, B, 443, SYN),
    tcp(A, 41000, B, 443, ACK, client_hello(), seq=2),
    tcp(A, 42000, B, 80, ACK, b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    udp(A, 5000, B, 53, dns(1, "example.com")),
    udp(B, 53, A, 5000, dns(1, "example.com", answers=[(1, bytes(4)), (16, b"\x03abc")])),
    *session(A6, 1, B6, 2),
]
FILES = [
    pcap(SAMPLE),
    section() + interface() + b"".join(enhanced(packet, T0 + at) for at, packet in enumerate(SAMPLE)),
]


@settings(max_examples=100, deadline=None)
@given(
    content=st.sampled_from(FILES),
    flips=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 3000),
)
def test_damage_of_any_kind_is_read_as_far_as_it_goes(tmp_path_factory, content, flips, cut):
    damaged = bytearray(content[: len(content) - cut % len(content)])
    for at, value in flips:
        if at < len(damaged):
            damaged[at] = value
    try:
        flows, said, _ = read(tmp_path_factory.mktemp("fuzz"), bytes(damaged))
    except SourceError:
        return
    assert flows.null_count()["originator"].item() == 0
    assert flows["duration"].min() is None or flows["duration"].min() >= 0
    assert said.null_count()["kind"].item() == 0
