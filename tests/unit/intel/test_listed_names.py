"""The quick look-up of names misses none that is listed, and says of no other that it may be."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.warning_lists import warning_lists
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.listed_names import ListedNames, listed_as
from netpersona.intel.shared_hosting import shared_hosts
from netpersona.intel.sites import same_site

LABELS = st.lists(st.sampled_from(["a", "b", "evil", "example"]), min_size=1, max_size=4).map(".".join)


@settings(max_examples=80, deadline=None)
@given(st.sets(LABELS, max_size=6), st.sets(LABELS, max_size=8))
def test_it_finds_what_a_look_at_every_pair_finds(listed, names):
    found = ListedNames.of(pl.Series(sorted(listed), dtype=pl.String))
    expected = {name for name in names if any(name == top or name.endswith(f".{top}") for top in listed)}
    assert found.among(names) == expected
    assert {name for name in names if found.may_hold(name)} == expected


def test_case_and_a_trailing_dot_hide_no_name():
    found = ListedNames.of(pl.Series(["evil.example"]))
    assert found.among(["WWW.Evil.Example.", "notevil.example"]) == {"WWW.Evil.Example."}


def test_the_surest_listing_is_told_and_outside_text_is_made_fit():
    feeds = [
        parse(b"evil.example\n", FeedSettings("rumour", confidence=0.4)),
        parse(b"other.example\nexample\n", FeedSettings("sure", confidence=0.9, category="c2\x1b[31m\u202e")),
    ]
    told = listed_as(pl.Series(["evil.example"]), IndicatorSet.merge(feeds), 0)
    assert told == {"evil.example": "evil.example, which rumour:1 lists as malicious (0.40)"}
    known = listed_as(pl.Series(["x.other.example"]), IndicatorSet.merge(feeds), 0)["x.other.example"]
    assert known == "x.other.example, whose other.example sure:1 lists as c2?[31m? (0.90)"


def test_a_site_is_a_name_up_to_what_somebody_registered():
    assert list(same_site("a.b.example.co.uk")) == ["a.b.example.co.uk", "b.example.co.uk", "example.co.uk"]
    assert list(same_site("co.uk")) == ["co.uk"]
    assert list(same_site("host.internal")) == ["host.internal"]


def test_hosts_of_everybody_are_those_that_lists_name_and_public_suffixes():
    hosts = ["github.com", "raw.githubusercontent.com", "evil.github.io", "github.io", "8.8.8.8", "20.0.0.1", "x.test"]
    assert shared_hosts(hosts, warning_lists(None)) == {
        "github.com",
        "raw.githubusercontent.com",
        "github.io",
        "8.8.8.8",
    }
    assert shared_hosts([], warning_lists(None)) == set()
