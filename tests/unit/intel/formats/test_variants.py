"""Feeds as their publishers really write them, where they differ from what is usual for their format."""

from __future__ import annotations

import pytest

from feed_samples import MD5, SHA256
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError

DATAPLANE = (
    "#  ASN  |  ASname  |  ipaddr  |  lastseen  |  category\n"
    "4134   |  EXAMPLE-BACKBONE   |   8.8.4.1  |  2026-05-01 04:32:04  |  sshclient\n"
    "9009   |  EXAMPLE            |   8.8.4.2  |  2026-05-01 04:32:04  |  sshclient\n"
)
OWN_NAMES = (
    "127.0.0.1 localhost\n255.255.255.255 broadcasthost\n::1 ip6-loopback\nfe80::1%lo0 localhost\n"
    "ff02::1 ip6-allnodes\n0.0.0.0 0.0.0.0\n0.0.0.0 evil.example\n"
)
MASTER = (
    "## Master Feed of known C&Cs\n## Feed Provided By: John Bambenek of Bambenek Consulting\n"
    "evil.example,8.8.4.1,ns1.evil.example|ns2.evil.example,8.8.4.2,Master Indicator Feed for x,http://a.example/x.txt\n"
)
MISP = 'uuid,event_id,category,type,value,comment,to_ids\n"a",1,"N","ip-dst","8.8.4.1","",1\n"b",1,"N","domain","good.example","",0\n'
DEFENDER = (
    "IndicatorType,IndicatorValue,ExpirationTime,Action\nIpAddress,8.8.4.1,,Block\nDomainName,evil.example,,Block\n"
    f"FileSha256,{SHA256},,BlockAndRemediate\nIpAddress,8.8.4.2,,Allowed\n"
)


AXFR = (
    "rpz.example.\t30\tIN\tSOA\trpz.example. x.rpz.example. 1 300 1800 604800 30\n"
    "evil.example.rpz.example. 30 IN CNAME .\n*.evil.example.rpz.example. 30 IN CNAME .\n"
    "32.1.4.8.8.rpz-ip.rpz.example. 30 IN CNAME .\n"
)
TABLE = "| IP | Note |\n|----|:----:|\n| 8.8.4.1 | x |\n| 8.8.4.2 | y |\n"
BOTH, NAMES, NETWORKS = ["8.8.4.1", "8.8.4.2"], ["evil.example", "bad.example"], ["8.8.4.0/24", "8.8.5.0/24"]


def read(content):
    return parse(content.encode(), FeedSettings("tests"))


@pytest.mark.parametrize(
    ("content", "name", "records", "values"),
    [
        pytest.param(DATAPLANE, "dataplane", 2, ["8.8.4.1", "8.8.4.2"], id="an AS beside the address"),
        pytest.param("asn,who\nAS64496,8.8.4.1\n", "csv", 1, ["8.8.4.1"], id="an AS beside a nameless address"),
        pytest.param("asn,name\n64496,evil.example\n", "csv", 1, ["AS64496"], id="an AS and its name"),
        pytest.param("evil.example,x\nbad.example,y\n", "csv", 2, ["evil.example", "bad.example"], id="no header"),
        pytest.param("when,C2\n2026-05-01,8.8.4.1:443\n", "csv", 1, ["8.8.4.1"], id="one row below a header"),
        pytest.param("Number\tWho\n1\tevil.example\n", "csv", 1, ["evil.example"], id="a header of strange words"),
        pytest.param(MISP, "misp-csv", 2, ["8.8.4.1"], id="to_ids in a table"),
        pytest.param(DEFENDER, "csv", 4, ["8.8.4.1", "evil.example", SHA256], id="rows that allow"),
        pytest.param("indicator_type,data\nip,8.8.4.1\n", "csv", 1, ["8.8.4.1"], id="data"),
        pytest.param(
            "id;mask\n1;evil.example/a\n2;bad.example\n", "csv", 2, ["http://evil.example/a", "bad.example"], id="mask"
        ),
        pytest.param(
            "#fields\tmeta.source\tindicator_type\tindicator\nx\tIntel::ADDR\t8.8.4.1\n",
            "zeek-intel",
            1,
            ["8.8.4.1"],
            id="columns in another order",
        ),
        pytest.param(OWN_NAMES, "hosts", 7, ["evil.example"], id="hardly any but own names"),
        pytest.param(
            "; Spamhaus IPv6 DROP List\n2a06:e480::/29 ; SBL1\n", "spamhaus-drop", 1, ["2a06:e480::/29"], id="v6"
        ),
        pytest.param(MASTER, "bambenek", 1, ["evil.example"], id="the list of masters"),
        pytest.param(
            "address=/evil.example/bad.example/0.0.0.0\nserver=/c.example/\nserver=/own.example/8.8.4.1\n",
            "name-server",
            3,
            ["bad.example", "evil.example", "c.example"],
            id="several names, and one that is asked elsewhere",
        ),
        pytest.param("- 8[.]8[.]4[.]1\n* evil.example\n", "plain", 2, ["8.8.4.1", "evil.example"], id="bullets"),
        pytest.param(AXFR, "name-server", 3, ["evil.example", "8.8.4.1"], id="a zone as it is transferred"),
        pytest.param("PRIMARY evil.example x.dns\n", "name-server", 1, ["evil.example"], id="a boot file"),
        pytest.param("8.8.4.1, 8.8.4.2, 8.8.4.3\n", "plain", 3, ["8.8.4.1", "8.8.4.2", "8.8.4.3"], id="in one line"),
        pytest.param("8.8.4.0-8.8.4.255,8.8.5.0/24\n", "plain", 2, ["8.8.4.0/24", "8.8.5.0/24"], id="two networks"),
        pytest.param("8.8.4.0,255.255.255.0\n8.8.5.0,255.255.255.0\n", "csv", 2, NETWORKS, id="masks"),
        pytest.param("network,netmask\n8.8.4.0,24\n8.8.5.0,24\n", "csv", 2, NETWORKS, id="named masks"),
        pytest.param("8.8.4.0\t255.255.255.0\n8.8.5.0\t255.255.255.0\n", "plain", 2, NETWORKS, id="masks by tabs"),
        pytest.param("Домен,Описание\nevil.example,х\n", "csv", 1, ["evil.example"], id="a header in Russian"),
        pytest.param("Dirección IP\tPuerto\n8.8.4.1\t443\n", "csv", 1, ["8.8.4.1"], id="a header in Spanish"),
        pytest.param("evil.example\t8.8.4.1\nbad.example\t8.8.4.2\n", "plain", 2, NAMES, id="a name and its address"),
        pytest.param(TABLE, "csv", 2, ["8.8.4.1", "8.8.4.2"], id="a table in Markdown"),
        pytest.param("ip,why\n8.8.4.1,x\n,\n", "csv", 1, ["8.8.4.1"], id="empty rows at the end"),
        pytest.param("% list\n! of\nIPs:\n8.8.4.1\n---\n[more]\n8.8.4.2\n", "plain", 2, BOTH, id="headings"),
        pytest.param("<pre>\n8.8.4.1\n8.8.4.2\n</pre>", "plain", 2, BOTH, id="in a pre tag"),
        pytest.param(f"sha256,md5\n{SHA256},{MD5}\n", "csv", 1, [MD5, SHA256], id="all hashes of a file"),
        pytest.param('[{"ip_str": "8.8.4.1", "hostnames": ["a.example"]}]', "json", 1, ["8.8.4.1"], id="ip_str"),
        pytest.param(f'[{{"md5": "{MD5}", "User-Agent": "x"}}]', "ja3", 1, [MD5], id="JA3 by its user agent"),
        pytest.param(f"{MD5}\n{SHA256}\n", "plain", 2, [MD5, SHA256], id="hashes are no base64"),
    ],
)
def test_a_variant_is_read_as_it_is_meant(content, name, records, values):
    found = read(content)
    assert (found.format, found.records, found.indicators["value"].to_list()) == (name, records, values)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (MISP, 3, "its to_ids is false: its author does not call it an indicator"),
        (DEFENDER, 5, "the feed calls it allowed"),
        (
            "server=/a.example/\nserver=/b.example/8.8.4.1\n",
            2,
            "it asks another server for the name, and lists nothing",
        ),
    ],
)
def test_what_the_feed_does_not_mean_is_refused(content, line, reason):
    assert [(refusal.line, refusal.reason) for refusal in read(content).refused] == [(line, reason)]


def test_a_list_of_mail_addresses_is_a_list_of_which_all_is_refused():
    found = read("a@evil.example\nb[at]evil.example\n")
    assert (found.format, found.records, found.refused_total) == ("plain", 2, 2)


def test_fingerprints_that_are_no_hash_of_a_file_are_not_taken_for_one():
    with pytest.raises(FormatError, match="of the type hassh, which is no indicator here"):
        read(f"hassh,who\n{MD5},x\n")


def test_a_bare_number_is_no_address():
    with pytest.raises(FormatError, match="a bare number"):
        read("134744065\n")


def test_a_row_ends_when_the_table_says():
    assert read("domain,DeleteDate\nevil.example,2020-04-01T00:00:00\n").indicators["valid_until"].to_list() == [
        1_585_699_200_000_000
    ]


def test_a_master_is_labelled_by_what_it_is():
    assert read(MASTER).indicators["label"].to_list() == ["Master Indicator Feed for x"]


def test_a_pdf_is_refused_by_its_name():
    with pytest.raises(FormatError, match="a PDF"):
        read("%PDF-1.4\n1 0 obj\n8.8.4.1\n")


def test_a_reason_that_quotes_the_feed_can_be_printed():
    said = read("#fields\tindicator\tindicator_type\n8.8.4.1\tIntel::\x07X\n8.8.4.2\tIntel::ADDR\n").refused
    assert [refusal.reason.isprintable() for refusal in said] == [True]
