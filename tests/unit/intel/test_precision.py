"""Which feed is right here, which only says so, and when one is written down only."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.flow.window import DAY
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet
from netpersona.intel.precision import (
    FEEDS_KEPT,
    FLOOR,
    HALF_LIFE,
    LISTINGS_KEPT,
    By,
    Claim,
    Met,
    PrecisionLedger,
    Standard,
    Standards,
    estimate,
    judged,
    sighted,
    weighed,
    wilson,
)
from netpersona.intel.precision_codec import of_bytes, to_bytes
from netpersona.intel.witnesses import by_allow_list, by_families
from netpersona.intel.worth import worths

AT = 1_700_000_000_000_000
RIGHT, WRONG = True, False


def met(feed, *hosts, at=AT):
    return [Met(feed, f"20.0.0.{host}", f"20.0.0.{host}", at) for host in hosts]


def claims(right, *hosts, by=By.PERSON, at=AT, feed=None):
    return [Claim(f"20.0.0.{host}", right, by, at, "ada", feed) for host in hosts]


def feed(name, *values, **settings):
    return parse("\n".join(values).encode(), FeedSettings(name, **settings))


def the(ledger, name="junk", at=AT):
    return estimate(ledger.feeds[name], at)


def test_what_was_met_is_counted_and_what_was_not_is_not_judged():
    ledger = sighted(PrecisionLedger(), met("junk", 1, 1, 2))
    assert ledger.feeds["junk"].sightings == 3
    ledger = judged(ledger, claims(WRONG, 1, 9))
    assert the(ledger)[:3] == (0.0, 1.0, 0.0)
    assert set(ledger.feeds["junk"].listings) == {"20.0.0.1", "20.0.0.2"}


def test_a_claim_about_a_peer_is_one_about_the_network_that_lists_it():
    ledger = sighted(PrecisionLedger(), [Met("junk", "20.0.0.0/8", "20.1.2.3", AT)])
    assert the(judged(ledger, [Claim("20.1.2.3", RIGHT, By.FINDING, AT, "c2_beacon")])).right == 1.0


def test_the_stronger_verdict_holds_whatever_comes_first():
    ledger = sighted(PrecisionLedger(), met("junk", 1))
    said = [
        *claims(RIGHT, 1, by=By.FAMILY),
        *claims(RIGHT, 1, by=By.FINDING, at=AT + 5),
        *claims(WRONG, 1, by=By.PERSON, at=AT - 5),
        *claims(WRONG, 1, by=By.ALLOW_LIST),
    ]
    for order in range(10):
        shuffled = random.Random(order).sample(said, len(said))
        in_turn = ledger
        for claim in shuffled:
            in_turn = judged(in_turn, [claim])
        assert in_turn == judged(ledger, said)
        assert in_turn.feeds["junk"].listings["20.0.0.1"].verdict.by == By.PERSON


def test_another_family_that_says_so_counts_for_half():
    ledger = judged(sighted(PrecisionLedger(), met("junk", 1)), claims(RIGHT, 1, by=By.FAMILY))
    assert the(ledger).right == 0.5


def test_a_feed_that_is_wrong_is_log_only_and_counts_again_when_that_is_long_ago():
    ledger = sighted(PrecisionLedger(), met("junk", *range(6)))
    few, _ = weighed(judged(ledger, claims(WRONG, 0, 1, 2, 3)), AT)
    assert few.log_only == frozenset()  # four verdicts are too few
    ledger, notices = weighed(judged(ledger, claims(WRONG, *range(6))), AT)
    assert ledger.log_only == {"junk"}
    assert notices[0].log_only
    assert "junk is log-only from now on" in notices[0].words
    assert "0 of 6 judged listings were right" in notices[0].words
    same, none = weighed(ledger, AT + HALF_LIFE // 4)
    assert (same, none) == (ledger, ())
    later, notices = weighed(ledger, AT + 3 * HALF_LIFE)
    assert later.log_only == frozenset()
    assert not notices[0].log_only
    assert later.feeds["junk"].sightings == 6


def test_it_counts_again_once_enough_of_it_proves_right_but_does_not_waver():
    ledger = judged(sighted(PrecisionLedger(), met("junk", *range(40))), claims(WRONG, *range(12)))
    ledger, _ = weighed(ledger, AT)
    changes = []
    for host in range(12, 40):
        ledger, notices = weighed(judged(ledger, claims(RIGHT, host)), AT)
        changes += [notice.log_only for notice in notices]
    assert changes == [False]


def held_to(floor, least=5.0):
    return Standards(feeds={"junk": Standard(floor, least)})


def test_a_floor_of_nought_demotes_never_and_a_higher_one_sooner():
    ledger = judged(
        sighted(PrecisionLedger(), met("junk", *range(10))), [*claims(WRONG, *range(6)), *claims(RIGHT, 6, 7, 8, 9)]
    )
    assert weighed(ledger, AT)[0].log_only == frozenset()
    assert weighed(ledger, AT, held_to(0.9))[0].log_only == {"junk"}
    wrong = judged(sighted(PrecisionLedger(), met("junk", *range(10))), claims(WRONG, *range(10)))
    assert weighed(wrong, AT, held_to(0.0))[0].log_only == frozenset()


def test_what_is_log_only_lowers_no_reputation_and_reaches_no_set_but_is_still_met():
    everything = IndicatorSet.merge([feed("junk", "20.0.0.1", "bad.example"), feed("good", "20.0.0.2")])
    counts, watched = everything.split({"junk"})
    assert counts.reputation("20.0.0.1", AT) == 1.0
    assert counts.reputation("bad.example", AT) == 1.0
    assert counts.below(0.5, AT).addresses == ("20.0.0.2",)
    assert counts.in_feeds(["junk"], AT).addresses == ()
    assert watched.below(0.5, AT).addresses == ("20.0.0.1",)
    assert counts.content_id != everything.content_id


def test_an_allow_list_refutes_what_it_covers():
    ledger = sighted(PrecisionLedger(), [*met("junk", 1, 2), Met("junk", "a.shop.example", "", AT)])
    ledger = sighted(ledger, [Met("junk", "http://shop.example/x", "", AT), Met("junk", "20.0.1.0/24", "20.0.1.9", AT)])
    allow = AllowList((AllowEntry("20.0.0.1", None, "our partner"), AllowEntry("shop.example", AT, "ended")))
    assert [claim.about for claim in by_allow_list(ledger, allow, AT)] == ["20.0.0.1"]
    found = by_allow_list(ledger, allow, AT - 1)
    assert [claim.about for claim in found] == ["20.0.0.1", "a.shop.example", "http://shop.example/x"]
    assert not any(claim.right for claim in found)
    assert "our partner" in found[0].who


def test_an_independent_family_bears_out_and_a_copy_does_not():
    many = [f"20.0.1.{n}" for n in range(100)]
    everything = IndicatorSet.merge(
        [feed("a", *many, "20.0.0.1"), feed("copy", *many, "20.0.0.2"), feed("b", "20.0.0.1", "20.0.0.0/30")]
    )
    ledger = sighted(PrecisionLedger(), [*met("a", 1), *met("copy", 2), Met("copy", "20.0.1.7", "20.0.1.7", AT)])
    found = by_families(ledger, everything, AT)
    assert [(claim.about, claim.feed) for claim in found] == [("20.0.0.1", "a"), ("20.0.0.2", "copy")]
    assert all(claim.right and "b" in claim.who for claim in found)


def test_what_was_borne_out_once_fades_like_every_verdict():
    everything = IndicatorSet.merge([feed("a", "20.0.0.1"), feed("b", "20.0.0.1")])
    ledger = judged(
        sighted(PrecisionLedger(), met("a", 1)), by_families(sighted(PrecisionLedger(), met("a", 1)), everything, AT)
    )
    assert by_families(ledger, everything, AT + DAY) == []
    assert the(ledger, "a", AT + HALF_LIFE).right == pytest.approx(0.25)


def test_only_the_last_that_were_met_are_remembered_and_all_are_counted():
    ledger = sighted(PrecisionLedger(), [Met("junk", f"v{n}", "", AT + n) for n in range(LISTINGS_KEPT + 50)])
    record = ledger.feeds["junk"]
    assert record.sightings == LISTINGS_KEPT + 50
    assert len(record.listings) == LISTINGS_KEPT
    assert "v0" not in record.listings
    assert (
        len(sighted(PrecisionLedger(), [Met(f"f{n}", "v", "", AT) for n in range(FEEDS_KEPT + 9)]).feeds) == FEEDS_KEPT
    )


def test_wilsons_interval_is_that_of_the_books():
    low, high = wilson(8, 10)  # at 90 %, z = 1.645: 0.7361 ± 0.1953
    assert (low, high) == pytest.approx((0.5408, 0.9314), abs=5e-4)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30))
def test_more_that_is_right_never_lowers_the_interval(right, wrong):
    if right + wrong:
        before, after = wilson(right, right + wrong), wilson(right + 1, right + wrong + 1)
        assert before[0] - 1e-12 <= right / (right + wrong) <= before[1] + 1e-12
        assert after[0] >= before[0]
        assert after[1] >= before[1] - 1e-12


events = st.lists(
    st.one_of(
        st.builds(Met, st.sampled_from("ab"), st.sampled_from(["v", "w"]), st.sampled_from(["", "p", "q"]), st.integers(AT, AT + DAY)),
        st.builds(Claim, st.sampled_from(["v", "w", "p"]), st.booleans(), st.sampled_from(By), st.integers(AT, AT + DAY), st.just("x")),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(events)
def test_the_ledger_is_the_same_after_the_store_and_in_any_order_of_sightings(those):
    sightings = [each for each in those if isinstance(each, Met)]
    said = [each for each in those if isinstance(each, Claim)]
    ledger = judged(sighted(PrecisionLedger(), sightings), said)
    split = judged(sighted(sighted(PrecisionLedger(), sightings[::2]), sightings[1::2]), said[::-1])
    assert split == ledger
    assert of_bytes(to_bytes(ledger)) == ledger
    assert to_bytes(of_bytes(to_bytes(ledger))) == to_bytes(ledger)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"version":2,"feeds":{}}', b'{"version":1,"feeds":{"a":1}}', b"\xff", b"[" * 50_000]
)
def test_what_is_no_ledger_is_said_to_be_damaged(content):
    with pytest.raises(ValueError, match="a stored ledger of feeds"):
        of_bytes(content)
    assert of_bytes(None) == PrecisionLedger()


def test_it_is_said_which_feed_earns_its_place():
    many = [f"20.0.1.{n}" for n in range(100)]
    everything = IndicatorSet.merge([feed("copied", *many), feed("copy", *many), feed("good", "20.0.0.1", *(f"20.0.2.{n}" for n in range(9))), feed("quiet", "9.9.9.1")])  # fmt: skip
    ledger = sighted(PrecisionLedger(), [*met("good", *range(8)), *met("junk", *range(8))])
    ledger = judged(ledger, [*claims(RIGHT, *range(8), feed="good"), *claims(WRONG, *range(8), feed="junk")])
    ledger, _ = weighed(ledger, AT)
    told = {each.feed: each for each in worths(ledger, everything, AT)}
    assert list(told) == sorted(told)
    assert told["copy"].says == "can go: all of its entries are in copied"
    assert told["copied"].says.startswith("not known yet")
    assert told["good"].says.startswith("earns its place: 8 of 8 judged listings were right")
    assert told["good"].unique == 1.0
    assert told["junk"].says.startswith("log-only since ")
    assert "below its floor of 0.5: 0 of 8 judged" in told["junk"].says
    assert told["junk"].log_only_since == AT
    assert told["copy"].shared_with == {"copied": 100}
    assert (told["quiet"].freshness, told["quiet"].floor) == (1.0, FLOOR)


def test_a_feed_is_demoted_only_after_as_many_verdicts_as_it_is_held_to():
    wrong = judged(sighted(PrecisionLedger(), met("junk", *range(10))), claims(WRONG, *range(10)))
    assert weighed(wrong, AT, held_to(0.5, 11.0))[0].log_only == frozenset()
    assert weighed(wrong, AT, held_to(0.5, 10.0))[0].log_only == {"junk"}
