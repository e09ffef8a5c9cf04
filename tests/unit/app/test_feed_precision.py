"""Which feed earns its place, told from what windows met, what detectors found and what people said."""

from __future__ import annotations

import json

import pytest

from log_samples import header, row
from netpersona.app.cli import main
from netpersona.app.feed_precision import by_person, met, turned
from netpersona.flow.window import DAY
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet
from netpersona.intel.precision import By, PrecisionLedger, estimate
from netpersona.observation.model import NameUse
from unit.risk.detectors.windows import FAR, START, judged, talk, window

BEGIN = 1_767_571_620  # 2026-01-05T00:07:00Z


def feed(name, *values):
    return parse("\n".join(values).encode(), FeedSettings(name))


def seen(observation, intel):
    """The observation with the sightings that these indicators give of its conversations, as observe() would."""
    from netpersona.intel.indicator import Indicator, IndicatorType
    from netpersona.observation.model import Sighting

    found = []
    for c in observation.conversations:
        for listing in intel.explain(c.peer, START):
            if intel.allow.covers_address(c.peer, START):
                continue
            listed = Indicator(
                listing.value, IndicatorType.ADDRESS, None, None, 0.9, None, None, listing.feed, listing.line
            )
            found.append(Sighting(listed, "address", c.peer, c.direction, "tcp", 443, 1, 1, 1, 1, c.first, c.last))
    return window(observation.conversations, sightings=found)


def test_what_windows_met_is_what_their_sightings_say():
    intel = IndicatorSet.merge([feed("one", FAR), feed("two", FAR)])
    assert {(each.feed, each.value, each.peer) for each in met([seen(window([talk()]), intel)])} == {
        ("one", FAR, FAR),
        ("two", FAR, FAR),
    }


def test_a_feed_that_is_log_only_is_met_still():
    everything = IndicatorSet.merge([feed("junk", FAR, "evil.example"), feed("other", "20.0.0.1")])
    bad = [window([talk(peer=f"20.1.0.{n}")]) for n in range(8)]
    wrong = IndicatorSet.merge([feed("junk", *(f"20.1.0.{n}" for n in range(8)), FAR)])
    ledger, _ = turned(PrecisionLedger(), [seen(each, wrong) for each in bad], [], wrong, START)
    refuting = AllowList(tuple(AllowEntry(f"20.1.0.{n}", None, "ours") for n in range(8)))
    ledger, notices = turned(ledger, [], [], IndicatorSet(wrong.table, refuting), START)
    assert ledger.log_only == {"junk"}
    assert notices[0].log_only
    counts, watched = everything.split(ledger.log_only)
    assert counts.reputation(FAR, START) == 1.0
    assert len(watched) == 2
    used = NameUse("dns", "www.evil.example", "10.0.0.1", None, None, 1, 0, START, START, ())
    now = window([talk(), talk(peer="20.9.9.9")], names=[used])
    ledger, _ = turned(ledger, [now], [], everything, START)
    assert {FAR, "evil.example"} <= set(ledger.feeds["junk"].listings)


def test_what_an_allow_list_overrules_counts_against_the_feed_though_no_sighting_tells_of_it():
    allow = AllowList((AllowEntry(FAR, None, "our partner"),))
    everything = IndicatorSet.merge([feed("junk", FAR)], allow)
    ledger, _ = turned(PrecisionLedger(), [seen(window([talk()]), everything)], [], everything, START)
    assert ledger.feeds["junk"].listings[FAR].verdict.by == By.ALLOW_LIST
    assert estimate(ledger.feeds["junk"], START).wrong == 1.0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store after a replay: a beacon to a listed peer, and a listed name."""
    folder = tmp_path_factory.mktemp("precision")
    calls = [(BEGIN + 10 * k, "8.8.4.20") for k in range(60)] + [(BEGIN + 9, "8.8.4.9"), (BEGIN + 8, "8.8.4.8")]
    flows = [
        row(ts=f"{at}.0", uid=f"C{n}", **ends(n, peer), proto="tcp", conn_state="SF")
        for n, (at, peer) in enumerate(calls)
    ]
    (folder / "conn.log").write_text(header() + "\n".join(flows) + "\n")
    (folder / "good.txt").write_text("8.8.4.20\n")
    (folder / "junk.txt").write_text("8.8.4.8\n8.8.4.9\n8.8.4.0/29\n")
    main(["replay", str(folder / "conn.log"), "--store", str(folder / "np.db"), "--vm", "web=10.77.0.11",
          "--feed", str(folder / "good.txt"), "--feed", str(folder / "junk.txt"), "-o", "none"])  # fmt: skip
    return str(folder / "np.db")


def ends(number, peer):
    return {"id.orig_h": "10.77.0.11", "id.orig_p": str(20_000 + number), "id.resp_h": peer, "id.resp_p": "443"}


def told(capsys, store, *arguments):
    capsys.readouterr()
    main(["feed", "precision", *arguments, "--store", store, "-o", "json"])
    return {each["feed"]: each for each in json.loads(capsys.readouterr().out)}


def test_a_replays_store_says_which_feed_was_right(capsys, store):
    found = told(capsys, store)
    assert found["good"]["confirmed"] == pytest.approx(1.0, abs=0.01)  # c2_beacon, about the same peer
    assert found["good"]["sightings"] == 1
    assert found["junk"]["sightings"] == 2
    assert found["junk"]["precision"] is None
    assert "not judged" in found["junk"]["says"]
    assert set(told(capsys, store, "good")) == {"good"}


def test_an_acquittal_speaks_against_what_was_matched_before_it(capsys, store):
    main(["persona", "acquit", "web", "--store", store])
    found = told(capsys, store)
    assert found["junk"]["refuted"] == pytest.approx(2.0, abs=0.01)
    assert found["good"]["refuted"] == pytest.approx(1.0, abs=0.01)  # a person prevails over a finding
    main(["feed", "precision", "--store", store])
    assert "judged listings were right" in " ".join(capsys.readouterr().out.split())


def test_a_feed_that_nobody_knows_is_refused(capsys, store):
    with pytest.raises(SystemExit):
        main(["feed", "precision", "nobody", "--store", store])
    assert "no feed nobody" in capsys.readouterr().err


def test_a_person_speaks_of_all_feeds_that_a_match_rests_on():
    intel = IndicatorSet.merge([feed("one", FAR), feed("two", FAR)])
    [[finding]] = judged([seen(window([talk()]), intel)])
    claims = by_person([finding], "ada", START + DAY, right=True)
    assert {(claim.feed, claim.about, claim.right) for claim in claims} == {("one", FAR, True), ("two", FAR, True)}
