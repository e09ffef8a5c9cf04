"""The persona as a resource: its shape, its words, and its bound of 8 KiB whatever the traffic."""

from __future__ import annotations

import json
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from netpersona.flow.vm import VmId
from netpersona.persona.model import (
    BaseNetworkConfig,
    BehavioralSignature,
    Kind,
    Mitigation,
    Persona,
    RiskTerm,
    TrafficProfile,
    Usage,
)
from netpersona.persona.profile import HALF_LIFE, KINDS_KEPT, volume_bin
from netpersona.persona.resource import LIMIT, canonical_json, report_object, resource, rfc3339
from properties.personas import personas

WEB = VmId("web-1")
SECOND = 1_000_000
NOON = 1_767_268_800 * SECOND  # 2026-01-01T12:00:00Z


def used(flows, last=NOON, sent=0.0):
    return Usage(float(flows), float(sent), 0.0, 0, last)


def profile(kinds, **more):
    return TrafficProfile(kinds=kinds, flows=100, windows=4, **more)


def test_the_shape_is_that_of_the_design():
    base = BaseNetworkConfig(
        ("10.77.0.11/24",), "tap-web-1", "52:54:00:00:00:01", ("10.77.0.1",), mtu=1500, inferred=False
    )
    rule = {"name": "isolate-on-c2", "when": "'c2_beacon' in persona.signatures", "action": "isolate", "for": "1h"}
    shown = resource(Persona(WEB, 41, {"role": "web"}, base, mitigation_rules=(rule,)), NOON, 0.83)
    assert list(shown) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert shown["metadata"] == {"name": "web-1", "labels": {"role": "web"}, "version": 41}
    assert shown["spec"] == {
        "base_network_config": {
            "interface": "tap-web-1",
            "mac": "52:54:00:00:00:01",
            "addresses": ["10.77.0.11/24"],
            "gateways": ["10.77.0.1"],
            "resolvers": [],
            "mtu": 1500,
        },
        "learning": {"state": "learning"},
        "mitigation_rules": [rule],
    }
    assert list(shown["status"]) == [
        "traffic_profile",
        "behavioral_signatures",
        "risk_score",
        "risk_ledger",
        "completeness",
        "exposure",
        "mitigations",
    ]
    assert shown["status"]["risk_score"] == 0.83


def test_what_the_traffic_showed_is_marked_as_inferred():
    shown = resource(Persona(WEB, base=BaseNetworkConfig(("10.0.0.1",))), NOON, 0.02)
    assert shown["spec"]["base_network_config"]["inferred"] is True
    assert "mac" not in shown["spec"]["base_network_config"]


def test_shares_are_of_all_flows_those_of_dropped_kinds_among_them():
    kinds = {Kind("inbound", "tcp", 443, ""): used(60), Kind("outbound", "udp", 53, "10.0.0.2"): used(20)}
    told = resource(Persona(WEB, profile=profile(kinds, dropped_kinds=5, dropped_flows=20.0)), NOON, 0.0)
    traffic = told["status"]["traffic_profile"]
    assert [(s["service"], s["share"]) for s in traffic["services"]] == [("tcp/443", 0.6)]
    assert [(p["peer"], p["service"], p["share"]) for p in traffic["peers"]] == [("10.0.0.2", "udp/53", 0.2)]
    assert traffic["explains"] == 0.8
    assert traffic["dropped"] == {"kinds": 5, "flows": 20.0}


def test_habits_that_ended_weigh_less():
    kinds = {
        Kind("outbound", "tcp", 80, "10.0.0.2"): used(100, NOON - HALF_LIFE),
        Kind("outbound", "tcp", 80, "10.0.0.3"): used(100),
    }
    peers = resource(Persona(WEB, profile=profile(kinds)), NOON, 0.0)["status"]["traffic_profile"]["peers"]
    assert [(p["peer"], p["flows"]) for p in peers] == [("10.0.0.3", 100.0), ("10.0.0.2", 50.0)]


def test_volumes_are_quantiles_in_bytes():
    bins = [0] * 80
    bins[volume_bin(1000)], bins[volume_bin(10**6)] = 99, 1
    volumes = resource(Persona(WEB, profile=profile({}, volumes_out=tuple(bins))), NOON, 0.0)["status"][
        "traffic_profile"
    ]["volumes"]
    assert 1000 <= volumes["out"]["p50"] <= 1415
    assert volumes["out"]["p50"] == volumes["out"]["p95"]
    assert 10**6 <= volumes["out"]["max"] <= 1.42 * 10**6
    assert volumes["in"] == {"p50": 0, "p95": 0, "max": 0}


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "2026-01-01T12:00:00Z"),
        (NOON + 250_000, "2026-01-01T12:00:00.25Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999999Z"),
        (-(2**63), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(at, text):
    assert rfc3339(at) == text


def term(number, at=NOON, weight=1.0, why="because"):
    return RiskTerm("scan", f"10.0.0.{number}", weight, 3600 * SECOND, at, f"{number:016x}", ("drop",), why)


def test_of_a_long_ledger_the_gravest_terms_are_shown_and_the_rest_is_counted():
    ledger = tuple(term(n, weight=float(n)) for n in range(1, 21))
    status = resource(Persona(WEB, risk_ledger=ledger), NOON, 0.9)["status"]
    assert [t["weight"] for t in status["risk_ledger"]] == [20.0, 19.0, 18.0, 17.0, 16.0, 15.0, 14.0, 13.0]
    assert status["risk_ledger_more"] == 12
    assert status["risk_ledger"][0]["at"] == "2026-01-01T12:00:00Z"


def test_a_term_that_faded_is_less_grave_than_a_fresh_one():
    ledger = (term(1, NOON - 36_000 * SECOND, 4.0), term(2, NOON, 1.0))
    assert [t["peer"] for t in resource(Persona(WEB, risk_ledger=ledger), NOON, 0.5)["status"]["risk_ledger"]] == [
        "10.0.0.2",
        "10.0.0.1",
    ]


def test_a_mitigation_that_ended_is_not_in_force():
    over, running, open_ended = (
        Mitigation("p", name, 1, NOON - 9, until, "risk") for name, until in (("a", NOON), ("b", NOON + 1), ("c", None))
    )
    persona = Persona(WEB, mitigations=(over, running, open_ended))
    assert [m["rule"] for m in resource(persona, NOON, 0.0)["status"]["mitigations"]] == ["b", "c"]


def test_the_report_has_the_same_in_full_with_seconds():
    signature = BehavioralSignature("scan", NOON, NOON + SECOND // 2, None, 0.9, "w" * 1000)
    ledger = tuple(term(n) for n in range(1, 41))
    shown = report_object(Persona(WEB, 7, signatures=(signature,), risk_ledger=ledger), NOON, 0.9)
    assert (shown["vm"], shown["version"], shown["risk_score"]) == ("web-1", 7, 0.9)
    assert shown["behavioral_signatures"][0]["last"] == NOON / SECOND + 0.5
    assert shown["behavioral_signatures"][0]["why"] == "w" * 1000
    assert "peer" not in shown["behavioral_signatures"][0]
    assert len(shown["risk_ledger"]) == 40
    assert shown["risk_ledger"][0]["half_life_s"] == 3600.0
    assert shown["completeness"] == {"seen": 0.0, "unseen": 1.0, "low": 0.0, "high": 1.0}


def crowded(length, number=KINDS_KEPT + 6):
    """A persona as large as hostile traffic can make it: the longest addresses and names, every table full."""
    peers = [str(IPv6Address(2**128 - 1 - n)) for n in range(number)]
    kinds = {Kind("outbound", "tcp", 65535, peer): used(1e12 + n, sent=1e15) for n, peer in enumerate(peers)}
    why = "ü" * length
    return Persona(
        VmId("v" * 64),
        10**9,
        base=BaseNetworkConfig(tuple(peers[:8]), resolvers=tuple(peers[8:12])),
        profile=TrafficProfile(
            kinds=kinds,
            names={f"{n:03}" + "ä" * length: used(n + 1) for n in range(22)},
            fingerprints={f"{n:03}" + '"' * length: used(n + 1) for n in range(12)},
            hours=(1 / 3,) * 24,
            volumes_out=(10**9,) * 80,
            volumes_in=(10**9,) * 80,
            flows=10**15,
            dropped_kinds=10**9,
            dropped_flows=1e15,
        ),
        signatures=tuple(BehavioralSignature(f"s{n}", NOON, NOON, peers[n], 0.123456, why) for n in range(20)),
        risk_ledger=tuple(replace(term(n, why=why), peer=peers[n], feeds=(why, why, why)) for n in range(46)),
        mitigations=tuple(Mitigation(why, f"r{n}", 10**9, NOON, None, why) for n in range(2)),
        last_seen=NOON,
    )


@pytest.mark.parametrize("length", [1, 60, 250, 5000])
def test_the_largest_persona_stays_within_its_bound(length):
    persona = crowded(length)
    shown = resource(persona, NOON, 0.999999)
    assert len(canonical_json(shown)) <= LIMIT
    traffic, status = shown["status"]["traffic_profile"], shown["status"]
    assert traffic["dropped"]["kinds"] == 10**9 + 46 - len(traffic["peers"])
    assert len(status["risk_ledger"]) + status["risk_ledger_more"] == 46
    assert len(status["behavioral_signatures"]) + status["behavioral_signatures_more"] == 20
    assert len(traffic["names"]) + traffic["dropped"].get("names", 0) == 22


def test_the_heaviest_stay_and_what_they_explain_is_stated():
    traffic = resource(crowded(200), NOON, 0.9)["status"]["traffic_profile"]
    flows = [entry["flows"] for entry in traffic["peers"]]
    assert flows == sorted(flows, reverse=True)
    assert flows[:1] == [1e12 + 45]
    whole = 46e12 + sum(range(46)) + 1e15
    assert traffic["explains"] == pytest.approx(sum(flows) / whole, abs=1e-4)


def test_an_ordinary_persona_is_shown_whole():
    peers = {Kind("outbound", "tcp", 443, f"203.0.113.{n}"): used(n + 1) for n in range(KINDS_KEPT)}
    names = {f"service-{n}.example.com": used(n + 1) for n in range(16)}
    persona = Persona(WEB, profile=profile(peers, names=names), risk_ledger=(term(1),))
    shown = resource(persona, NOON, 0.1)
    assert len(shown["status"]["traffic_profile"]["peers"]) == KINDS_KEPT
    assert len(shown["status"]["traffic_profile"]["names"]) == 16


@settings(max_examples=60, deadline=None)
@given(personas, st.integers(0, 4_000_000_000_000_000))
def test_any_persona_is_bounded_and_is_json(persona, at):
    shown = resource(persona, at, 0.5)
    text = canonical_json(shown)
    assert len(text) <= LIMIT
    assert json.loads(text) == json.loads(json.dumps(shown))
    json.dumps(report_object(persona, at, 0.5), allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(personas)
def test_the_order_of_a_dict_does_not_show(persona):
    kinds = dict(reversed(persona.profile.kinds.items()))
    names = dict(reversed(persona.profile.names.items()))
    other = replace(persona, profile=replace(persona.profile, kinds=kinds, names=names))
    assert json.dumps(resource(other, NOON, 0.5)) == json.dumps(resource(persona, NOON, 0.5))
