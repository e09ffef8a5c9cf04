"""STIX patterns: what the grammar reads, which values suffice alone, and that shapes say what the grammar says."""

from __future__ import annotations

import time

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.intel.formats.stix_pattern import LONGEST, PatternError, parse_pattern
from netpersona.intel.formats.stix_shapes import sufficient_values
from netpersona.intel.formats.stix_values import NO_MATCH, sufficient


def found(pattern):
    return [(each.value, each.type) for each in sufficient(parse_pattern(pattern)).found]


def reasons(pattern):
    return [each.reason for each in sufficient(parse_pattern(pattern)).unmatched]


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("[ipv4-addr:value = '9.9.9.1']", [("9.9.9.1", "address")]),
        ("  [ \n ipv4-addr:value='9.9.9.1'\t]  ", [("9.9.9.1", "address")]),
        ("[ip-addr:value == '9.9.9.0/24']", [("9.9.9.0/24", "address")]),
        ("[ipv4-addr : value = '9.9.9.1']", [("9.9.9.1", "address")]),
        ("[IPv4-Addr:value = '9.9.9.1' or ipv6-addr:value = '2a00::1']", [("9.9.9.1", "address"), ("2a00::1", "address")]),
        ("[domain-name:value = 'a.example'] OR [url:value = 'http://a.example/']", [("a.example", "domain"), ("http://a.example/", "url")]),
        ("([domain-name:value = 'a.example'] OR ([domain-name:value = 'b.example']))", [("a.example", "domain"), ("b.example", "domain")]),
        ("[domain-name:value IN ('a.example','b.example' , 'c.example')]", [("a.example", "domain"), ("b.example", "domain"), ("c.example", "domain")]),
        ("[ipv4-addr:value ISSUBSET '9.0.0.0/8']", [("9.0.0.0/8", "address")]),
        ("[file:hashes.MD5 = 'aa' OR file:hashes.'SHA-256' = 'bb' OR file:hashes.sha1 = 'cc']", [("aa", "hash"), ("bb", "hash"), ("cc", "hash")]),
        ("[x509-certificate:hashes.'SHA-1' = 'aa']", [("aa", "hash")]),
        ("[network-traffic:dst_ref.value = '9.9.9.1']", [("9.9.9.1", None)]),
        ("[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '9.9.9.1']", [("9.9.9.1", None)]),
        ("[autonomous-system:number = 64496]", [("64496", "asn")]),
        ("[vulnerability:name = 'CVE-2024-12345']", [("CVE-2024-12345", "cve")]),
        (r"[url:value = 'http://a.example/it\'s\\here']", [(r"http://a.example/it's\here", "url")]),
        (r"[url:value = 'http://a.example/C:\x']", [(r"http://a.example/C:\x", "url")]),
        ("[domain-name:value = 'a.example'] WITHIN 300 SECONDS", [("a.example", "domain")]),
        ("[domain-name:value = 'a.example'] REPEATS 1 TIMES", [("a.example", "domain")]),
        ("[NOT NOT domain-name:value = 'a.example']", None),
        ("[domain-name:value = 'a.example' OR domain-name:value = 'b.example' AND file:name = 'x']", [("a.example", "domain")]),
        ("[network-traffic:extensions.'http-request-ext'.request_header.Host = 'a.example']", [("a.example", None)]),
        ("[/* why */ domain-name:value = 'a.example' // because\n]", [("a.example", "domain")]),
    ],
)  # fmt: skip
def test_what_suffices_alone(pattern, values):
    if values is None:
        with pytest.raises(PatternError):
            parse_pattern(pattern)
    else:
        assert found(pattern) == values


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[domain-name:value = 'a.example' AND ipv4-addr:value = '9.9.9.1']", "narrower than its parts"),
        ("[file:hashes.MD5 = 'aa' AND file:size = 5]", "narrower than its parts"),
        ("[domain-name:value = 'a.example'] AND [ipv4-addr:value = '9.9.9.1']", "narrower than its parts"),
        ("[domain-name:value = 'a.example'] FOLLOWEDBY [ipv4-addr:value = '9.9.9.1']", "joined by FOLLOWEDBY"),
        ("[(domain-name:value = 'a.example' OR url:value = 'http://a/') AND file:name = 'x']", "narrower than its parts"),
        ("[network-traffic:dst_ref.value = '9.9.9.1' AND network-traffic:dst_port = 443]", "narrower than its parts"),
        ("[domain-name:value = 'a.example'] REPEATS 5 TIMES WITHIN 10 SECONDS", "seeing it once is not enough"),
        ("[domain-name:value != 'a.example']", "what is not so"),
        ("[domain-name:value NOT IN ('a.example')]", "what is not so"),
        ("[NOT domain-name:value = 'a.example']", "what is not so"),
        ("[domain-name:value LIKE '%.a.example']", "LIKE names no value"),
        ("[url:value MATCHES '^http://a']", "MATCHES names no value"),
        ("[ipv4-addr:value ISSUPERSET '9.9.9.1']", "ISSUPERSET names no value"),
        ("[autonomous-system:number > 5]", "> names no value"),
        ("[domain-name:value ISSUBSET 'a.example']", "no address"),
        ("[process:name = 'x.exe']", NO_MATCH),
        ("[mutex:name = 'x']", NO_MATCH),
        ("[email-addr:value = 'a@b.example']", NO_MATCH),
        ("[file:hashes.ssdeep = 'aa']", NO_MATCH),
        ("[file:name = 'x' AND file:size = 5]", NO_MATCH),
        ("[EXISTS windows-registry-key:values]", NO_MATCH),
    ],
)  # fmt: skip
def test_what_does_not_suffice_says_why(pattern, reason):
    assert found(pattern) == []
    assert [reason in each for each in reasons(pattern)] == [True]


def test_a_branch_of_or_that_cannot_be_matched_leaves_the_others():
    assert found("[domain-name:value = 'a.example' OR mutex:name = 'm']") == [("a.example", "domain")]
    assert reasons("[domain-name:value = 'a.example' OR mutex:name = 'm']") == [NO_MATCH]


def test_a_span_of_time_holds_for_its_observation_only():
    pattern = (
        "[domain-name:value = 'a.example'] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z' "
        "OR [domain-name:value = 'b.example']"
    )
    first, second = sufficient(parse_pattern(pattern)).found
    assert (first.start, first.stop) == ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
    assert second.start is None


@pytest.mark.parametrize(
    ("pattern", "wrong"),
    [
        ("", "expected [ or ("),
        ("ipv4-addr:value = '9.9.9.1'", "expected [ or ("),
        ("[ipv4-addr:value = '9.9.9.1'", "the end; expected ]"),
        ("[ipv4-addr:value = '9.9.9.1] ", "is no part of a pattern"),
        ("[ipv4-addr:value '9.9.9.1']", "expected =, !="),
        ("[ipv4-addr:value = 9.9.9.1]", "is no part of a pattern"),
        ("[ipv4-addr:value = ]", "expected a value"),
        ("[ipv4-addr:value IN '9.9.9.1']", "expected ("),
        ("[ipv4-addr:value = '9.9.9.1'] REPEATS TIMES", "expected a number"),
        ("[ipv4-addr:value = '9.9.9.1'] START t'x'", "expected STOP"),
        ("[ipv4-addr:value = '9.9.9.1'] [ipv4-addr:value = '9.9.9.2']", "expected AND, OR"),
        ("(" * 10_000, "nested deeper"),
        ("[" + "(" * 10_000, "nested deeper"),
        ("[x:y = '" + "a" * LONGEST + "']", "more than"),
        ("alert tcp any any -> any any", "expected [ or ("),
    ],
)
def test_what_is_no_pattern_is_told_with_its_place(pattern, wrong):
    with pytest.raises(PatternError) as error:
        parse_pattern(pattern)
    assert wrong in str(error.value)


@pytest.mark.parametrize(
    "unit", [" ", "'", "\\", "[", "/*", "//", "/**/", "/**/ ", "a:b = 'x' OR ", "a.", "[*]", "-", "9", "'a' ."]
)
def test_long_nonsense_takes_no_longer_than_long_sense(unit):
    sense = "[" + " OR ".join(["ipv4-addr:value = '9.9.9.1'"] * 3_000) + "]"
    began = time.process_time()
    parse_pattern(sense)
    usual = time.process_time() - began
    for text in (unit, "[x:y" + unit, "[x:y = '" + unit, "[x:y = 'a' " + unit):
        began = time.process_time()
        with pytest.raises(PatternError):
            parse_pattern(text + unit * (len(sense) // len(unit)))
        assert time.process_time() - began < 20 * usual + 0.5


PATHS = st.sampled_from(
    ["ipv4-addr:value", "domain-name:value", "url:value", "file:hashes.'SHA-256'", "file:name", "network-traffic:dst_ref.value",
     "network-traffic:dst_ref.type", "x:'a b'.c"]
)  # fmt: skip
TEXTS = st.text(alphabet="ab.'\\[]()=\"/* \x00\x01é\n0", max_size=8).map(
    lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
)
SINGLE = st.one_of(
    st.builds("{} {} {}".format, PATHS, st.sampled_from(["=", "!=", "LIKE", "ISSUBSET"]), TEXTS),
    st.builds("{} IN ({}, {})".format, PATHS, TEXTS, TEXTS),
    st.builds("NOT {}={}".format, PATHS, TEXTS),
)
INSIDE = st.recursive(
    SINGLE, lambda part: st.builds("({} {} {})".format, part, st.sampled_from(["AND", "OR"]), part), max_leaves=4
)
OBSERVED = st.builds(
    "[{}]{}".format, INSIDE, st.sampled_from(["", " REPEATS 2 TIMES", " START t'2026-01-01' STOP t'2027-01-01'"])
)
PATTERNS = st.recursive(
    OBSERVED,
    lambda part: st.builds("({} {} {})".format, part, st.sampled_from(["AND", "OR", "FOLLOWEDBY"]), part),
    max_leaves=3,
)


@given(st.lists(st.one_of(PATTERNS, st.text(alphabet="[]'= \x00ab:", max_size=20)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_shapes_say_what_the_grammar_says_of_each_pattern(patterns):
    table = pl.DataFrame(
        {"record": range(len(patterns)), "pattern": patterns}, schema={"record": pl.UInt32, "pattern": pl.String}
    )
    values, refused = sufficient_values(table)
    for record, pattern in enumerate(patterns):
        mine = values.filter(record=record).select("raw", "type", "start", "stop").rows()
        gone = refused.filter(record=record).select("raw", "reason").rows()
        assert (mine, gone) == told(pattern)


def told(pattern):
    """What the grammar says of one pattern: the values and the refusals."""
    try:
        alone = sufficient(parse_pattern(pattern))
    except PatternError as error:
        return [], [(pattern, f"no STIX pattern: {error}")]
    return [tuple(each) for each in alone.found], [tuple(each) for each in alone.unmatched]


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("[file:hashes.MD5 = 'aa' AND file:hashes.'SHA-256' = 'bb']", ["aa", "bb"]),
        ("[file:hashes.MD5 = 'aa' AND file:hashes.ssdeep = 'bb']", ["aa"]),
        ("[file:hashes.MD5 = 'aa' AND file:hashes.MD5 = 'bb']", []),
        ("[file:hashes.MD5 = 'aa' AND artifact:hashes.'SHA-1' = 'bb']", []),
    ],
)
def test_hashes_of_one_file_each_say_the_whole(pattern, values):
    assert [found.value for found in sufficient(parse_pattern(pattern)).found] == values
