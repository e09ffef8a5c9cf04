"""Sampled exports: counters stand for what was on the wire, and the account says so."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netflow_samples import V4, data, ipfix, number, recording, template, v4_record, v5, v5_record, v9
from netpersona.adapters.sensors.netflow import NetflowSensor
from netpersona.adapters.sensors.netflow_decoder import Decoder
from netpersona.adapters.sensors.netflow_sampling import Sampled, Sampling, record_rates, scaled

NAMED = [*V4, (48, 2)]  # records that name their sampler


def sampled_v5(interval, mode=1, **changes):
    whole = bytearray(v5(v5_record(**changes)))
    whole[22:24] = struct.pack(">H", mode << 14 | interval)
    return bytes(whole)


def v9_options(fields, *records, number_=300):
    """An options template with a system scope of 4 bytes, and its data; `records` are the values of `fields`."""
    told = b"".join(struct.pack(">HH", *each) for each in fields)
    defined = struct.pack(">HHH", number_, 4, len(told)) + struct.pack(">HH", 1, 4) + told
    defined += b"\0" * (-len(defined) % 4)
    rows = [bytes(4) + b"".join(number(v, size) for v, (_, size) in zip(row, fields, strict=True)) for row in records]
    return struct.pack(">HH", 1, len(defined) + 4) + defined + data(number_, *rows)


def ipfix_options(fields, *records, number_=300):
    """The same in IPFIX: the first field is the scope."""
    told = b"".join(struct.pack(">HH", *each) for each in fields)
    defined = struct.pack(">HHH", number_, len(fields), 1) + told
    rows = [b"".join(number(v, size) for v, (_, size) in zip(row, fields, strict=True)) for row in records]
    return struct.pack(">HH", 3, len(defined) + 4) + defined + data(number_, *rows)


def told(*datagrams):
    """The (packets, bytes) of all records, and what is noted of them."""
    decoder = Decoder()
    for datagram in datagrams:
        decoder.feed(datagram)
    decoder.finish()
    return decoder.drain().select("packets", "bytes").rows(), decoder.notes()


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_v5_tells_its_interval_in_the_header(mode):
    rows, notes = told(sampled_v5(100, mode), v5(v5_record()))
    assert rows == [(300, 30_000), (3, 300)]
    assert notes[0] == "sampled 1:100: packets and bytes of 1 record are multiplied by 100"
    assert "1 record of no known sampling" in notes[1]


@pytest.mark.parametrize("interval", [0, 1])
def test_what_is_not_sampled_stays_as_it_is_and_nothing_is_noted(interval):
    assert told(sampled_v5(interval, 0)) == ([(3, 300)], [])


@pytest.mark.parametrize(
    ("fields", "values", "rate"),
    [
        ([(34, 4), (35, 1)], (512, 2), 512),
        ([(50, 4)], (64,), 64),
        ([(305, 4), (306, 4)], (1, 999), 1000),
        ([(305, 4), (306, 4)], (10, 30), 4),
        ([(305, 4)], (128,), 128),
        ([(309, 4), (310, 4)], (1, 2000), 2000),
    ],
)
def test_options_tell_the_rate_of_all_records(fields, values, rate):
    wire = [(3 * rate, 300 * rate)]
    flows = v9(template(256, V4), data(256, v4_record()))
    assert told(v9(v9_options(fields, values)), flows)[0] == wire
    assert told(flows, v9(v9_options(fields, values)))[0] == wire  # told after the records, in one recording
    scoped = [(149, 4), *fields]
    in_ipfix = ipfix(template(256, V4, kind=2), data(256, v4_record()))
    start = ipfix(ipfix_options([(149, 4), (160, 8)], (1, 1_699_999_500_000), number_=301))
    rows, notes = told(start, ipfix(ipfix_options(scoped, (1, *values))), in_ipfix)
    assert rows == wire
    assert notes == [f"sampled 1:{rate}: packets and bytes of 1 record are multiplied by {rate}"]


def test_a_record_is_scaled_by_the_sampler_that_it_names():
    options = v9_options([(48, 2), (49, 1), (50, 4)], (1, 2, 10), (2, 2, 100))
    records = [v4_record(sport=40_000 + n) + number(sampler, 2) for n, sampler in enumerate((1, 2, 0))]
    rows, notes = told(v9(options), v9(template(256, NAMED), data(256, *records)))
    assert rows == [(30, 3000), (300, 30_000), (3, 300)]
    assert len(notes) == 3


def test_a_record_tells_its_own_rate():
    record = v4_record() + number(20, 4)
    rows, _ = told(v9(v9_options([(34, 4)], (512,))), v9(template(256, [*V4, (34, 4)]), data(256, record)))
    assert rows == [(60, 6000)]


def test_of_several_rates_none_is_guessed():
    options = v9_options([(34, 4)], (10,), (100,))
    rows, notes = told(v9(options), v9(template(256, V4), data(256, v4_record())))
    assert rows == [(3, 300)]
    assert notes == ["sampled at several rates: at which, is not told of 1 record, with counters as exported"]


def test_a_rate_that_is_told_anew_replaces_the_one_before():
    first, then = v9_options([(34, 4)], (10,)), v9_options([(34, 4)], (100,))
    assert told(v9(first), v9(then), v9(template(256, V4), data(256, v4_record())))[0] == [(300, 30_000)]


def test_exporters_do_not_share_their_rates():
    flows = [v9(template(256, V4), data(256, v4_record()), domain=domain) for domain in (1, 2)]
    rows, _ = told(v9(v9_options([(34, 4)], (10,)), domain=2), *flows)
    assert sorted(rows) == [(3, 300), (30, 3000)]


@pytest.mark.parametrize("broken", [0, 1 << 31])
def test_a_rate_that_cannot_be_true_is_none(broken):
    flows = v9(template(256, V4), data(256, v4_record()))
    assert told(v9(v9_options([(34, 4)], (broken,))), flows) == ([(3, 300)], [])


def test_the_account_of_a_recording_says_that_it_was_sampled(tmp_path):
    answer = sampled_v5(100, source="198.51.100.5", destination="192.0.2.10", ports=(443, 40_000))
    sensor = NetflowSensor(recording(tmp_path, sampled_v5(100), answer))
    [flow] = [row for batch in sensor.batches() for row in batch.flows.rows(named=True)]
    assert (flow["packets_orig"], flow["bytes_resp"]) == (300, 30_000)
    assert sensor.accounts()[0].notes == ("sampled 1:100: packets and bytes of 2 records are multiplied by 100",)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.floats(1.0, 2.0**24))
def test_scaling_never_overflows_and_one_changes_nothing(counters, rate):
    column = np.array(counters, dtype=np.uint64)
    assert scaled(column, np.ones(len(column))).tolist() == counters
    more = scaled(column, np.full(len(column), rate)).tolist()
    assert all(count <= 2**62 or count == before for count, before in zip(more, counters, strict=True))


def test_a_flood_of_exporters_costs_by_the_datagram():
    parts = [(1, Sampling(of_all=(float(n % 1000 + 1),))) for n in range(20_000)]
    sampled = Sampled()
    assert record_rates({}, parts, sampled).tolist() == [float(n % 1000 + 1) for n in range(20_000)]
    assert sampled.counts.total() == 20_000
