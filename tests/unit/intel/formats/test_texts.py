"""Each text format in a sample of its own: known by its content, every record given or refused with its reason."""

from __future__ import annotations

import pytest

from feed_samples import MD5, SAMPLES, SHA256
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.formats import read as entries_of


def read(content, column=None, **settings):
    return parse(content.encode(), FeedSettings(**{"name": "tests", **settings}), column)


def listed(found):
    return sorted(found.indicators.select("type", "value").rows())


def refused(found):
    return [(refusal.line, refusal.reason) for refusal in found.refused]


RECORDS = {
    "zeek-intel": 10,
    "maltrail": 5,
    "threatfox": 4,
    "otx": 4,
    "misp-csv": 3,
    "adblock": 10,
    "name-server": 4,
    "access-rules": 9,
    "team-cymru": 2,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_known_by_its_content_and_gives_what_it_lists(name):
    content, expected = SAMPLES[name]
    found = read(content)
    assert found.format == name
    assert listed(found) == expected
    assert found.records == RECORDS.get(name, len(expected))


@pytest.mark.parametrize("name", SAMPLES)
def test_line_ends_and_a_mark_of_the_byte_order_make_no_difference(name):
    content = SAMPLES[name][0].replace("\r\n", "\n")
    usual = read(content)
    for other in (content.replace("\n", "\r\n"), "\ufeff" + content, content.rstrip("\n")):
        found = read(other)
        assert (found.format, listed(found), found.records) == (usual.format, listed(usual), usual.records)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_record_vanishes(name):
    found = entries_of(SAMPLES[name][0].encode())
    told = set(found.table["record"]) | set(found.refused["record"])
    assert len(told) == found.records
    assert found.unique <= found.records
    assert found.refused["reason"].null_count() == 0


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("maltrail", [(10, "a path without a host")]),
        (
            "zeek-intel",
            [
                (9, "of the type Intel::EMAIL, which is no indicator here"),
                (10, "of the type Intel::FILE_NAME, which is no indicator here"),
                (11, "the feed itself allow-lists it"),
            ],
        ),
        ("threatfox", [(5, "of the type envelope_from, which is no indicator here")]),
        (
            "adblock",
            [
                (6, "an exception: it lets through, and lists nothing"),
                (7, "it hides part of a page, and blocks no host"),
                (8, "a pattern with wildcards, which names no single host"),
                (9, "a regular expression, which names no host"),
                (10, "a pattern of addresses, which names no host"),
                (11, "it holds on some sites or for some programs only"),
                (12, "it changes pages, and blocks no host"),
            ],
        ),
        ("name-server", [(7, "it lets the name through, and lists nothing")]),
        ("access-rules", [(7, "it lets through, and lists nothing"), (8, "it lets through, and lists nothing")]),
    ],
)
def test_what_a_format_cannot_give_is_refused_with_its_line_and_reason(name, reasons):
    assert refused(read(SAMPLES[name][0])) == reasons


def test_what_else_a_table_says_is_taken_along():
    rows = read(SAMPLES["threatfox"][0]).indicators.select("label", "category", "confidence").rows()
    assert rows == [("X, or Y", "botnet_cc", 0.75), ("Y", "botnet_cc", 1.0), ("Z", "payload", 0.5)]
    assert read(SAMPLES["epss"][0]).indicators["confidence"].to_list() == [0.01298]
    assert read(SAMPLES["team-cymru"][0]).indicators.select("label", "category").rows() == [("mwtype X", "bots")]
    scores = read(SAMPLES["suricata-iprep"][0]).indicators["confidence"].to_list()
    assert scores == pytest.approx([101 / 127, 88 / 127, 1.0])
    assert read(SAMPLES["spamhaus-drop"][0]).indicators["label"].to_list() == ["SBL256893", "SBL301771"]
    assert read(SAMPLES["dshield"][0]).indicators["label"].to_list() == ["EXAMPLE", None]


def test_the_settings_speak_where_the_feed_does_not():
    found = read("cve,epss\nCVE-2026-0001,0.5\nCVE-2026-0002,\n", confidence=0.3)
    assert found.indicators["confidence"].to_list() == [0.5, 0.3]


def test_a_trail_has_the_reference_above_it_as_its_label():
    labels = dict(read(SAMPLES["maltrail"][0]).indicators.select("value", "label").rows())
    assert labels["evil.example"] == "https://intel.example/1"
    assert labels["8.8.5.0/24"] == "acme"
    assert labels["http://host.example/gate.php"] == "https://intel.example/2"


def test_a_generated_domain_is_the_malwares_on_its_day_alone():
    row = read(SAMPLES["bambenek"][0]).indicators.row(0, named=True)
    day = 1_794_268_800_000_000  # 2026-11-10
    assert (row["valid_from"], row["valid_until"]) == (day - 86_400_000_000, day + 2 * 86_400_000_000)


def test_the_columns_word_decides_only_where_the_column_holds_indicators():
    assert listed(read("#ip,ioc\n8.8.4.1,Possible C2 IP\n")) == [("address", "8.8.4.1")]
    assert listed(read("ioc;when\nsome words;2026\nmore words;2026\nevil.example;2026\n")) != []
    tweets = (
        f"2026-08-14,who,url,https://evil.example/x,#a\n2026-08-14,who,ip,8.8.4.1,#b\n2026-08-14,who,sha256,{SHA256},\n"
    )
    assert listed(read(tweets)) == [("address", "8.8.4.1"), ("hash", SHA256), ("url", "https://evil.example/x")]


def test_a_sentence_in_a_comment_is_no_header():
    assert listed(read("# ip,seen\n# Values, ip, and more\n8.8.4.1,x\n")) == [("address", "8.8.4.1")]
    assert listed(read("# of ip, and others\na;b\n8.8.4.1;8.8.4.2\n", column="b")) == [("address", "8.8.4.2")]


def test_a_header_of_unknown_words_is_no_record():
    found = read("Bad One;Count\n8.8.4.1;5\n8.8.4.2;6\n8.8.4.3;6\n8.8.4.4;6\n8.8.4.5;6\n")
    assert (found.records, found.refused_total) == (5, 0)


def test_a_hash_is_a_fingerprint_where_the_list_says_so():
    rows = f'{MD5},"App"\n{MD5[::-1]},"Other, App"\n'
    assert {kind for kind, _ in listed(read(rows))} == {"hash"}
    licence = '"Copyright (c) salesforce.com\nAll rights reserved.",\n'
    above = read(licence + rows)
    assert ([kind for kind, _ in listed(above)], above.records, above.refused_total) == (["ja3", "ja3"], 2, 0)
    assert {kind for kind, _ in listed(read(rows, name="some-ja3-list"))} == {"ja3"}
    table = read(f"# ja3 list\n# ja3_md5,Firstseen,Listingreason\n{'ab' * 16},2017-07-14,Dridex\n")
    assert (table.format, table.indicators["label"].to_list()) == ("ja3", ["Dridex"])
    assert {kind for kind, _ in listed(read(rows, name="ja3s-list"))} == {"hash"}


def test_utf_16_without_its_mark_is_read():
    found = parse("8.8.4.1\r\nevil.example\r\n".encode("utf-16-be"), FeedSettings("tests"))
    assert listed(found) == [("address", "8.8.4.1"), ("domain", "evil.example")]


def test_text_that_hardly_lists_anything_is_no_feed():
    page = "\n".join(["some words of a page that was read", "see", "evil.example", *["more words here"] * 20])
    with pytest.raises(FormatError, match="only 1 of 23 lines hold an indicator"):
        read(page)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("💩.example", "xn--ls8h.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｅｖｉｌ．ｅｘａｍｐｌｅ", "evil.example"),
        ("evil\u200b.example", "evil.example"),
        ("evil\\.example", "evil.example"),
        ("evil[.example", "evil.example"),
        ("hxxp[s]://evil[.]example/ä", "https://evil.example/%C3%A4"),
        ("evil.example/", "http://evil.example/"),
        ("http://user:secret@evil.example/", "http://evil.example/"),
        ("008.008.004.001", "8.8.4.1"),
        ("008.008.004.000 - 008.008.004.255 , 000 , Some Company", "8.8.4.0/24"),
        ("8.8.4.0-255", "8.8.4.0/24"),
        ("8.8.4.*", "8.8.4.0/24"),
        ("8.8.*", "8.8.0.0/16"),
        ("8.8.4.77 255.255.255.0", "8.8.4.0/24"),
        ("12 8.8.4.1", "8.8.4.1"),
        ("2026-05-01 10:00:00 8.8.4.1", "8.8.4.1"),
        ("8.8.4.1|seen|twice", "8.8.4.1"),
        ("evil.example?x=1", "http://evil.example/?x=1"),
        (f"SHA256:{SHA256}", SHA256),
        (":".join(["AB"] * 20), "ab" * 20),
        ("deny 8.8.4.1;", "8.8.4.1"),
        ("deny from 8.8.4.0/24", "8.8.4.0/24"),
        ("8.8.4.1#4#2#Malicious Host#ZZ", "8.8.4.1"),
        ("A" * 128, "a" * 128),
    ],
)
def test_unusual_spellings_of_the_world_become_the_canonical_value(line, value):
    assert read(line).indicators["value"].to_list() == [value]
