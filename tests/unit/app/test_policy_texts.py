"""Policy files as text: what is changed is changed, and what a person wrote beside it stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.app.policies import parsed
from netpersona.app.policy_texts import count, merged, with_mode, with_policy, without_policy
from netpersona.errors import PolicyError

BLOCK = """\
# {name}: why it is there
apiVersion: netpersona/v1
kind: Policy
metadata: {{name: {name}}}
spec:
  mode: enforce   # {name}: as agreed
  order: 10
  rules:
    - {{name: all, direction: outbound, action: log}}
"""
FLOW = (
    "{{apiVersion: netpersona/v1, kind: Policy, metadata: {{name: {name}}}, "
    "spec: {{mode: 'off', order: 5, rules: [{{name: all, direction: inbound, action: log}}]}}}}\n"
)
JSON = (
    '{{"apiVersion": "netpersona/v1", "kind": "Policy", "metadata": {{"name": "{name}"}}, '
    '"spec": {{"mode": "stage", "order": 5, "rules": [{{"name": "all", "direction": "both", "action": "log"}}]}}}}\n'
)
ALLOW = """\
apiVersion: netpersona/v1
kind: AllowList
metadata: {name: ours}
spec:
  entries: [{value: 192.0.2.0/24, comment: our own}]
"""
NAMES = ["alpha", "beta", "gamma", "delta"]


def document(name, form=BLOCK):
    return form.format(name=name)


def modes(texts):
    return {policy.name: policy.mode.value for policy in parsed(texts).policies}


@st.composite
def files(draw):
    """Files of policies in any form, some with something else between them."""
    names = draw(st.permutations(NAMES))
    found = {}
    for number in range(2):
        parts = [
            document(name, draw(st.sampled_from([BLOCK, FLOW, JSON]))) for name in names[2 * number : 2 * number + 2]
        ]
        if number == 0 and draw(st.booleans()):
            parts.insert(draw(st.integers(0, 2)), ALLOW)
        begin = draw(st.sampled_from(["", "---\n", "# a file of ours\n---\n"]))
        found[f"{number}.yaml"] = begin + draw(st.sampled_from(["---\n", "--- # next\n"])).join(parts)
    return found


@given(texts=files(), name=st.sampled_from(NAMES), mode=st.sampled_from(["enforce", "stage", "off"]))
@settings(max_examples=25)
def test_a_mode_changes_one_policy_and_no_other_line(texts, name, mode):
    changed = with_mode(texts, name, mode)
    assert modes(changed) == {**modes(texts), name: mode}
    for file, text in texts.items():
        before, after = text.splitlines(), changed[file].splitlines()
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1
    assert set(modes(with_mode(texts, None, mode)).values()) == {mode}


@given(texts=files(), name=st.sampled_from(NAMES))
@settings(max_examples=25)
def test_a_policy_goes_and_comes_back(texts, name):
    without = without_policy(texts, name)
    assert modes(without) == {known: mode for known, mode in modes(texts).items() if known != name}
    assert parsed(without).allow == parsed(texts).allow or len(parsed(without).allow) == len(parsed(texts).allow)
    again = with_policy(without, name, document(name))
    assert modes(again) == {**modes(without), name: "enforce"}
    replaced = with_policy(texts, name, document(name))
    assert modes(replaced) == {**modes(texts), name: "enforce"}
    assert replaced.keys() == texts.keys()
    for known in modes(without):
        assert f"name: {known}" in "".join(replaced.values()) or f'"name": "{known}"' in "".join(replaced.values())


def test_comments_stay():
    texts = {"a.yaml": document("alpha") + "---\n" + document("beta")}
    assert with_mode(texts, "beta", "stage")["a.yaml"] == texts["a.yaml"].replace(
        "mode: enforce   # beta", "mode: stage   # beta"
    )
    assert without_policy(texts, "beta") == {"a.yaml": document("alpha")}


def test_a_file_of_its_own_has_a_name_that_no_other_has():
    texts = {"alpha.yaml": document("beta")}
    assert with_policy(texts, "alpha", document("alpha")).keys() == {"alpha.yaml", "alpha-2.yaml"}
    assert with_policy({}, "../x y", document("alpha")).keys() == {".._x_y.yaml"}


def test_what_is_not_there_is_told():
    with pytest.raises(PolicyError, match="no file has a policy 'alpha'"):
        without_policy({"a.yaml": ALLOW}, "alpha")
    with pytest.raises(PolicyError, match="no file has a policy 'alpha'"):
        with_mode({}, "alpha", "off")
    with pytest.raises(PolicyError, match="cannot be read as YAML"):
        count("a: [")
    assert count("") == 0
    assert count(document("alpha") + "---\n" + ALLOW) == 2


def test_files_are_merged_document_by_document_and_others_stay():
    mine = {"a.yaml": BLOCK.format(name="alpha") + "---\n" + BLOCK.format(name="beta"), "allow.yaml": ALLOW}
    changed = BLOCK.format(name="beta").replace("log", "deny")
    other = ALLOW.replace("192.0.2.0/24", "192.0.2.0/25")
    got = merged(mine, {"a.yaml": f"{changed}---\n{BLOCK.format(name='gamma')}", "x.yaml": other})
    found = parsed(got)
    assert {policy.name: policy.rules[0].action for policy in found.policies} == {
        "alpha": "log",
        "beta": "deny",
        "gamma": "log",
    }
    assert [entry.value for resource in found.allow for entry in resource.entries] == ["192.0.2.0/25"]
    assert "# alpha: why it is there" in got["a.yaml"]
    assert merged(got, {"a.yaml": changed}) == got


def test_what_is_always_allowed_is_one_whatever_it_is_called():
    text = "apiVersion: netpersona/v1\nkind: AlwaysAllow\nspec: {management: [192.0.2.1]}\n"
    other = text.replace("192.0.2.1", "192.0.2.2").replace("spec", "metadata: {name: mine}\nspec")
    got = merged({"always.yaml": text}, {"other.yaml": other})
    assert list(map(str, parsed(got).always.management)) == ["192.0.2.2"]
