"""Hostile JSON and XML: whatever the bytes, an answer or a clear error comes, in bounded time and memory."""

from __future__ import annotations

import json
import random
import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError, read

INDICATOR = {
    "type": "indicator", "id": "indicator--00000001-391a-4eb3-b6be-000000000000", "pattern_type": "stix",
    "pattern": "[ipv4-addr:value = '9.9.9.1' OR (domain-name:value = 'a.example' AND file:name = 'x')]",
    "valid_from": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z", "confidence": 50,
}  # fmt: skip
ATTRIBUTE = {"type": "domain|ip", "value": "a.example|9.9.9.1", "to_ids": True, "category": "Network activity"}
SAMPLES = {
    "stix": {"type": "bundle", "objects": [INDICATOR, {"type": "vulnerability", "name": "CVE-2024-12345"}]},
    "misp": {"response": [{"Event": {"info": "x", "Attribute": [ATTRIBUTE], "Object": [{"Attribute": [ATTRIBUTE]}]}}]},
    "warninglist": {"list": ["9.9.9.0/24"], "name": "n", "type": "cidr", "version": 1, "matching_attributes": []},
    "otx": {"results": [{"name": "p", "indicators": [{"indicator": "9.9.9.1", "type": "IPv4", "is_active": 1}]}], "count": 1},
    "rows": {"query_status": "ok", "data": [{"ioc": "9.9.9.1:80", "ioc_type": "ip:port", "threat_type": "t"}]},
    "kev": {"vulnerabilities": [{"cveID": "CVE-2024-12345", "vendorProject": "v"}]},
    "crowdsec": [{"scope": "Ip", "value": "9.9.9.1", "scenario": "s", "duration": "1h", "origin": "o"}],
    "texts": ["9.9.9.1", "a.example"],
    "lines": {"ip": "9.9.9.1"},
}  # fmt: skip
IOC = (
    '<ioc><definition><Indicator operator="OR"><IndicatorItem condition="is"><Context search="Network/DNS"/>'
    "<Content>a.example</Content></IndicatorItem></Indicator></definition></ioc>"
)
WRONG = [
    None,
    True,
    -1,
    1e308,
    "",
    "x",
    "\x00\x1f",
    "'",
    [],
    {},
    [[]],
    [{}],
    {"a": {}},
    "9" * 5000,
    [None, 1, "a"],
    {"objects": []},
]


def answered(content):
    """Reads a feed as the product does: it answers, or raises what an operator is told."""
    try:
        snapshot = parse(content, FeedSettings("f"))
    except FormatError as error:
        told = (error.line, str(error))
        snapshot = None
    if snapshot is None:
        assert 1 <= told[0] <= content.count(b"\n") + 1
        assert told[1].isprintable()
        assert len(told[1]) < 1000
        return None
    assert snapshot.unique <= snapshot.records
    for refusal in snapshot.refused:
        assert 1 <= refusal.line <= max(1, content.count(b"\n") + content.count(b"\r") + 1)
        assert refusal.value.isprintable()
        assert refusal.reason.isprintable()
    return snapshot


def mutated(told, chance):
    """The value with some of its parts replaced, left out, doubled, or in another order."""
    if chance.random() < 0.08:
        return chance.choice(WRONG)
    if isinstance(told, dict):
        members = [(name, mutated(part, chance)) for name, part in told.items() if chance.random() > 0.05]
        chance.shuffle(members)
        return dict(members)
    if isinstance(told, list):
        parts = [mutated(part, chance) for part in told]
        return parts * chance.choice([1, 1, 2, 30])
    return told


@pytest.mark.parametrize("name", SAMPLES)
@given(seed=st.integers(0, 10**9), indent=st.sampled_from([None, 1]))
@settings(max_examples=40, deadline=None)
def test_wrong_types_anywhere(name, seed, indent):
    answered(json.dumps(mutated(SAMPLES[name], random.Random(seed)), indent=indent).encode())


@pytest.mark.parametrize("name", SAMPLES)
def test_broken_off_anywhere(name):
    whole = json.dumps(SAMPLES[name], indent=1).encode()
    for end in range(1, len(whole)):
        answered(whole[:end])
    assert answered(whole).records >= 1


@pytest.mark.parametrize("sample", [*map(json.dumps, SAMPLES.values()), IOC])
@given(seed=st.integers(0, 10**9))
@settings(max_examples=25, deadline=None)
def test_bytes_changed_anywhere(sample, seed):
    chance = random.Random(seed)
    content = bytearray(sample.encode())
    for _ in range(chance.randint(1, 6)):
        content[chance.randrange(len(content))] = chance.choice(b'\x00\xff\n{}[]",:\\<>&a9 \xc3')
    answered(bytes(content))


@given(st.binary(max_size=200), st.sampled_from([b"{", b"[", b'{"objects":[', b'["', b"<ioc>", b"<", b""]))
@settings(max_examples=100, deadline=None)
def test_noise_behind_a_good_beginning(noise, start):
    answered(start + noise)


@pytest.fixture(scope="module")
def usual():
    """The CPU seconds that a usual feed of the same size takes."""
    rows = [{"ip": f"9.{n >> 16}.{n >> 8 & 255}.{n & 255}", "x": "y" * 40} for n in range(14_000)]
    began = time.process_time()
    answered(json.dumps(rows).encode())
    return time.process_time() - began


BIG = 500_000  # bytes
DEEP = 100_000  # levels


@pytest.mark.parametrize(
    "content",
    [
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"objects":[' * DEEP + b"]}" * DEEP,
        b'{"objects":[' * 300 + b"]}" * 300,
        b'{"response":{"Event":' * 200 + b"1" + b"}}" * 200,
        b'{"data":[' * 300 + b"]}" * 300,
        b'{"results":[' * 300 + b"]}" * 300,
        b'["' + b"a." * (BIG // 2) + b'"]',
        b'[{"ip":"' + b"9" * BIG + b'"}]',
        b'{"objects":[{"type":"indicator","pattern":"[url:value = \'' + b"a" * BIG + b"']\"}]}",
        b'{"objects":[{"type":"indicator","pattern":"' + b"[" * BIG + b'"}]}',
        b'{"objects":[{"type":"indicator","pattern":"[a:b = 1' + b" OR a:b = 1" * 15_000 + b']"}]}',
        b'{"objects":[{"type":"indicator","name":"' + b"x" * BIG + b"\",\"pattern\":\"[url:value = 'http://a.example/']\"}]}",
        b'{"' + b"k" * BIG + b'": 1}',
        b"{" + b",".join(b'"%d":[]' % n for n in range(BIG // 10)) + b"}",
        b"{" + b",".join(b'"%d":{"ip":"9.9.9.1"}' % n for n in range(10_000)) + b"}",
        b'{"objects":[' + b",".join([b"5"] * (BIG // 8)) + b"]}",
        b"{}\n" * (BIG // 30),
        b'{"ip":\n' * (BIG // 30),
        b'[{"list":["a"],"name":"n","type":"cidr","version":1},' + b'{"list":5},' * 10_000 + b"1]",
        b"<ioc>" + b"<Indicator>" * DEEP,
        b"<ioc>" + b"<a>" * 50 + b"x" * BIG,
        b"<ioc>" + b"<Indicator><IndicatorItem>" + b"<Content>" + b"y " * (BIG // 2) + b"</Content></IndicatorItem></Indicator></ioc>",
        b"<!--" * (BIG // 4),
        b"<!-- -->" * (BIG // 8),
        b"<?x ?>" * (BIG // 6) + b"<",
        b"\n" * BIG + b"{",
        b"#\n" * (BIG // 2) + b'{"ip":"9.9.9.1"}\n{"ip":"9.9.9.2"}',
        b"[" + b",".join(b'{"ip":"\xff%d"}' % n for n in range(BIG // 20)) + b"]",
        b"{" + b",".join(b'"\xff%d":["\xfe%d"]' % (n, n) for n in range(BIG // 20)) + b"}",
        b"\\" * BIG,
        b'{"a":"' + b"\\" * BIG,
        b'{"a":"' + b'\\"' * (BIG // 2),
    ],
    ids=range(34),
)  # fmt: skip
def test_size_and_depth_are_bounded(content, usual):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    answered(content)
    assert time.process_time() - began < 20 * usual + 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000 + 30 * len(content) // 1000


def test_an_error_never_repeats_much_of_what_was_sent():
    with pytest.raises(FormatError) as error:
        read(json.dumps({"secret" * 1000: "token" * 1000}).encode())
    assert len(str(error.value)) < 400
