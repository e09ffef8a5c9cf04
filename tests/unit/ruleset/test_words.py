"""Whom a rule concerns, in words and not by the names of sets."""

import pytest

from netpersona.ruleset.words import peers_said

LISTED = {"set": "reputation_below_0.3", "size": 1200, "not": False, "why": "has a reputation below 0.3"}
ANSWERED = {
    "set": "domains_.x.vm",
    "size": 2,
    "not": False,
    "why": "was answered for a name with a reputation below 0.3",
}
FIRST = "each peer that has a reputation below 0.3 (1,200)"


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        ([], "nobody"),
        ([{"any": True}], "every peer"),
        ([{"sets": [LISTED]}], FIRST),
        (
            [{"sets": [LISTED]}, {"sets": [ANSWERED, {**LISTED, "not": True}]}],
            f"{FIRST} or each peer that was answered for a name with a reputation below 0.3 (2)",
        ),
        ([{"sets": [{**LISTED, "not": True}]}], "every peer except any that has a reputation below 0.3"),
        ([{"sets": [], "services": {"not": True}}], "new services"),
        (
            [{"sets": [ANSWERED], "services": {"not": False}}],
            "each peer that was answered for a name with a reputation below 0.3 (2), known services",
        ),
    ],
)
def test_whom_a_rule_concerns(peers, said):
    assert peers_said(peers) == said
