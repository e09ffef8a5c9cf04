"""A listed name decides the flow that follows its answer, unless many others are at its address."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.warning_lists import warning_lists
from netpersona.flow.vm import vm_id
from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.model import Direction
from netpersona.policy.parse import parse as parsed
from netpersona.ruleset.explain import explain_other
from netpersona.ruleset.listed_answers import ListedAnswers
from netpersona.ruleset.resolve import Resolver, resolve
from netpersona.ruleset.verdict import Packet, verdict

AT = 1_800_000_000_000_000
WEB, DB = vm_id("web"), vm_id("db")
POLICY = """
{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [
  {name: bad, direction: DIRECTION, peers: PEERS, action: deny}]}}
"""
BAD = parse(b"evil.example\n198.51.100.7\n", FeedSettings("feodo", confidence=0.9, category="c2"))
DOUBTFUL = parse(b"doubt.example\n", FeedSettings("rumour", confidence=0.4))
OTHERS = {f"www.site{n}.com": ("203.0.113.9",) for n in range(4)}


def intel(allow=(), feeds=(BAD, DOUBTFUL)):
    return IndicatorSet.merge(feeds, AllowList(tuple(allow)), warning_lists(None))


def persona(vm):
    number = 11 if vm == WEB else 12
    return Persona(vm=vm, base=BaseNetworkConfig(addresses=(f"10.77.0.{number}/24",), inferred=False))


def ruleset(answers, known=None, peers="{reputation_below: 0.3}", direction="outbound"):
    names = {
        vm: {name: tuple((address, None) for address in found) for name, found in by_name.items()}
        for vm, by_name in answers.items()
    }
    text = POLICY.replace("PEERS", peers).replace("DIRECTION", direction)
    return resolve([persona(WEB), persona(DB)], parsed(text, "p"), known or intel(), AT, names=names)


def decided(rules, peer, vm=WEB, direction=Direction.OUTBOUND):
    return verdict(rules, Packet(vm, direction, peer, "tcp", 443))


def test_the_flow_that_follows_the_answer_is_stopped_and_says_by_which_name_and_line():
    rules = ruleset({WEB: {"cdn.evil.example": ("203.0.113.9",), "fine.example": ("203.0.113.10",)}})
    decision = decided(rules, "203.0.113.9")
    assert decision.verdict == "deny"
    assert decision.why == (
        "it concerns every VM, always; 203.0.113.9 was answered for a name with a reputation below 0.3 "
        "(cdn.evil.example, whose evil.example feodo:1 lists as c2 (0.90))"
    )
    assert decided(rules, "203.0.113.10").verdict == "allow"
    assert explain_other(rules, Packet(WEB, Direction.OUTBOUND, "203.0.113.9", "tcp", 443))[0] == (
        "p/bad@1: 203.0.113.9 would have to be no peer that was answered for a name with a reputation below 0.3, "
        "or the flow would have to be established already"
    )


def test_only_the_vm_that_was_answered_is_concerned_and_only_by_what_it_calls():
    rules = ruleset({WEB: {"evil.example": ("203.0.113.9",)}}, direction="both")
    assert decided(rules, "203.0.113.9", DB).verdict == "allow"
    assert decided(rules, "203.0.113.9", direction=Direction.INBOUND).verdict == "allow"
    assert decided(rules, "198.51.100.7", direction=Direction.INBOUND).verdict == "deny"


def test_a_listed_address_needs_no_name():
    assert decided(ruleset({}), "198.51.100.7").why.endswith("198.51.100.7 has a reputation below 0.3")


def test_a_name_that_is_not_bad_enough_stops_nothing():
    rules = ruleset({WEB: {"doubt.example": ("203.0.113.9",)}})
    assert decided(rules, "203.0.113.9").why == "no rule concerns this packet"
    assert (
        decided(
            ruleset({WEB: {"doubt.example": ("203.0.113.9",)}}, peers="{reputation_below: 0.7}"), "203.0.113.9"
        ).verdict
        == "deny"
    )


def test_an_address_of_many_sites_is_spared_and_it_is_said_so():
    rules = ruleset({WEB: {"evil.example": ("203.0.113.9",)}, DB: OTHERS})
    assert decided(rules, "203.0.113.9").verdict == "allow"
    assert decided(rules, "203.0.113.9").why == (
        "no rule concerns this packet; 203.0.113.9 was answered for evil.example, which feodo:1 lists as c2 (0.90), "
        "but 4 other sites were answered with it, site0.com, site1.com, site2.com among them"
    )


def test_the_edge_of_a_content_network_is_spared():
    decision = decided(ruleset({WEB: {"evil.example": ("104.16.1.2",)}}), "104.16.1.2")
    assert decision.verdict == "allow"
    assert "but it lies in" in decision.why
    assert "edge of a content network" in decision.why


def test_a_vm_cannot_spare_its_own_peer():
    assert decided(ruleset({WEB: {"evil.example": ("203.0.113.9",), **OTHERS}}), "203.0.113.9").verdict == "deny"


@pytest.mark.parametrize("value", ["evil.example", "203.0.113.0/24"])
def test_an_allow_list_wins(value):
    known = intel([AllowEntry(value, None, "ours")])
    assert decided(ruleset({WEB: {"evil.example": ("203.0.113.9",)}}, known), "203.0.113.9").verdict == "allow"


def test_all_but_bad_peers_are_all_but_bad_names_too():
    rules = ruleset({WEB: {"evil.example": ("203.0.113.9",)}}, peers="{not: {reputation_below: 0.3}}")
    assert [decided(rules, peer).verdict for peer in ("203.0.113.9", "198.51.100.7", "203.0.113.10")] == [
        "allow",
        "allow",
        "deny",
    ]


def test_where_no_name_is_listed_nothing_is_asked_of_names():
    known = intel(feeds=(parse(b"198.51.100.7\n", FeedSettings("feodo", confidence=0.9)),))
    assert list(ruleset({WEB: {"evil.example": ("203.0.113.9",)}}, known).sets) == ["reputation_below_0.3"]


def test_what_others_were_answered_later_spares_the_address():
    names = {WEB: {"evil.example": (("203.0.113.9", None),)}, DB: {}}
    policies = parsed(POLICY.replace("PEERS", "{reputation_below: 0.3}").replace("DIRECTION", "outbound"), "p")
    resolver = Resolver(policies, intel(), AT, names=names)
    for vm in (WEB, DB):
        resolver.put(persona(vm))
    assert decided(resolver.ruleset(), "203.0.113.9").verdict == "deny"
    names[DB] = {name: tuple((address, None) for address in found) for name, found in OTHERS.items()}
    resolver.put(persona(DB))
    assert decided(resolver.ruleset(), "203.0.113.9").verdict == "allow"
    resolver.remove(DB)
    assert decided(resolver.ruleset(), "203.0.113.9").verdict == "deny"


VMS = [vm_id(name) for name in "abc"]
NAMES = st.sampled_from(["evil.example", "x.evil.example", "doubt.example", *OTHERS])
ANSWERS = st.dictionaries(
    NAMES, st.lists(st.sampled_from(["203.0.113.9", "203.0.113.8"]), max_size=2, unique=True).map(tuple)
)
STEPS = st.tuples(st.sampled_from(VMS), st.one_of(st.none(), ANSWERS), st.booleans())
KNOWN = intel()


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_step_by_step_comes_to_what_all_at_once_comes_to(steps):
    one, standing = ListedAnswers(KNOWN, AT), {}
    for vm, answers, settles in steps:
        if answers is None:
            one.remove(vm)
            standing.pop(vm, None)
        else:
            one.remove(vm)
            one.put(vm, answers)
            standing[vm] = answers
        if settles:
            one.settle()
    other = ListedAnswers(KNOWN, AT)
    for vm, answers in standing.items():
        other.put(vm, answers)
    one.settle()
    other.settle()
    for vm in standing:
        for threshold in ("0.3", "0.9"):
            assert one.set_of(vm, threshold) == other.set_of(vm, threshold)
            assert one.set_of(vm, threshold).spared == other.set_of(vm, threshold).spared
