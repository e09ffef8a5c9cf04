"""Pairing of one-way records, against a slow and obvious version of itself."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.sensors.biflow import OTHER_IDLE, TCP_IDLE, Pairing, conversations, flows_of
from netpersona.adapters.sensors.biflow_ends import ACK, FIN, RST, SYN, oriented
from netpersona.adapters.sensors.flow_records import RECORD_SCHEMA, ExportTally

SECOND = 1_000_000
CLIENT, SERVER = ("192.0.2.10", 40000), ("198.51.100.5", 443)


def record(source=CLIENT, destination=SERVER, start=0, end=None, **told):
    defaults = {
        "protocol": 6,
        "bytes": 100,
        "packets": 1,
        "tcp_flags": None,
        "forward": None,
        "denied": None,
        "observer": None,
    }
    return {
        "start": start,
        "end": start if end is None else end,
        "source": source[0],
        "source_port": source[1],
        "destination": destination[0],
        "destination_port": destination[1],
        **defaults,
        **told,
    }


def table(*records):
    return pl.DataFrame(list(records), schema=RECORD_SCHEMA, orient="row")


def flows(*records):
    return oriented(conversations(table(*records))).sort("start", "originator_port")


def only(*records):
    [flow] = flows(*records).rows(named=True)
    return flow


def slowly(records):
    """The same conversations, one record after the other: (start, end, records, bytes, packets) of each, sorted."""
    by_ends = {}
    for r in records:
        ends = tuple(sorted([(r["source"], r["source_port"]), (r["destination"], r["destination_port"])]))
        by_ends.setdefault((r["protocol"], r["observer"], ends), []).append(r)
    found = []
    for (protocol, *_), some in by_ends.items():
        idle = TCP_IDLE if protocol == 6 else OTHER_IDLE
        bursts = []
        for r in sorted(some, key=lambda r: (r["start"], r["end"])):
            if bursts and r["start"] <= max(b["end"] for b in bursts[-1]):
                bursts[-1].append(r)
            else:
                bursts.append([r])
        current, closed = [], False
        for burst in bursts:
            flags = 0
            for r in burst:
                flags |= (r["tcp_flags"] or 0) if protocol == 6 else 0
            idle_long = current and burst[0]["start"] - max(r["end"] for r in current) > idle
            if idle_long or (current and closed and flags & SYN):
                found.append(current)
                current, closed = [], False
            current = current + burst
            closed = closed or bool(flags & (FIN | RST))
        found.append(current)
    return sorted(
        (
            min(r["start"] for r in c),
            max(r["end"] for r in c),
            len(c),
            sum(r["bytes"] for r in c),
            sum(r["packets"] for r in c),
        )
        for c in found
    )


ends = st.sampled_from([("192.0.2.10", 40000), ("192.0.2.10", 40001), ("198.51.100.5", 443), ("2001:db8::5", 443)])
records = st.builds(
    lambda source, destination, start, length, **told: record(
        source, destination, start * SECOND, (start + length) * SECOND, **told
    ),
    ends,
    ends,
    st.integers(0, 900),
    st.sampled_from([0, 0, 1, 30, 400]),
    protocol=st.sampled_from([6, 6, 17]),
    bytes=st.integers(0, 5000),
    packets=st.integers(0, 50),
    tcp_flags=st.sampled_from([None, SYN, SYN | ACK, ACK, FIN | ACK, RST, SYN | FIN | ACK]),
    observer=st.sampled_from([None, "eni-1"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(records, min_size=1, max_size=40))
def test_equals_the_slow_version(some):
    fast = conversations(table(*some)).select(
        "start",
        "end",
        pl.col("records_low") + pl.col("records_high"),
        pl.col("bytes_low") + pl.col("bytes_high"),
        pl.col("packets_low") + pl.col("packets_high"),
    )
    assert sorted(fast.rows()) == slowly(some)


@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_records_means_nothing(some, random):
    shuffled = list(some)
    random.shuffle(shuffled)
    key = [
        "start",
        "originator",
        "originator_port",
        "responder",
        "responder_port",
        "transport",
        "bytes_orig",
        "bytes_resp",
    ]
    assert flows(*some).sort(key).equals(flows(*shuffled).sort(key))


@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=1, max_size=60), st.integers(1, 20))
def test_nothing_is_lost_or_counted_twice_when_settled_piecewise(some, rows):
    pairing = Pairing(rows)
    parts = [oriented(pairing.add(table(r))) for r in sorted(some, key=lambda r: r["end"])]
    parts.append(oriented(pairing.finish()))
    together = pl.concat(parts)
    for name in ("bytes", "packets"):
        assert together[f"{name}_orig"].sum() + together[f"{name}_resp"].sum() == sum(r[name] for r in some)


def test_settled_piecewise_or_at_once_is_the_same():
    some = []
    for n in range(400):
        ends = (f"192.0.2.{n % 7}", 40000 + n % 90), ("198.51.100.5", 443)
        some.append(record(*ends, start=n * SECOND, end=(n + 2) * SECOND, tcp_flags=0x1B, bytes=n))
        some.append(record(*ends[::-1], start=n * SECOND + 5, end=(n + 2) * SECOND, tcp_flags=0x1B, bytes=2 * n))
    some.sort(key=lambda r: r["end"])
    pairing, parts = Pairing(50), []
    for a, b in pairwise(range(0, len(some) + 10, 10)):
        parts.append(oriented(pairing.add(table(*some[a:b]))))
    assert sum(part.height for part in parts) > 0  # some were given up on the way
    together = pl.concat([*parts, oriented(pairing.finish())]).sort("start", "originator", "originator_port")
    assert together.equals(flows(*some).sort("start", "originator", "originator_port"))


def test_a_long_flow_cut_by_the_active_timeout_is_one():
    parts = [
        record(start=n * 1800 * SECOND, end=(n + 1) * 1800 * SECOND - 1, tcp_flags=ACK, bytes=10) for n in range(5)
    ]
    assert only(*parts)["bytes_orig"] == 50
    pairing = Pairing(1)
    gone = [pairing.add(table(part)) for part in parts]
    assert sum(part.height for part in gone) == 0
    assert oriented(pairing.finish())["duration"].to_list() == [5 * 1800 * SECOND - 1]


def test_idle_times():
    assert flows(record(), record(start=TCP_IDLE)).height == 1
    assert flows(record(), record(start=TCP_IDLE + 1)).height == 2
    assert flows(record(protocol=17), record(protocol=17, start=OTHER_IDLE + 1)).height == 2


def test_a_new_syn_after_the_end_opens_a_new_flow():
    first = record(tcp_flags=SYN | ACK | FIN, end=SECOND)
    assert flows(first, record(start=2 * SECOND, tcp_flags=SYN)).height == 2
    assert flows(first, record(start=2 * SECOND, tcp_flags=ACK)).height == 1
    assert flows(first, record(SERVER, CLIENT, start=5, end=2 * SECOND, tcp_flags=SYN | ACK | FIN)).height == 1
    assert flows(record(tcp_flags=SYN), record(start=3 * SECOND, tcp_flags=SYN)).height == 1  # sent again


@pytest.mark.parametrize(
    ("one", "other", "originator"),
    [
        ({"start": 0}, {"start": 5}, CLIENT),
        ({"start": 5}, {"start": 0}, SERVER),  # earlier
        ({"start": 5, "tcp_flags": SYN}, {"start": 0, "tcp_flags": SYN | ACK}, CLIENT),  # the flags know better
        ({"start": 5, "forward": True}, {"start": 0, "forward": False}, CLIENT),  # the exporter knows best
        ({"start": 0}, {"start": 0}, CLIENT),  # the higher port
        ({"start": 5, "tcp_flags": SYN | ACK | FIN}, {"start": 0, "end": 9, "tcp_flags": SYN | ACK | FIN}, SERVER),
    ],
)
def test_who_opened(one, other, originator):
    flow = only(record(**one), record(SERVER, CLIENT, **other))
    assert (flow["originator"], flow["originator_port"]) == originator


@pytest.mark.parametrize("flags", [SYN | ACK, RST | ACK])
def test_a_lone_reply_names_the_other_side(flags):
    flow = only(record(SERVER, CLIENT, tcp_flags=flags))
    assert (flow["originator"], flow["packets_orig"], flow["packets_resp"]) == (CLIENT[0], 0, 1)


@pytest.mark.parametrize(
    ("sent", "answer", "state"),
    [
        (SYN, None, "S0"),
        (SYN | RST, None, "RSTOS0"),
        (SYN | FIN, None, "SH"),
        (ACK, None, "OTH"),
        (SYN, RST | ACK, "REJ"),
        (SYN | ACK, SYN | ACK, "S1"),
        (SYN | ACK | FIN, SYN | ACK | FIN, "SF"),
        (SYN | ACK | FIN, SYN | ACK, "S2"),
        (SYN | ACK, SYN | ACK | FIN, "S3"),
        (SYN | RST, SYN | ACK, "RSTO"),
        (SYN | ACK, SYN | ACK | RST, "RSTR"),
    ],
)
def test_states_are_zeeks_words(sent, answer, state):
    some = [record(tcp_flags=sent, packets=2, end=1)]
    if answer is not None:
        some.append(record(SERVER, CLIENT, start=1, end=2, packets=2, tcp_flags=answer))
    assert only(*some)["state"] == state


def test_states_without_flags():
    assert only(record())["state"] is None  # the exporter does not say
    assert only(record(tcp_flags=SYN), record(SERVER, CLIENT, start=1))["state"] is None
    assert only(record(denied=True))["state"] == "REJ"
    assert only(record(protocol=17))["state"] == "S0"
    assert only(record(protocol=17), record(SERVER, CLIENT, protocol=17, start=1))["state"] == "SF"
    assert only(record(protocol=17), record(SERVER, CLIENT, protocol=17, start=1, denied=True))["state"] == "S0"
    icmp = only(record((CLIENT[0], 0), (SERVER[0], 0), protocol=1))
    assert (icmp["state"], icmp["originator_port"], icmp["transport"]) == ("OTH", None, "icmp")


def test_observers_do_not_pair():
    assert flows(record(observer="eni-1"), record(SERVER, CLIENT, observer="eni-2")).height == 2


def test_batches_carry_what_was_skipped_once():
    tally = ExportTally()
    tally.skipped["broken record"] += 2
    batches = list(flows_of([table(record())], tally, "netflow"))
    assert [batch.skipped for batch in batches] == [{"broken record": 2}]
    account = tally.account("x", "netflow")
    assert (account.flows, account.skipped, account.first, account.last) == (1, {"broken record": 2}, 0, 0)
    assert list(flows_of([], ExportTally(), "netflow")) == []
