"""What must hold of observations whatever was seen: the columns say what a slow look at every row says, and parts add up."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.flow.orient import oriented, owner_table
from netpersona.flow.window import WINDOW, Window
from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, FeedSnapshot
from netpersona.intel.indicator import INDICATOR_SCHEMA, Indicator, IndicatorType
from netpersona.intel.indicators import IndicatorSet
from netpersona.observation.merge import merge
from netpersona.observation.model import (
    CHATTER,
    Conversation,
    FingerprintUse,
    NameUse,
    Observation,
    Probe,
    Sighting,
    sighting_order,
)
from netpersona.observation.observe import observe
from properties.given_flows import (
    NAMES,
    PEERS,
    START,
    VMS,
    flow_rows,
    flow_table,
    instants,
    transaction_rows,
    transaction_table,
)

REFUSALS = {"REJ", "RSTOS0", "S0", "SH", "RSTRH"}
SPOKEN = {"SF", "S1", "S2", "S3", "RSTO", "RSTR"}
COVERED = {  # which of the peers and names each listed value covers
    **{peer: {peer} for peer in PEERS},
    "198.51.100.0/24": {"198.51.100.7"},
    "evil.example": {"evil.example", "a.evil.example", "b.evil.example"},
    "a.evil.example": {"a.evil.example"},
    "http://evil.example/x": {"evil.example"},
    "http://evil.example/y": {"evil.example"},
}


def _type(value):
    if "://" in value:
        return IndicatorType.URL
    if "/" in value:
        return IndicatorType.NETWORK
    return IndicatorType.DOMAIN if value in NAMES else IndicatorType.ADDRESS


listings = st.builds(
    lambda value, feed, line, begins, ends: Indicator(
        value, _type(value), None, None, 0.9, begins, ends, feed, line, family=feed
    ),
    st.sampled_from(sorted(COVERED)),
    st.sampled_from(["drop", "feodo"]),
    st.integers(1, 9),
    st.none() | instants,
    st.none() | instants,
)
peers_and_names = [value for value in sorted(COVERED) if _type(value) != IndicatorType.URL]
allowed = st.builds(AllowEntry, st.sampled_from(peers_and_names), st.none() | instants, st.just("ours"), st.none()).map(
    lambda entry: AllowList((entry,))
)


@st.composite
def indicator_sets(draw):
    """A set of few indicators, each told apart from the others, with or without an allow-list."""
    chosen = draw(st.lists(listings, max_size=4, unique_by=lambda i: (i.value, i.feed)))
    rows = [
        (
            i.value,
            i.type.value,
            i.label,
            i.category,
            i.confidence,
            i.valid_from,
            i.valid_until,
            i.feed,
            i.line,
            i.feed,
            None,
        )
        for i in chosen
    ]
    table = pl.DataFrame(rows, schema=INDICATOR_SCHEMA, orient="row")
    snapshot = FeedSnapshot(FeedSettings("drop", 0.9), table)
    return IndicatorSet.merge([snapshot], draw(st.just(AllowList()) | allowed)), chosen


def seen(rows, table):
    return oriented(table(rows), owner_table(VMS))


def observed(flows, transactions, intel):
    return {
        (o.window.start, o.vm): o
        for o in observe(seen(flows, flow_table), seen(transactions, transaction_table), intel)
    }


# The oracle: one row after the other, in plain Python.


def as_each_vm_sees(rows):
    for row in rows:
        for direction, own, other in (("outbound", "originator", "responder"), ("inbound", "responder", "originator")):
            if row[own] in VMS:
                start = row["start"] - row["start"] % WINDOW
                yield (start, VMS[row[own]]), direction, row[own], row[other], row["responder_port"] or 0, row


def was_answered(row):
    said = any((row[name] or 0) > 0 for name in ("packets_resp", "bytes_resp", "payload_resp"))
    return (said or row["state"] in SPOKEN) and row["state"] not in REFUSALS and not reset_at_once(row)


def reset_at_once(row):
    counted = [row[f"{what}_{end}"] for what in ("packets", "bytes") for end in ("orig", "resp")]
    if row["transport"] != "tcp" or row["state"] is not None or None in counted:
        return False
    openings, resets, opened, reset = counted
    return 1 <= openings <= resets <= 3 and opened <= 84 * openings and reset <= 60 * resets


def begins(row):
    return not row["part"]


def least(values):
    return min((value for value in values if value is not None), default=None)


def slow_conversation(key, rows):
    direction = key[0]
    out, back = ("orig", "resp") if direction == "outbound" else ("resp", "orig")

    def total(what, who):
        return sum(row[f"{what}_{who}"] or 0 for row in rows)

    return Conversation(
        *key,
        flows=sum(begins(row) for row in rows),
        answered=sum(was_answered(row) for row in rows),
        refused=sum((row["state"] in {"REJ", "RSTOS0", "RSTRH"} or reset_at_once(row)) and begins(row) for row in rows),
        bytes_out=total("bytes", out),
        bytes_in=total("bytes", back),
        payload_out=total("payload", out),
        payload_in=total("payload", back),
        packets_out=total("packets", out),
        packets_in=total("packets", back),
        first=min(row["start"] for row in rows),
        last=max(row["start"] + (row["duration"] or 0) for row in rows),
        longest=max(row["duration"] or 0 for row in rows),
        starts=tuple(sorted(row["start"] for row in rows if begins(row))),
        logins_failed=sum(row["auth_success"] is False for row in rows),
        logins_ok=sum(row["auth_success"] is True for row in rows),
        application=least(row["application"] for row in rows),
        server_name=least(row["server_name"] for row in rows),
        tls_fingerprint=least(row["tls_fingerprint"] for row in rows),
    )


def slow_probe(peer, rows):
    """`rows`: (VM's address, port, row)."""
    tried = [(port, row) for _, port, row in rows if row["transport"] in {"tcp", "udp"} and port not in CHATTER]
    return Probe(
        peer,
        vm_address=min(own for own, _, _ in rows),
        transport=min(row["transport"] for _, _, row in rows),
        ports=tuple(sorted({port for port, _ in tried})),
        flows=sum(begins(row) for _, row in tried),
        bytes_in=sum(row["bytes_orig"] or 0 for _, _, row in rows),
        first=min(row["start"] for _, _, row in rows),
        last=max(row["start"] for _, _, row in rows),
    )


def slow_name(key, rows):
    return NameUse(
        *key,
        detail=least(row["detail"] for row in rows),
        agent=least(row["agent"] for row in rows),
        uses=len(rows),
        failed=sum(row["status"] == "NXDOMAIN" for row in rows),
        first=min(row["start"] for row in rows),
        last=max(row["start"] for row in rows),
        answers=tuple(sorted({answer for row in rows for answer in row["answers"] or () if answer is not None})),
    )


def counts(listing, window, what, allow):
    """Whether a listing is a sighting of `what` in the window."""
    if what not in COVERED[listing.value]:
        return False
    begun = listing.valid_from is None or listing.valid_from < window + WINDOW
    over = listing.valid_until is not None and listing.valid_until <= window
    spared = any(what in COVERED[e.value] and (e.until is None or window < e.until) for e in allow.entries)
    return begun and not over and not spared


def slow_sighting(key, uses):
    """`uses`: (flows, answered, bytes out, bytes in, first, last)."""
    out = [sum(use[i] for use in uses) for i in range(4)]
    return Sighting(*key, *out, min(use[4] for use in uses), max(use[5] for use in uses))


def slowly(flows, transactions, listed, allow):
    """What observe() must say, by (window start, VM)."""
    talks, probes, names, prints, macs = (defaultdict(lambda: defaultdict(list)) for _ in range(5))
    for where, direction, own, peer, port, row in as_each_vm_sees(flows):
        if direction == "outbound" or was_answered(row):
            talks[where][direction, row["transport"], port, peer, own].append(row)
        else:
            probes[where][peer].append((own, port, row))
        if direction == "outbound":
            macs[where][row["originator_mac"]].append(row)
            for kind in ("tcp", "tls"):
                prints[where][kind, row[f"{kind}_fingerprint"]].append(row)
    for where, _, _, peer, _, row in as_each_vm_sees(transactions):
        if row["name"] is not None:
            names[where][row["kind"], row["name"], peer].append(row)
    sightings = slow_sightings(flows, transactions, listed, allow)
    return {
        where: Observation(
            vm=where[1],
            window=Window(where[0], where[0] + WINDOW),
            conversations=tuple(slow_conversation(key, rows) for key, rows in sorted(talks[where].items())),
            probes=tuple(slow_probe(peer, rows) for peer, rows in sorted(probes[where].items())),
            names=tuple(slow_name(key, rows) for key, rows in sorted(names[where].items())),
            sightings=tuple(sorted((slow_sighting(*item) for item in sightings[where].items()), key=sighting_order)),
            fingerprints=tuple(
                FingerprintUse(*key, sum(map(begins, rows)))
                for key, rows in sorted((k, r) for k, r in prints[where].items() if k[1] is not None)
            ),
            mac=least(macs[where]),
        )
        for where in talks.keys() | probes.keys() | names.keys()
    }


def slow_sightings(flows, transactions, listed, allow):
    """The uses of what is listed, by (window start, VM), then by what makes one sighting."""
    sightings = defaultdict(lambda: defaultdict(list))
    for where, direction, own, peer, port, row in as_each_vm_sees(flows):
        talk = slow_conversation((direction, row["transport"], port, peer, own), [row])
        use = (talk.flows, talk.answered, talk.bytes_out, talk.bytes_in, talk.first, talk.last)
        for listing in listed:
            if counts(listing, where[0], peer, allow):
                sightings[where][listing, "address", peer, direction, row["transport"], port].append(use)
    for where, direction, _, peer, port, row in as_each_vm_sees(transactions):
        use = (1, 1, 0, 0, row["start"], row["start"])
        for listing in listed:
            is_named = row["kind"] != "alert" and listing.type != IndicatorType.URL
            if is_named and counts(listing, where[0], row["name"], allow):
                sightings[where][listing, row["kind"], peer, direction, row["transport"], port].append(use)
        for listing, via in slow_urls(where[0], row, peer, port, listed, allow):
            sightings[where][listing, via, peer, direction, row["transport"], port].append(use)
    return sightings


def slow_urls(window, row, peer, port, listed, allow):
    """The listed URLs that a row asks for; of those whose host alone is seen the first of each feed."""
    asked_server = peer if row["kind"] != "dns" else None
    urls = [
        each
        for each in listed
        if each.type == IndicatorType.URL
        and counts(each, window, row["name"], allow)
        and not any(asked_server in COVERED[e.value] and (e.until is None or window < e.until) for e in allow.entries)
    ]
    detail = row["detail"] or ""
    if row["kind"] == "http" and "/" in detail:
        path = detail.partition(" ")[2].partition("?")[0]
        return [(each, "url") for each in urls if port == 80 and each.value == f"http://{row['name']}{path}"]
    first = {each.feed: each for each in sorted(urls, key=lambda i: i.value, reverse=True)}
    return [(each, f"{row['kind']}-host") for each in first.values() if row["kind"] != "alert"]


@settings(max_examples=60, deadline=None)
@given(flow_rows, transaction_rows, indicator_sets())
def test_the_columns_say_what_a_look_at_every_row_says(flows, transactions, given_intel):
    intel, listed = given_intel
    assert observed(flows, transactions, intel) == slowly(flows, transactions, listed, intel.allow)


@settings(max_examples=30, deadline=None)
@given(flow_rows, transaction_rows, indicator_sets(), st.data())
def test_two_parts_merged_are_the_whole(flows, transactions, given_intel, data):
    intel, _ = given_intel
    side = st.lists(st.booleans(), min_size=len(flows) + len(transactions), max_size=len(flows) + len(transactions))
    first = data.draw(side)
    parts = []
    for wanted in (True, False):
        own = [row for row, at in zip(flows, first, strict=False) if at is wanted]
        said = [row for row, at in zip(transactions, first[len(flows) :], strict=True) if at is wanted]
        parts.append(observed(own, said, intel))
    one, other = parts
    merged = {
        key: merge(one[key], other[key]) if key in one and key in other else (one.get(key) or other[key])
        for key in one.keys() | other.keys()
    }
    assert merged == observed(flows, transactions, intel)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(flow_rows, transaction_rows), min_size=3, max_size=3), indicator_sets())
def test_merging_needs_no_order_and_no_grouping(parts, given_intel):
    intel, _ = given_intel
    seen_by = [observed(flows, transactions, intel) for flows, transactions in parts]
    for key in seen_by[0].keys() & seen_by[1].keys():
        a, b = seen_by[0][key], seen_by[1][key]
        assert merge(a, b) == merge(b, a)
        if key in seen_by[2]:
            c = seen_by[2][key]
            assert merge(merge(a, b), c) == merge(a, merge(b, c))


@settings(max_examples=20, deadline=None)
@given(flow_rows, transaction_rows, indicator_sets(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_means_nothing(flows, transactions, given_intel, chance):
    intel, _ = given_intel
    before = observed(flows, transactions, intel)
    chance.shuffle(flows)
    chance.shuffle(transactions)
    assert observed(flows, transactions, intel) == before


def test_observations_of_two_vms_or_two_windows_are_not_merged():
    window, later = Window(START, START + WINDOW), Window(START + WINDOW, START + 2 * WINDOW)
    with pytest.raises(ValueError, match="two VMs, a and b"):
        merge(Observation("a", window, ()), Observation("b", window, ()))
    with pytest.raises(ValueError, match="two windows"):
        merge(Observation("a", window, ()), Observation("a", later, ()))
