"""What must hold of the risk ledger: more evidence never lowers risk, order is nothing, every point has an owner."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.flow.window import DAY, HOUR
from netpersona.persona.model import RiskTerm
from netpersona.risk.ledger import GROUP_CAP, LEDGER_SIZE, NEGLIGIBLE, add, contributions, decayed, score, without

START = 1_760_000_000_000_000
terms = st.builds(
    RiskTerm,
    st.sampled_from(["c2_beacon", "dga", "intel_match"]),
    st.sampled_from([None, "9.9.9.9", "198.51.100.7"]),
    st.floats(0, 6),
    st.sampled_from([HOUR, DAY, 7 * DAY]),
    st.integers(0, 40).map(lambda hours: START + hours * HOUR),
    st.sampled_from(["f1", "f2", "f3"]),
    st.lists(st.sampled_from(["drop", "feodo"]), unique=True, max_size=2).map(lambda feeds: tuple(sorted(feeds))),
    st.just("why"),
)
ledgers = st.lists(terms, max_size=30)
crowds = st.lists(terms, min_size=LEDGER_SIZE - 5, max_size=LEDGER_SIZE + 20)
priors = st.floats(0.001, 0.5)
instants = st.integers(-5, 60).map(lambda hours: START + hours * HOUR)


@given(priors, ledgers, terms, instants)
def test_more_evidence_never_lowers_the_risk(prior, ledger, more, at):
    assert score(prior, [*ledger, more], at) >= score(prior, ledger, at)


@given(priors, ledgers, instants, st.randoms(use_true_random=False))
def test_the_order_of_the_terms_does_not_matter(prior, ledger, at, chance):
    before, groups = score(prior, ledger, at), contributions(ledger, at)
    chance.shuffle(ledger)
    assert score(prior, ledger, at) == before
    assert [group[:4] for group in contributions(ledger, at)] == [group[:4] for group in groups]


@given(priors, ledgers, instants)
def test_the_score_is_the_prior_and_what_its_owners_add(prior, ledger, at):
    added = math.fsum(group.log_odds for group in contributions(ledger, at))
    expected = 1 / (1 + math.exp(-(math.log(prior / (1 - prior)) + added)))
    found = score(prior, ledger, at)
    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 <= found <= 1
    assert all(0 < group.log_odds <= GROUP_CAP for group in contributions(ledger, at))


@given(priors, ledgers, instants, st.sampled_from(["c2_beacon", "intel_match", "drop", "feodo"]))
def test_without_an_owner_there_is_never_more_risk(prior, ledger, at, owner):
    rest = without(ledger, owner)
    assert score(prior, rest, at) <= score(prior, ledger, at)
    assert all(term in ledger and term.detector != owner and set(term.feeds) != {owner} for term in rest)


@given(priors, ledgers, st.integers(0, 100))
def test_risk_only_fades_when_nothing_new_comes(prior, ledger, hours):
    last = max((term.at for term in ledger), default=START)
    assert score(prior, ledger, last + hours * HOUR) >= score(prior, ledger, last + (hours + 1) * HOUR)


@settings(max_examples=50, deadline=None)
@given(priors, crowds, st.lists(terms, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_a_full_ledger_stays_bounded_and_new_terms_never_lower_the_risk(prior, crowd, new, chance):
    at = max(term.at for term in (*crowd, *new))
    ledger = add([], crowd, at)
    after = add(ledger, new, at)
    assert len(ledger) <= LEDGER_SIZE >= len(after)
    assert score(prior, after, at) >= score(prior, ledger, at) - 1e-6
    assert set(after) <= {*ledger, *new}
    assert all(decayed(term, at) >= NEGLIGIBLE for term in after)
    chance.shuffle(crowd)
    assert add([], crowd, at) == ledger
