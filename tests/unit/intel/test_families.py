"""Feeds that copy each other count once; those that merely agree do not."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.flow.window import DAY, HOUR, MINUTE
from netpersona.intel.families import COPIED, LEAST, overlap
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet

AT = 1_700_000_000_000_000


def feed(name, numbers, confidence=0.5, family=None):
    text = "\n".join(f"20.{n >> 8 & 255}.{n & 255}.7" for n in numbers)
    return parse(text.encode(), FeedSettings(name, confidence=confidence, family=family))


def address(number):
    return f"20.{number >> 8 & 255}.{number & 255}.7"


def test_a_copy_adds_nothing_to_what_its_source_says():
    source, copy = feed("source", range(100)), feed("copy", range(150))
    intel = IndicatorSet.merge([source, copy])
    assert intel.reputation(address(5), AT) == pytest.approx(0.5)
    assert "1 more of the same families count no further" in intel.explain(address(5), AT).words
    assert intel.reputation(address(120), AT) == pytest.approx(0.5)  # what it lists alone is its own


def test_feeds_that_share_some_are_two_witnesses():
    one, other = feed("one", range(100)), feed("other", range(50, 150))
    assert IndicatorSet.merge([one, other]).reputation(address(60), AT) == pytest.approx(0.25)


def test_two_sources_of_one_collection_remain_two_witnesses():
    one, other = feed("one", range(100)), feed("other", range(90, 200))
    both = feed("collection", range(200))
    intel = IndicatorSet.merge([one, other, both])
    assert intel.reputation(address(95), AT) == pytest.approx(0.25)  # not 0.125
    assert intel.reputation(address(5), AT) == pytest.approx(0.5)


def test_a_copy_of_a_copy_counts_to_the_first():
    one, two, three = feed("c", range(100)), feed("b", range(120)), feed("a", range(140))
    intel = IndicatorSet.merge([three, one, two])
    assert set(intel.table.filter(pl.col("value") == address(3))["family"]) == {"c"}
    assert set(intel.table.filter(pl.col("value") == address(110))["family"]) == {"b"}


def test_few_shared_may_be_chance():
    one, other = feed("one", range(LEAST - 1)), feed("other", range(300))
    assert IndicatorSet.merge([one, other]).reputation(address(1), AT) == pytest.approx(0.25)


def test_what_the_operator_says_of_both_counts():
    one, other = feed("one", range(100), family="x"), feed("other", range(100), family="y")
    assert IndicatorSet.merge([one, other]).reputation(address(1), AT) == pytest.approx(0.25)
    other = feed("other", range(100))
    assert set(IndicatorSet.merge([one, other]).table["family"]) == {"x"}  # "other" is as large: the later name copies


def test_what_is_told_of_an_overlap():
    found = overlap(
        IndicatorSet.merge([feed("one", range(100)), feed("two", range(120)), feed("three", range(500, 510))]).table
    )
    assert found.with_others("two") == {"one": 100}
    assert found.sources("two") == ("one",)
    assert found.unique("two") == pytest.approx(20 / 120)
    assert found.unique("three") == 1.0
    assert overlap(IndicatorSet.merge([]).table).feeds == ()


lists = st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 60), max_size=60), min_size=1, max_size=4)


def slowly(said, name, number):
    """The family of a listing: of the smallest feed that lists the number too and is copied, and so on."""
    order = sorted(said, key=lambda feed: (len(said[feed]), feed))
    for source in order[: order.index(name)]:
        both = len(said[name] & said[source])
        if number in said[source] and both >= COPIED * len(said[source]) and both >= LEAST:
            return slowly(said, source, number)
    return name


@settings(max_examples=100, deadline=None)
@given(lists, st.randoms(use_true_random=False))
def test_families_are_those_of_the_slow_way_in_any_order(said, shuffle):
    said = {name: numbers for name, numbers in said.items() if numbers}
    snapshots = [feed(name, sorted(numbers)) for name, numbers in said.items()]
    shuffle.shuffle(snapshots)
    table = IndicatorSet.merge(snapshots).table
    expected = {(address(n), name): slowly(said, name, n) for name, numbers in said.items() for n in numbers}
    assert {
        (value, name): family for value, name, family in table.select("value", "feed", "family").iter_rows()
    } == expected


def dated(**columns):
    said = feed("one", [1, 2])
    table = said.indicators.with_columns(**{name: pl.lit(value, pl.Int64) for name, value in columns.items()})
    return IndicatorSet(table)


def test_the_next_change_is_the_next_end_or_the_next_look_at_what_fades():
    assert dated().next_change(AT) is None
    assert dated(valid_until=AT + HOUR).next_change(AT) == AT + HOUR
    assert dated(half_life=DAY).next_change(AT) is None  # without a beginning nothing fades
    fading = dated(valid_from=AT - DAY, half_life=DAY)
    first = fading.next_change(AT)
    assert AT < first <= AT + DAY // 32
    assert fading.next_change(first - 1) == first
    assert fading.next_change(first) == first + DAY // 32
    assert dated(valid_from=AT, half_life=MINUTE).next_change(AT) <= AT + 5 * MINUTE
    allowed = IndicatorSet(dated().table, AllowList((AllowEntry("1.2.3.4", AT + 5, "x"),)))
    assert allowed.next_change(AT) == AT + 5
