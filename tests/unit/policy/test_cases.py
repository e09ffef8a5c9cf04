"""Case files: the example in the documentation parses, and mistakes are told with their places."""

import textwrap

import pytest

from netpersona.errors import PolicyError
from netpersona.intel.indicator import IndicatorType
from netpersona.persona.model import Kind
from netpersona.policy import cases
from netpersona.policy.cases import parse_cases
from netpersona.policy.model import Direction
from netpersona.risk.ledger import risk_score

DOC = cases.__doc__
EXAMPLE = textwrap.dedent(DOC[DOC.index("    name: a risky") : DOC.index("An expectation is")])


def test_the_documented_example():
    (case,) = parse_cases(EXAMPLE, "case.yaml")
    (web,) = case.given.personas
    assert case.name == "a risky VM reaches nobody"
    assert case.given.at == 1_772_366_400_000_000
    assert case.given.policy_files == (("block.yaml", ("case.yaml", 4, 14)),)
    assert case.given.policies.redirects == {"analyser": "10.77.0.9"}
    assert case.given.answers == {"web-1": {"updates.example.com": ("198.51.100.9",)}}
    assert risk_score(web, case.given.at) == 0.8
    assert web.completeness.seen == pytest.approx(0.99)
    assert set(web.profile.kinds) == {
        Kind("outbound", "tcp", 443, "198.51.100.7"),
        Kind("outbound", "udp", 53, "198.51.100.8"),
    }
    ((feed, listed),) = case.given.feeds
    assert (feed.name, [i.value for i in listed]) == ("ours", ["203.0.113.7", "203.0.113.9"])
    assert listed[1].type is IndicatorType.ADDRESS
    assert listed[1].valid_until == 1_772_409_600_000_000
    first, second = case.expect
    assert (first.direction, first.peer, first.port, first.verdict) == (Direction.OUTBOUND, "203.0.113.9", 443, "deny")
    assert first.rule == "block-outbound-low-reputation/no-low-reputation"
    assert (second.direction, second.established, second.rule) == (Direction.INBOUND, True, None)


@pytest.mark.parametrize("risk", ["0", "0.000001", "0.3", "0.7", "0.999999", "1"])
def test_the_risk_score_is_what_was_written(risk):
    text = EXAMPLE.replace("risk_score: 0.8", f"risk_score: {risk}")
    (case,) = parse_cases(text, "c")
    assert risk_score(case.given.personas[0], case.given.at) == float(risk)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("verdict: deny", "verdict: drop", "c:15:56: verdict: unknown word 'drop'; did you mean 'deny'?"),
        ("state: established", "state: old", "state: unknown word 'old'; known are: new, established"),
        ("vm: web-1, dir", "vm: web-2, dir", "c:16:5: vm: no persona 'web-2' is given; did you mean 'web-1'?"),
        ("risk_score", "risk_scor", "unknown field 'risk_scor' in a persona; did you mean 'risk_score'?"),
        ("policies", "policy", "c:4:3: unknown field 'policy' in given; did you mean 'policies'?"),
        ("unknown_vm: allow", "unknown_vm: drop", "c:6:15: unknown_vm: unknown word 'drop'; did you mean 'deny'?"),
        ("confidence: 0.9,", "confidence: 9,", "confidence: '9': must lie between 0 and 1"),
        ("expect:", "expected:", "unknown field 'expected' in a case; did you mean 'expect'?"),
    ],
)
def test_mistakes_are_told(wrong, right, message):
    with pytest.raises(PolicyError) as error:
        parse_cases(EXAMPLE.replace(wrong, right, 1), "c")
    assert message in str(error.value)


def test_policies_may_be_written_out_and_their_mistakes_are_told_here():
    policy = "{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [{name: r, action: %s}]}}"
    text = EXAMPLE.replace("[block.yaml]", f"[{policy % 'deny'}]")
    assert [p.name for p in parse_cases(text, "c")[0].given.policies.policies] == ["p"]
    with pytest.raises(PolicyError, match=r"c:4:.*unknown word 'denny'; did you mean 'deny'"):
        parse_cases(EXAMPLE.replace("[block.yaml]", f"[{policy % 'denny'}]"), "c")


def test_a_file_without_a_case_is_refused():
    with pytest.raises(PolicyError, match="no case stands here"):
        parse_cases("# nothing\n", "c")
