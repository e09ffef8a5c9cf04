"""NetFlow v5, v9 and IPFIX, from datagrams written here field by field."""

from __future__ import annotations

import gzip
import struct

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged_logs import accounted_or_refused
from netflow_samples import (
    CLIENT,
    SENT,
    SERVER,
    UPTIME,
    V4,
    V6,
    address,
    data,
    ipfix,
    number,
    recording,
    template,
    v4_record,
    v5,
    v5_record,
    v9,
)
from netpersona.adapters.sensors.netflow import NetflowSensor, looks_like
from netpersona.adapters.sensors.netflow_decoder import NO_SYSTEM_START, NO_TEMPLATE, TRUNCATED, Decoder
from netpersona.errors import SourceError


def decoded(*datagrams):
    decoder = Decoder()
    for datagram in datagrams:
        decoder.feed(datagram)
    decoder.finish()
    return decoder.drain(), dict(decoder.skipped)


def one(*datagrams):
    table, skipped = decoded(*datagrams)
    assert skipped == {}
    [row] = table.rows(named=True)
    return row


def test_v5_times_are_on_the_exporters_clock():
    row = one(v5(v5_record()))
    assert (row["start"], row["end"]) == (SENT * 10**6 - 1_750_000, SENT * 10**6 - 750_000)
    assert (row["source"], row["source_port"], row["bytes"], row["packets"], row["tcp_flags"]) == (
        CLIENT,
        40000,
        300,
        3,
        0x1B,
    )


def test_v5_times_across_a_wrap_of_the_clock():
    row = one(v5(v5_record(first=2**32 - 1000, last=500), uptime=1000))
    assert (row["start"], row["end"]) == (SENT * 10**6 - 1_750_000, SENT * 10**6 - 250_000)


def test_v5_that_is_cut_gives_its_whole_records():
    table, skipped = decoded(v5(v5_record(), v5_record())[:-1])
    assert (table.height, skipped) == (1, {TRUNCATED: 1})


def test_v9_and_v5_say_the_same():
    names = ["source", "source_port", "destination", "destination_port", "protocol", "bytes", "packets", "tcp_flags"]
    from_v9 = decoded(v9(template(256, V4), data(256, v4_record())))[0]
    assert from_v9.select(names).equals(decoded(v5(v5_record()))[0].select(names))
    assert from_v9["start"].to_list() == [SENT * 10**6 - 2_000_000]


def test_ipfix_with_ipv6_and_absolute_times():
    record = address("2001:db8::1") + address("2001:db8::2") + struct.pack(">HHB", 40000, 53, 17)
    record += struct.pack(">QQQQ", 5, 2**33, SENT * 1000, SENT * 1000 + 7)
    row = one(ipfix(template(300, V6, kind=2), data(300, record)))
    assert (row["source"], row["bytes"], row["end"] - row["start"], row["tcp_flags"]) == (
        "2001:db8::1",
        2**33,
        7000,
        None,
    )


def test_mapped_ipv4_is_ipv4():
    record = address("::ffff:192.0.2.1") + address("2001:db8::2") + struct.pack(">HHB", 1, 2, 17) + bytes(32)
    assert decoded(ipfix(template(300, V6, kind=2), data(300, record)))[0]["source"].to_list() == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("fields", "values", "start", "end"),
    [
        ([(150, 4), (151, 4)], number(SENT, 4) + number(SENT + 3, 4), 0, 3_000_000),
        (
            [(154, 8), (155, 8)],
            number((SENT + 2_208_988_800) << 32, 8) + number(((SENT + 2_208_988_800) << 32) + 2**31, 8),
            0,
            500_000,
        ),
        (
            [(156, 8), (157, 8)],
            number((SENT + 2_208_988_800) << 32, 8) + number((SENT + 2_208_988_801) << 32, 8),
            0,
            1_000_000,
        ),
        ([(158, 4), (159, 4)], number(2_000_000, 4) + number(500_000, 4), -2_000_000, -500_000),
        ([(152, 8), (161, 4)], number(SENT * 1000, 8) + number(250, 4), 0, 250_000),
        ([(153, 8), (162, 4)], number(SENT * 1000, 8) + number(250, 4), -250, 0),
        ([(323, 8)], number(SENT * 1000 - 9, 8), -9000, -9000),
        ([], b"", 0, 0),  # no clock at all: when it was sent
    ],
)
def test_every_clock(fields, values, start, end):
    layout = [(8, 4), (12, 4), (4, 1), *fields]
    row = one(ipfix(template(300, layout, kind=2), data(300, address(CLIENT) + address(SERVER) + b"\x01" + values)))
    assert (row["start"] - SENT * 10**6, row["end"] - SENT * 10**6) == (start, end)


def test_ipfix_uptimes_wait_for_the_system_start():
    flow = data(256, v4_record())
    options = struct.pack(">HHHHHHHHH", 3, 4 + 14, 400, 2, 1, 143, 4, 160, 8)
    started = data(400, bytes(4) + number(SENT * 1000 - UPTIME, 8))
    row = one(ipfix(template(256, V4, kind=2), flow), ipfix(options, started))
    assert row["start"] == SENT * 10**6 - 2_000_000
    assert decoded(ipfix(template(256, V4, kind=2), flow))[1] == {NO_SYSTEM_START: 1}


def test_v9_options_are_no_flows():
    options = struct.pack(">HH", 1, 4 + 14 + 2) + struct.pack(">HHHHHHH", 257, 4, 4, 1, 4, 34, 4) + b"\0\0"
    table, skipped = decoded(v9(options, data(257, bytes(8)), template(256, V4), data(256, v4_record())))
    assert (table.height, skipped) == (1, {})


def test_data_waits_for_its_template_of_the_same_domain():
    early, late = v9(data(256, v4_record()), domain=7), v9(template(256, V4), domain=7)
    assert decoded(early, late)[0].height == 1
    assert decoded(early, v9(template(256, V4), domain=8))[1] == {NO_TEMPLATE: 1}
    decoder = Decoder()
    decoder.feed(early, "a")
    decoder.feed(late, "b")
    assert decoder.waiting == 0


def test_a_template_that_comes_again_replaces_the_one_before():
    swapped = [(12, 4), (8, 4), *V4[2:]]
    table = decoded(
        v9(template(256, V4), data(256, v4_record())), v9(template(256, swapped), data(256, v4_record(SERVER, CLIENT)))
    )[0]
    assert table["source"].to_list() == [CLIENT, CLIENT]


def test_a_withdrawn_template_is_gone():
    withdrawal = struct.pack(">HHHH", 2, 8, 300, 0)
    layout = [(8, 4), (12, 4), (4, 1)]
    flow = data(300, address(CLIENT) + address(SERVER) + b"\x01")
    assert decoded(ipfix(template(300, layout, kind=2), withdrawal, flow))[1] == {NO_TEMPLATE: 1}


def test_fields_of_other_enterprises_and_of_variable_length_are_stepped_over():
    layout = [(8, 4), (1, 4, 9999), (371, 0xFFFF), (12, 4), (4, 1), (1, 8)]
    long = b"\xff" + number(300, 2) + b"u" * 300
    records = [
        address(CLIENT) + b"\xff\xff\xff\xff" + name + address(SERVER) + b"\x11" + number(n, 8)
        for n, name in enumerate([b"\x00", b"\x04user", long])
    ]
    table, skipped = decoded(ipfix(template(300, layout, kind=2), data(300, *records)))
    assert (table["bytes"].to_list(), table["destination"].unique().to_list(), skipped) == ([0, 1, 2], [SERVER], {})


def test_counters_of_odd_width():
    layout = [(8, 4), (12, 4), (4, 1), (1, 3), (2, 5)]
    row = one(
        ipfix(
            template(300, layout, kind=2),
            data(300, address(CLIENT) + address(SERVER) + b"\x11" + number(70_000, 3) + number(2**33, 5)),
        )
    )
    assert (row["bytes"], row["packets"]) == (70_000, 2**33)


def test_biflows_give_both_directions():
    layout = [
        (8, 4),
        (12, 4),
        (7, 2),
        (11, 2),
        (4, 1),
        (1, 4),
        (2, 4),
        (1, 4, 29305),
        (2, 4, 29305),
        (6, 1),
        (6, 1, 29305),
    ]
    layout += [(152, 8), (153, 8)]
    times = number(SENT * 1000, 8) * 2
    both = (
        address(CLIENT) + address(SERVER) + struct.pack(">HHBIIIIBB", 40000, 443, 6, 100, 2, 900, 3, 0x1B, 0x1B) + times
    )
    silent = address(CLIENT) + address(SERVER) + struct.pack(">HHBIIIIBB", 40001, 443, 6, 100, 2, 0, 0, 2, 0) + times
    table, _ = decoded(ipfix(template(300, layout, kind=2), data(300, both, silent)))
    rows = (
        table.sort("source_port")
        .select("source", "destination_port", "bytes", "packets", "tcp_flags", "forward")
        .rows()
    )
    assert rows == [
        (SERVER, 40000, 900, 3, 0x1B, False),
        (CLIENT, 443, 100, 2, 0x1B, True),
        (CLIENT, 443, 100, 2, 2, True),
    ]


def test_a_flood_of_templates_is_bounded():
    decoder = Decoder()
    for n in range(1500):
        decoder.feed(v9(template(256, [*V4, (999, 1 + n)]), data(256, v4_record() + bytes(1 + n))))
    assert decoder.waiting == 1024  # a template that was refused does not leave the one before in force
    assert decoder.skipped["more than a thousand different templates"] == 1500 - 1024


def test_data_without_templates_does_not_pile_up():
    decoder = Decoder()
    for n in range(3000):
        decoder.feed(v9(data(256 + n, bytes(60_000))))
    assert decoder.skipped[NO_TEMPLATE] > 2000
    decoder.finish()
    assert decoder.skipped[NO_TEMPLATE] == 3000


def test_dropped_and_denied():
    layout = [(8, 4), (12, 4), (4, 1), (89, 1)]
    records = [address(CLIENT) + address(SERVER) + b"\x11" + bytes([status]) for status in (64, 128)]
    assert decoded(ipfix(template(300, layout, kind=2), data(300, *records)))[0]["denied"].to_list() == [False, True]


def test_records_without_addresses_are_counted():
    table, skipped = decoded(v9(template(256, [(1, 4), (2, 4)]), data(256, bytes(16))))
    assert (table.height, skipped) == (0, {"record without addresses": 2})


def test_both_directions_become_one_flow(tmp_path):
    path = recording(tmp_path, v5(v5_record(), v5_record(SERVER, CLIENT, (443, 40000), first=UPTIME - 1990)))
    sensor = NetflowSensor(path)
    [batch] = sensor.batches()
    [flow] = batch.flows.rows(named=True)
    assert (flow["originator"], flow["bytes_orig"], flow["bytes_resp"], flow["state"], flow["sensor"]) == (
        CLIENT,
        300,
        300,
        "SF",
        "netflow",
    )
    [account] = sensor.accounts()
    assert (account.flows, account.skipped, account.first) == (1, {}, flow["start"])
    assert looks_like(path.read_bytes())


def test_gzip(tmp_path):
    path = recording(tmp_path, v5(v5_record()))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert [batch.flows.height for batch in NetflowSensor(path).batches()] == [1]


def test_a_recording_that_breaks_off_keeps_what_came_before(tmp_path):
    path = recording(tmp_path, v5(v5_record()), v5(v5_record()))
    path.write_bytes(path.read_bytes()[:-5])
    sensor = NetflowSensor(path)
    assert sum(batch.flows.height for batch in sensor.batches()) == 1
    assert sum(sensor.accounts()[0].skipped.values()) == 1


@pytest.mark.parametrize("content", [b"\0\0", b"\xff" * 100, b"\0\0\0\0" + bytes(90), b"\0\0\x10\0abc"])
def test_what_is_no_recording_is_refused(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert not looks_like(content)
    with pytest.raises(SourceError, match=r"x: at byte 0: .*expected"):
        list(NetflowSensor(path).batches())


def test_a_missing_file_is_a_source_error(tmp_path):
    with pytest.raises(SourceError):
        list(NetflowSensor(tmp_path / "missing").batches())


GOOD = [
    v5(v5_record(), v5_record(SERVER, CLIENT, (443, 40000))),
    v9(template(256, V4), data(256, v4_record(), v4_record(SERVER, CLIENT, 443, 40000))),
    ipfix(template(300, V6, kind=2), data(300, bytes(69))),
    ipfix(template(301, [(8, 4), (371, 0xFFFF), (12, 4), (1, 2, 29305), (4, 1)], kind=2), data(301, bytes(40))),
]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(GOOD), st.integers(0, 200), st.binary(max_size=4)), max_size=6))
def test_whatever_the_bytes_nothing_escapes_the_decoder(damaged):
    decoder = Decoder()
    for good, at, junk in damaged:
        decoder.feed(good[:at] + junk + good[at + len(junk) :])
        decoder.feed(good[:at])
        decoder.feed(junk)
    decoder.finish()
    assert decoder.drain().filter(pl.col("bytes").is_null() | pl.col("source").is_null()).height == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_accounted_for_or_refused(tmp_path_factory, at, junk):
    whole = b"".join(struct.pack(">I", len(d)) + d for d in GOOD)
    path = tmp_path_factory.mktemp("fuzz") / "x"
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    accounted_or_refused(NetflowSensor(path))
