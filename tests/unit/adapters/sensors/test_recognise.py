"""Sources are told apart by what they say: names mean nothing, and what cannot be read is said."""

import bz2
import gzip
import json
import lzma
import os
import struct

import pytest

from log_samples import CONN, FLOW, header, line, row
from netpersona.adapters.sensors.recognise import recognise, sensors
from netpersona.adapters.sensors.source import open_source
from netpersona.errors import SourceError

PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
SOURCES = {
    "zeek": (header() + row()).encode(),
    "zeek ": line(CONN).encode(),
    "zeek  ": b"#fields\tts\tfuid\n",
    "suricata": json.dumps(FLOW).encode() + b"\n",
    "pcap": PCAP,
    "argus": b"StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,Label\n",
    "vpcflow": b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n",
    "empty": b"",
}


@pytest.mark.parametrize("format_", SOURCES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["conn.log", "capture.pcap", "x"])
def test_the_content_decides_and_never_the_name(tmp_path, format_, pack, name):
    file = tmp_path / name
    file.write_bytes(pack(SOURCES[format_]))
    (sensor,) = sensors([file])
    assert sensor.format == format_.strip()
    assert sensor.path == str(file)


def test_an_empty_file_is_no_error(tmp_path):
    (tmp_path / "nothing").touch()
    (sensor,) = sensors([tmp_path / "nothing"])
    assert list(sensor.batches()) == []
    assert [(account.flows, account.skipped) for account in sensor.accounts()] == [(0, {})]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"hello\nworld", "'hello'"),
        (b"\x00\x01\x02\x03" * 20, "'00 01 02 03"),
        (b"\x1b[31mred\n", "'1b 5b 33 31"),
        (b"a\ttable\n", "'a table'"),
        (b"row,ts,uid,label,detailedlabel\n", "'row,ts,uid,label,detailedlabel'"),
        (b'{"type": "bundle"}', '\'{"type": "bundle"}\''),
    ],
)
def test_a_named_file_that_nobody_knows_is_an_error_that_shows_how_it_begins(tmp_path, content, shown):
    file = tmp_path / "conn.log"
    file.write_bytes(content)
    with pytest.raises(SourceError) as error:
        sensors([file])
    assert str(error.value).startswith(f"{file}:1: ")
    assert shown in str(error.value)
    assert "expected Zeek logs" in str(error.value)
    assert str(error.value).isprintable()


def test_rows_that_lost_their_header_are_told_the_remedy(tmp_path):
    (tmp_path / "conn.log").write_text(row() * 3)
    with pytest.raises(SourceError, match=r":1: rows of a Zeek log without their header; expected a '#fields' line"):
        sensors([tmp_path / "conn.log"])


@pytest.mark.parametrize("name", ["absent.log", "a\0b"])
def test_what_does_not_exist(tmp_path, name):
    with pytest.raises(SourceError, match="expected a file or a directory"):
        sensors([tmp_path / name])


def test_what_is_neither_file_nor_directory(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="neither a file nor a directory"):
        sensors([tmp_path / "pipe"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(tmp_path):
    file = tmp_path / "conn.log"
    file.write_bytes(SOURCES["zeek"])
    file.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        sensors([file])


def test_a_directory_is_searched_and_what_is_left_unread_is_said(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "conn.log").write_bytes(SOURCES["zeek"])
    (below / "dns.log.gz").write_bytes(gzip.compress(SOURCES["zeek  "]))
    (tmp_path / "a" / "eve.json").write_bytes(SOURCES["suricata"])
    (tmp_path / "README.md").write_text("# Captures\n")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "again").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = recognise([tmp_path])
    assert [(sensor.format, sensor.path) for sensor in found.sensors] == [
        ("zeek", str(below)),
        ("suricata", str(tmp_path / "a" / "eve.json")),
    ]
    assert [path.name for path, _ in found.unread] == ["README.md", "again", "gone", "pipe"]
    assert all(reason for _, reason in found.unread)


def test_a_directory_that_says_nothing_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no files in this directory"):
        sensors([tmp_path])
    (tmp_path / "notes.txt").write_text("hello\n")
    with pytest.raises(SourceError, match=r"no file in this directory can be read; notes\.txt: .*'hello'"):
        sensors([tmp_path])


def test_zeek_logs_of_a_directory_are_one_sensor_and_of_two_are_two(tmp_path):
    files = []
    for place in ("tap-1", "tap-2"):
        (tmp_path / place).mkdir()
        for name in ("conn.log", "ssl.log"):
            files.append(tmp_path / place / name)
            files[-1].write_bytes(SOURCES["zeek"])
    assert [sensor.path for sensor in sensors(files)] == [str(tmp_path / "tap-1"), str(tmp_path / "tap-2")]
    assert [len(list(sensor.accounts())) for sensor in sensors([tmp_path])] == [2, 2]


def test_a_file_named_twice_is_read_once(tmp_path):
    file = tmp_path / "conn.log"
    file.write_bytes(SOURCES["zeek"])
    (tmp_path / "link.log").symlink_to(file)
    (sensor,) = sensors([file, tmp_path, file])
    assert sum(part.flows.height for part in sensor.batches()) == 1


def test_the_order_of_the_names_does_not_matter(tmp_path):
    files = []
    for number, content in enumerate(SOURCES.values()):
        files.append(tmp_path / f"source{number}")
        files[-1].write_bytes(content)
    assert [s.path for s in sensors(files)] == [s.path for s in sensors(files[::-1])]


def test_compressed_data_that_is_none(tmp_path):
    (tmp_path / "conn.log.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b"\xff" * 50)
    with pytest.raises(SourceError, match="damaged or cut short"):
        sensors([tmp_path / "conn.log.gz"])


def test_zstd_is_opened_or_the_remedy_is_named(tmp_path):
    (tmp_path / "conn.log.zst").write_bytes(b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8\x51")
    try:
        with open_source(tmp_path / "conn.log.zst") as stream:
            assert stream.read() == b""
    except SourceError as error:
        assert "unpack it first" in str(error)  # noqa: PT017  # which of the two depends on what is installed


@pytest.mark.parametrize(
    ("content", "helps"),
    [
        (b"\x83\x10\x00\x20" + bytes(60), "`ra -r FILE -n -u -c ,`"),
        (
            b"         StartTime      Flgs  Proto            SrcAddr  Sport   Dir            DstAddr  Dport \n",
            "`ra -r ",
        ),
        (b"snoop\0\0\0\0\0\0\2" + bytes(60), "`editcap -F pcap`"),
        (b"\x34\xcd\xb2\xa1" + bytes(60), "`editcap -F pcap`"),
        (b"PAR1" + bytes(60), "delivered as text"),
        ("StartTime,Dur,Proto\r\n".encode("utf-16"), "`iconv -f UTF-16"),
        (b"\0\5\0\2" + bytes(60), "length in 4 bytes"),
        (b"vpc-1 eni-0123456789abcdef0 192.0.2.1 192.0.2.2 6\n", "put the line of its field names before them"),
    ],
)
def test_the_wrong_form_of_the_right_thing_is_told_how_to_become_right(tmp_path, content, helps):
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(SourceError, match="expected Zeek logs") as caught:
        sensors([file])
    assert helps in str(caught.value)
