"""What is legal but hardly meant is told, with the place of the rule that is to be mended."""

import pytest

from netpersona.persona.model import Persona
from netpersona.policy.checks import check
from netpersona.policy.parse import merge, parse

HEAD = "apiVersion: netpersona/v1\nkind: Policy\nmetadata: {name: %s}\nspec:\n  mode: %s\n  order: %d\n%s  rules:\n"
ALWAYS = "---\napiVersion: netpersona/v1\nkind: AlwaysAllow\nspec: {management: [192.0.2.10]}\n"


def policy(*rules, name="p", mode="enforce", order=1, selector=""):
    selector = f"  selector: {selector}\n" if selector else ""
    lines = "".join(f"    - {{name: r{i}, direction: outbound, {rule}}}\n" for i, rule in enumerate(rules, start=1))
    return HEAD % (name, mode, order, selector) + lines


def told(*texts, **known):
    return [
        (w.kind, w.place.line, w.message)
        for w in check(merge(parse(t, f"{i}.yaml") for i, t in enumerate(texts)), **known)
    ]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("action: deny", "action: deny, ports: [80]"),
        ("action: deny", "action: deny, when: persona.risk_score > 0.5"),
        ("action: deny", "action: log"),
        (
            "action: deny, when: persona.risk_score > 0.5",
            "action: reject, when: persona.version > 1 && persona.risk_score>0.5",
        ),
        ("action: deny, ports: [80-90]", "action: reject, ports: [81, '85-90'], protocols: [tcp]"),
        (
            "action: deny, peers: {networks: [10.0.0.0/8]}",
            "action: reject, peers: {networks: [10.1.0.0/16], profile: new}",
        ),
        ("action: deny, peers: {domains: [example.com]}", "action: reject, peers: {domains: [a.example.com]}"),
        ("action: deny, peers: {reputation_below: 0.5}", "action: reject, peers: {reputation_below: 0.3}"),
        ("action: deny, peers: {vms: 'true'}", "action: reject, peers: {vms: persona.version > 2}"),
        ("action: deny", "action: deny, when: persona.risk_score > 0.5, for: 1h"),
    ],
)
def test_a_rule_that_an_earlier_one_covers_is_shadowed(wide, narrow):
    found = told(policy(wide, narrow))
    assert [(kind, line) for kind, line, _ in found] == [("shadowed", 9)]
    assert "p/r2 is never reached: p/r1 (line 8)" in found[0][2]
    assert told(policy(narrow, wide)) == [] or "log" in narrow


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("action: log", "action: deny"),
        ("action: rate-limit, rate: 1 mbit", "action: deny"),
        ("action: deny, when: persona.risk_score > 0.5", "action: deny"),
        ("action: deny, when: persona.risk_score > 0.5", "action: deny, when: persona.risk_score > 0.5, for: 1h"),
        ("action: deny, ports: [80]", "action: deny, ports: [81]"),
        ("action: deny", "action: deny, existing: cut"),
        ("action: deny, peers: {vms: 'true'}", "action: deny, peers: {profile: new}"),
        ("action: deny, peers: {not: {profile: new}}", "action: deny, peers: {profile: new}"),
        ("action: deny, peers: {domains: [a.example.com]}", "action: deny, peers: {domains: [example.com]}"),
        ("action: deny, protocols: [tcp]", "action: deny"),
    ],
)
def test_what_is_not_certainly_covered_is_left_alone(first, second):
    assert told(policy(first, second)) == []


def test_an_earlier_policy_shadows_unless_it_is_only_staged_or_concerns_others():
    later = policy("action: deny, ports: [80]", name="q", order=2)
    assert [kind for kind, _, _ in told(policy("action: deny"), later)] == ["shadowed"]
    assert "0.yaml:8:7" in told(policy("action: deny"), later)[0][2]
    assert told(policy("action: deny", mode="stage"), later) == []
    assert told(policy("action: deny", mode="off"), later) == []
    assert told(policy("action: deny", selector="persona.labels.role == 'web'"), later) == []


def test_opposite_actions_on_the_same_packets_contradict():
    found = told(policy("action: allow, ports: [80]", "action: deny, ports: [80]"))
    assert [(kind, line) for kind, line, _ in found] == [("contradiction", 9)]
    assert "contradicts p/r1 (allow, line 8)" in found[0][2]
    two = told(policy("action: deny"), policy("action: allow", name="q"))
    assert [kind for kind, _, _ in two] == ["contradiction"]
    apart = told(policy("action: deny"), policy("action: allow", name="q", order=2))
    assert [kind for kind, _, _ in apart] == ["shadowed"]


def test_labels_that_no_persona_has_are_told_with_the_one_meant():
    personas = [Persona("a", labels={"role": "web"}), Persona("b", labels={"role": "db"})]
    text = policy("action: deny", selector="persona.labels.rol == 'web'")
    assert told(text, personas=personas) == [
        ("unmatched", 7, "p: no persona has the label 'rol', so this holds for none; did you mean 'role'?")
    ]
    text = policy("action: deny, when: persona.labels.role == 'webb'")
    assert told(text, personas=personas) == [
        ("unmatched", 8, "p/r1: no persona has the label role = 'webb'; did you mean 'web'?")
    ]
    text = policy("action: deny", selector="persona.completeness > 0.98")
    assert told(text, personas=personas) == [("unmatched", 7, "p: the selector picks none of the 2 personas now")]
    assert told(policy("action: deny, when: persona.risk_score > 0.9"), personas=personas) == []
    assert told(text) == []


@pytest.mark.parametrize("action", ["deny", "reject"])
def test_a_rule_over_the_management_path_is_told(action):
    text = policy(f"action: {action}").replace("direction: outbound", "direction: inbound")
    assert "cuts the management path (port 22): AlwaysAllow names no management peer" in told(text)[0][2]
    assert "covers the management peer 192.0.2.10 (port 22); AlwaysAllow stands before it" in told(text + ALWAYS)[0][2]
    assert told(text.replace("}\n", ", ports: [80]}\n", 2).replace("name: p, ports: [80]", "name: p")) == []
    assert told(text.replace("r1,", "r1, protocols: [udp],")) == []
    elsewhere = text.replace("r1,", "r1, peers: {networks: [198.51.100.0/24]},")
    assert told(elsewhere) == told(elsewhere + ALWAYS) == []


def test_isolation_covers_management_too():
    text = policy("action: isolate").replace("direction: outbound, ", "")
    assert [kind for kind, _, _ in told(text)] == ["management"]


def test_names_that_nothing_has():
    text = policy("action: deny, peers: {feeds: [drp], not: {categories: [cdn]}}", "action: redirect, to: analyzer")
    found = told(text, feeds=["drop"], categories=["c2"])
    assert [kind for kind, _, _ in found] == ["unknown"] * 3
    assert "no feed is named 'drp', so it matches nobody; did you mean 'drop'?" in found[1][2]
    assert "no category is named 'cdn'" in found[0][2]
    assert "no redirect is named 'analyzer'" in found[2][2]
    assert len(told(text)) == 1
    assert (
        told(policy("action: redirect, to: '10.0.0.9:80'"), policy("action: redirect, to: 10.0.0.9", name="q", order=0))
        != []
    )
