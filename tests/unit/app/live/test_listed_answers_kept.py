"""A VM that asks for thousands of names does not push a listed name's answer out, and so free itself."""

from __future__ import annotations

import pytest

from netpersona.adapters.dns_relay.admission import Learned
from netpersona.adapters.dns_relay.concerns import concerns
from netpersona.app.live import rules as live_rules
from netpersona.app.live.rules import LiveRules
from netpersona.app.live.shared_names import spared, told
from netpersona.flow.vm import vm_id
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.pipeline import Ground
from netpersona.policy.parse import parse as policies

NOW = 1_800_000_000_000_000
WEB, DB = vm_id("web"), vm_id("db")
POLICY = policies(
    "{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: ["
    "{name: bad, direction: outbound, peers: {reputation_below: 0.3}, action: deny}]}}",
    "p.yaml",
)
INTEL = IndicatorSet.merge([parse(b"evil.example\n", FeedSettings("feodo", confidence=0.9))])
GROUND = Ground(INTEL, POLICY)
PERSONAS = {
    vm: Persona(vm=vm, base=BaseNetworkConfig(addresses=(f"10.77.0.{n}/24",), inferred=False))
    for n, vm in enumerate((WEB, DB), 11)
}
SET = f"domains_.reputation_below_0.3.{WEB}"


def heard(rules, vm, name, address, until=NOW + 10**9):
    return rules.take([Learned(vm, name, ((address, until),))], NOW)


def test_made_up_names_do_not_push_it_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_rules, "ANSWERS_KEPT", 50)
    rules = LiveRules()
    rules.resolved(PERSONAS, (), GROUND, NOW)
    heard(rules, WEB, "evil.example", "203.0.113.9", NOW + 10**8)
    for n in range(200):
        heard(rules, WEB, f"made-up-{n}.example.com", "203.0.113.10")
    assert rules.resolved(PERSONAS, {WEB}, GROUND, NOW).sets[SET].addresses == ("203.0.113.9",)


def test_answers_of_listed_names_wait_until_it_is_decided_and_no_longer():
    rules = LiveRules()
    before = concerns(rules.resolved(PERSONAS, (), GROUND, NOW), listed=INTEL.listed_names)
    (concern,) = before[WEB]
    assert concern.set_name is None
    assert concern.covers("www.evil.example")
    assert not concern.covers("fine.example")
    assert concern.holds == frozenset()
    changed = heard(rules, WEB, "evil.example", "203.0.113.9") | heard(rules, WEB, "evil.example", "104.16.1.2")
    for n in range(4):
        changed |= heard(rules, DB, f"www.site{n}.com", "104.16.1.2")
    ruleset = rules.resolved(PERSONAS, changed, GROUND, NOW)
    assert ruleset.sets[SET].addresses == ("203.0.113.9",)
    (concern,) = concerns(ruleset, listed=INTEL.listed_names)[WEB]
    assert concern.holds == {"203.0.113.9", "104.16.1.2"}
    (sentence,) = spared(ruleset)
    assert sentence.startswith(
        "104.16.1.2 was answered for evil.example, which feodo:1 lists as malicious (0.90), but 4"
    )
    assert told(POLICY, rules.answers, ruleset, NOW) == (sentence,)


def test_without_listed_names_no_answer_waits():
    ground = Ground(IndicatorSet.merge([parse(b"198.51.100.7\n", FeedSettings("feodo"))]), POLICY)
    assert concerns(LiveRules().resolved(PERSONAS, (), ground, NOW)) == {}
