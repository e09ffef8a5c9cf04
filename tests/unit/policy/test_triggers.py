"""Mitigations begin, go on while their reason does, and always end."""

from msgspec.structs import replace

from netpersona.persona.model import Mitigation, Persona
from netpersona.policy.conditions import holds
from netpersona.policy.facts import facts
from netpersona.policy.parse import parse
from netpersona.policy.triggers import advance, goes_on, next_end, stateful

HOUR = 3_600_000_000
AT = 1_767_225_600_000_000
RISKY, HALF, CALM = (Persona("web-1", labels={"role": "web"}, risk_prior=risk) for risk in (0.9, 0.5, 0.1))


def policies(rule, mode="enforce", selector="persona.labels.role == 'web'"):
    return parse(
        f"apiVersion: netpersona/v1\nkind: Policy\nmetadata: {{name: p, version: 4}}\nspec:\n  mode: {mode}\n  order: 1\n"
        f'  selector: "{selector}"\n  rules:\n    - {{name: r, action: deny, {rule}}}\n',
        "f.yaml",
    )


HOLD = policies("when: persona.risk_score > 0.7, for: 1h")
UNTIL = policies("when: persona.risk_score > 0.7, until: persona.risk_score < 0.3, for: 1h")


def test_it_begins_says_why_and_has_an_end():
    (held,) = advance(RISKY, HOLD, AT, ())
    assert (held.policy, held.rule, held.policy_version, held.since, held.until) == ("p", "r", 4, AT, AT + HOUR)
    assert held.why == "persona.risk_score > 0.7 (risk_score is 0.9)"
    assert next_end((held,)) == AT + HOUR
    assert next_end(()) is None


def test_it_holds_after_the_reason_is_gone_and_ends_at_its_end():
    held = advance(RISKY, HOLD, AT, ())
    assert advance(CALM, HOLD, AT + HOUR - 1, held) == held
    assert advance(CALM, HOLD, AT + HOUR, held) == ()


def test_it_goes_on_while_the_reason_does():
    held = advance(RISKY, HOLD, AT, ())
    (longer,) = advance(RISKY, HOLD, AT + HOUR // 2, held)
    assert (longer.since, longer.until) == (AT, AT + HOUR // 2 + HOUR)


def test_until_is_hysteresis():
    held = advance(RISKY, UNTIL, AT, ())
    assert advance(HALF, UNTIL, AT + 1, held) == held  # below 0.7, not yet below 0.3
    assert advance(CALM, UNTIL, AT + 1, held) == ()
    assert advance(HALF, UNTIL, AT, ()) == ()  # 0.5 alone does not begin it
    assert advance(HALF, UNTIL, AT + HOUR, held) == ()  # it ends though `until` never came true


def test_where_when_and_until_both_hold_it_stays():
    both = policies("when: persona.risk_score > 0.7, until: persona.risk_score > 0.1")
    held = advance(RISKY, both, AT, ())
    assert held[0].until == AT + 24 * HOUR
    assert len(advance(RISKY, both, AT + 1, held)) == 1


def test_it_outlives_the_selector_but_not_its_rule_nor_an_off_switch():
    held = advance(RISKY, HOLD, AT, ())
    other = replace(CALM, labels={"role": "db"})
    assert advance(other, HOLD, AT + 1, held) == held
    assert advance(replace(RISKY, labels={}), HOLD, AT, ()) == ()
    assert advance(RISKY, policies("when: persona.risk_score > 0.7"), AT + 1, held) == ()
    assert advance(RISKY, policies("when: persona.risk_score > 0.7, for: 1h", mode="off"), AT + 1, held) == ()
    assert len(advance(RISKY, policies("when: persona.risk_score > 0.7, for: 1h", mode="stage"), AT, ())) == 1


def test_repeating_it_at_one_instant_changes_nothing():
    for persona in (RISKY, HALF, CALM):
        for before in ((), advance(RISKY, UNTIL, AT - 5, ())):
            once = advance(persona, UNTIL, AT, before)
            assert advance(persona, UNTIL, AT, once) == once


def test_a_mitigation_without_an_end_is_given_one():
    endless = Mitigation("p", "r", 1, AT, None, "why")
    assert advance(CALM, HOLD, AT + 1, (endless,))[0].until == AT + HOUR
    assert advance(CALM, HOLD, AT + HOUR, (endless,)) == ()


def test_what_is_triggered_or_goes_on_is_what_advance_gives():
    policy, rule = UNTIL.policies[0], UNTIL.policies[0].rules[0]
    for persona in (RISKY, HALF, CALM):
        for before in ((), advance(RISKY, UNTIL, AT - 5, ())):
            for at in (AT, AT + 2 * HOUR):
                holding = replace(persona, mitigations=before)
                expected = bool(advance(holding, UNTIL, at, before))
                known = facts(holding, at)
                assert (holds(rule.when, known) or goes_on(rule, policy, known)) is expected


def test_a_rule_without_for_and_until_never_goes_on():
    plain = policies("when: persona.risk_score > 0.7")
    rule, policy = plain.policies[0].rules[0], plain.policies[0]
    held = replace(CALM, mitigations=advance(RISKY, HOLD, AT, ()))
    assert held.mitigations
    assert goes_on(HOLD.policies[0].rules[0], HOLD.policies[0], facts(held, AT))
    assert not goes_on(rule, policy, facts(held, AT))
    assert advance(RISKY, plain, AT, ()) == ()
    assert not stateful(plain, RISKY)
    assert stateful(HOLD, RISKY)


def test_a_personas_own_rules_are_triggered_too():
    own = {"name": "mine", "when": "persona.risk_score > 0.7", "action": "isolate", "for": "1h"}
    persona = replace(RISKY, mitigation_rules=(own,))
    plain = policies("when: persona.risk_score > 0.7")
    assert stateful(plain, persona)
    assert [(m.policy, m.rule) for m in advance(persona, plain, AT, ())] == [("mitigation-rules-of-web-1", "mine")]
