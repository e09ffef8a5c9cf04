import math

import pytest

from netpersona.flow.window import DAY, HOUR
from netpersona.persona.model import Persona, RiskTerm
from netpersona.risk.ledger import (
    GROUP_CAP,
    LEDGER_SIZE,
    NEGLIGIBLE,
    PRIOR,
    add,
    contributions,
    decayed,
    risk_score,
    score,
    without,
    word,
)
from unit.risk.detectors.windows import FAR, START, VM


def term(weight=2.0, *, detector="c2_beacon", peer=FAR, at=START, half_life=DAY, finding="f", feeds=()):
    return RiskTerm(detector, peer, weight, half_life, at, finding, tuple(feeds), "because")


def log_odds(risk):
    return math.log(risk / (1 - risk))


def test_without_terms_the_risk_is_the_prior():
    assert score(PRIOR, [], START) == PRIOR


def test_a_term_adds_its_weight_in_log_odds():
    assert log_odds(score(PRIOR, [term(2.0)], START)) == pytest.approx(log_odds(PRIOR) + 2.0, abs=1e-4)


def test_a_term_is_halved_in_a_half_life():
    for lives in range(4):
        found = log_odds(score(0.5, [term(2.0)], START + lives * DAY))
        assert found == pytest.approx(2.0 / 2**lives, abs=1e-4)


def test_a_term_says_nothing_before_its_instant():
    assert score(PRIOR, [term()], START - 1) == PRIOR
    assert decayed(term(), START - 1) == 0.0


def test_one_group_alone_cannot_pass_its_cap():
    many = [term(3.0, finding=str(i)) for i in range(10)]
    assert log_odds(score(0.5, many, START)) == pytest.approx(GROUP_CAP, abs=1e-4)
    [only] = contributions(many, START)
    assert (only.log_odds, only.capped, len(only.terms)) == (GROUP_CAP, True, 10)


def test_another_peer_or_detector_is_another_group():
    apart = [term(3.0), term(3.0, peer="198.51.100.7"), term(3.0, detector="dga"), term(3.0, peer=None)]
    assert log_odds(score(0.02, apart, START)) == pytest.approx(log_odds(0.02) + 12, abs=0.1)
    assert len(contributions(apart, START)) == 4


def test_a_past_score_is_computed_again_from_the_ledger():
    terms = [term(1.0), term(2.0, peer="198.51.100.7", at=START + DAY)]
    assert score(PRIOR, terms, START + HOUR) == score(PRIOR, terms[:1], START + HOUR)
    persona = Persona(VM, risk_ledger=tuple(terms))
    assert risk_score(persona, START + DAY) == score(PRIOR, terms, START + DAY)


def test_without_a_detector_or_the_one_feed_that_a_term_rests_on():
    beacon, listed = term(), term(detector="intel_match", feeds=["drop"])
    twice = term(detector="intel_match", feeds=["drop", "feodo"])
    assert without([beacon, listed, twice], "drop") == [beacon, twice]
    assert without([beacon, listed, twice], "intel_match") == [beacon]
    assert without([beacon, listed], "nobody") == [beacon, listed]


def test_what_has_faded_is_no_longer_carried():
    old = term(1.0, half_life=HOUR)
    assert add([old], [term(at=START + DAY)], START + DAY) == (term(at=START + DAY),)
    assert add([old], [], START) == (old,)
    assert add([], [term(NEGLIGIBLE / 2)], START) == ()


def test_the_ledger_is_bounded_and_keeps_what_weighs():
    light = [term(0.1 + i / 1000, detector=f"d{i:03}") for i in range(LEDGER_SIZE)]
    heavy = term(3.0)
    kept = add(light, [heavy], START)
    assert len(kept) == LEDGER_SIZE
    assert set(kept) == {heavy, *light[1:]}


def test_a_group_over_its_cap_does_not_drive_out_another():
    quiet = term(0.5, detector="dga")
    flood = [term(1.0, peer=None, finding=f"{i:03}") for i in range(2 * LEDGER_SIZE)]
    kept = add([quiet], flood, START)
    assert quiet in kept
    assert score(PRIOR, kept, START) == score(PRIOR, [quiet, *flood], START)


@pytest.mark.parametrize(
    ("risk", "said"),
    [(0.0, "low"), (0.2999, "low"), (0.3, "elevated"), (0.6999, "elevated"), (0.7, "high"), (1.0, "high")],
)
def test_the_risk_in_a_word(risk, said):
    assert word(risk) == said
