"""Each text format in a sample of its own: known by its content, every record given or refused with its reason."""

from __future__ import annotations

import pytest

from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import read as entries_of

MD5, SHA1, SHA256 = "0123456789abcdef" * 2, "0123456789" * 4, "0123456789abcdef" * 4


def read(content, column=None, **settings):
    return parse(content.encode(), FeedSettings(**{"name": "tests", **settings}), column)


def listed(found):
    return sorted(found.indicators.select("type", "value").rows())


def refused(found):
    return [(refusal.line, refusal.reason) for refusal in found.refused]


SAMPLES = {
    "spamhaus-drop": (
        "; Spamhaus DROP List 2026/09/14\n; Expires: soon\n1.4.0.0/17 ; SBL256893\n2a06:e480::/29 ; SBL301771\n",
        [("network", "1.4.0.0/17"), ("network", "2a06:e480::/29")],
    ),
    "spamhaus-asn-drop": (
        "; Spamhaus ASN-DROP List\nAS64496 ; ZZ | EXAMPLE - Example Inc.\nAS64497 ; | Other\n",
        [("asn", "AS64496"), ("asn", "AS64497")],
    ),
    "maltrail": (
        (
            "# Copyright (c) Maltrail developers\n\n# Reference: https://intel.example/1\n\n8.8.4.1:4782\nevil.example\n"
            "# Reference: https://intel.example/2\nhost.example/gate.php\n8.8.5.0/24 # acme\n/bare/path.php\n"
        ),
        [
            ("address", "8.8.4.1"),
            ("domain", "evil.example"),
            ("network", "8.8.5.0/24"),
            ("url", "http://host.example/gate.php"),
        ],
    ),
    "malwarepatrol": (
        "#\n#   Malware Patrol - Block List\n#\nevil.example/malware/\nwww.evil.example/\n",
        [("url", "http://evil.example/malware/"), ("url", "http://www.evil.example/")],
    ),
    "dshield": (
        (
            "#   DShield.org Recommended Block List\nStart\tEnd\tNetmask\tAttacks\tName\n8.8.4.0\t8.8.4.255\t24\t1840\tEXAMPLE\tZZ\n"
            "008.008.005.000\t008.008.005.255\t24\t9\n# END\n"
        ),
        [("network", "8.8.4.0/24"), ("network", "8.8.5.0/24")],
    ),
    "zeek-intel": (
        (
            "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\tmeta.whitelist\n8.8.4.1\tIntel::ADDR\tsrc\tbad\tF\n"
            "8.8.5.0/24\tIntel::SUBNET\tsrc\t-\tF\nEvil.example\tIntel::DOMAIN\tsrc\tbad\tF\nevil.example/x?y=1\tIntel::URL\tsrc\t-\tF\n"
            f"{SHA1}\tIntel::FILE_HASH\tsrc\t-\tF\n{SHA256}\tIntel::CERT_HASH\tsrc\t-\tF\n{MD5}\tIntel::JA3\tsrc\t-\tF\n"
            "a@evil.example\tIntel::EMAIL\tsrc\t-\tF\nevil.exe\tIntel::FILE_NAME\tsrc\t-\tF\ngood.example\tIntel::DOMAIN\tsrc\t-\tT\n"
        ),
        [
            ("address", "8.8.4.1"),
            ("domain", "evil.example"),
            ("hash", SHA1),
            ("hash", SHA256),
            ("ja3", MD5),
            ("network", "8.8.5.0/24"),
            ("url", "http://evil.example/x?y=1"),
        ],
    ),
    "bambenek": (
        (
            "#####\n## Feed Provided By: John Bambenek of Bambenek Consulting\n#####\n"
            "x1.example,Domain used by Some - Thing DGA for 10 Nov 2026,2026-11-10,http://manual.example/cl.txt\n"
        ),
        [("domain", "x1.example")],
    ),
    "team-cymru": (
        (
            "# Data file written now\n# Format: report|ip|asn|timestamp|comments|asn_name\n"
            "bots|8.8.4.1|64496|2026-10-31 10:00:00|mwtype X|Example AS\nspam|8.8.4.1|64496|2026-10-31 10:00:04||Example AS\n"
        ),
        [("address", "8.8.4.1")],
    ),
    "dataplane": (
        (
            "# It says of each entry, and of its addresses, what is known.\n# ASN  |  ASname  |  saddr  |  utc  |  category\n#\n"
            "# Each field is described below.  Fields are separated, by pipes.\n#\n"
            "64496    |  EXAMPLE -   |     8.8.4.1  |  2026-12-05 14:01:21  |  sshclient\nNA  |  NA  |  2a06:e480::6  |  2026-12-05  |  x\n"
        ),
        [("address", "2a06:e480::6"), ("address", "8.8.4.1")],
    ),
    "feodo": (
        (
            '########\n# abuse.ch Feodo Tracker #\n########\r\n#\r\n"first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"\r\n'
            '"2026-06-04 21:24:53","8.8.4.1","8080","offline","2026-03-07","Emotet"\r\n# END (1) entries\r\n'
        ),
        [("address", "8.8.4.1")],
    ),
    "urlhaus": (
        (
            "# Last updated\r\n#\r\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\r\n"
            '"7","2026-09-13","http://8.8.4.1:32848/Mozi.m","online","","malware_download","elf,iot,Mozi","https://u.example/7/","x"\r\n'
        ),
        [("url", "http://8.8.4.1:32848/Mozi.m")],
    ),
    "threatfox": (
        (
            '# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type","fk_malware","malware_printable","confidence_level"\n'
            '"2026-07-16 06:45:19", "1", "http://evil.example/fre.php", "url", "botnet_cc", "win.x", "X, or Y", "75"\n'
            '"2026-07-16 05:25:36", "2", "8.8.4.1:7777", "ip:port", "botnet_cc", "win.y", "Y", "100"\n'
            f'"2026-07-16 05:25:36", "3", "{SHA256}", "sha256_hash", "payload", "win.z", "Z", "50"\n'
            '"2026-07-16 05:25:36", "4", "a@evil.example", "envelope_from", "payload", "win.z", "Z", "50"\n# Number of entries: 4\n'
        ),
        [("address", "8.8.4.1"), ("hash", SHA256), ("url", "http://evil.example/fre.php")],
    ),
    "sslbl": (f"# Listingdate,SHA1,Listingreason\n2026-08-15 15:52:47,{SHA1},Vidar C&C\n", [("hash", SHA1)]),
    "sslbl-ip": ("# Firstseen,DstIP,DstPort\n2026-01-01 10:00:00,8.8.4.1,443\n", [("address", "8.8.4.1")]),
    "ja3": (f"# ja3_md5,Firstseen,Lastseen,Listingreason\n{MD5},2026-07-14,2026-07-27,Dridex\n", [("ja3", MD5)]),
    "cisa-kev": (
        (
            "cveID,vendorProject,product,vulnerabilityName,dateAdded,shortDescription\n"
            'CVE-2026-23006,Example,"Some, thing",Bad,2026-01-24,"it goes on,\nover two lines, see evil.example"\n'
        ),
        [("cve", "CVE-2026-23006")],
    ),
    "epss": (
        "#model_version:v2026.03.14,score_date:2026-07-01T00:00:00+0000\ncve,epss,percentile\nCVE-1999-0001,0.01298,0.78\n",
        [("cve", "CVE-1999-0001")],
    ),
    "otx": (
        f"Indicator type,Indicator,Description\nIPv4,8.8.4.1,\nhostname,a.evil.example,x\nFileHash-SHA256,{SHA256},\nemail,a@b.example,\n",
        [("address", "8.8.4.1"), ("domain", "a.evil.example"), ("hash", SHA256)],
    ),
    "misp-csv": (
        (
            f'uuid,event_id,category,type,value,comment,to_ids\n"1","1","Network","domain|ip","evil.example|8.8.4.1","",1\n'
            f'"2","1","Payload","filename|md5","x.exe|{MD5}","",1\n"3","1","Network","ip-dst|port","8.8.5.1|443","",1\n'
        ),
        [("address", "8.8.4.1"), ("address", "8.8.5.1"), ("domain", "evil.example"), ("hash", MD5)],
    ),
    "suricata-iprep": (
        "8.8.4.1,1,101\n8.8.5.0/24,6,88\n2a06:e480::1,2,127\n",
        [("address", "2a06:e480::1"), ("address", "8.8.4.1"), ("network", "8.8.5.0/24")],
    ),
    "adblock": (
        (
            "[Adblock Plus 2.0]\n! Title: a list\n||evil.example^$third-party\n||8.8.4.1^\n||a.example/x.js^\n@@||good.example^\n"
            "page.example##.banner\n||wild*.example^\n/miner\\.js/\n-miner-\n||b.example^$domain=c.example\n||d.example^$csp=x\n"
        ),
        [("address", "8.8.4.1"), ("domain", "evil.example"), ("url", "http://a.example/x.js")],
    ),
    "p2p": (
        "Some: Company:8.8.4.0-8.8.4.255\nOther:8.8.5.1-8.8.5.1\n",
        [("address", "8.8.5.1"), ("network", "8.8.4.0/24")],
    ),
    "tor-exits": (
        "ExitNode 0011BD\nPublished 2026-07-17 10:53:30\nLastStatus 2026-07-17 11:03:20\nExitAddress 8.8.4.1 2026-07-17 11:15:15\n",
        [("address", "8.8.4.1")],
    ),
    "name-server": (
        (
            "$TTL 30\n@ SOA rpz.example. hostmaster.example. 2110191013 300 1800 604800 30\n NS localhost.\n;\n"
            "evil.example CNAME . ; malware\n*.evil.example CNAME .\ngood.example CNAME rpz-passthru.\n24.0.4.8.8.rpz-ip CNAME .\n"
        ),
        [("domain", "evil.example"), ("network", "8.8.4.0/24")],
    ),
}
RECORDS = {
    "zeek-intel": 10,
    "maltrail": 5,
    "threatfox": 4,
    "otx": 4,
    "misp-csv": 3,
    "adblock": 10,
    "name-server": 4,
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
    assert {kind for kind, _ in listed(read(rows, name="ja3s-list"))} == {"hash"}


def test_utf_16_without_its_mark_is_read():
    found = parse("8.8.4.1\r\nevil.example\r\n".encode("utf-16-be"), FeedSettings("tests"))
    assert listed(found) == [("address", "8.8.4.1"), ("domain", "evil.example")]


def test_text_that_hardly_lists_anything_is_no_feed():
    from netpersona.intel.formats import FormatError

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
        ("deny 8.8.4.1;", "8.8.4.1"),
        ("deny from 8.8.4.0/24", "8.8.4.0/24"),
        ("8.8.4.1#4#2#Malicious Host#ZZ", "8.8.4.1"),
        ("A" * 128, "a" * 128),
    ],
)
def test_unusual_spellings_of_the_world_become_the_canonical_value(line, value):
    assert read(line).indicators["value"].to_list() == [value]
