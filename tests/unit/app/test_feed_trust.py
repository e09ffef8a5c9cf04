"""What a running controller asks: which feeds count, after what was met and said, across restarts."""

from __future__ import annotations

from netpersona.app.feed_trust import FeedTrust
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.precision import Standard, Standards
from unit.app.test_feed_precision import seen
from unit.risk.detectors.windows import START, judged, talk, window


def everything():
    junk = parse("\n".join(f"20.1.0.{n}" for n in range(8)).encode(), FeedSettings("junk", confidence=0.9))
    good = parse(b"20.9.0.1\n", FeedSettings("good", confidence=0.9))
    return IndicatorSet.merge([junk, good])


def wrong_eight_times(trust):
    """Eight VMs call what junk lists, and each is acquitted by a person."""
    notices = []
    for n in range(8):
        now = seen(window([talk(peer=f"20.1.0.{n}")]), trust.everything)
        [findings] = judged([now])
        trust.closed([now], findings, START)
        notices += trust.person(findings, "ada", START, right=False)
    return notices


def test_a_feed_that_people_prove_wrong_counts_no_more_and_the_store_remembers():
    trust = FeedTrust()
    assert trust.counting(everything()).reputation("20.1.0.3", START) < 0.2
    notices = wrong_eight_times(trust)
    assert [(notice.feed, notice.log_only) for notice in notices] == [("junk", True)]
    counts = trust.counting(everything())
    assert counts.reputation("20.1.0.3", START) == 1.0
    assert counts.below(0.5, START).addresses == ("20.9.0.1",)
    again = FeedTrust()
    again.resume(trust.context()["precision"])
    assert again.ledger == trust.ledger
    assert again.counting(everything()).content_id == counts.content_id


def test_a_floor_of_nought_keeps_a_feed_whatever_is_said():
    trust = FeedTrust(Standards(feeds={"junk": Standard(floor=0.0)}))
    trust.counting(everything())
    assert wrong_eight_times(trust) == []
    assert trust.counting(everything()) is trust.everything


def test_what_all_feeds_say_is_the_very_set_while_none_is_log_only():
    said = everything()
    assert FeedTrust().counting(said) is said
