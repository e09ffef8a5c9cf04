"""What a finding is as STIX 2.1: valid by the standard's own schemas, the same each time, and nothing of ours in it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stix2validator import ValidationOptions, validate_instance

from netpersona.adapters.sinks.stix_objects import MARKINGS, Teller, bundle, objects
from netpersona.flow.vm import VmId
from netpersona.flow.window import DAY, MINUTE
from netpersona.risk.finding import Severity
from told_findings import AT, BAD, BAD6, EVERY_KIND, finding

TELLER = Teller()
OPTIONS = ValidationOptions(version="2.1")


def told(found, teller=TELLER):
    return {each["type"]: each for each in objects(found, teller)}


def test_a_peer_is_an_indicator_that_was_sighted():
    seen = told(finding())
    indicator, sighting, data = seen["indicator"], seen["sighting"], seen["observed-data"]
    assert indicator["pattern"] == f"[ipv4-addr:value = '{BAD}']"
    assert (indicator["valid_from"], indicator["confidence"]) == ("2025-10-09T00:00:00.000Z", 93)
    assert indicator["valid_until"] == "2025-11-08T00:09:00.000Z"
    assert (sighting["sighting_of_ref"], sighting["count"]) == (indicator["id"], 10)
    assert (sighting["first_seen"], sighting["last_seen"]) == ("2025-10-09T00:00:00.000Z", "2025-10-09T00:09:00.000Z")
    assert (sighting["created"], sighting["modified"]) == ("2025-10-09T00:05:00.000Z", "2025-10-09T00:09:00.000Z")
    assert sighting["where_sighted_refs"] == [seen["identity"]["id"]]
    assert data["object_refs"] == [seen["ipv4-addr"]["id"], seen["network-traffic"]["id"]]
    assert (seen["network-traffic"]["dst_port"], seen["network-traffic"]["protocols"]) == (8443, ["ipv4", "tcp"])
    assert seen["relationship"]["relationship_type"] == "indicates"
    assert seen["attack-pattern"]["external_references"][0]["external_id"] in finding().techniques


@pytest.mark.parametrize(
    ("found", "patterns"),
    [
        (EVERY_KIND[1], [f"[ipv6-addr:value = '{BAD6}']"]),
        (EVERY_KIND[3], ["[domain-name:value = 'evil.example']"]),
        (EVERY_KIND[4], ["[domain-name:value = 't.evil.example']"]),
        (EVERY_KIND[5], []),
        (EVERY_KIND[6], []),
        (EVERY_KIND[7], [f"[ipv4-addr:value = '{BAD}']"]),
        (EVERY_KIND[8], []),
        (EVERY_KIND[9], ["[ipv4-addr:value = '45.33.32.11']"]),
    ],
    ids=lambda each: each.kind if hasattr(each, "kind") else "",
)
def test_only_who_is_at_fault_outside_is_an_indicator(found, patterns):
    those = objects(found, TELLER)
    assert [each["pattern"] for each in those if each["type"] == "indicator"] == patterns
    of = {each["sighting_of_ref"].partition("--")[0] for each in those if each["type"] == "sighting"}
    assert of == {"indicator" if patterns else "attack-pattern"}


def test_a_resolver_is_never_accused():
    url = {"indicator": "http://evil.example/x", "via": ["dns", "name"]}
    met = finding("intel_match", None, peers=("8.8.8.8", BAD), port=None, evidence=url)
    assert not [each for each in objects(met, TELLER) if each["type"] == "indicator"]


@pytest.mark.parametrize("via", ["url", "tls-host", "http-host", "dns-host"])
def test_a_server_is_not_accused_of_one_page(via):
    met = finding("intel_match", BAD, evidence={"indicator": "evil.example", "via": via})
    assert not [each for each in objects(met, TELLER) if each["type"] == "indicator"]


def test_what_tells_nothing_is_not_told():
    assert objects(EVERY_KIND[10], TELLER) == []


@pytest.mark.parametrize("teller", [TELLER, Teller("ACME SOC", "green", vms=True)], ids=["plain", "with VMs"])
def test_it_is_valid_by_the_schemas_of_the_standard(teller):
    whole = bundle({each["id"]: each for found in EVERY_KIND for each in objects(found, teller)}.values())
    result = validate_instance(json.loads(json.dumps(whole)), OPTIONS)
    assert result.is_valid, result.errors
    assert {each["id"] for each in whole["objects"]} >= references(whole)


def references(whole):
    found = set()
    for each in whole["objects"]:
        for key, value in each.items():
            found |= {value} if key.endswith("_ref") else set(value) if key.endswith("_refs") else set()
    return found


def test_ids_are_the_same_each_time_and_of_observables_those_of_the_standard():
    assert objects(finding(), TELLER) == objects(finding(), TELLER)
    assert told(finding())["ipv4-addr"]["id"] == "ipv4-addr--" + standard_id({"value": BAD})
    later = told(finding(last_seen=AT + DAY))
    assert later["sighting"]["id"] == told(finding())["sighting"]["id"]
    assert later["sighting"]["modified"] > told(finding())["sighting"]["modified"]


def standard_id(properties):
    from uuid import UUID, uuid5

    content = json.dumps(properties, separators=(",", ":"), sort_keys=True)
    return str(uuid5(UUID("00abedb4-aa42-466c-9c01-fed23315a9b7"), content))


@pytest.mark.parametrize("found", EVERY_KIND, ids=lambda found: found.kind)
def test_nothing_of_ours_is_told(found):
    text = json.dumps(objects(found, TELLER))
    for ours in ("web-1", "10.0.0.", "ours"):
        assert ours not in text


def test_the_sentence_is_told_without_what_is_ours():
    assert told(finding())["sighting"]["description"] == (
        f"[internal] ([internal]) called {BAD} 10 times, every 60 s; [internal] told it where."
    )
    inside = finding(why="It called fd00::7, ::1 and 2600:3c01::1 at 12:30:05, port 22: 0.93.")
    assert told(inside)["sighting"]["description"] == (
        "It called [internal], [internal] and 2600:3c01::1 at 12:30:05, port 22: 0.93."
    )
    ports = finding(why="192.168.1.7:80, ::ffff:192.168.1.7, 10.0.0.0/8 and 45.33.32.156:443.")
    assert told(ports)["sighting"]["description"] == "[internal], [internal], [internal]/8 and 45.33.32.156:443."


def test_who_asks_for_it_is_told_the_vm():
    those = objects(finding(), Teller(vms=True))
    assert [each["name"] for each in those if each["type"] == "identity"] == ["netpersona", "web-1"]
    assert "10.0.0.53" in json.dumps(those)


def test_markings_say_how_far_it_may_go():
    those = objects(finding(), Teller(tlp="red"))
    marked = {ref for each in those for ref in each.get("object_marking_refs", [])}
    assert marked == {MARKINGS["red"]}


_TEXT = st.text(max_size=60)


@given(
    why=_TEXT, domain=_TEXT, indicator=_TEXT, name=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    peers=st.lists(st.ip_addresses().map(str) | _TEXT, max_size=5), port=st.none() | st.integers(0, 65_535),
    kind=st.sampled_from([each.kind for each in EVERY_KIND]), direction=st.sampled_from(["inbound", "outbound"]),
    span=st.integers(0, 10 * DAY), severity=st.sampled_from(list(Severity)),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_whatever_a_finding_says_it_is_valid(
    why, domain, indicator, name, peers, port, kind, direction, span, severity
):
    made = finding(
        kind, None, peers=tuple(peers), why=why, vm=VmId(name), port=port, direction=direction, severity=severity,
        last_seen=AT + span, judged_at=AT + MINUTE, evidence={"domain": domain, "indicator": indicator, "via": "dns"},
    )  # fmt: skip
    those = objects(made, TELLER)
    result = validate_instance(json.loads(json.dumps(bundle(those))), OPTIONS)
    assert result.is_valid, result.errors
    assert objects(replace(made), TELLER) == those
