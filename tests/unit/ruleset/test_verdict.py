"""What stands before the policies, and what verdicts say."""

from dataclasses import replace

import pytest
from msgspec import structs

from netpersona.errors import InventoryError
from netpersona.flow.vm import vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Mitigation, Persona
from netpersona.policy.model import AlwaysAllow, Direction, PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.diff import diff, words
from netpersona.ruleset.explain import explain_other
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import next_change, resolve
from netpersona.ruleset.verdict import Packet, verdict
from netpersona.ruleset.words import listing, plan

AT = 1_800_000_000_000_000  # µs
MINUTE = 60_000_000
OUT, IN = Direction.OUTBOUND, Direction.INBOUND
WEB = vm_id("web-1")
NOTHING = IndicatorSet.merge([])


def persona(**fields: object) -> Persona:
    base = BaseNetworkConfig(
        addresses=("10.77.0.11/24", "fd00:77::11/64"), gateways=("10.77.0.1",), resolvers=("10.77.0.1",), inferred=False
    )
    return structs.replace(Persona(vm=WEB, base=base), **fields)


def policy(rules: str, name: str = "p", order: int = 1, mode: str = "enforce") -> str:
    return f"""
apiVersion: netpersona/v1
kind: Policy
metadata: {{name: {name}, version: 3}}
spec: {{mode: {mode}, order: {order}, rules: [{rules}]}}
"""


SHUT = policy("{name: shut, action: deny, existing: cut}")


def ruleset(text: str, who: Persona | None = None, **more: object) -> Ruleset:
    return resolve([who or persona()], parse(text, "p.yaml"), NOTHING, AT, **more)


@pytest.mark.parametrize(
    "packet",
    [
        Packet(WEB, OUT, "255.255.255.255", "udp", 67, client_port=68, source="0.0.0.0"),
        Packet(WEB, OUT, "10.77.0.1", "udp", 67, client_port=68),
        Packet(WEB, OUT, "ff02::1:2", "udp", 547, client_port=546, source="fe80::1"),
        Packet(WEB, IN, "10.77.0.1", "udp", 68, client_port=67),
        Packet(WEB, OUT, "ff02::1:ff00:1", "icmp6", message=135, source="::"),
        Packet(WEB, IN, "fe80::1", "icmp6", message=134),
        Packet(WEB, OUT, "10.77.0.1", "udp", 53),
        Packet(WEB, OUT, "10.77.0.1", "tcp", 53, reply=True),
    ],
)
def test_what_a_network_needs_survives_a_shut_vm(packet: Packet) -> None:
    assert verdict(ruleset(SHUT), packet).step == "always"


@pytest.mark.parametrize(
    "packet",
    [
        Packet(WEB, OUT, "203.0.113.7", "udp", 67, client_port=68),  # a way out, were it any peer
        Packet(WEB, OUT, "10.77.0.1", "udp", 67, client_port=1068),
        Packet(WEB, OUT, "203.0.113.7", "udp", 53),
        Packet(WEB, OUT, "ff02::1", "icmp6", message=134),  # a VM is no router
        Packet(WEB, IN, "fe80::1", "icmp6", message=128),
    ],
)
def test_what_only_looks_like_it_does_not(packet: Packet) -> None:
    assert not verdict(ruleset(SHUT), packet).passes


def test_what_is_always_allowed_can_be_taken_away() -> None:
    less = replace(parse(SHUT, "p.yaml"), always=AlwaysAllow(dhcp=False, resolver=False, neighbours=False))
    shut = resolve([persona()], less, NOTHING, AT)
    assert not verdict(shut, Packet(WEB, OUT, "10.77.0.1", "udp", 53)).passes
    assert not verdict(shut, Packet(WEB, OUT, "10.77.0.1", "udp", 67, client_port=68)).passes


def test_a_vm_sends_from_its_own_addresses_only() -> None:
    open_to_all = resolve([persona()], PolicySet(), NOTHING, AT)
    for source in ("10.77.0.12", "fd00:77::12", "0.0.0.0"):
        decision = verdict(open_to_all, Packet(WEB, OUT, "192.0.2.1", "tcp", 443, source=source))
        assert (decision.verdict, decision.step) == ("deny", "spoof")
        assert source in decision.why
        assert any(
            "10.77.0.11" in text for text in explain_other(open_to_all, Packet(WEB, OUT, "192.0.2.1", source=source))
        )
    for source in ("10.77.0.11", "fd00:77::11", "fe80::5"):
        assert verdict(open_to_all, Packet(WEB, OUT, "192.0.2.1", "tcp", 443, source=source)).passes
    answer = Packet(WEB, IN, "192.0.2.1", "tcp", 443, reply=True, source="10.77.0.12")
    assert not verdict(open_to_all, answer).passes


def test_addresses_that_only_the_traffic_showed_are_not_enforced() -> None:
    guessed = persona(base=BaseNetworkConfig(addresses=("10.77.0.11",)))
    found = resolve([guessed], PolicySet(), NOTHING, AT)
    assert verdict(found, Packet(WEB, OUT, "192.0.2.1", source="10.77.0.12")).passes


def test_a_drain_keeps_for_its_time_and_then_cuts() -> None:
    draining = policy("{name: later, direction: outbound, action: deny, existing: drain 60s}")
    packet = Packet(WEB, OUT, "192.0.2.1", "tcp", 443, established=True)
    first = ruleset(draining)
    assert verdict(first, packet).passes
    assert not verdict(first, replace(packet, established=False)).passes
    assert next_change(first) == AT + MINUTE
    later = ruleset(draining, began={(WEB, "p", "later"): AT - MINUTE})
    assert not verdict(later, packet).passes
    assert next_change(later) is None


def test_the_earliest_end_is_the_next_change() -> None:
    held = Mitigation("p", "r", 1, AT - MINUTE, AT + 3 * MINUTE, "why")
    assert next_change(ruleset(SHUT, persona(mitigations=(held,)))) == AT + 3 * MINUTE
    answers = {WEB: {"example.com": (("192.0.2.1", AT + 2 * MINUTE), ("192.0.2.2", AT - 1))}}
    assert next_change(ruleset(SHUT, persona(mitigations=(held,)), names=answers)) == AT + 2 * MINUTE


def test_an_answer_that_has_ended_is_no_peer_any_more() -> None:
    text = policy("{name: named, direction: outbound, peers: {domains: [example.com]}, action: deny}")
    found = ruleset(text, names={WEB: {"www.example.com": (("192.0.2.1", AT + 1), ("192.0.2.2", AT))}})
    assert not verdict(found, Packet(WEB, OUT, "192.0.2.1", "tcp", 443)).passes
    assert verdict(found, Packet(WEB, OUT, "192.0.2.2", "tcp", 443)).passes


def test_a_redirect_without_a_target_does_nothing() -> None:
    text = policy("{name: look, direction: outbound, action: redirect, to: analyser}")
    packet = Packet(WEB, OUT, "192.0.2.1", "tcp", 80)
    assert verdict(ruleset(text), packet).passes
    pointed = replace(parse(text, "p.yaml"), redirects={"analyser": "10.77.0.9:8080"})
    found = resolve([persona()], pointed, NOTHING, AT)
    assert verdict(found, packet).verdict == "redirect"
    assert verdict(found, replace(packet, peer="2001:db8::1")).verdict == "allow", "IPv6 cannot go to an IPv4 analyser"


def test_the_personas_own_rules_come_first() -> None:
    own = persona(mitigation_rules=({"name": "open", "direction": "outbound", "action": "allow"},))
    decision = verdict(ruleset(SHUT, own), Packet(WEB, OUT, "192.0.2.1", "tcp", 443))
    assert (decision.verdict, decision.policy) == ("allow", "mitigation-rules-of-web-1")


def test_a_decision_names_its_policy_version_and_facts() -> None:
    text = policy("{name: risky, when: persona.risk_score > 0.7, direction: outbound, action: deny}")
    decision = verdict(ruleset(text, persona(risk_prior=0.8)), Packet(WEB, OUT, "192.0.2.1", "tcp", 443))
    assert (decision.policy, decision.version) == ("p", 3)
    assert "risk_score is 0.8" in decision.why


def test_a_trial_says_what_it_would_do() -> None:
    trial = policy(
        "{name: known, peers: {networks: [192.0.2.0/24]}, action: allow}, {name: rest, action: deny}", mode="stage"
    )
    found = ruleset(trial)
    assert [r.rule for r in verdict(found, Packet(WEB, OUT, "192.0.2.1", "tcp", 443)).staged] == ["known"]
    assert [r.rule for r in verdict(found, Packet(WEB, OUT, "203.0.113.1", "tcp", 443)).staged] == ["rest"]


@pytest.mark.parametrize("name", ["", "a" * 16, 'tap"; drop', "tap*", "tap 1", "täp", "tap\n"])
def test_an_interface_that_no_kernel_has_is_refused(name: str) -> None:
    with pytest.raises(InventoryError, match="web-1"):
        ruleset(SHUT, interfaces={WEB: name})


def test_two_vms_on_one_interface_are_refused() -> None:
    with pytest.raises(InventoryError, match="both"):
        ruleset(SHUT, interfaces={WEB: "tap0", vm_id("web-2"): "tap0"})


def test_what_would_have_to_differ_counts_every_rule_that_stands_in_the_way() -> None:
    text = (
        policy("{name: risky, when: persona.risk_score > 0.7, direction: outbound, action: deny}")
        + "---"
        + policy("{name: ssh, ports: [22], direction: outbound, action: deny}", name="q", order=2)
    )
    found = ruleset(text, persona(risk_prior=0.8))
    said = explain_other(found, Packet(WEB, OUT, "192.0.2.1", "tcp", 22))
    assert any("at most 0.7" in sentence for sentence in said)
    assert any("none of 22" in sentence for sentence in said)
    calm = explain_other(ruleset(text), Packet(WEB, OUT, "192.0.2.1", "tcp", 443))
    assert any("more than 0.7" in sentence for sentence in calm)
    assert any("one of 22" in sentence for sentence in calm)


def test_changes_are_told_in_words() -> None:
    text = policy("{name: risky, when: persona.risk_score > 0.7, direction: outbound, action: deny}")
    before, after = ruleset(text), ruleset(text, persona(risk_prior=0.8))
    assert words(diff(before, after)) == [
        "web-1 outbound: deny by p/risky@3 begins, because persona.risk_score > 0.7 holds (risk_score is 0.8)"
    ]
    assert words(diff(after, before)) == ["web-1 outbound: deny by p/risky@3 ends"]


def test_plan_and_listing_name_every_rule() -> None:
    found = ruleset(
        policy("{name: some, direction: inbound, peers: {networks: [10.0.0.0/8]}, ports: [80, 90-99], action: deny}")
    )
    (of_vm,) = plan(found)
    (rule,) = of_vm["rules"]
    assert (rule["policy"], rule["rule"], rule["action"], rule["direction"]) == ("p", "some", "deny", "inbound")
    assert rule["ports"] == [80, "90-99"]
    assert rule["peers"][0]["sets"][0]["size"] == 1
    assert "p/some@3" in listing(found)
