"""Whatever text comes: policies raise nothing but PolicyError, conditions raise nothing at all, and both repeat."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from netpersona.errors import PolicyError
from netpersona.persona.model import BehavioralSignature, Persona
from netpersona.policy.cases import parse_cases
from netpersona.policy.checks import check
from netpersona.policy.conditions import Asked, evaluate, flaws, holds, ports_of
from netpersona.policy.facts import FIELDS, facts
from netpersona.policy.model import Condition, Place
from netpersona.policy.parse import parse, parse_rules, problems
from netpersona.policy.rules import PEER_FIELDS, RULE_FIELDS
from netpersona.policy.triggers import advance, next_end

HEAD = "apiVersion: netpersona/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  mode: enforce\n  order: 1\n  rules:\n"
few = settings(max_examples=80, deadline=None)

WORDS = [
    "persona",
    ".",
    "labels",
    "role",
    "==",
    "!=",
    "'web'",
    ">",
    "0.5",
    "1",
    "(",
    ")",
    "[",
    "]",
    "&&",
    "||",
    "!",
    "in",
    "exists",
    "all",
    "s",
    ",",
    "?",
    ":",
    "{",
    "}",
    "size",
    "has",
    "null",
    "-",
    "+",
    "/",
    "0",
    "duration('1h')",
    "b'x'",
]
words = st.sampled_from([*WORDS, *FIELDS])
shaped = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.sampled_from([">", "<", "==", "!=", "in", "+"]).flatmap(
        lambda sign: st.sampled_from(["0.5", "1", "'web'", "[]", "['web']", "persona.name", "null", "true", "{}"]).map(
            lambda value: f"persona.{name} {sign} {value}"
        )
    )
)
expressions = st.one_of(st.text(max_size=40), st.lists(words, max_size=12).map(" ".join), shaped)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["deny", "1h", "80-90"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(RULE_FIELDS + PEER_FIELDS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)
personas = st.builds(
    Persona,
    vm=st.just("web-1"),
    labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    risk_prior=st.floats(0.001, 0.999),
    exposure=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    exposed_ports=st.lists(st.integers(-5, 70_000), max_size=4).map(tuple),
    signatures=st.lists(
        st.builds(
            BehavioralSignature,
            name=st.text(max_size=6),
            since=st.integers(0, 2**52),
            last=st.integers(0, 2**52),
            peer=st.none() | st.text(max_size=6),
            confidence=st.floats(0, 1),
            why=st.just(""),
        ),
        max_size=2,
    ).map(tuple),
)


def parsed(text):
    try:
        return parse(text, "f.yaml")
    except PolicyError as error:
        return str(error)


@few
@given(
    st.text(max_size=200)
    | values.map(str)
    | st.text(max_size=60).map(lambda t: HEAD + "    - {name: r, action: deny, " + t)
)
def test_arbitrary_text_raises_nothing_but_policy_errors_and_parses_alike_twice(text):
    first = parsed(text)
    assert parsed(text) == first
    assert isinstance(first, str) is bool(problems(text, "f.yaml"))
    try:
        parse_cases(text, "f.yaml")
    except PolicyError as error:
        told = str(error)
    else:
        told = "f.yaml:"
    assert told.startswith("f.yaml:")


@few
@given(st.lists(values, max_size=3))
def test_arbitrary_rules_of_a_persona_raise_nothing_but_policy_errors(rules):
    try:
        parse_rules(rules, "web-1")
    except PolicyError as error:
        told = str(error)
    else:
        told = "web-1.mitigation_rules:"
    assert told.startswith("web-1.mitigation_rules:")


@few
@given(
    st.one_of(expressions, st.lists(shaped, min_size=2, max_size=3).map(" && ".join)),
    personas,
    personas,
    st.integers(0, 2**52),
)
def test_arbitrary_expressions_never_raise_and_mean_the_same_however_they_are_asked(text, persona, other, at):
    condition = Condition(text, Place("f", 1, 1))
    asked = Asked([condition])
    known = facts(persona, at)
    assert holds(condition, known) is (text == "true" or evaluate(text, facts(persona, at)) is True)
    for each in (persona, other, persona):
        assert asked.of(facts(each, at)) == (holds(condition, facts(each, at)),)
    assert all(0 < low <= high < 65_536 for low, high in ports_of(condition, known))


numbers = st.sampled_from(["0", "1", "3", "0.02", "0.5", "24.0", "1.0", "999999999.5", "007"])
comparisons = st.one_of(
    st.builds(
        "persona.{}{}{}".format,
        st.sampled_from([name for name, field in FIELDS.items() if field.type == "number"]),
        st.sampled_from([" > ", ">=", "< ", " <="]),
        numbers,
    ),
    st.builds(
        " persona.labels.{} {} '{}'".format,
        st.sampled_from(["role", "missing", "in", "true"]),
        st.sampled_from(["==", "!="]),
        st.sampled_from(["web", "", "a b", "x // y", "é"]) | st.text(max_size=4),
    ),
)


@settings(max_examples=100, deadline=None)
@given(comparisons, personas, st.sampled_from([{}, {"role": "web"}, {"role": ""}, {"role": "é", "in": "web"}]))
def test_a_plain_comparison_is_decided_as_cel_decides_it(text, persona, labels):
    persona = replace(persona, labels=labels, first_seen=1_800_000_000_000_000 - 86_400_000_000)
    known = facts(persona, 1_800_000_000_000_000)
    by_cel = evaluate(f"({text})", known) is True  # in brackets it is no plain comparison
    assert holds(Condition(text, Place("f", 1, 1)), known) is by_cel


@few
@given(expressions)
def test_flaws_are_told_within_the_expression(text):
    lines = text.split("\n")
    for flaw in flaws(text) + flaws(text, "ports"):
        assert 1 <= flaw.line <= len(lines) + text.count("\r") + 1
        assert flaw.column >= 1


@few
@given(personas, st.lists(st.integers(0, 10**12), min_size=1, max_size=6))
def test_mitigations_always_end_and_repeat(persona, instants):
    rule = "    - {name: r, action: deny, when: persona.risk_score > 0.5, until: persona.risk_score < 0.4, for: 1h}\n"
    policies = parse(HEAD + rule, "f.yaml")
    held = ()
    for at in sorted(instants):
        held = advance(persona, policies, at, held)
        assert advance(persona, policies, at, held) == held
        assert all(m.until is not None and at < m.until <= at + 3_600_000_000 for m in held)
    calm = Persona("web-1", risk_prior=0.45)
    end = next_end(held)
    assert end is None or advance(calm, policies, end, held) == ()
    assert check(policies, [persona]) == check(policies, [persona])
