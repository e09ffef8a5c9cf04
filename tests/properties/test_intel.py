"""What must hold of intelligence whatever the feeds say: each answer equals that of a slow, obvious oracle."""

from __future__ import annotations

from ipaddress import collapse_addresses, ip_address, ip_network
from itertools import permutations

import numpy as np
import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.formats import FormatError, entries
from netpersona.intel.indicator import INDICATOR_SCHEMA, no_indicators
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.odd_value import odd_value
from netpersona.intel.prefix import prefixes
from netpersona.intel.values import values

AT = 1_000_000
WIDTH = {4: 32, 6: 128}
EDGES = {4: [0, 1, 2**32 - 1, 0xC0A80000, 0x01020304], 6: [0, 1, 2**128 - 1, 0x2A06E480 << 96, 1 << 64, (1 << 64) - 1]}


@st.composite
def numbers(draw, version):
    """An address as a number; many are near each other, so that prefixes nest and touch."""
    near = st.sampled_from(EDGES[version]).flatmap(lambda edge: st.integers(-3, 3).map(lambda step: edge + step))
    anywhere = st.integers(0, 2 ** WIDTH[version] - 1)
    return draw(near | anywhere) % 2 ** WIDTH[version]


@st.composite
def networks(draw):
    version = draw(st.sampled_from([4, 6]))
    length = draw(st.integers(0, WIDTH[version]) | st.just(WIDTH[version]) | st.sampled_from([24, 30, 31]))
    return (
        ip_network((draw(numbers(version)), length), strict=False)
        if version == 4
        else _network6(draw(numbers(6)), length)
    )


def _network6(number, length):
    return ip_network((ip_address(number.to_bytes(16, "big")), length), strict=False)


instants = st.none() | st.integers(AT - 3, AT + 3)


@st.composite
def listings(draw):
    """(network or name, feed, family, confidence, valid_from, valid_until, half_life)."""
    what = draw(networks() | st.sampled_from(["evil.example", "a.evil.example", "b.a.evil.example", "example.org"]))
    feed = draw(st.sampled_from(["one", "two", "three"]))
    confidence = draw(st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
    half_life = draw(st.sampled_from([None, 1, 1000]))
    return what, feed, draw(st.sampled_from(["x", "y"])), confidence, draw(instants), draw(instants), half_life


def snapshot(rows):
    table = [
        {
            "value": _text(what),
            "type": "domain" if isinstance(what, str) else "address" if what.num_addresses == 1 else "network",
            "confidence": confidence,
            "valid_from": start,
            "valid_until": end,
            "feed": feed,
            "line": line,
            "family": family,
            "half_life": half_life,
            "category": f"kind-{feed}",
        }
        for line, (what, feed, family, confidence, start, end, half_life) in enumerate(rows, 1)
    ]
    return FeedSnapshot(FeedSettings("f"), pl.DataFrame(table, schema=INDICATOR_SCHEMA))


def _text(what):
    if isinstance(what, str):
        return what
    return str(what.network_address) if what.num_addresses == 1 else str(what)


def covers(what, peer):
    """The oracle of matching: one listing, one peer."""
    if isinstance(what, str):
        return peer == what or peer.endswith("." + what)
    try:
        return ip_address(peer) in what
    except ValueError:
        return False


def oracle(rows, peer, at):
    """The oracle of reputation, straight from its definition."""
    families = {}
    for what, _, family, confidence, start, end, half_life in rows:
        if not covers(what, peer) or (start is not None and start > at) or (end is not None and end <= at):
            continue
        fresh = 1.0 if start is None or half_life is None else 2 ** -((at - start) / half_life)
        families[family] = max(families.get(family, 0.0), confidence * fresh)
    good = 1.0
    for weight in families.values():
        good *= 1 - weight
    return good


def probes(rows):
    """The addresses at which an answer may change, and their neighbours."""
    found = set()
    for what, *_ in rows:
        if not isinstance(what, str):
            for number in (int(what.network_address), int(what.broadcast_address)):
                for step in (-1, 0, 1):
                    if 0 <= number + step < 2**what.max_prefixlen:
                        found.add(type(what.network_address)(number + step))
    return [str(address) for address in sorted(found, key=lambda a: (a.version, int(a)))]


def scores(intel, at=AT, *, of):
    """The reputation of each address or name, asked in columns."""
    asked = pl.Series(of, dtype=pl.String)
    known = dict(intel.reputations(asked, at).rows()) | dict(intel.name_reputations(asked, at).rows())
    return {peer: known.get(peer, 1.0) for peer in of}


NAMES = [
    "evil.example",
    "a.evil.example",
    "xa.evil.example",
    "notevil.example",
    "example",
    "x.b.a.evil.example",
    "example.org",
]
many = st.lists(listings(), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(many)
def test_every_pair_of_peer_and_listing_is_found_and_no_other(rows):
    intel = IndicatorSet.merge([snapshot(rows)])
    peers = [*probes(rows), "0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "no address"]
    found = set(intel.match_addresses(pl.Series(peers)).rows())
    listed = list(enumerate(intel.table["value"].to_list()))
    kinds = intel.table["type"].to_list()
    expected = {
        (peer, row)
        for peer in peers
        for row, value in listed
        if kinds[row] != "domain" and covers(ip_network(value), peer)
    }
    assert found == expected
    names = set(intel.match_names(pl.Series(NAMES)).rows())
    assert names == {(n, row) for n in NAMES for row, value in listed if kinds[row] == "domain" and covers(value, n)}


@settings(max_examples=40, deadline=None)
@given(st.lists(networks(), min_size=1, max_size=12))
def test_the_hot_look_up_agrees_with_the_oracle_with_its_bitmap_and_without(found):
    rows = [(network, "one", "x", 0.5, None, None, None) for network in found]
    intel = IndicatorSet.merge([snapshot(rows)])
    peers = probes(rows)
    expected = [any(covers(network, peer) for network in found) for peer in peers]
    assert intel.listed(pl.Series(peers)).tolist() == expected
    v4 = [(int(ip_address(peer)), want) for peer, want in zip(peers, expected, strict=True) if "." in peer]
    numbers_v4 = np.array([number for number, _ in v4], dtype=np.uint32)
    assert intel.listed(numbers_v4).tolist() == [want for _, want in v4]
    assert intel._addresses.v4._read(numbers_v4).tolist() == [want for _, want in v4]  # the bitmap, of many intervals
    v6 = [(int(ip_address(peer)), want) for peer, want in zip(peers, expected, strict=True) if ":" in peer]
    halves = np.array([(number >> 64, number & (2**64 - 1)) for number, _ in v6], dtype=np.uint64).reshape(len(v6), 2)
    assert intel.listed(halves).tolist() == [want for _, want in v6]


@settings(max_examples=40, deadline=None)
@given(many)
def test_reputation_is_what_its_definition_says(rows):
    intel = IndicatorSet.merge([snapshot(rows)])
    found = scores(intel, of=[*probes(rows), *NAMES])
    for peer, reputation in found.items():
        assert abs(reputation - oracle(rows, peer, AT)) < 1e-9
    for peer in [*list(found)[:2], NAMES[2]]:
        assert intel.reputation(peer, AT) == found[peer]
        assert abs(intel.explain(peer, AT).reputation - found[peer]) < 1e-9


@settings(max_examples=40, deadline=None)
@given(many, st.sampled_from([0.05, 0.4, 0.6, 0.95, 1.0]))
def test_a_group_holds_exactly_the_peers_below_the_threshold_and_is_as_small_as_can_be(rows, threshold):
    intel = IndicatorSet.merge([snapshot(rows)])
    group = intel.below(threshold, AT)
    _assert_canonical(group)
    for peer, reputation in scores(intel, of=probes(rows)).items():
        assert _holds(group, peer) == (reputation < threshold), peer
    below = intel.domains(AT, below=threshold)
    for name, reputation in scores(intel, of=NAMES).items():
        assert any(covers(domain, name) for domain in below) == (reputation < threshold)


def _assert_canonical(group):
    listed = [ip_network(text) for text in group.networks]
    for version in (4, 6):
        mine = [network for network in listed if network.version == version]
        assert mine == list(collapse_addresses(mine)) == sorted(mine)
    assert list(group.addresses) == sorted(set(group.addresses), key=lambda a: (ip_address(a).version, ip_address(a)))
    assert not any(ip_address(address) in network for address in group.addresses for network in listed)


def _holds(group, peer):
    return peer in group.addresses or any(covers(ip_network(network), peer) for network in group.networks)


@settings(max_examples=25, deadline=None)
@given(many, st.lists(networks(), min_size=1, max_size=4))
def test_an_allow_list_always_wins_until_it_ends(rows, allowed):
    entries_ = tuple(AllowEntry(str(network), AT + 1, "a partner") for network in allowed)
    entries_ += (AllowEntry("evil.example", AT + 1, "ours"),)
    bare, intel = IndicatorSet.merge([snapshot(rows)]), IndicatorSet.merge([snapshot(rows)], AllowList(entries_))
    peers = probes(rows) + probes([(network,) for network in allowed])
    covered = [peer for peer in peers if any(covers(network, peer) for network in allowed)]
    groups = [intel.below(1.0, AT), intel.in_feeds(["one", "two"], AT), intel.in_categories(["kind-three"], AT)]
    matched = set(intel.match_addresses(pl.Series(peers, dtype=pl.String), AT)["peer"].to_list())
    before, during, after = scores(bare, of=peers), scores(intel, of=peers), scores(intel, AT + 1, of=peers)
    assert after == scores(bare, AT + 1, of=peers)
    for peer in peers:
        if peer in covered:
            assert during[peer] == 1.0
            assert peer not in matched
            assert not any(_holds(group, peer) for group in groups)
        else:
            assert during[peer] == before[peer]
            assert _holds(groups[0], peer) == (before[peer] < 1.0)
    for group in groups:
        _assert_canonical(group)
    assert intel.reputation("x.a.evil.example", AT) == 1.0
    assert not any(covers("evil.example", domain) for domain in intel.domains(AT))
    assert intel.below(1.0, AT + 1) == bare.below(1.0, AT + 1)


@settings(max_examples=25, deadline=None)
@given(many, many)
def test_more_listings_never_raise_a_reputation(some, more):
    fewer, all_ = IndicatorSet.merge([snapshot(some)]), IndicatorSet.merge([snapshot(some), snapshot(more)])
    peers = [*probes(some + more), *NAMES]
    before, after = scores(fewer, of=peers), scores(all_, of=peers)
    assert all(after[peer] <= before[peer] + 1e-12 for peer in peers)


@settings(max_examples=20, deadline=None)
@given(many, many, many)
def test_the_order_of_feeds_means_nothing_and_a_set_survives_storing(a, b, c):
    snapshots = [snapshot(a), snapshot(b), snapshot(c)]
    sets = [IndicatorSet.merge(order) for order in permutations(snapshots)]
    assert len({intel.content_id for intel in sets}) == 1
    assert all(intel.table.equals(sets[0].table) for intel in sets)
    allow = AllowList((AllowEntry("192.0.2.1", None, "x"), AllowEntry("evil.example", 5, "y", "me")))
    kept = IndicatorSet.merge(snapshots, allow)
    again = IndicatorSet.from_bytes(kept.to_bytes())
    assert again.content_id == kept.content_id != sets[0].content_id
    assert again.table.equals(kept.table)


@settings(max_examples=40, deadline=None)
@given(st.lists(many, max_size=4), st.booleans())
def test_a_merge_is_all_rows_in_order_each_once_but_for_its_line(feeds, own):
    snapshots = [
        snapshot([(w, f"{w}-{n}" if own else f, *more) for w, f, *more in rows]) for n, rows in enumerate(feeds)
    ]
    columns = [
        "type",
        "value",
        "feed",
        *(name for name in INDICATOR_SCHEMA if name not in {"type", "value", "feed", "line"}),
    ]
    rows = pl.concat([no_indicators(), *(each.indicators for each in snapshots)]).sort(*columns, "line")
    assert IndicatorSet.merge(snapshots).table.equals(rows.unique(columns, keep="first", maintain_order=True))


@given(
    st.lists(
        networks().map(_text) | st.text(max_size=20) | st.sampled_from(["1.2.3.4\n", "1.2.3", "01.2.3.4"]) | st.none()
    )
)
def test_texts_are_read_as_the_numbers_that_they_stand_for(texts):
    found = prefixes(pl.Series(texts, dtype=pl.String))
    for text, row in zip(texts, found.rows(), strict=True):
        try:
            network = ip_network(text or "", strict=False)
        except ValueError:
            network = None
        if network is None or str(network.network_address) not in {text, text.rpartition("/")[0]}:
            continue  # only canonical texts are read
        first = int(network.network_address)
        assert row == (network.version, first >> 64, first & (1 << 64) - 1, network.prefixlen)


@settings(max_examples=40, deadline=None)
@given(many)
def test_nothing_changes_between_now_and_the_next_expiry(rows):
    still = [(*row[:6], None) for row in rows]
    intel = IndicatorSet.merge([snapshot(still)])
    then = intel.next_expiry(AT)
    assume(then is not None)
    assert then > AT
    peers = [*probes(still), *NAMES]
    assert scores(intel, of=peers) == scores(intel, then - 1, of=peers)


labels = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_", min_size=1, max_size=12)
spellings = st.one_of(
    networks().map(str),
    networks().map(_text),
    networks().map(lambda n: n.exploded),
    networks().map(lambda n: f"{n.network_address + min(1, n.num_addresses - 1)}/{n.prefixlen}"),
    st.integers(0, 2**32 - 1).map(lambda n: f"{ip_address(n)}:{n % 70000}"),
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.lists(labels, min_size=1, max_size=4).map(lambda parts: f"HTTPS://{'.'.join(parts)}/Path?q=1"),
    st.integers(0, 2**32 - 1).map(lambda n: f"http://{ip_address(n)}:8080/x#y"),
    st.sampled_from(
        ["AS64496", "as0", "CVE-2024-12345", "a" * 32, "F" * 40, "0" * 64, "::ffff:1.2.3.4", "::ffff:102:304"]
    ),
    st.text("0123456789abcdef:./[]()-@ hx", max_size=24),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(spellings, min_size=1, max_size=20))
def test_reading_in_columns_equals_reading_one_by_one(raws):
    raws = [raw for raw in raws if raw.strip()]
    table = entries(
        pl.DataFrame({"line": range(1, len(raws) + 1), "raw": raws}, schema={"line": pl.UInt32, "raw": pl.String})
    )
    read = values(table)
    got = set(read.table.select("line", "value", "type").rows())
    expected, refused = set(), 0
    for line, raw in enumerate(raws, 1):
        try:
            expected |= {(line, each.value, each.type.value) for each in odd_value(raw)}
        except ValueError:
            refused += 1
    assert got == expected
    assert read.refused_total == refused


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(spellings | st.sampled_from(["# note", "", "0.0.0.0 x.example", '"a","b"', "ip,when"]), max_size=12)
    .map("\r\n".join)
    .map(str.encode)
)
def test_any_bytes_become_canonical_indicators_or_a_clear_refusal(content):
    try:
        found = parse(content, FeedSettings("any"))
    except FormatError:
        return
    assert dict(found.indicators.schema) == dict(pl.Schema(INDICATOR_SCHEMA))
    for value, kind in found.indicators.select("value", "type").rows():
        if kind == "address":
            assert str(ip_address(value)) == value
        elif kind == "network":
            assert str(ip_network(value)) == value
        elif kind == "domain":
            assert value == value.lower()
            assert "." in value.strip(".") == value
