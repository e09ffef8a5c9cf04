"""What every sensor must do."""

from __future__ import annotations

import gzip
import ipaddress
import json
import struct

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.recognise import EmptySource, recognise
from netpersona.errors import SourceError
from netpersona.flow.account import SourceAccount
from netpersona.flow.table import FLOW_SCHEMA, TRANSACTION_SCHEMA

# The same conversation for each implementation: 10.0.0.5:4000 opens 192.0.2.9:443 by TCP at START and is answered.
START = 1_622_988_000_000_001
STATES = {"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH", None}


def zeek():
    fields = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto conn_state orig_ip_bytes resp_ip_bytes"
    row = "1622988000.000001 C1 10.0.0.5 4000 192.0.2.9 443 tcp SF 300 200"
    return f"#path\tconn\n#fields\t{fields}\n{row}\n".replace(" ", "\t").encode()


def zeek_json():
    ends = {"id.orig_h": "10.0.0.5", "id.orig_p": 4000, "id.resp_h": "192.0.2.9", "id.resp_p": 443}
    row = {"ts": 1622988000.000001, "uid": "C1", "proto": "tcp", "conn_state": "SF"} | ends
    return json.dumps(row | {"orig_ip_bytes": 300, "resp_ip_bytes": 200}).encode() + b"\n"


def suricata():
    life = {"start": "2021-06-06T16:00:00.000001+0200", "end": "2021-06-06T16:00:01.000001+0200", "state": "closed"}
    counts = {"pkts_toserver": 3, "pkts_toclient": 2, "bytes_toserver": 300, "bytes_toclient": 200}
    ends = {"src_ip": "10.0.0.5", "src_port": 4000, "dest_ip": "192.0.2.9", "dest_port": 443, "proto": "TCP"}
    row = {"timestamp": life["end"], "event_type": "flow", "flow_id": 1, "flow": life | counts}
    return json.dumps(row | ends).encode() + b"\n"


def pcap():
    def frame(micros, flags, sequence, acknowledged, *ends):
        source, source_port, target, target_port = ends
        tcp = struct.pack("!HHIIBBHHH", source_port, target_port, sequence, acknowledged, 0x50, flags, 1024, 0, 0)
        addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + addresses
        packet = b"\x02" * 6 + b"\x04" * 6 + b"\x08\x00" + ip + tcp
        seconds, rest = divmod(START + micros, 1_000_000)
        return struct.pack("<IIII", seconds, rest, len(packet), len(packet)) + packet

    there, back = ("10.0.0.5", 4000, "192.0.2.9", 443), ("192.0.2.9", 443, "10.0.0.5", 4000)
    frames = frame(0, 0x02, 1, 0, *there) + frame(10, 0x12, 9, 2, *back) + frame(20, 0x10, 2, 10, *there)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + frames


def argus():
    names = "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes"
    row = "2021/06/06 14:00:00.000001,1.0,tcp,10.0.0.5,4000,   ->,192.0.2.9,443,FSPA_FSPA,0,0,5,500,300"
    return f"{names}\n{row}\n".encode()


def vpcflow():
    names = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
    there = "2 123456789010 eni-1 10.0.0.5 192.0.2.9 4000 443 6 3 300 1622988000 1622988001 ACCEPT OK"
    return f"{names}\n{there}\n".encode()


def netflow():
    """One NetFlow v5 datagram, after its length."""
    up = 60_000
    header = struct.pack("!HHIIIIBBH", 5, 1, up, START // 1_000_000, 1_000, 0, 0, 0, 0)
    ends = ipaddress.ip_address("10.0.0.5").packed + ipaddress.ip_address("192.0.2.9").packed
    counters = struct.pack("!HHIIII", 1, 2, 3, 300, up, up + 1)
    datagram = (
        header + ends + bytes(4) + counters + struct.pack("!HHBBBBHHBBH", 4000, 443, 0, 0x1B, 6, 0, 0, 0, 24, 24, 0)
    )
    return struct.pack("!I", len(datagram)) + datagram


def nfdump():
    """One record in one block of an uncompressed file of layout 2."""
    addresses = struct.pack("<II", *(int(ipaddress.ip_address(end)) for end in ("10.0.0.5", "192.0.2.9")))
    generic = struct.pack("<QQQQQHHBBBB", START // 1000, START // 1000 + 1, 0, 3, 300, 4000, 443, 6, 0x1B, 0, 0)
    body = struct.pack("<HH", 1, len(generic) + 4) + generic + struct.pack("<HH", 2, 12) + addresses
    record = struct.pack("<HHHBBHBB", 11, 12 + len(body), 2, 0, 0, 0, 0, 9) + body
    header = struct.pack("<HHIQBBHIQII", 0xA50C, 2, 0x01070100, 0, 0, 0, 0, 0, 0, 0, 1)
    return header + struct.pack("<IIHH", 1, len(record), 3, 0) + record


SOURCES = {
    "zeek": zeek,
    "zeek-json": zeek_json,
    "suricata": suricata,
    "pcap": pcap,
    "argus": argus,
    "nfdump": nfdump,
    "netflow": netflow,
    "vpcflow": vpcflow,
}
every_sensor = pytest.mark.parametrize("form", SOURCES)


def made(where, form, content=None):
    """The sensor that recognises the content."""
    file = where / "source"
    file.write_bytes(SOURCES[form]() if content is None else content)
    (sensor,) = recognise([file]).sensors
    return sensor


def read(sensor):
    batches = list(sensor.batches())
    flows = pl.concat([pl.DataFrame(schema=FLOW_SCHEMA), *(part.flows for part in batches)])
    skipped = {}
    for part in batches:
        for reason, count in part.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    return flows, skipped, batches


@every_sensor
def test_it_names_its_path_and_its_format(tmp_path, form):
    sensor = made(tmp_path, form)
    assert sensor.path == str(tmp_path / "source")
    assert sensor.format == form.split("-")[0]


@every_sensor
def test_the_conversation_is_one_flow(tmp_path, form):
    flows, skipped, _ = read(made(tmp_path, form))
    flow = flows.row(0, named=True)
    assert (flows.height, skipped) == (1, {})
    assert (flow["transport"], flow["originator"], flow["originator_port"]) == ("tcp", "10.0.0.5", 4000)
    assert (flow["responder"], flow["responder_port"]) == ("192.0.2.9", 443)
    assert flow["start"] // 1_000_000 == START // 1_000_000
    assert flow["bytes_orig"] in {300, 80, 108}  # as told, or counted with or without link headers
    assert flow["state"] in STATES


@every_sensor
def test_its_batches_have_the_two_tables_and_reasons(tmp_path, form):
    for part in read(made(tmp_path, form))[2]:
        assert part.flows.schema == pl.Schema(FLOW_SCHEMA)
        assert part.transactions.schema == pl.Schema(TRANSACTION_SCHEMA)
        assert all(isinstance(reason, str) and count > 0 for reason, count in part.skipped.items())


@every_sensor
def test_it_reads_the_same_again(tmp_path, form):
    sensor = made(tmp_path, form)
    assert read(sensor)[0].equals(read(sensor)[0])
    assert [account.flows for account in sensor.accounts()] == [1]


@every_sensor
def test_it_accounts_for_its_file(tmp_path, form):
    sensor = made(tmp_path, form)
    flows, skipped, _ = read(sensor)
    (account,) = sensor.accounts()
    assert isinstance(account, SourceAccount)
    assert (account.path, account.format, account.skipped) == (sensor.path, sensor.format, skipped)
    assert (account.first, account.last) == (flows["start"].min(), flows["start"].max())


@every_sensor
def test_compression_changes_nothing(tmp_path, form):
    plain = read(made(tmp_path, form))[0]
    packed = read(made(tmp_path, form, gzip.compress(SOURCES[form]())))[0]
    assert packed.equals(plain)


@every_sensor
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damage_is_counted_or_refused_and_never_more(tmp_path_factory, form, data):
    whole = SOURCES[form]()
    at = data.draw(st.integers(1, len(whole)))
    junk = data.draw(st.binary(max_size=20))
    keep = data.draw(st.integers(0, 8))
    where = tmp_path_factory.mktemp("damaged")
    sensor = made(where, form)
    (where / "source").write_bytes(whole[:at] + junk + whole[at + keep :])
    try:
        flows, skipped, _ = read(sensor)
    except SourceError as error:
        assert str(error).startswith(sensor.path)  # noqa: PT017  # refusing is one of two good ends
    else:
        assert flows.height <= 50
        assert {reason: count for reason, count in sensor.accounts()[0].skipped.items() if count} == skipped
        assert set(flows["state"]) <= STATES


@every_sensor
@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00" * 100])
def test_a_source_that_turned_into_something_else_is_refused_or_empty(tmp_path, form, content):
    sensor = made(tmp_path, form)
    (tmp_path / "source").write_bytes(content)
    try:
        flows, _, _ = read(sensor)
    except SourceError as error:
        assert str(error).startswith(sensor.path)  # noqa: PT017
        assert "expected" in str(error)  # noqa: PT017
    else:
        assert flows.is_empty()


@every_sensor
def test_a_source_that_vanished_is_a_source_error(tmp_path, form):
    sensor = made(tmp_path, form)
    (tmp_path / "source").unlink()
    with pytest.raises(SourceError, match="source"):
        read(sensor)


def test_an_empty_source_is_a_sensor_too(tmp_path):
    sensor = made(tmp_path, "zeek", b"")
    assert isinstance(sensor, EmptySource)
    assert read(sensor)[2] == []
    assert [account.flows for account in sensor.accounts()] == [0]
