"""Whoever denies a name is told which others stand at its address."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.app.live.shared_names import SharedAddress, denied_domains, shared, shared_by_policy
from netpersona.flow.vm import vm_id
from netpersona.policy.parse import parse
from netpersona.ruleset.criteria import covered

WEB, DB = vm_id("web-1"), vm_id("db-1")
NOW = 1_000

ANSWERS = {
    WEB: {
        "www.bad.example": {"192.0.2.7": 2_000, "192.0.2.8": 2_000},
        "shop.example": {"192.0.2.7": 2_000, "192.0.2.9": 2_000},
        "old.example": {"192.0.2.8": NOW},  # over
    },
    DB: {"mirror.example": {"192.0.2.7": 5_000}, "notbad.example": {"192.0.2.10": 5_000}},
}


def test_an_address_of_a_denied_name_and_of_others_is_reported_whichever_vm_asked() -> None:
    expected = SharedAddress("192.0.2.7", ("www.bad.example",), ("mirror.example", "shop.example"), (WEB,))
    assert shared(ANSWERS, ["bad.example"], NOW) == (expected,)
    assert expected.sentence == (
        "192.0.2.7 was answered for www.bad.example, which a policy restricts, and also for mirror.example and "
        "shop.example: for web-1 they are restricted too while the answer holds"
    )


def test_what_is_denied_wholly_or_not_at_all_is_no_news() -> None:
    assert shared(ANSWERS, ["example"], NOW) == ()
    assert shared(ANSWERS, ["elsewhere.example"], NOW) == ()
    assert shared({}, ["bad.example"], NOW) == ()
    assert shared(ANSWERS, [], NOW) == ()


def test_a_sentence_names_few_and_counts_the_rest() -> None:
    many = SharedAddress("192.0.2.7", ("bad.example",), tuple(f"n{each}.example" for each in range(9)), (WEB, DB))
    assert "n0.example, n1.example, n2.example and 6 more: for web-1 and db-1" in many.sentence


POLICY = """
{apiVersion: netpersona/v1, kind: Policy, metadata: {name: NAME}, spec: {mode: MODE, order: 1, rules: [
  {name: out, direction: outbound, peers: {domains: [bad.example]}, action: ACTION}]}}
"""


def policy(action: str, mode: str = "enforce", name: str = "p") -> str:
    return POLICY.replace("ACTION", action).replace("MODE", mode).replace("NAME", name)


@pytest.mark.parametrize(
    ("action", "mode", "restricts"),
    [("deny", "enforce", True), ("reject", "stage", True), ("deny", "off", False), ("allow", "enforce", False),
     ("log", "enforce", False)],
)  # fmt: skip
def test_only_what_restricts_is_asked(action: str, mode: str, restricts: bool) -> None:
    (found,) = parse(policy(action, mode), "p.yaml").policies
    assert denied_domains(found) == ({"bad.example"} if restricts else set())


def test_each_policy_is_told_its_own() -> None:
    policies = parse(policy("deny", name="a") + "---" + policy("allow", name="b"), "p.yaml")
    found = shared_by_policy(policies, ANSWERS, NOW)
    assert list(found) == ["a"]
    assert [each.address for each in found["a"]] == ["192.0.2.7"]


NAMES = st.sampled_from(["a.bad", "b.bad", "bad", "good", "x.good", "notbad"])
ADDRESSES = st.dictionaries(st.sampled_from(["1", "2", "3"]), st.integers(0, 3), max_size=3)


@given(st.dictionaries(st.sampled_from([WEB, DB]), st.dictionaries(NAMES, ADDRESSES)), st.integers(0, 3))
@settings(max_examples=100)
def test_it_says_what_a_slow_look_at_every_pair_says(answers: dict, now: int) -> None:
    rows = [
        (vm, n, a) for vm, names in answers.items() for n, known in names.items() for a, t in known.items() if now < t
    ]
    pairs = {
        (a, n, other, vm)
        for vm, n, a in rows
        for _, other, b in rows
        if a == b and covered(n, {"bad"}) and not covered(other, {"bad"})
    }
    found = shared(answers, ["bad"], now)
    assert {(f.address, n, o) for f in found for n in f.denied for o in f.others} == {pair[:3] for pair in pairs}
    assert {(f.address, vm) for f in found for vm in f.vms} == {(a, vm) for a, _, _, vm in pairs}
