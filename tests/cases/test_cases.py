"""Every behaviour of policies, asked as packets: each document of these YAML files is one case."""

from pathlib import Path

import pytest

from netpersona.errors import PolicyError
from netpersona.policy.cases import Case, parse_cases
from netpersona.policy.model import PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.cases import run_case
from shared_data import SHARED, needs_shared

HERE = Path(__file__).parent
EXAMPLES = SHARED / "policies" / "examples.yaml"


def cases_in(folder: Path) -> list[object]:
    return [
        pytest.param(case, id=f"{path.stem}: {case.name}")
        for path in sorted(folder.glob("*.yaml"))
        for case in parse_cases(path.read_text(), path.name)
    ]


def check(case: Case, policies: PolicySet) -> None:
    wrong = [
        f"{r.expectation.place}: expected {r.expectation.verdict} {r.expectation.rule or ''}, but {r.verdict} by {r.rule}: {r.why}"
        for r in run_case(case, policies)
        if not r.met
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("case", cases_in(HERE))
def test_policies_do_what_they_say(case: Case) -> None:
    check(case, PolicySet())


@needs_shared
@pytest.mark.parametrize("case", cases_in(HERE / "examples"))
def test_the_operators_examples_do_what_their_comments_say(case: Case) -> None:
    check(case, parse(EXAMPLES.read_text(), EXAMPLES.name))


def test_an_expectation_that_is_not_met_says_what_happened_and_what_would_help() -> None:
    text = (HERE / "reputation.yaml").read_text().replace("verdict: deny", "verdict: allow", 1)
    case = parse_cases(text, "wrong.yaml")[0]
    missed = [result for result in run_case(case) if not result.met]
    assert len(missed) == 1
    assert missed[0].verdict == "deny"
    assert "risk_score is 0.8" in missed[0].why
    assert any("at most 0.7" in text for text in missed[0].otherwise)


def test_a_policy_among_the_cases_is_named_once() -> None:
    text = "apiVersion: netpersona/v1\nkind: Policy\nmetadata: {name: a}\nspec: {rules: []}\n"
    with pytest.raises(PolicyError) as caught:
        parse_cases(text, "policy.yaml")
    assert len(str(caught.value).splitlines()) == 1
    assert "'policy validate' checks policies" in str(caught.value)
