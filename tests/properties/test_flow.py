"""What must hold of flows on their way to the VMs: none is lost, none is counted twice, and no order matters."""

from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.flow.distinct import TOLERANCE, distinct, union
from netpersona.flow.orient import first_activity, oriented, owner_table
from netpersona.flow.vm import canonical_address, vm_id, vm_id_of_address
from netpersona.flow.window import WINDOW, window_of
from properties.given_flows import START, VMS, flow_rows, flow_table
from properties.personas import addresses


@settings(max_examples=50, deadline=None)
@given(flow_rows)
def test_every_flow_is_a_row_of_each_vm_that_it_concerns(rows):
    table = oriented(flow_table(rows), owner_table(VMS))
    expected = Counter(
        (VMS[row[own]], row[own], row[other], direction, row["start"] - row["start"] % WINDOW, row["start"])
        for row in rows
        for direction, own, other in (("outbound", "originator", "responder"), ("inbound", "responder", "originator"))
        if row[own] in VMS
    )
    assert Counter(table.select("vm", "vm_address", "peer", "direction", "window", "start").rows()) == expected


@settings(max_examples=30, deadline=None)
@given(flow_rows, st.integers(0, 3 * WINDOW))
def test_what_comes_before_its_window_is_all_that_since_leaves_out(rows, later):
    since = START + later
    table = oriented(flow_table(rows), owner_table({"10.0.0.1": "a"}, {"10.0.0.1": since}))
    expected = [
        row["start"]
        for row in rows
        for own in ("originator", "responder")
        if row[own] == "10.0.0.1" and row["start"] >= window_of(since).start
    ]
    assert sorted(table["start"]) == sorted(expected)


@settings(max_examples=30, deadline=None)
@given(flow_rows, flow_rows)
def test_first_activity_of_two_parts_is_the_earlier(one, other):
    whole = dict(first_activity(flow_table(one + other)).iter_rows())
    parts = [dict(first_activity(flow_table(rows)).iter_rows()) for rows in (one, other)]
    assert whole == {a: min(p[a] for p in parts if a in p) for a in parts[0] | parts[1]}


_near = st.sampled_from([START, START, START + 50_000, START + 100_000, START + 250_000])
_sight = st.fixed_dictionaries(
    {
        "start": _near,
        "transport": st.sampled_from(["tcp", "tcp", "icmp"]),
        "originator": st.just("10.0.0.1"),
        "originator_port": st.sampled_from([50000, 50000, 50001, None]),
        "responder": st.just("9.9.9.9"),
        "responder_port": st.sampled_from([443, 443, None]),
        "packets_resp": st.sampled_from([0, 1, None]),
        "bytes_orig": st.integers(0, 2),
        "state": st.sampled_from(["SF", "SF", "S0", None, "REJ"]),
        "source": st.sampled_from(["tap", "agent", "mirror"]),
    }
)
sights = st.lists(_sight, max_size=12)


def multiset(table: pl.DataFrame) -> Counter[tuple[object, ...]]:
    return Counter(table.select(sorted(table.columns)).rows())


@settings(max_examples=80, deadline=None)
@given(sights, st.randoms(use_true_random=False))
def test_what_is_distinct_does_not_depend_on_the_order(rows, chance):
    before = multiset(distinct(flow_table(rows)))
    chance.shuffle(rows)
    assert multiset(distinct(flow_table(rows))) == before


@settings(max_examples=50, deadline=None)
@given(sights)
def test_what_is_distinct_was_given_and_nothing_alone_is_lost(rows):
    given_rows, left = multiset(flow_table(rows)), distinct(flow_table(rows))
    assert multiset(left) <= given_rows
    assert bool(rows) == bool(left.height)
    for source in {row["source"] for row in rows}:
        own = [row for row in rows if row["source"] == source]
        assert multiset(distinct(flow_table(own))) == multiset(flow_table(own))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 10**6), unique=True, max_size=10), st.integers(-TOLERANCE, TOLERANCE))
def test_a_second_sensor_adds_nothing(instants, delay):
    """Of answered flows further apart than the tolerance, two sensors see exactly what the one sees."""
    flow = {"transport": "tcp", "originator": "10.0.0.1", "originator_port": 5, "responder": "9.9.9.9", "state": "SF"}
    one = [flow | {"start": START + 3 * TOLERANCE * at, "source": "tap"} for at in instants]
    other = [row | {"start": row["start"] + delay, "source": "agent"} for row in one]
    both = distinct(flow_table(one + other))
    assert both.height == len(one)
    assert (both["source"].n_unique() == 1) or not one or delay == 0


@settings(max_examples=40, deadline=None)
@given(sights, sights)
def test_a_union_is_the_greater_of_both_counts(one, other):
    first, second = flow_table(one), flow_table(other)
    whole = multiset(first) | multiset(second)
    assert multiset(union(first, second)) == multiset(union(second, first)) == whole


@given(addresses)
def test_the_canonical_text_of_an_address_names_a_vm_and_stays_itself(address):
    text = canonical_address(address)
    assert canonical_address(text) == text
    assert vm_id(vm_id_of_address(text)) == vm_id_of_address(text)


@given(st.integers(-(10**18), 10**18), st.sampled_from([60_000_000, WINDOW, 3_600_000_000]))
def test_a_window_is_aligned_and_holds_its_instant(at, length):
    window = window_of(at, length)
    assert window.start <= at < window.end == window.start + length
    assert window.start % length == 0
