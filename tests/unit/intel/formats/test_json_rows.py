"""Rows of JSON feeds: how each service writes them, what other rows say, and what is no feed."""

from __future__ import annotations

import json

import pytest

from netpersona.intel.formats import FormatError, read
from shared_data import SHARED, needs_shared

FEEDS = SHARED / "data" / "feeds"
MD5, SHA1, SHA256 = "a" * 32, "b" * 40, "c" * 64
NO_MATCH = "a kind of value that this product cannot match"
UNTOLD = "none of its members holds an indicator"


def of(told):
    return read((told if isinstance(told, str) else json.dumps(told)).encode())


def lines(*rows):
    return "\n".join(json.dumps(row) for row in rows)


def entered(found, *columns):
    return found.table.select(*(columns or ("raw", "type"))).rows()


THREATFOX = {
    "id": "1", "ioc": "9.9.9.1:80", "ioc_type": "ip:port", "threat_type": "botnet_cc", "malware_printable": "X",
    "confidence_level": 75, "first_seen": "1970-01-02 00:00:00 UTC", "last_seen": None, "reporter": "abuse_ch", "tags": ["t"],
}  # fmt: skip
EXPORTED = {**{k: v for k, v in THREATFOX.items() if k not in {"id", "ioc", "first_seen"}}, "ioc_value": "9.9.9.1:80", "first_seen_utc": "1970-01-02 00:00:00"}  # fmt: skip
URLHAUS = {
    "dateadded": "2026-01-01 00:00:00 UTC", "url": "http://9.9.9.1/x", "url_status": "online", "host": "9.9.9.1",
    "threat": "malware_download", "tags": ["elf"], "urlhaus_link": "https://urlhaus.abuse.ch/url/1/", "reporter": "r",
}  # fmt: skip
FEODO = {
    "ip_address": "9.9.9.1", "port": 443, "status": "online", "hostname": "pool.isp.example", "as_number": 64496,
    "as_name": "ISP", "country": "US", "first_seen": "2026-01-01 00:00:00", "last_online": "2026-01-02", "malware": "X",
}  # fmt: skip
BAZAAR = {
    "sha256_hash": SHA256,
    "sha3_384_hash": "d" * 96,
    "sha1_hash": SHA1,
    "md5_hash": MD5,
    "signature": "X",
    "file_name": "a.exe",
}
KEV = {
    "cveID": "CVE-2024-12345",
    "vendorProject": "V",
    "product": "P",
    "vulnerabilityName": "A hole",
    "dateAdded": "1970-01-02",
}
CROWDSEC = {
    "id": 1,
    "origin": "CAPI",
    "type": "ban",
    "scope": "Ip",
    "value": "9.9.9.1",
    "duration": "3h",
    "scenario": "x/ssh-bf",
    "simulated": False,
}
ADDRESS = [("9.9.9.1", "address")]


@pytest.mark.parametrize(
    ("told", "name", "values"),
    [
        ({"query_status": "ok", "data": [THREATFOX]}, "threatfox", [("9.9.9.1:80", "address")]),
        ({"1": [EXPORTED], "2": [{**EXPORTED, "ioc_value": MD5, "ioc_type": "md5_hash"}]}, "threatfox", [("9.9.9.1:80", "address"), (MD5, "hash")]),
        (lines(THREATFOX), "threatfox", [("9.9.9.1:80", "address")]),
        ({"query_status": "ok", "urls": [{**URLHAUS, "id": "1"}]}, "urlhaus", [("http://9.9.9.1/x", "url")]),
        ({"3": [URLHAUS], "4": [URLHAUS]}, "urlhaus", [("http://9.9.9.1/x", "url")] * 2),
        ([FEODO], "feodo", ADDRESS),
        (lines({"sha1": SHA1, "reason": "X C&C", "ts": "2026-01-01T00:00:00Z"}), "sslbl", [(SHA1, "hash")]),
        (lines({"ja3": MD5, "reason": "X", "first_ts": "2026-01-01T00:00:00Z"}), "ja3", [(MD5, "ja3")]),
        ({"query_status": "ok", "data": [BAZAAR]}, "malwarebazaar", [(SHA256, "hash"), (SHA1, "hash"), (MD5, "hash")]),
        (lines({"cidr": "9.9.0.0/16", "sblid": "SBL1", "rir": "arin"}, {"type": "metadata", "records": 1}), "spamhaus-drop", [("9.9.0.0/16", "network")]),
        (lines({"asn": 64496, "rir": "arin", "domain": "isp.example", "cc": "US", "asname": "I"}, {"type": "metadata"}), "spamhaus-asndrop", [("64496", "asn")]),
        ({"title": "CISA", "count": 1, "vulnerabilities": [KEV]}, "cisa-kev", [("CVE-2024-12345", "cve")]),
        ({"status": "OK", "total": 1, "data": [{"cve": "CVE-2024-12345", "epss": "0.5", "percentile": "0.9", "date": "2026-01-01"}]}, "epss", [("CVE-2024-12345", "cve")]),
        ([CROWDSEC, {**CROWDSEC, "scope": "Range", "value": "9.9.9.0/24"}, {**CROWDSEC, "scope": "AS", "value": "64496"}], "crowdsec", [*ADDRESS, ("9.9.9.0/24", "network"), ("64496", "asn")]),
        ({"new": [CROWDSEC], "deleted": [{**CROWDSEC, "value": "9.9.9.2"}]}, "crowdsec", ADDRESS),
        ([{"id": 1, "source": {"ip": "9.9.9.8"}, "decisions": [CROWDSEC]}], "crowdsec", ADDRESS),
        ({"complete": True, "data": [{"ip": "9.9.9.1", "classification": "malicious", "name": "unknown"}]}, "greynoise", ADDRESS),
        ({"meta": {"generatedAt": "x"}, "data": [{"ipAddress": "9.9.9.1", "abuseConfidenceScore": 90}]}, "abuseipdb", ADDRESS),
        ([{"phish_id": "1", "url": "http://a.example/", "verified": "yes", "details": [{"ip_address": "9.9.9.1"}]}], "phishtank", [("http://a.example/", "url")]),
        ({"syncToken": "1", "prefixes": [{"ip_prefix": "9.9.9.0/24", "service": "S"}], "ipv6_prefixes": [{"ipv6_prefix": "2a00::/32"}]}, "json", [("9.9.9.0/24", None), ("2a00::/32", None)]),
        ({"addresses": ["9.9.9.0/24"], "ipv6_addresses": ["2a00::/32"]}, "json", [("9.9.9.0/24", None), ("2a00::/32", None)]),
        (["9.9.9.1", "a.example", "2a00::1", SHA256], "json", [("9.9.9.1", None), ("a.example", None), ("2a00::1", None), (SHA256, None)]),
        (lines({"ip": "9.9.9.1"}), "json", [("9.9.9.1", None)]),
        ([{"indicator": "a.example", "type": "domain"}], "json", [("a.example", "domain")]),
        ([{"value": "9.9.9.1"}, {"ioc": "a.example"}], "json", [("9.9.9.1", None), ("a.example", None)]),
        ([{"url": "http://a.example/", "ip": "9.9.9.1"}], "json", [("http://a.example/", "url")]),
        ([{"ip": "9.9.9.1", "domain": "isp.example"}], "json", [("9.9.9.1", None)]),
        ([{"name": "case", "ips": ["9.9.9.1", "9.9.9.2"]}], "json", [("9.9.9.1", None), ("9.9.9.2", None)]),
        ([{"md5": MD5, "sha256": SHA256}], "json", [(SHA256, "hash"), (MD5, "hash")]),
        (lines({"threat": {"indicator": {"ip": "9.9.9.1"}}}, {"threat": {"indicator": {"file": {"hash": {"md5": MD5}}}}}), "json", [("9.9.9.1", None), (MD5, "hash")]),
        ({"ip": "9.9.9.1", "noise": True, "riot": False}, "json", [("9.9.9.1", None)]),
        ([{"sha256": SHA256, "domains": ["good.example"]}], "json", [(SHA256, "hash")]),
        ([{"dataType": "ip", "data": "9.9.9.1", "ioc": True}], "thehive", ADDRESS),
        ({"relays": [{"exit_addresses": ["9.9.9.1"]}]}, "json", [("9.9.9.1", None)]),
        ({"values": [{"name": "A", "properties": {"addressPrefixes": ["9.9.9.0/24"]}}]}, "json", [("9.9.9.0/24", None)]),
        ({"objects": [{"ip": "9.9.9.1"}]}, "json", [("9.9.9.1", None)]),
        ({"result": {"ipv4_cidrs": ["9.9.9.0/24"]}, "success": True}, "json", [("9.9.9.0/24", None)]),
        ({"0": {"ip": "9.9.9.1", "attacks": 5}, "METADATA": {"date": "x"}}, "json", [("9.9.9.1", None)]),
        ({"results": [{"indicator": "9.9.9.1", "type": "ip", "risk": "high"}]}, "otx", ADDRESS),
        ({"9.9.9.1": {"seen": 5}, "2a00::1": {}}, "json", [("9.9.9.1", None), ("2a00::1", None)]),
    ],
)  # fmt: skip
def test_rows_of_every_service(told, name, values):
    found = of(told)
    assert (found.format, entered(found), found.refused.height) == (name, values, 0)
    shuffled = of(json.dumps(json.loads(told), sort_keys=True) if isinstance(told, str) and "\n" not in told else told)
    assert entered(shuffled) == values


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**THREATFOX, "ioc": "a@b.example", "ioc_type": "envelope_from"}, f"envelope_from: {NO_MATCH}"),
        ({**CROWDSEC, "scope": "Country", "value": "US"}, f"Country: {NO_MATCH}"),
        ({**CROWDSEC, "simulated": True}, "a simulated decision"),
        ({**CROWDSEC, "duration": "-5m3s"}, "the decision has run out"),
        ({"ip": "9.9.9.1", "classification": "benign"}, "the feed calls it benign"),
        ({"ip": "9.9.9.1", "riot": True, "classification": "unknown"}, "the feed calls it a common service"),
        ({"ipAddress": "9.9.9.1", "abuseConfidenceScore": 0, "isWhitelisted": True}, "the feed calls it allowed"),
        ({"phish_id": "1", "url": "http://a.example/", "verified": "no"}, "the feed has not verified it"),
        ({"note": "nothing"}, UNTOLD),
    ],
)
def test_a_refused_row_is_a_record(row, reason):
    found = of([{"ip": "9.9.9.2"}, row])
    assert (found.records, entered(found), found.refused["reason"].to_list()) == (2, [("9.9.9.2", None)], [reason])


def test_what_a_row_says_is_carried():
    columns = ("label", "category", "confidence", "valid_from")
    assert entered(of([THREATFOX]), *columns) == [("X", "botnet_cc", 0.75, 86_400_000_000)]
    assert entered(of([KEV]), *columns) == [("V: P: A hole", None, None, 86_400_000_000)]
    assert entered(of([CROWDSEC]), "label") == [("x/ssh-bf",)]


def test_the_line_of_a_row_is_where_it_begins():
    content = json.dumps({"1": [EXPORTED], "2": [EXPORTED]}, indent=1)
    starts = [number for number, line in enumerate(content.split("\n"), 1) if line == "  {"]
    assert of(content).table["line"].to_list() == starts
    assert of("\n\n" + lines({"ip": "9.9.9.1"}, {"ip": "9.9.9.2"})).table["line"].to_list() == [3, 4]


@pytest.mark.parametrize(
    "told",
    [
        {},
        [],
        {"data": []},
        {"query_status": "ok", "data": []},
        {"query_status": "no_results"},
        {"new": None, "deleted": []},
    ],
)
def test_a_list_of_nothing_is_a_feed(told):
    found = of(told)
    assert (found.records, found.table.height) == (0, 0)


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"query_status": "unknown_auth_key"}, "the service answered 'unknown_auth_key' and no list"),
        ({"error": "nobody", "url": "https://api.example/"}, "the service answered '\"nobody\"' and no list"),
        ({"error": None, "a": 5}, "JSON without indicators: its members are 'error', 'a'"),
        ([{"a": 1}, {"b": 2}], "JSON without indicators: its members are 'a'"),
        ([[1]], "JSON without indicators"),
        ([1, 2], "JSON without indicators"),
        ({"data": [{"name": "x", "link": {"url": "http://a.example/"}}]}, "JSON without indicators"),
        ({"collections": [{"id": "1"}]}, "what a TAXII server says of itself"),
        ({"5d9b": {"Orgc": {"name": "O"}, "info": "x"}}, "a MISP feed's manifest"),
        ({"a.b": 1, "c.d": 2}, "JSON without indicators"),
        ({"Event": {"System": {"EventID": 1}}}, "JSON without indicators"),
        ({"Attribute": [{"name": "x"}]}, "JSON without indicators"),
        ({"objects": [{"name": "x"}]}, "JSON without indicators"),
        (["just", "words"], "JSON without indicators"),
    ],
)
def test_what_is_no_feed_is_refused_with_what_it_seems_to_be(told, wrong):
    with pytest.raises(FormatError) as error:
        of(told)
    assert wrong in str(error.value)


def test_a_list_in_brackets_is_no_json():
    assert entered(read(b"[2a00::1]:443\n[2a00::2]:443\n"), "raw") == [("[2a00::1]:443",), ("[2a00::2]:443",)]


@needs_shared
@pytest.mark.parametrize(
    ("name", "format_name", "records", "kind"),
    [
        ("abusech/ja3-fingerprints.ndjson", "ja3", 10, "ja3"),
        ("abusech/sslbl-sample.ndjson", "sslbl", 10, "hash"),
        ("cisa-kev/known_exploited_vulnerabilities.json", "cisa-kev", 1404, "cve"),
    ],
)
def test_samples_give_what_is_expected(name, format_name, records, kind):
    found = read((FEEDS / name).read_bytes())
    assert (found.format, found.records, found.unique, found.refused.height) == (format_name, records, records, 0)
    assert set(found.table["type"]) == {kind}
