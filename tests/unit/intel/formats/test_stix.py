"""STIX as files hold it: every envelope, what is refused and why, at which line, and samples of the world."""

from __future__ import annotations

import json

import pytest

from netpersona.intel.formats import FormatError, read
from shared_data import SHARED, needs_shared

FEEDS = SHARED / "data" / "feeds"
DAY = 86_400_000_000
AMBER = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"


def indicator(number, pattern, **more):
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{number:08d}-391a-4eb3-b6be-000000000000",
        "created": "1970-01-02T00:00:00Z",
        "modified": "1970-01-02T00:00:00.000Z",
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": "1970-01-02T00:00:00Z",
        **more,
    }


def bundle(*objects, **more):
    return {"type": "bundle", "id": "bundle--00000000-391a-4eb3-b6be-000000000000", "objects": list(objects), **more}


def of(*objects):
    return read(json.dumps(bundle(*objects)).encode())


def entered(found, *columns):
    return found.table.select(*(columns or ("raw", "type"))).rows()


ADDRESS = indicator(1, "[ipv4-addr:value = '9.9.9.1']")
NAME = indicator(2, "[domain-name:value = 'a.example' OR url:value = 'http://b.example/']")
VALUES = [("9.9.9.1", "address"), ("a.example", "domain"), ("http://b.example/", "url")]
OBJECTS = [ADDRESS, {"type": "identity", "id": "identity--1"}, NAME]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(bundle(*OBJECTS)),
        json.dumps(bundle(*OBJECTS), indent=4),
        json.dumps({"objects": OBJECTS, "more": True, "next": "2"}),
        json.dumps(OBJECTS),
        "\n".join(json.dumps(each) for each in OBJECTS),
        "# STIX, line by line\r\n" + "\r\n\r\n".join(json.dumps(each) for each in OBJECTS) + "\r\n",
        json.dumps(bundle(ADDRESS)) + "\n" + json.dumps(bundle(NAME)) + "\n",
        json.dumps([bundle(ADDRESS), bundle(NAME)]),
        "\ufeff" + json.dumps({"objects": OBJECTS[::-1], "type": "bundle"}, sort_keys=True),
    ],
)
def test_every_envelope_gives_the_same(content):
    found = read(content.encode())
    assert (found.format, found.records, found.unique) == ("stix", 2, 2)
    assert sorted(entered(found)) == VALUES


def test_a_number_in_a_pattern_is_a_value():
    found = of(indicator(1, "[autonomous-system:number = 64496]"), indicator(2, "[ipv4-addr:value = '9.9.9.1']"))
    assert entered(found, "raw", "type") == [("64496", "asn"), ("9.9.9.1", "address")]


def test_one_indicator_alone_is_a_feed():
    assert entered(read(json.dumps(ADDRESS).encode())) == VALUES[:1]


def test_version_2_0_has_no_pattern_type_and_its_types_are_labels():
    old = {**ADDRESS, "labels": ["tor", "anonymization"], "name": "An exit"}
    del old["pattern_type"], old["spec_version"]
    assert entered(of(old), "raw", "label", "category") == [("9.9.9.1", "An exit", "anonymization")]


def test_what_an_indicator_states_is_carried():
    told = indicator(
        1, "[ipv4-addr:value = '9.9.9.1']", name="C2\nof X", confidence=85, indicator_types=["malicious-activity"],
        valid_until="1970-01-03T00:00:00Z", object_marking_refs=[AMBER],
    )  # fmt: skip
    columns = ("label", "category", "confidence", "valid_from", "valid_until")
    assert entered(of(told), *columns) == [("C2 of X (TLP:AMBER)", "malicious-activity", 0.85, DAY, 2 * DAY)]


def test_a_span_in_the_pattern_narrows_the_time_in_which_it_is_valid():
    told = indicator(
        1, "[ipv4-addr:value = '9.9.9.1'] START t'1970-01-01T00:00:00Z' STOP t'1970-01-05T00:00:00Z'",
        valid_until="1970-01-09T00:00:00Z",
    )  # fmt: skip
    assert entered(of(told), "valid_from", "valid_until") == [(DAY, 4 * DAY)]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"revoked": True}, "revoked by its author"),
        ({"indicator_types": ["benign"]}, "its author calls it benign"),
        (
            {"pattern_type": "snort", "pattern": "alert tcp any any"},
            "a pattern in 'snort'; only STIX patterns are read",
        ),
        ({"pattern_type": "sigma"}, "a pattern in 'sigma'; only STIX patterns are read"),
        ({"pattern": None}, "an indicator without a pattern"),
        ({"pattern": 7}, "an indicator without a pattern"),
        ({"pattern": "[process:name = 'x']"}, "a kind of value that this product cannot match"),
        (
            {"pattern": "[ipv4-addr:value = ]"},
            "no STIX pattern: character 20: ']'; expected a value such as 'text' or 5",
        ),
    ],
)
def test_a_refused_indicator_is_a_record_with_its_line_and_reason(more, reason):
    content = json.dumps(bundle(ADDRESS, {**NAME, **more}), indent=1).encode()
    found = read(content)
    assert (found.records, found.unique, entered(found)) == (2, 2, VALUES[:1])
    line = content[: content.index(b"indicator--00000002")].count(b"\n") + 1
    (record, told, _, why), = found.refused.rows()  # fmt: skip
    assert (record, why) == (2, reason)
    assert line - 5 < told <= line


@pytest.mark.parametrize("wrong", [None, 5, True, "text", [], {}, [[]], [{}], -1, 1e300])
@pytest.mark.parametrize(
    "field",
    ["name", "confidence", "labels", "indicator_types", "object_marking_refs", "valid_until", "modified", "id", "created",
     "description", "external_references", "spec_version", "revoked", "kill_chain_phases"],
)  # fmt: skip
def test_a_field_of_a_wrong_type_costs_no_indicator(field, wrong):
    told = {**ADDRESS, field: wrong}
    found = of(told, NAME)
    if field == "revoked" and wrong is True:
        assert entered(found) == VALUES[1:]
    else:
        assert sorted(entered(found)) == VALUES


def test_objects_of_wrong_types_are_refused_one_by_one():
    found = of(5, "x", None, [ADDRESS], ADDRESS, {"type": 5}, {})
    assert entered(found) == VALUES[:1]
    assert found.refused["record"].to_list() == [1, 2, 3, 4]
    assert all("no STIX object" in reason for reason in found.refused["reason"])


def test_of_two_versions_of_an_indicator_the_newer_counts():
    newer = {**ADDRESS, "modified": "1970-01-02T00:00:00.5Z", "revoked": True}
    found = of(newer, ADDRESS, NAME)
    assert sorted(entered(found)) == VALUES[1:]
    assert sorted(found.refused["reason"]) == [
        "a newer version of this indicator stands in the same file",
        "revoked by its author",
    ]


def test_vulnerabilities_give_their_cve_but_are_records_only_where_no_indicator_is():
    first = {"type": "vulnerability", "id": "vulnerability--1", "name": "CVE-2012-0158"}
    other = {
        "type": "vulnerability",
        "id": "vulnerability--2",
        "name": "A hole",
        "external_references": [{"source_name": "cve", "external_id": "cve-2013-0422"}, 5],
    }
    nameless = {"type": "vulnerability", "id": "vulnerability--3", "name": "Another hole"}
    beside = of(ADDRESS, first, other)
    assert (beside.records, sorted(entered(beside))) == (
        1,
        [*VALUES[:1], ("CVE-2012-0158", "cve"), ("CVE-2013-0422", "cve")],
    )
    alone = of(first, other, nameless)
    assert (alone.records, alone.refused["reason"].to_list()) == (3, ["a vulnerability without a CVE"])


def test_an_indicator_without_a_name_is_labelled_by_what_it_indicates():
    malware = {"type": "malware", "id": "malware--1", "name": "Predator"}
    links = [
        {"type": "relationship", "id": f"relationship--{each['id']}", "relationship_type": "indicates",
         "source_ref": each["id"], "target_ref": "malware--1"}
        for each in (ADDRESS, NAME)
    ]  # fmt: skip
    found = of(*links, ADDRESS, {**NAME, "name": "Mine"}, malware, 5)
    assert entered(found, "raw", "label") == [
        ("9.9.9.1", "Predator"),
        ("a.example", "Mine"),
        ("http://b.example/", "Mine"),
    ]


def test_what_was_only_seen_is_not_listed():
    found = of(
        {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "9.9.9.1"}, {"type": "sighting", "id": "sighting--1"}
    )
    assert (found.records, found.table.height) == (0, 0)
    assert found.noted[0][2] == "its 2 objects hold no indicator"
    assert of().records == 0
    assert read(b'{"more": false}').records == read(b'{"objects": []}').records == 0


def test_lines_are_judged_one_by_one():
    lines = [json.dumps(ADDRESS), '{"type": "indicator", "pattern": ', json.dumps(NAME), "[" * 100_000, "NaN", "\x00"]
    found = read("\n".join(lines).encode())
    assert sorted(entered(found)) == VALUES
    assert found.refused["line"].to_list() == [2, 4, 5, 6]
    found = read("\n".join([lines[1], *lines[:1], lines[2]]).encode())
    assert (sorted(entered(found)), found.refused["line"].to_list()) == (VALUES, [1])


@pytest.mark.parametrize(
    ("content", "line", "wrong"),
    [
        (json.dumps(bundle(ADDRESS, NAME), indent=1)[:-40], 23, "breaks off"),
        (json.dumps(bundle(ADDRESS), indent=1).replace('"stix"', "stix"), 12, "no JSON from here"),
        (json.dumps(bundle(ADDRESS), indent=1).replace('"stix"', "NaN"), 12, "no JSON from here"),
        ('{"type": "bundle",\n"objects": ' + "[" * 100_000, 2, "nested too deeply"),
        ('{"type": "bundle",\n"objects": ' + "[" * 100_000 + "]" * 100_000 + "}", 2, "nested too deeply"),
        ('{"type": "bundle", "objects": [' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "]}", 1, "nested too deeply"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(content, line, wrong):
    with pytest.raises(FormatError) as error:
        read(content.encode())
    assert error.value.line == line
    assert wrong in str(error.value)


def test_bytes_that_are_no_utf_8_cost_no_indicator():
    content = json.dumps(bundle({**ADDRESS, "name": "caf"}, NAME)).encode().replace(b'"caf"', b'"caf\xe9"')
    found = read(content)
    assert sorted(entered(found)) == VALUES
    assert "caf�" in found.table["label"].to_list()


def test_of_equal_keys_the_last_counts():
    content = b'{"type": "bundle", "objects": [], "objects": [{"type": "x", "type": "indicator", "pattern": "[ipv4-addr:value = \'9.9.9.1\']"}]}'
    assert entered(read(content)) == VALUES[:1]


@needs_shared
@pytest.mark.parametrize(
    ("name", "indicators", "kinds", "refused"),
    [
        ("poisonivy.json", 25, {"domain": 25, "address": 40, "cve": 6}, 2),
        ("apt1.json", 12, {"domain": 3, "address": 4, "hash": 3}, 2),
        ("indicator-for-c2-ip-address.json", 1, {"address": 1}, 0),
        ("infrastructure.json", 0, {}, 0),
        ("cytrox.stix2", 343, {"domain": 336}, 7),
    ],
)
def test_samples_give_what_is_expected(name, indicators, kinds, refused):
    found = read((FEEDS / "stix" / name).read_bytes())
    assert found.records == found.unique == indicators
    assert dict(found.table["type"].value_counts().rows()) == kinds
    assert found.refused.height == refused
