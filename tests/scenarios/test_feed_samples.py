"""Real published feeds: what is imported equals an independent count of what the files hold."""

from __future__ import annotations

import csv

import pytest

from netpersona.adapters.feeds.file import FileFeed
from netpersona.errors import FeedError
from netpersona.intel.gate import refuse
from shared_data import SHARED, needs_shared

pytestmark = needs_shared
FEEDS = SHARED / "data" / "feeds"


def fetch(name):
    return FileFeed(FEEDS / name).fetch()


def types(snapshot):
    return dict(snapshot.indicators.group_by("type").len().rows())


def stated(name, measure):
    """The number that EXPECTED.tsv states, which was counted with other tools."""
    with (FEEDS / "EXPECTED.tsv").open() as table:
        return next(int(row[3]) for row in csv.reader(table, delimiter="\t") if (row[0], row[2]) == (name, measure))


@pytest.mark.parametrize(
    ("name", "measure", "format_"),
    [
        ("firehol/dshield.netset", "CIDRs", "netset"),
        ("ipsum/level3.txt", "IPv4", "plain"),
        ("hosts/nocoin-hosts.txt", "domains", "hosts"),
        ("plain/amnesty-nso-domains.txt", "domains", "plain"),
        ("iprep/iprep-lf.txt", "entries", "suricata-iprep"),
        ("iprep/iprep-cr-lf.txt", "entries", "suricata-iprep"),
        ("maltrail/mass_scanner_cidr.txt", "entries", "maltrail"),
        ("maltrail/crypto_mining.txt", "entries (non-comment, non-blank)", "maltrail"),
        ("maltrail/worst_asns.txt", "CIDRs", "maltrail"),
        ("maltrail/bogon_ranges.txt", "CIDRs", "maltrail"),
        ("intelmq/spamhaus-drop.txt", "networks", "spamhaus-drop"),
        ("intelmq/blocklistde-imap.txt", "IPs", "plain"),
        ("abusech/feodo-ipblocklist.csv", "IPs", "feodo"),
        ("abusech/urlhaus-recent.csv", "URLs", "urlhaus"),
    ],
)
def test_every_entry_is_read_and_none_refused(name, measure, format_):
    snapshot = fetch(name)
    assert (snapshot.records, snapshot.refused_total) == (stated(name, measure), 0)
    assert snapshot.format == format_


def test_ipsum_holds_addresses_once_each():
    assert types(fetch("ipsum/level3.txt")) == {"address": 14217}


def test_dshield_holds_twenty_networks_of_its_headers_category():
    snapshot = fetch("firehol/dshield.netset")
    assert types(snapshot) == {"network": 20}
    assert snapshot.indicators["category"].unique().to_list() == ["attacks"]


def test_a_hosts_file_lists_names_and_never_the_address_they_are_sent_to():
    assert types(fetch("hosts/nocoin-hosts.txt")) == {"domain": 313}


def test_crlf_makes_no_difference():
    values = [fetch(f"iprep/iprep-{ends}.txt").indicators["value"].to_list() for ends in ("lf", "cr-lf")]
    assert values[0] == values[1] == ["1.2.3.4", "1.2.3.5", "1.1.1.0/24"]


def test_mixed_trails_are_typed_and_each_line_without_a_host_is_refused():
    snapshot = fetch("maltrail/asyncrat.txt")
    assert snapshot.records == stated("maltrail/asyncrat.txt", "entries (non-comment, non-blank)")
    paths = [refusal for refusal in snapshot.refused if refusal.reason == "a path without a host"]
    assert len(paths) == stated("maltrail/asyncrat.txt", "path only") == 28
    assert snapshot.refused_total == 30  # and two ports of six digits
    assert set(types(snapshot)) == {"address", "domain", "url"}


def test_a_white_list_loses_only_its_single_labels():
    snapshot = fetch("maltrail/whitelist.txt")
    assert snapshot.records == stated("maltrail/whitelist.txt", "entries")
    assert {refusal.reason for refusal in snapshot.refused} == {"a single label is no domain"}


def test_csv_takes_the_first_known_column_and_says_which_other_it_could_have_taken():
    names = fetch("plain/amnesty-2018-indicators.csv")
    assert names.records == stated("plain/amnesty-2018-indicators.csv", "lines") - 1
    assert set(types(names)) == {"domain"}
    assert [(note.line, note.value) for note in names.noted] == [(1, "ip_address")]
    addresses = FileFeed(FEEDS / "plain/amnesty-2018-indicators.csv", column="ip_address").fetch()
    assert set(types(addresses)) == {"address"}


def test_the_gate_keeps_what_every_network_uses_itself():
    bogons = refuse(fetch("maltrail/bogon_ranges.txt"))
    assert (bogons.indicators.height, bogons.refused_total) == (0, 13)
    assert refuse(fetch("ipsum/level3.txt")).refused_total == 0


@pytest.mark.parametrize(
    "name",
    [
        "fingerprints/p0f.fp",
    ],
)
def test_other_worlds_are_refused_with_what_was_expected(name):
    with pytest.raises(FeedError, match=r":\d+: .*; expected "):
        fetch(name)
