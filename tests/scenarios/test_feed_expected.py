"""Every number that an independent count gives of the published feeds, held against what `feed check` says of them."""

from __future__ import annotations

import csv
from functools import cache

import polars as pl
import pytest

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.feed_check_command import told
from netpersona.intel.formats import read as entries_of
from netpersona.intel.formats.lines import utf8
from netpersona.intel.gate import refuse
from shared_data import SHARED, needs_shared

pytestmark = needs_shared
FEEDS = SHARED / "data" / "feeds"
PORTED = r"^[0-9]+(?:\.[0-9]+){3}:[0-9]+"


@cache
def check(name):
    read = FileFeed(FEEDS / name).fetch()
    return told(name, read, refuse(read), 0)


@cache
def entries(name):
    """What the format found, before values are read: `raw` as it stands, with the type that it states."""
    return entries_of(utf8((FEEDS / name).read_bytes()))


def records(name):
    return check(name)["records"]


def unique(name):
    return check(name)["unique"]


def raw_like(pattern):
    """Asks how many records stand in the file like this, given and refused ones."""

    def count(name):
        found = entries(name)
        both = pl.concat([found.table.select("record", "raw"), found.refused.select("record", "raw")])
        return both.filter(pl.col("raw").str.contains(pattern))["record"].n_unique()

    return count


def stated(*kinds):
    return lambda name: int(entries(name).table["type"].is_in(list(kinds)).sum())


def refused_with(reason):
    return lambda name: sum(each["reason"].startswith(reason) for each in check(name)["refused"])


def nothing_of(kind):
    return lambda name: check(name)["indicators"][kind]


COUNTS = {
    **dict.fromkeys(
        (
            "CIDRs", "networks", "IPs", "IPv4", "URLs", "domains", "ASNs", "sha1", "sha256", "ja3 md5", "rows", "rules",
            "entries", "entries (non-comment, non-blank)", "attributes", "attributes incl. objects", "vulnerabilities",
            "count field", "list entries", "indicators",
        ),
        records,
    ),
    **dict.fromkeys(("unique", "unique entries", "unique indicators"), unique),
    "ip:port": raw_like(PORTED),
    "bare IPv4": raw_like(r"^[0-9]+(?:\.[0-9]+){3}$"),
    "path only": refused_with("a path without a host"),
    "IP-host URLs": raw_like(r"^https?://[0-9.]+[:/]"),
    "CIDRv4": raw_like(r"^[0-9]+(?:\.[0-9]+){3}/[0-9]+"),
    "|| rules": raw_like(r"^\|\|"),
    "ADDR": stated("address"),
    "DOMAIN": stated("domain"),
    "URL": stated("url"),
    "FILE_HASH": stated("hash"),
    "private/loopback ADDR": refused_with(("private", "loopback")),
    "to_ids true": lambda name: sum(check(name)["indicators"].values()),
    "lines": lambda name: records(name) + 1,  # and the header
    "CRLF lines": records,
}  # fmt: skip
SPECIAL = {
    ("intelmq/spamhaus-drop.txt", "IPv6"): raw_like(r"^[0-9a-f]+:"),
    ("maltrail/mass_scanner_cidr.txt", "IPv6"): raw_like(r"^[0-9a-fA-F]{1,4}:"),
    # an entry is the host between || and ^; a rule that is refused stands as it is
    ("hosts/nocoin-adblock.txt", "|| rules"): lambda name: entries(name).table.height + raw_like(r"^\|\|")(name),
}
ELSEWHERE = {
    "domain-name terms": "a term of a pattern is no value: tests of STIX hold the values",
    "ipv4-addr terms": "a term of a pattern is no value: tests of STIX hold the values",
    "objects": "of a bundle's objects its indicators are the records",
    "network types": "the events' attributes are all to_ids: false, and give nothing",
    "! lines": "comments",
    "type": "no number",
}
NO_FEEDS = ("aws/", "fingerprints/p0f.fp", "fingerprints/satori")


def numbers():
    if not FEEDS.is_dir():
        return []
    with (FEEDS / "EXPECTED.tsv").open() as table:
        return [(row[0], row[2], row[3]) for row in list(csv.reader(table, delimiter="\t"))[1:]]


@pytest.mark.parametrize(
    ("name", "measure", "expected"),
    [row for row in numbers() if not row[0].startswith(NO_FEEDS) and row[1] not in ELSEWHERE],
)
def test_feed_check_says_what_was_counted(name, measure, expected):
    count = SPECIAL.get((name, measure)) or COUNTS[measure]
    assert count(name) == int(expected)


def test_every_feed_is_checked_in_the_form_that_was_agreed():
    for name in sorted({row[0] for row in numbers() if not row[0].startswith(NO_FEEDS)}):
        said = check(name)
        assert list(said)[:7] == ["file", "format", "records", "unique", "duplicates", "indicators", "refused"]
        assert list(said["indicators"]) == ["address", "network", "domain", "url", "hash", "ja3", "asn", "cve"]
        assert said["duplicates"] == said["records"] - said["unique"] >= 0
        assert all(set(each) == {"line", "value", "reason"} and each["reason"] for each in said["refused"])


DISTINCT = {
    "ipsum/level3.txt": {"address": 14217},
    "firehol/dshield.netset": {"network": 20},
    "hosts/nocoin-hosts.txt": {"domain": 313},
    "plain/amnesty-nso-domains.txt": {"domain": 1438},
    "abusech/feodo-ipblocklist.csv": {"address": 2},
    "abusech/urlhaus-recent.csv": {"url": 4},
    "abusech/ja3-fingerprints.ndjson": {"ja3": 10},
    "abusech/sslbl-sample.ndjson": {"hash": 10},
    "fingerprints/osx-nix-ja3.csv": {"ja3": 157},
    "intelmq/spamhaus-drop.txt": {"network": 2},
    "intelmq/spamhaus-asndrop.txt": {"asn": 2},
    "intelmq/dshield-block.txt": {"network": 2},
    "intelmq/bambenek-c2-ip.txt": {"address": 1},
    "intelmq/bambenek-c2-dom.txt": {"domain": 1},
    "intelmq/bambenek-dga.txt": {"domain": 1},
    "intelmq/malwarepatrol.txt": {"url": 2},
    "intelmq/cymru-infected.txt": {"address": 1},  # nine reports of one address
    "iprep/iprep-lf.txt": {"address": 2, "network": 1},
    "misc/eset-emotet-samples.sha256": {"hash": 9},
    "misc/moose-ET.rules": {},  # no rule names an address, and their contents stand together with others
    "zeek-intel/tor-exit.intel": {"address": 1372},
    "zeek-intel/openphish.intel": {"url": 300},
    "zeek-intel/doh-domains.intel": {"domain": 1425},
    "zeek-intel/abuse-ch-malware.intel": {"hash": 828},
    "zeek-intel/stalkerware.intel": {"address": 35, "domain": 271, "hash": 1922},
    "cisa-kev/known_exploited_vulnerabilities.json": {"cve": 1404},
}


@pytest.mark.parametrize("name", DISTINCT)
def test_the_distinct_values_of_each_type(name):
    assert {kind: count for kind, count in check(name)["indicators"].items() if count} == DISTINCT[name]
