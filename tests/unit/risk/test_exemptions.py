"""What does not count in a risk, since when, and until when."""

from __future__ import annotations

import pytest

from netpersona.flow.window import DAY, HOUR, WINDOW
from netpersona.intel.allow import AllowEntry
from netpersona.intel.precision import By, Claim, Met, PrecisionLedger, Record, judged, sighted
from netpersona.persona.model import RiskTerm
from netpersona.risk.exemptions import NONE, Exemptions, of_allow_entry, of_ledger
from netpersona.risk.ledger import PRIOR, add, contributions, decayed, score

AT = 1_760_000_000_000_000 // WINDOW * WINDOW
PEER = "203.0.113.7"


def term(peer=PEER, feeds=("drop",), at=AT, **more):
    return RiskTerm("intel_match", peer, 2.0, DAY, at, f"f-{peer}-{at}", tuple(feeds), "because", **more)


def allowing(value, since, until=None):
    return Exemptions().followed([of_allow_entry(AllowEntry(value, until, "our mirror", "lena"), since)], since)


def scored(exemptions, at, *terms):
    return score(PRIOR, exemptions.on(terms or (term(),), at), at)


def test_an_allow_entry_counts_from_its_own_beginning_and_until_its_end():
    held = allowing("203.0.113.0/24", AT + HOUR, AT + 3 * HOUR)
    without = score(PRIOR, [term()], AT + HOUR - 1)
    assert scored(held, AT + HOUR - 1) == without > PRIOR
    assert scored(held, AT + HOUR) == scored(held, AT + 3 * HOUR - 1) == PRIOR
    assert scored(held, AT + 3 * HOUR) == score(PRIOR, [term()], AT + 3 * HOUR) > PRIOR


def test_an_entry_that_is_taken_back_held_as_long_as_it_did():
    held = allowing(PEER, AT + HOUR).followed([], AT + 2 * HOUR)
    assert scored(held, AT + 90 * WINDOW // 5) == PRIOR
    assert scored(held, AT + 2 * HOUR) == score(PRIOR, [term()], AT + 2 * HOUR)
    again = held.followed([of_allow_entry(AllowEntry(PEER, None, "our mirror", "lena"), AT + 4 * HOUR)], AT + 4 * HOUR)
    assert [scored(again, AT + hours * HOUR) == PRIOR for hours in (0, 1, 2, 3, 4, 5)] == [0, 1, 0, 0, 1, 1]
    assert again.followed([of_allow_entry(AllowEntry(PEER, None, "our mirror", "lena"), AT + DAY)], AT + DAY) is again


def test_the_reason_names_the_entry_its_comment_its_author_and_its_end():
    [marked] = allowing("203.0.113.0/24", AT, AT + DAY).on([term()], AT)
    assert all(word in marked.exempt.why for word in ("203.0.113.0/24", "our mirror", "lena", "2025-10-10"))
    assert contributions([marked], AT) == []
    assert decayed(marked, AT) == 2.0  # it is there, and fades


@pytest.mark.parametrize(
    ("made", "value", "exempt"),
    [
        (term(peer="2001:db8::7"), "2001:db8::/64", True),
        (term(peer="198.51.100.7"), "203.0.113.0/24", False),
        (term(peer=None), "203.0.113.0/24", False),
        (term(peer="10.0.0.53", names=("a.evil.example",), relayed=True), "10.0.0.53", False),
        (term(peer="10.0.0.53", names=("a.evil.example",), relayed=True), "evil.example", True),
        (term(peer="10.0.0.53", names=("a.evil.example", "b.example"), relayed=True), "evil.example", False),
        (term(names=("a.evil.example",)), PEER, True),
    ],
)
def test_a_resolver_only_passes_names_on_and_of_several_names_all_must_be_allowed(made, value, exempt):
    assert (allowing(value, AT).on([made], AT)[0].exempt is not None) is exempt


def test_what_rests_on_feeds_that_are_log_only_counts_as_long_as_one_of_its_feeds_does():
    ledger = PrecisionLedger({"drop": Record(log_only_since=AT)})
    held = Exemptions().followed(of_ledger(ledger, WINDOW), AT)
    assert scored(held, AT) == PRIOR
    assert scored(held, AT, term(feeds=("drop", "feodo"))) > PRIOR
    assert scored(held, AT, term(feeds=())) > PRIOR
    assert "log-only" in held.on([term()], AT)[0].exempt.why


def test_a_listing_that_a_person_refuted_exempts_what_was_seen_before():
    ledger = sighted(PrecisionLedger(), [Met("drop", "203.0.113.0/24", PEER, AT)])
    ledger = judged(ledger, [Claim(PEER, right=False, by=By.PERSON, at=AT + 10, who="ada")])
    held = Exemptions().followed(of_ledger(ledger, WINDOW), AT + 10)
    later = term(at=AT + WINDOW + 1)
    assert scored(held, AT + 9) > PRIOR
    assert scored(held, AT + 10) == PRIOR
    assert scored(held, AT + HOUR, later) > PRIOR
    assert scored(held, AT + HOUR, term(feeds=("feodo",))) > PRIOR
    right = judged(ledger, [Claim(PEER, right=True, by=By.PERSON, at=AT + HOUR, who="ada")])
    after = held.followed(of_ledger(right, WINDOW), AT + HOUR)
    assert scored(after, AT + HOUR) > PRIOR
    assert scored(after, AT + 10) == PRIOR


def test_what_is_exempt_stays_in_the_ledger_and_a_mark_is_taken_away_again():
    held = allowing(PEER, AT)
    marked = held.on(add((), [term()], AT), AT)
    assert len(add(marked, [], AT + HOUR)) == 1
    assert NONE.on(marked, AT) == (term(),)
    assert held.next_end(AT) is None
    assert allowing(PEER, AT, AT + 5).next_end(AT) == AT + 5
