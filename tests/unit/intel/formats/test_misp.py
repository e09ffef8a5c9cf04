"""MISP's events and warning lists, and OTX's pulses: every envelope, what is refused and why, samples of the world."""

from __future__ import annotations

import json
from itertools import count

import pytest

from netpersona.intel.formats import read
from shared_data import SHARED, needs_shared

FEEDS = SHARED / "data" / "feeds"
NO_MATCH = "a kind of value that this product cannot match"
_numbers = count(1)


def attribute(kind, value, to_ids=True, **more):
    return {
        "id": str(next(_numbers)), "type": kind, "category": "Network activity", "to_ids": to_ids, "value": value,
        "comment": "", "deleted": False, "timestamp": "86400", "Galaxy": [], "ShadowAttribute": [], **more,
    }  # fmt: skip


def event(*attributes, **more):
    return {
        "info": "A case",
        "uuid": "u",
        "Orgc": {"name": "O"},
        "threat_level_id": "1",
        "Attribute": list(attributes),
        **more,
    }


def of(told):
    return read(json.dumps(told).encode())


def entered(found, *columns):
    return sorted(found.table.select(*(columns or ("raw", "type"))).rows())


ADDRESS = attribute("ip-dst", "9.9.9.1")
NAME = attribute("domain", "a.example")
VALUES = [("9.9.9.1", "address"), ("a.example", "domain")]
OBJECT = {"name": "domain-ip", "Attribute": [NAME]}


@pytest.mark.parametrize(
    "told",
    [
        event(ADDRESS, NAME),
        event(ADDRESS, Object=[OBJECT]),
        {"Event": event(ADDRESS, Object=[OBJECT])},
        {"response": [{"Event": event(ADDRESS)}, {"Event": event(NAME)}]},
        {"response": {"Event": event(ADDRESS, NAME)}},
        {"response": {"Attribute": [{**ADDRESS, "Event": {"info": "A case"}}, NAME]}},
        {"response": [event(ADDRESS, NAME)]},
        {"Attribute": [ADDRESS, NAME]},
        [{"Event": event(ADDRESS)}, {"Event": event(NAME)}],
        [event(ADDRESS), event(NAME)],
        [ADDRESS, NAME],
    ],
)
def test_every_envelope_gives_the_same(told):
    shuffled = json.loads(json.dumps(told, sort_keys=True))
    for each in (told, shuffled):
        found = of(each)
        assert (found.format, found.records, found.unique, entered(found)) == ("misp", 2, 2, VALUES)


def test_events_may_stand_in_lines():
    found = read("\n".join(json.dumps({"Event": event(each)}) for each in (ADDRESS, NAME)).encode())
    assert (found.records, entered(found), found.table["line"].to_list()) == (2, VALUES, [1, 2])


@pytest.mark.parametrize(
    ("kind", "value", "values"),
    [
        ("ip-src", "9.9.9.0/24", [("9.9.9.0/24", "address")]),
        ("ip-dst|port", "9.9.9.1|443", [("9.9.9.1", "address")]),
        ("hostname", "h.a.example", [("h.a.example", "domain")]),
        ("hostname|port", "h.a.example|443", [("h.a.example", "domain")]),
        ("domain|ip", "a.example|9.9.9.1", [("9.9.9.1", "address"), ("a.example", "domain")]),
        ("url", "http://a.example/x|y", [("http://a.example/x|y", "url")]),
        ("filename|sha256", "a|b.exe|" + "a" * 64, [("a" * 64, "hash")]),
        ("filename|sha512", "a.exe|" + "a" * 128, [("a" * 128, "hash")]),
        ("malware-sample", "x.exe|" + "a" * 32, [("a" * 32, "hash")]),
        ("x509-fingerprint-sha1", "b" * 40, [("b" * 40, "hash")]),
        ("ja3-fingerprint-md5", "c" * 32, [("c" * 32, "ja3")]),
        ("AS", "64496", [("64496", "asn")]),
        ("AS", 64496, [("64496", "asn")]),
        ("vulnerability", "CVE-2024-12345", [("CVE-2024-12345", "cve")]),
    ],
)
def test_a_type_says_what_its_parts_are(kind, value, values):
    found = of(event(attribute(kind, value)))
    assert (found.records, entered(found), found.refused.height) == (1, values, 0)


def test_one_address_with_two_ports_is_two_values_and_one_indicator():
    found = of(event(*(attribute("ip-dst|port", f"9.9.9.1|{port}") for port in (80, 443, 443))))
    assert (found.records, found.unique, set(entered(found))) == (3, 2, {("9.9.9.1", "address")})


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (attribute("ip-dst", "9.9.9.1", to_ids=False), "its to_ids is false: its author does not call it an indicator"),
        (attribute("ip-dst", "9.9.9.1", to_ids="0"), "its to_ids is false: its author does not call it an indicator"),
        (attribute("ip-dst", "9.9.9.1", to_ids=0), "its to_ids is false: its author does not call it an indicator"),
        (attribute("ip-dst", "9.9.9.1", deleted=True), "deleted by its author"),
        (attribute("ip-dst", "9.9.9.1", deleted="1"), "deleted by its author"),
        (attribute("email-src", "a@b.example"), f"email-src: {NO_MATCH}"),
        (attribute("link", "http://a.example/"), f"link: {NO_MATCH}"),
        (attribute("domain|ip", "a.example"), "of the type domain|ip, but without its two parts"),
        (attribute("ip-dst", None), "an attribute without a type or a value"),
        (attribute("ip-dst", {}), "an attribute without a type or a value"),
        (attribute({}, "9.9.9.1"), "an attribute without a type or a value"),
        (5, "no attribute: Expected object, got int"),
    ],
)
def test_a_refused_attribute_is_a_record(wrong, reason):
    found = of(event(NAME, wrong))
    assert (found.records, entered(found), found.refused["reason"].to_list()) == (2, VALUES[1:], [reason])


@pytest.mark.parametrize("yes", [True, 1, "1", "true"])
def test_to_ids_may_be_written_in_many_ways(yes):
    assert entered(of(event(attribute("domain", "a.example", to_ids=yes)))) == VALUES[1:]


def test_attributes_of_a_deleted_object_are_deleted():
    found = of(event(ADDRESS, Object=[{**OBJECT, "deleted": True}]))
    assert (found.records, entered(found), found.refused["reason"].to_list()) == (
        2,
        VALUES[:1],
        ["deleted by its author"],
    )


def test_what_the_event_says_is_carried():
    told = event(
        attribute("domain", "a.example", comment="seen twice", first_seen="1970-01-03T00:00:00.000000+00:00"),
        attribute("domain", "b.example", Tag=[{"name": "tlp:red"}, {"name": "osint"}]),
        Tag=[{"name": "tlp:amber"}],
    )
    assert entered(of(told), "raw", "label", "category", "valid_from") == [
        ("a.example", "seen twice (tlp:amber, threat level high)", "Network activity", 2 * 86_400_000_000),
        ("b.example", "A case (tlp:red, tlp:amber, threat level high)", "Network activity", 86_400_000_000),
    ]


def test_the_line_of_an_attribute_is_where_it_begins():
    content = json.dumps({"response": [{"Event": event(ADDRESS, attribute("text", "x"), Object=[OBJECT])}]}, indent=2)
    found = read(content.encode())
    lines = content.split("\n")
    for line, raw in (*found.table.select("line", "raw").rows(), *found.refused.select("line", "raw").rows()):
        assert any(f'"value": "{raw}"' in each for each in lines[line - 1 : line + 7])


def test_envelopes_in_envelopes_end():
    found = read(b'{"info": "x", "uuid": "u", "Event": ' * 400 + b"[]" + b"}" * 400)
    assert found.records == 0


@needs_shared
@pytest.mark.parametrize(
    ("name", "attributes", "network"),
    [
        ("misp/eset-2019-05-23_Zebrocy.json", 12, 2),
        ("misp/eset-misp-dukes-operation-ghost-event.json", 101, 69),
        ("intelmq/misp-event-small.json", 2, 1),
    ],
)
def test_samples_give_what_is_expected(name, attributes, network):
    content = (FEEDS / name).read_bytes()
    found = read(content)
    assert (found.records, found.table.height, found.refused.height) == (attributes, 0, attributes)
    meant = read(content.replace(b'"to_ids": false', b'"to_ids": true'))
    assert meant.records == attributes
    assert meant.table.filter(meant.table["type"].is_in(["address", "domain", "url"])).height == network


def warning(kind, *entries, **more):
    return {
        "description": "[why]",
        "list": list(entries),
        "matching_attributes": ["ip-dst"],
        "name": "N",
        "type": kind,
        "version": 1,
        **more,
    }


@pytest.mark.parametrize(
    ("kind", "entry", "stated", "reason"),
    [
        ("cidr", "9.0.0.0/8", "address", None),
        ("hostname", ".a.example", "domain", None),
        ("string", "9.9.9.9", None, None),
        ("substring", "a.example", None, "a part of a value: this product matches whole values only"),
        ("regex", "^a$", None, "a regular expression: this product matches whole values only"),
        ("cidr", 5, None, "an entry that is no text"),
    ],
)
def test_a_warning_list_keeps_its_type_as_category(kind, entry, stated, reason):
    found = of(warning(kind, entry))
    assert (found.format, found.records) == ("warninglist", 1)
    if reason is None:
        assert found.table.select("raw", "type", "label", "category").rows() == [(entry, stated, "N", kind)]
    else:
        assert found.refused["reason"].to_list() == [reason]


def test_the_line_of_a_warning_is_its_own():
    content = json.dumps(warning("cidr", "9.0.0.0/8", "9.0.0.0/8", "8.0.0.0/8"), indent=1, sort_keys=True)
    line = content.split("\n").index('  "9.0.0.0/8",') + 1
    assert read(content.encode()).table["line"].to_list() == [line, line + 1, line + 2]


@needs_shared
@pytest.mark.parametrize(
    ("name", "entries"),
    [("rfc1918", 3), ("cloudflare", 22), ("tranco10k", 9998), ("multicast", 16), ("sinkholes", 107)],
)
def test_warning_lists_of_the_world(name, entries):
    found = read((FEEDS / "warninglists" / f"{name}.json").read_bytes())
    assert (found.format, found.records, found.unique, found.refused.height) == ("warninglist", entries, entries, 0)


LISTED = [
    {"indicator": "9.9.9.1", "type": "IPv4", "is_active": 1, "created": "1970-01-02T00:00:00", "expiration": "1970-01-03T00:00:00"},
    {"indicator": "a.example", "type": "hostname", "is_active": True, "expiration": None},
    {"indicator": "b.example", "type": "domain", "is_active": 0},
    {"indicator": "x@a.example", "type": "email"},
    {"indicator": None, "type": "IPv4"},
]  # fmt: skip
PULSE = {"id": "1", "name": "P", "TLP": "amber", "adversary": "A", "tags": ["x"], "indicators": LISTED}


@pytest.mark.parametrize(
    "told",
    [
        PULSE,
        [PULSE],
        {"results": [PULSE], "count": 1, "next": None},
        {"results": LISTED, "count": 5},
        {"count": 1, "results": [{"indicators": LISTED, "id": "1"}]},
    ],
)
def test_every_envelope_of_otx_gives_the_same(told):
    found = of(told)
    assert (found.format, found.records, entered(found)) == ("otx", 5, VALUES)
    assert sorted(found.refused["reason"]) == [
        f"email: {NO_MATCH}",
        "no indicator of a pulse: it has no `indicator`",
        "no longer active, says the feed",
    ]
    assert found.table["valid_until"].to_list() == [2 * 86_400_000_000, None]


def test_a_pulse_says_what_its_indicators_are():
    assert set(of(PULSE).table["label"]) == {"P (A, TLP:AMBER)"}
