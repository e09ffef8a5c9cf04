"""nfdump files of both layouts, written here byte by byte, and by nfdump itself where it is installed."""

from __future__ import annotations

import bz2
import shutil
import struct
import subprocess
from contextlib import suppress
from ipaddress import ip_address

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged_logs import accounted_or_refused
from netpersona.adapters.sensors.nfdump import NfdumpSensor, looks_like
from netpersona.adapters.sensors.nfdump_codecs import DECODERS, CodecError, unlz4, unlzo, unzstd
from netpersona.errors import SourceError

START = 1_700_000_000_000  # ms
CLIENT, SERVER = "192.0.2.10", "198.51.100.5"
needs_nfdump = pytest.mark.skipif(shutil.which("nfdump") is None, reason="nfdump is not installed")


def halves(text):
    return struct.pack("<QQ", *struct.unpack(">QQ", ip_address(text).packed))


def element(number, body):
    return struct.pack("<HH", number, len(body) + 4) + body


def v3_record(
    source=CLIENT,
    destination=SERVER,
    ports=(40000, 443),
    protocol=6,
    flags=0x1B,
    start=START,
    more=(),
    status=0,
    event=0,
):
    generic = struct.pack("<QQQQQHHBBBB", start, start + 250, 0, 3, 300, *ports, protocol, flags, status, 0)
    if ":" in source:
        addresses = element(3, halves(source) + halves(destination))
    else:
        addresses = element(2, struct.pack("<II", int(ip_address(source)), int(ip_address(destination))))
    body = b"".join([element(10, bytes(4)), element(1, generic), addresses, *more])
    return struct.pack("<HHHBBHBB", 11, 12 + len(body), 3 + len(more), 0, 0, 0, event, 9) + body


def layout2(*blocks, compression=0, encryption=0, count=1):
    header = struct.pack("<HHIQBBHIQII", 0xA50C, 2, 0x01070100, 0, compression, encryption, 0, 0, 0, 0, len(blocks))
    return header + b"".join(struct.pack("<IIHH", count, len(block), 3, 0) + block for block in blocks)


def common_record(
    source=CLIENT, destination=SERVER, ports=(40000, 443), kind=10, number=1, extensions=b"", flags=0, counters=None
):
    wide = ":" in source
    flags |= 1 if wide else 0
    head = struct.pack("<BB" if kind == 1 else "<H", *((flags, 0) if kind == 1 else (flags,))) + struct.pack(
        "<H", number
    )
    head += struct.pack("<HHIIBBBBHH", 10, 260, START // 1000, START // 1000, 0, 0x1B, 6, 0, *ports)
    head += bytes(4) if kind == 10 else b""
    addresses = (
        halves(source) + halves(destination)
        if wide
        else struct.pack("<II", int(ip_address(source)), int(ip_address(destination)))
    )
    body = head + addresses + (counters or struct.pack("<II", 3, 300)) + extensions
    return struct.pack("<HH", kind, 4 + len(body)) + body


def extension_map(number, *extensions):
    words = [*extensions, 0, *([0] if len(extensions) % 2 == 0 else [])]
    return struct.pack(f"<HHHH{len(words)}H", 2, 8 + 2 * len(words), number, 0, *words)


def layout1(*blocks, flags=0):
    header = struct.pack("<HHII128s", 0xA50C, 1, flags, len(blocks), b"none") + bytes(136)
    return header + b"".join(struct.pack("<IIHH", 1, len(block), 2, 0) + block for block in blocks)


def read(tmp_path, content):
    path = tmp_path / "nfcapd"
    path.write_bytes(content)
    sensor = NfdumpSensor(path)
    flows = [row for batch in sensor.batches() for row in batch.flows.sort("originator_port").rows(named=True)]
    return flows, sensor.accounts()[0].skipped


def brief(flow):
    return tuple(
        flow[name] for name in ("originator", "responder", "bytes_orig", "bytes_resp", "packets_orig", "packets_resp")
    )


@pytest.mark.parametrize("ends", [(CLIENT, SERVER), ("2001:db8::a", "2001:db8::b")])
@pytest.mark.parametrize("layout", [1, 2])
def test_both_layouts_both_families(tmp_path, layout, ends):
    there, back = (ends, (40000, 443)), (ends[::-1], (443, 40000))
    if layout == 2:
        content = layout2(b"".join(v3_record(*e, ports) for e, ports in (there, back)))
    else:
        content = layout1(
            extension_map(1, 5, 8)
            + b"".join(common_record(*e, ports, extensions=bytes(12)) for e, ports in (there, back))
        )
    assert looks_like(content)
    [flow], skipped = read(tmp_path, content)
    assert (brief(flow), skipped) == ((*ends, 300, 300, 3, 3), {})
    assert (flow["duration"], flow["state"], flow["sensor"]) == (250_000, "SF", "nfdump")
    assert flow["start"] // 1_000_000 == START // 1000


def test_families_may_alternate_in_a_block(tmp_path):
    ends = [(CLIENT, SERVER), ("2001:db8::1", "2001:db8::2"), ("192.0.2.11", SERVER), ("2001:db8::3", "2001:db8::4")]
    flows, _ = read(tmp_path, layout2(b"".join(v3_record(*e, (40000 + n, 443)) for n, e in enumerate(ends))))
    assert [(flow["originator"], flow["responder"]) for flow in flows] == ends


def test_old_common_records_and_long_counters(tmp_path):
    block = extension_map(7, 4) + common_record(
        kind=1, number=7, extensions=bytes(4), flags=6, counters=struct.pack("<QQ", 3, 2**33)
    )
    [flow], _ = read(tmp_path, layout1(block))
    assert flow["bytes_orig"] == 2**33


def test_out_counters_are_the_answer(tmp_path):
    [flow], _ = read(
        tmp_path, layout2(v3_record(ports=(443, 40000), more=[element(5, struct.pack("<QQQ", 1, 2, 900))]))
    )
    assert brief(flow) == (CLIENT, SERVER, 300, 900, 3, 2)
    [flow], _ = read(tmp_path, layout1(extension_map(1, 14, 17) + common_record(extensions=struct.pack("<IQ", 2, 900))))
    assert brief(flow) == (CLIENT, SERVER, 300, 900, 3, 2)
    assert flow["state"] is None  # the answer's flags are not told


def test_a_dropped_flow_is_rejected(tmp_path):
    [flow], _ = read(tmp_path, layout2(v3_record(status=0b1000_0000)))
    assert flow["state"] == "REJ"


def test_events_and_strange_records_are_counted(tmp_path):
    strange = struct.pack("<HHHBBHBB", 11, 12, 0, 0, 0, 0, 0, 9)
    flows, skipped = read(tmp_path, layout2(v3_record() + v3_record(event=1) + strange + struct.pack("<HHI", 99, 8, 0)))
    assert (len(flows), skipped) == (1, {"firewall or NAT event, not a flow": 1, "record without addresses": 1})
    flows, skipped = read(tmp_path, layout1(common_record(number=5)))
    assert (flows, skipped) == ([], {"record of an unknown extension map": 1})


def test_a_broken_block_is_counted_and_the_next_is_read(tmp_path):
    broken = struct.pack("<HH", 11, 2) + v3_record()
    flows, skipped = read(tmp_path, layout2(broken, v3_record()))
    assert len(flows) == 1
    assert skipped == {"broken record": 1}
    good = bz2.compress(v3_record())
    flows, skipped = read(tmp_path, layout2(good, good[:-9] + b"x" * 9, compression=2))
    assert (len(flows), skipped) == (1, {"unreadable block": 1})


def test_a_file_cut_short_keeps_what_came_before(tmp_path):
    flows, skipped = read(tmp_path, layout2(v3_record(), v3_record(ports=(1, 2)))[:-20])
    assert (len(flows), skipped) == (1, {"unreadable block": 1})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xa5\x0c\0\1" + bytes(300), "big-endian"),
        (b"\x0c\xa5\3\0" + bytes(300), "begins no such file"),
        (b"hello", "begins no such file"),
        (layout2()[:30], "header ends early"),
        (layout2(v3_record(), compression=9), "compression 9"),
        (layout2(v3_record(), encryption=1), "encrypted"),
        (layout2(b"junk", compression=2), "unreadable block"),
        (layout2(b"junk", compression=4), "unreadable block"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, content, says):
    with pytest.raises(SourceError, match=says):
        read(tmp_path, content)


def test_lz4_by_hand():
    assert unlz4(b"\x30abc", 100) == b"abc"
    assert unlz4(b"\x11a\x01\x00\x10z", 100) == b"aaaaaaz"  # a copy that overlaps what it writes
    assert unlz4(b"\xf0\x01" + b"q" * 16, 100) == b"q" * 16
    for broken in (b"\x11a\x02\x00", b"\x11a\x00\x00", b"\x30ab", b"\xff" * 5):
        with pytest.raises(CodecError):
            unlz4(broken, 100)


def zstd(content, *, told=True, level=3):
    """One zstd frame, as nfdump makes of a block's records: with its size, if `told`."""
    return zstandard.ZstdCompressor(level=level, write_content_size=told).compress(content)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("level", [1, 3, 19])
def test_blocks_compressed_with_zstd(tmp_path, told, level):
    records = [v3_record(f"192.0.2.{n % 250}", SERVER, (30000 + n, 443), start=START + n) for n in range(2000)]
    blocks = [zstd(b"".join(records[at : at + 1000]), told=told, level=level) for at in (0, 1000)]
    flows, skipped = read(tmp_path, layout2(*blocks, compression=4, count=1000))
    assert (len(flows), skipped) == (2000, {})
    assert flows[0]["start"] == START * 1000


def test_a_zstd_frame_of_stored_bytes_written_by_hand(tmp_path):
    """RFC 8878: magic, a descriptor that tells the size in 4 bytes (single segment), one raw block, the last."""
    record = v3_record()
    block = (len(record) << 3 | 1).to_bytes(3, "little") + record
    frame = b"\x28\xb5\x2f\xfd" + b"\xa0" + len(record).to_bytes(4, "little") + block
    [flow], skipped = read(tmp_path, layout2(frame, compression=4))
    assert (brief(flow), skipped) == ((CLIENT, SERVER, 300, 0, 3, 0), {})


def test_a_broken_zstd_block_is_counted_and_the_next_is_read(tmp_path):
    good = zstd(b"".join(v3_record(ports=(30000 + n, 443)) for n in range(50)))
    flows, skipped = read(tmp_path, layout2(good, good[: len(good) // 2], good[:4] + b"\xff" * 40, compression=4))
    assert (len(flows), skipped) == (50, {"unreadable block": 2})


@pytest.mark.parametrize("told", [True, False])
def test_a_zstd_block_cannot_grow_without_bound(told):
    bomb = zstd(bytes(50_000_000), told=told)
    assert len(bomb) < 10_000
    with pytest.raises(CodecError):
        unzstd(bomb, 1 << 20)
    boast = b"\x28\xb5\x2f\xfd" + b"\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00"
    with pytest.raises(CodecError, match="too long"):
        unzstd(boast, 1 << 20)


def test_output_is_bounded():
    with pytest.raises(CodecError):
        unlz4(b"\x1fa\x01\x00" + b"\xff" * 50 + b"\x00", 1000)
    with pytest.raises(CodecError):
        unlzo(b"\x12a" + b"\x20" + b"\0" * 50 + b"\x01\x00\x00", 1000)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([1, 2, 3, 4]))
def test_decoders_raise_only_codec_errors(junk, codec):
    with suppress(CodecError):
        assert len(DECODERS[codec](junk, 10_000)) <= 10_000


WHOLE = [
    layout2(v3_record() + v3_record("2001:db8::1", "2001:db8::2", more=[element(5, bytes(24))])),
    layout1(
        extension_map(1, 5, 14, 16)
        + common_record(extensions=bytes(16))
        + common_record("::1", "::2", extensions=bytes(16))
    ),
    layout2(bz2.compress(v3_record()), compression=2),
    layout2(zstd(v3_record()), compression=4),
]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(WHOLE), st.integers(0, 600), st.binary(min_size=1, max_size=6), st.booleans())
def test_a_damaged_file_is_accounted_for_or_refused(tmp_path_factory, whole, at, junk, cut):
    path = tmp_path_factory.mktemp("fuzz") / "x"
    path.write_bytes(whole[:at] + junk + (b"" if cut else whole[at + len(junk) :]))
    accounted_or_refused(NfdumpSensor(path))


@needs_nfdump
@pytest.mark.parametrize("option", [None, "-z", "-y", "-j"])
def test_what_nfdump_writes_is_read_as_nfdump_reads_it(tmp_path, option):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    records = [v3_record(f"192.0.2.{n % 250}", SERVER, (30000 + n, 443), start=START + 7 * n) for n in range(3000)]
    ours.write_bytes(layout2(b"".join(records[:1500]), b"".join(records[1500:]), count=1500))
    subprocess.run(["nfdump", "-r", ours, "-w", theirs, *([option] if option else [])], check=True, capture_output=True)
    told = subprocess.run(["nfdump", "-r", theirs, "-I"], check=True, capture_output=True, text=True).stdout
    counts = dict(line.split(": ") for line in told.splitlines() if ": " in line)
    flows, skipped = read(tmp_path, theirs.read_bytes())
    assert skipped == {}
    assert len(flows) == int(counts["Flows"]) == 3000
    assert sum(flow["packets_orig"] for flow in flows) == int(counts["Packets"])
    assert sum(flow["bytes_orig"] for flow in flows) == int(counts["Bytes"])
