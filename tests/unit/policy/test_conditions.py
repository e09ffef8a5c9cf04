"""Conditions hold or do not; nothing raises when they are asked."""

import subprocess
import sys

import pytest
from msgspec.structs import replace

from netpersona.errors import PolicyError
from netpersona.persona.model import BaseNetworkConfig, BehavioralSignature, Completeness, Mitigation, Persona
from netpersona.policy.conditions import Asked, compile_condition, evaluate, evidence, flaws, holds, ports_of
from netpersona.policy.facts import FIELDS, facts
from netpersona.policy.model import Condition, Place

HOUR = 3_600_000_000
AT = 1_767_225_600_000_000
WEB = Persona(
    "web-1",
    version=3,
    labels={"role": "web"},
    base=BaseNetworkConfig(addresses=("10.77.0.11/24", "fd00::11/64")),
    signatures=(BehavioralSignature("c2_beacon", AT - HOUR, AT - HOUR // 2, "203.0.113.7", 0.95, "why"),),
    risk_prior=0.8,
    completeness=Completeness(0.01, 0.0, 0.02),
    mitigations=(Mitigation("p", "r", 1, AT - 5, AT + 5, "why"), Mitigation("p", "gone", 1, AT - 5, AT, "why")),
    exposure=("known_exploited",),
    exposed_ports=(8443, 443, 444),
    first_seen=AT - 48 * HOUR,
)


def condition(text):
    return Condition(text, Place("f", 1, 1))


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "persona.name == 'web-1' && persona.version == 3 && persona.learning == 'learning'",
        "persona.labels.role == 'web'",
        "has(persona.labels.role) && !has(persona.labels.zone)",
        "persona.risk_score > 0.7 && persona.risk_score >= 0.8",
        "persona.completeness > 0.98",
        "persona.signatures.exists(s, s.name in ['c2_beacon'] && s.confidence >= 0.9 && s.peer == '203.0.113.7')",
        "persona.signatures.exists(s, persona.at - s.last < duration('1h'))",
        "'c2_beacon' in persona.signatures.map(s, s.name)",
        "'known_exploited' in persona.exposure",
        "443 in persona.exposed_ports",
        "persona.addresses.exists(a, a.startsWith('fd00:'))",
        "persona.age_hours > 47.9 && persona.age_hours < 48.1",
        "persona.mitigations.map(m, m.rule) == ['r']",
        "persona.profile.windows == 0",
        "persona.labels.missing == 'x' || persona.risk_score > 0.5",
    ],
)
def test_holds(text):
    assert flaws(text) == []
    assert holds(condition(text), facts(WEB, AT)) is True


@pytest.mark.parametrize(
    "text",
    [
        "persona.labels.missing == 'x'",
        "persona.labels.missing != 'x'",
        "!(persona.labels.missing == 'x')",
        "persona.nothing > 1",
        "nobody.x == 1",
        "persona.risk_score",
        "1 / 0 == 1",
        "persona.risk_score > 'x'",
        "persona.signatures[7].name == 'x'",
        "persona.name.matches('(')",
        "this is not CEL",
        "",
    ],
)
def test_an_error_does_not_hold_and_does_not_raise(text):
    assert holds(condition(text), facts(WEB, AT)) is False


def test_no_condition_holds():
    assert holds(None, facts(WEB, AT))


def test_every_field_is_documented_and_gives_the_type_that_it_says():
    types = {"string": str, "number": (int, float), "list": list, "map": dict, "timestamp": object}
    for name, field in FIELDS.items():
        assert field.says
        assert isinstance(facts(WEB, AT).value(name), types[field.type])
        assert isinstance(field.sample, types[field.type])


def test_what_one_persona_is_asked_changes_no_answer_for_another():
    others = [
        replace(WEB, risk_prior=0.3),
        replace(WEB, labels={"role": "db"}),
        replace(WEB, labels={}),
        replace(WEB, exposed_ports=(22,)),
        replace(WEB, signatures=()),
        replace(WEB, signatures=(replace(WEB.signatures[0], confidence=0.5),)),
        replace(WEB, signatures=(replace(WEB.signatures[0], confidence=0.5, name="scan"),)),
    ]
    texts = [
        "true",
        "persona.risk_score > 0.7",
        "persona.labels.role == 'web' && persona.risk_score > 0.7",
        "persona.signatures.exists(s, s.confidence > 0.9)",
        "persona.signatures.exists(s, s.name == 'scan') || persona.risk_score > 0.7",
        "persona.signatures.exists(s, s.name == 'c2_beacon') && persona.learning == 'learning'",
        "443 in persona.exposed_ports",
        "persona.exposed_ports.size() > 1",
        "persona.completeness > 0.5 && persona.labels.role != 'web'",
    ]
    conditions = [None, *map(condition, texts)]
    asked = Asked(conditions)
    for persona in (WEB, *others, WEB):
        assert asked.of(facts(persona, AT)) == tuple(holds(each, facts(persona, AT)) for each in conditions)


def test_a_condition_is_asked_of_every_persona_where_all_differ_and_there_are_more_than_are_remembered():
    asked = Asked([condition("persona.name.endsWith('7') && persona.version > 2")])
    for _ in range(2):
        answers = [asked.of(facts(replace(WEB, vm=f"web-{number}"), AT)) for number in range(4_200)]
        assert answers == [(number % 10 == 7,) for number in range(4_200)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("persona.risk_score > 0.7 && persona.labels.role == 'web' && persona.version == 3", True),
        ("persona.risk_score > 0.7 && persona.labels.missing == 'x'", False),
        ("persona.labels.missing == 'x' && persona.risk_score > 0.7", False),
        ("persona.risk_score > 0.9 && persona.version == 3 || persona.learning == 'learning'", True),
        ("persona.risk_score > 0.9 && persona.version == 3 ? false : true", True),
        ("persona.labels.role == 'a && b' || persona.labels.role == 'web' && true", True),
        ("persona.labels.role == r'\\' && true || persona.version == 3", True),
        ("persona.version && true", False),
        ("true && persona.version == 3 // a && b", True),
    ],
)
def test_a_conjunction_is_true_where_all_its_parts_are(text, expected):
    assert holds(condition(text), facts(WEB, AT)) is expected
    assert (evaluate(text, facts(WEB, AT)) is True) is expected


def test_ports_of_a_list_are_ranges():
    assert ports_of(condition("persona.exposed_ports"), facts(WEB, AT)) == ((443, 444), (8443, 8443))
    assert ports_of(condition("[80, 0, 70000, 81]"), facts(WEB, AT)) == ((80, 81),)
    assert ports_of(condition("persona.nothing"), facts(WEB, AT)) == ()


def test_evidence_names_the_facts():
    text = "persona.risk_score > 0.7 && persona.labels.role == 'web' && persona.labels.zone == 'a'"
    assert (
        evidence(condition(text), facts(WEB, AT)) == "risk_score is 0.8, labels.role is 'web', labels.zone is missing"
    )


def test_syntax_errors_name_line_and_column():
    with pytest.raises(PolicyError, match=r"^2:4: not a CEL expression"):
        compile_condition("true\n&& )")


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("persona.risc_score > 1", 9, "unknown field risc_score of persona", "did you mean risk_score?"),
        ("persona.profile.flws > 1", 17, "unknown field flws of profile", "did you mean flows?"),
        ("persona.mitigations.all(m, m.rul == 'x')", 30, "unknown field rul of m", "did you mean rule?"),
        ("size(person.labels) > 1", 6, "unknown name person", "did you mean persona?"),
        ("persona.name.startWith('w')", 14, "unknown function startWith", "did you mean startsWith?"),
        ("persona.name.x == 1", 14, "persona.name is a string and has no parts", None),
        ("true && persona.risk_score > 'x'", 9, "types do not fit", None),
        ("persona.name", 1, "gives text", None),
        ("1" + " + 1" * 2000, 1, "at most 2000", None),
        ("(" * 200 + "1" + ")" * 200, 97, "nested too deeply", None),
        ("[1].all(a, [1].all(b, [1].all(c, [1].all(d, [1].all(e, true)))))", 1, "more than 4 loops", None),
    ],
)
def test_flaws(text, column, message, hint):
    found = flaws(text)
    assert len(found) == 1
    assert message in found[0].message
    assert (found[0].line, found[0].column, found[0].hint) == (1, column, hint)


def test_importing_the_policy_package_does_not_load_cel():
    code = "import sys, netpersona.policy.parse, netpersona.policy.triggers; sys.exit('cel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
