"""Rules of Suricata and Snort: what each one lists by itself, and why the others list nothing."""

from __future__ import annotations

import pytest

from netpersona.intel.feed import FeedSettings, parse

MD5, PRINT = "0123456789abcdef" * 2, "6e:ce:5e:ce:41:92:68:3d:2d:84:e2:5b:0b:a7:e0:4f:9c:b7:eb:7c"


def read(*rules):
    return parse("\n".join(rules).encode(), FeedSettings("rules"))


def listed(*rules):
    return sorted(read(*rules).indicators.select("type", "value").rows())


def rule(options, head="alert tcp $HOME_NET any -> $EXTERNAL_NET any"):
    return f'{head} (msg:"Some; \\"rule\\" (it says)"; {options} classtype:trojan-activity; sid:1; rev:1;)'


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("alert ip [8.8.4.1,8.8.5.0/24] any -> $HOME_NET any", [("address", "8.8.4.1"), ("network", "8.8.5.0/24")]),
        ("drop ip $HOME_NET any -> [2a06:e480::1, 8.8.4.1] any", [("address", "2a06:e480::1"), ("address", "8.8.4.1")]),
        ("alert tcp 8.8.4.1 443 <> $HOME_NET any", [("address", "8.8.4.1")]),
        ("alert ip [8.8.4.1,!8.8.4.2,![8.8.4.3,8.8.4.4],$X] any -> any any", [("address", "8.8.4.1")]),
        ("reject tcp $HOME_NET any -> 8.8.4.1 [80,443,!8080]", [("address", "8.8.4.1")]),
    ],
)
def test_the_addresses_of_a_header_are_taken_and_negated_ones_are_not(head, expected):
    assert listed(rule("", head)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ('dns.query; content:"evil.example"; nocase; bsize:12;', ("domain", "evil.example")),
        ('dns.query; dotprefix; content:".evil.example"; nocase; endswith;', ("domain", "evil.example")),
        ('dns_query; content:"evil.example"; nocase; isdataat:!1,relative;', ("domain", "evil.example")),
        (
            'flow:established,to_server; tls.sni; content:"evil.example"; endswith; fast_pattern;',
            ("domain", "evil.example"),
        ),
        ('tls_sni; content:"evil|2e|example"; depth:12; isdataat:!1,relative;', ("domain", "evil.example")),
        ('http.method; content:"GET"; http.host; content:"evil.example"; bsize:12;', ("domain", "evil.example")),
        ('content:"evil.example"; http_host; depth:12; isdataat:!1,relative;', ("domain", "evil.example")),
        (
            'http.method; content:"GET"; http.uri; content:"/i"; depth:2; endswith; http.host; content:"8.8.4.1"; depth:7; isdataat:!1,relative;',
            ("url", "http://8.8.4.1/i"),
        ),
        (
            'content:"GET"; http_method; content:"/a b\\;c"; http_uri; depth:6; isdataat:!1,relative; nocase; content:"evil.example"; http_host; depth:12; isdataat:!1,relative;',
            ("url", "http://evil.example/a%20b;c"),
        ),
        (f'ja3.hash; content:"{MD5}";', ("ja3", MD5)),
        (f'ja3_hash; content:"{MD5}";', ("ja3", MD5)),
        (f'tls.fingerprint:"{PRINT}";', ("hash", PRINT.replace(":", ""))),
        (f'tls_cert_fingerprint; content:"{PRINT}";', ("hash", PRINT.replace(":", ""))),
        (
            'content:"|01 00 00 01 00 00 00 00 00 00|"; depth:10; offset:2; content:"|04|evil|07|example|00|"; nocase; distance:0;',
            ("domain", "evil.example"),
        ),
    ],
)
def test_a_whole_name_url_or_fingerprint_stands_for_itself(options, expected):
    assert listed(rule(options)) == [expected]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ('dns.query; content:"evil";', "it looks for a part of a host's name only"),
        (
            'http.host; content:"code.example"; bsize:12; http.uri; content:"/x"; startswith;',
            "it looks for parts of a URL only",
        ),
        ('dns.query; content:"evil.example"; endswith; content:!"www";', "only together with other conditions"),
        ('tls.sni; content:"evil.example"; endswith; pcre:"/x/";', "only together with other conditions"),
        ('tls.sni; content:"a.example"; content:"b.example"; endswith;', "only together with other conditions"),
        ('dns.query; content:"evil.example"; endswith; flowbits:isset,X;', "only together with other conditions"),
        ('content:"evil.example";', "it names no address, host or fingerprint"),
        ("flow:established;", "it names no address, host or fingerprint"),
    ],
)
def test_what_counts_only_with_something_else_is_refused(options, reason):
    found = read(rule(options))
    assert (found.records, found.indicators.height) == (1, 0)
    assert found.refused[0].reason.endswith(reason)


def test_every_rule_is_a_record_commented_out_or_not():
    found = read(
        "# a comment about rules, with alert in it",
        rule("", "alert ip [8.8.4.1] any -> any any"),
        "#" + rule("", "alert ip [8.8.4.2] any -> any any"),
        "# " + rule("", "alert ip [8.8.4.3] any -> any any"),
        rule('tls.sni; content:"good.example"; endswith;', "pass tls any any -> any any"),
        rule("", "alert ip [8.8.4.1] any -> any any"),
        "include other.rules",
    )
    assert (found.records, found.unique) == (6, 5)
    assert [(refusal.line, refusal.reason) for refusal in found.refused] == [
        (3, "commented out"),
        (4, "commented out"),
        (5, "a pass rule lets through, and lists nothing"),
        (7, "no rule"),
    ]


def test_a_rule_may_go_over_several_lines():
    found = read(
        "alert ip [8.8.4.1,8.8.4.2] any -> $HOME_NET any (\\",
        'msg:"two"; \\',
        "sid:1;)",
        rule("", "alert ip 8.8.4.3 any -> any any"),
    )
    assert found.indicators.select("value", "line", "label").rows() == [
        ("8.8.4.1", 1, "two"),
        ("8.8.4.2", 1, "two"),
        ("8.8.4.3", 4, 'Some; "rule" (it says)'),
    ]
    assert found.records == 2


def test_a_file_of_rules_of_which_none_lists_anything_is_rules_all_the_same():
    found = read(*[rule('content:"x";')] * 5)
    assert (found.format, found.records, found.unique, found.refused_total) == ("suricata-rules", 5, 1, 5)
