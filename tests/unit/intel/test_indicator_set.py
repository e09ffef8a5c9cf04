"""What a person or a policy asks of merged intelligence."""

from __future__ import annotations

import polars as pl
import pytest

from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.indicators import IndicatorSet, PeerGroup

DAY = 86_400_000_000


def feed(name, text, **settings):
    return parse(text.encode(), FeedSettings(name, **settings))


def dated(snapshot, start=None, end=None):
    columns = snapshot.indicators.with_columns(
        pl.lit(start, pl.Int64).alias("valid_from"), pl.lit(end, pl.Int64).alias("valid_until")
    )
    return FeedSnapshot(snapshot.settings, columns)


BAD = feed("bad", "1.2.3.4\n1.2.3.0/24\n2a06:e480::/29\nevil.example\n", confidence=0.5, category="c2")
WORSE = feed("worse", "1.2.3.4 # botnet\nevil.example\n", confidence=0.8, category="malware")


def test_feeds_that_agree_make_it_worse_and_feeds_of_one_family_do_not():
    assert IndicatorSet.merge([BAD, WORSE]).reputation("1.2.3.4", 0) == pytest.approx(0.1)
    copy = feed("copy", "1.2.3.4", confidence=0.5, family="bad")
    assert IndicatorSet.merge([BAD, copy]).reputation("1.2.3.4", 0) == pytest.approx(0.5)


def test_what_nobody_lists_has_reputation_one():
    intel = IndicatorSet.merge([BAD])
    for peer in ("9.9.9.9", "::1", "good.example", "notevil.example", "no address", ""):
        assert intel.reputation(peer, 0) == 1.0
    assert IndicatorSet.merge([]).reputation("1.2.3.4", 0) == 1.0
    assert len(IndicatorSet.merge([])) == 0


def test_a_listing_fades_by_its_half_life_and_ends_at_its_end():
    fading = dated(feed("f", "1.2.3.4", confidence=0.8, half_life=DAY), start=0, end=3 * DAY)
    intel = IndicatorSet.merge([fading])
    assert [intel.reputation("1.2.3.4", at) for at in (-1, 0, DAY, 2 * DAY, 3 * DAY)] == pytest.approx(
        [1, 0.2, 0.6, 0.8, 1]
    )
    assert [intel.next_expiry(at) for at in (-1, 0, 3 * DAY)] == [0, 3 * DAY, None]


def test_without_an_instant_all_listings_match_and_with_one_those_in_force():
    intel = IndicatorSet.merge([dated(feed("f", "1.2.3.4"), end=10)])
    peers = pl.Series(["1.2.3.4"])
    assert intel.match_addresses(peers).height == 1
    assert intel.match_addresses(peers, 9).height == 1
    assert intel.match_addresses(peers, 10).is_empty()


def test_an_address_inside_a_listed_network_combines_both():
    intel = IndicatorSet.merge([BAD, WORSE])
    assert intel.below(0.3, 0) == PeerGroup(("1.2.3.4",), ())
    assert intel.below(0.6, 0) == PeerGroup((), ("1.2.3.0/24", "2a06:e480::/29"))
    assert intel.below(0.05, 0) == PeerGroup()


def test_neighbouring_networks_become_one_and_neighbouring_addresses_stay():
    intel = IndicatorSet.merge([feed("f", "1.2.2.0/24\n1.2.3.0/25\n1.2.3.128/25\n5.0.0.2\n5.0.0.3\n1.2.3.9\n")])
    assert intel.below(1.0, 0) == PeerGroup(("5.0.0.2", "5.0.0.3"), ("1.2.2.0/23",))


def test_groups_by_feed_and_category():
    intel = IndicatorSet.merge([BAD, WORSE])
    assert intel.in_feeds(["worse"], 0) == PeerGroup(("1.2.3.4",), ())
    assert intel.in_feeds(["nobody"], 0) == PeerGroup()
    assert intel.in_categories(["c2", "malware"], 0).networks == ("1.2.3.0/24", "2a06:e480::/29")
    assert intel.domains(0, feeds=["bad"], categories=["c2"]) == ("evil.example",)
    assert intel.domains(0, feeds=["bad"], categories=["malware"]) == ()
    assert intel.domains(0, below=0.05) == ()


def test_an_allowed_hole_is_cut_out_of_a_listed_network_and_closes_when_it_ends():
    allow = AllowList((AllowEntry("1.2.3.128/25", 10, "ticket 1"),))
    intel = IndicatorSet.merge([BAD], allow)
    assert intel.below(0.6, 9).networks == ("1.2.3.0/25", "2a06:e480::/29")
    assert intel.below(0.6, 10).networks == ("1.2.3.0/24", "2a06:e480::/29")
    assert intel.next_expiry(0) == 10
    assert intel.match_addresses(pl.Series(["1.2.3.200"])).height == 1
    assert intel.match_addresses(pl.Series(["1.2.3.200"]), 9).is_empty()


def test_names_match_at_label_boundaries_in_any_case_and_without_end():
    intel = IndicatorSet.merge([BAD])
    names = [
        "evil.example",
        "www.EVIL.example.",
        "notevil.example",
        "evil.example.org",
        "a." * 200 + "evil.example",
        ".",
        "",
    ]
    found = intel.match_names(pl.Series(names))["name"].to_list()
    assert set(found) == {"evil.example", "www.EVIL.example.", "a." * 200 + "evil.example"}
    assert intel.match_names(pl.Series([], dtype=pl.String)).is_empty()
    assert intel.match_addresses(pl.Series([None], dtype=pl.String)).is_empty()


def test_an_explanation_names_feed_line_and_arithmetic():
    told = IndicatorSet.merge([BAD, WORSE]).explain("1.2.3.4", 0)
    assert [(row.feed, row.line, row.value) for row in told] == [
        ("bad", 1, "1.2.3.4"),
        ("worse", 1, "1.2.3.4"),
        ("bad", 2, "1.2.3.0/24"),
    ]
    assert told.reputation == pytest.approx(0.1)
    assert "worse:1 lists 1.2.3.4 as malware (0.8)" in told.words
    assert "Reputation = (1 - 0.5) × (1 - 0.8) = 0.1" in told.words
    assert "1 more of the same families" in told.words


def test_an_explanation_shows_what_is_no_longer_in_force_and_what_is_allowed():
    intel = IndicatorSet.merge([dated(BAD, end=10)], AllowList((AllowEntry("evil.example", None, "our own honeypot"),)))
    late = intel.explain("1.2.3.4", 10)
    assert (late.reputation, [row.in_force for row in late]) == (1.0, [False, False])
    assert "2 listings are not in force" in late.words
    ours = intel.explain("www.evil.example", 0)
    assert ours.reputation == 1.0
    assert ours.allowed is not None
    assert "our own honeypot" in ours.words
    assert "No feed lists 9.9.9.9" in intel.explain("9.9.9.9", 0).words


def test_an_address_is_asked_in_any_spelling():
    intel = IndicatorSet.merge([BAD])
    for spelling in ("::ffff:1.2.3.4", "1.2.3.4"):
        assert intel.reputation(spelling, 0) == 0.5
        assert intel.explain(spelling, 0).reputation == 0.5
    assert intel.reputation("2A06:E480:0::1", 0) == 0.5


def test_the_content_id_is_the_contents():
    one, other = IndicatorSet.merge([BAD, WORSE]), IndicatorSet.merge([WORSE, BAD, BAD])
    assert one.content_id == other.content_id
    assert one.content_id != IndicatorSet.merge([BAD]).content_id
    assert one.content_id != IndicatorSet.merge([BAD, WORSE], AllowList((AllowEntry("9.9.9.9", None, ""),))).content_id


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"netpersona-indicators 1\n[]\n", b"netpersona-indicators 2 0\n[]\n"]
)
def test_stored_bytes_of_another_kind_are_refused(content):
    with pytest.raises(ValueError, match="stored set"):
        IndicatorSet.from_bytes(content)


def test_stored_bytes_that_are_damaged_anywhere_are_refused():
    content = IndicatorSet.merge([BAD, WORSE]).to_bytes()
    for place in range(0, len(content), 97):
        damaged = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])
        for bad in (damaged, content[:place]):
            with pytest.raises(ValueError, match="stored set"):
                IndicatorSet.from_bytes(bad)


def test_allow_entries_cover_addresses_and_names_until_they_end():
    allow = AllowList(
        (AllowEntry("1.2.3.0/24", 10, "net"), AllowEntry("1.2.3.4", 5, "one"), AllowEntry("ours.example", None, "name"))
    )
    assert [entry.comment for at in (4, 5, 9) if (entry := allow.address_entry("1.2.3.4", at))] == ["one", "net", "net"]
    assert not allow.covers_address("1.2.3.4", 10)
    assert allow.covers_address("::ffff:1.2.3.4", 9)
    assert not allow.covers_address("ours.example", 0)
    assert allow.covers_name("www.Ours.example.", 0)
    assert not allow.covers_name("yours.example", 0)
    assert allow.ends() == (5, 10)
    assert [str(network) for network in allow.networks(5)] == ["1.2.3.0/24"]
    assert allow.names(0) == ("ours.example",)


def test_a_listing_that_a_feed_repeats_stands_once_at_its_first_line():
    other = feed("bad", "# moved\n\n1.2.3.4\n1.2.3.0/24\n", confidence=0.5, category="c2")
    merged = IndicatorSet.merge([other, BAD])
    assert merged.content_id == IndicatorSet.merge([BAD]).content_id == IndicatorSet.merge([BAD, BAD]).content_id
    assert merged.table.filter(pl.col("value") == "1.2.3.4")["line"].to_list() == [1]
