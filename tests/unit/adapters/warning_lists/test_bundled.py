"""The lists that come with the package: whole, canonical, and what a feed of mistakes meets."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netpersona.adapters.warning_lists import BUNDLED, bundled, loaded, public_suffixes, warning_lists
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.gate import GATES, Protected, refuse
from netpersona.intel.warning import LISTS, written
from shared_data import SHARED, needs_shared


def gated(*values):
    return refuse(parse("\n".join(values).encode(), FeedSettings("x")), Protected(lists=warning_lists(None)))


def test_every_name_that_allow_knows_is_a_list():
    assert warning_lists(None).names == LISTS
    assert set(LISTS) < set(GATES)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_list_says_whence_it_is_and_is_whole(name):
    found = bundled(name)
    assert found.name == name
    assert found.date >= "2026"
    assert all((found.what, found.source, found.licence))
    assert len(found) > 20
    assert not found.entries["value"].is_duplicated().any()


def test_the_public_suffixes_are_those_of_their_package():
    found = public_suffixes()
    assert len(found) > 5000
    values = set(found.entries["value"])
    assert {"com", "co.uk", "github.io", "*.ck", "!www.ck"} < values


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("8.8.8.8", "public-resolvers"),
        ("1.1.1.1", "public-resolvers"),
        ("9.9.9.9", "public-resolvers"),
        ("2606:4700:4700::1111", "public-resolvers"),
        ("198.41.0.4", "root-servers"),
        ("216.239.35.0", "public-time"),
        ("pool.ntp.org", "public-time"),
        ("104.16.1.2", "cdn"),
        ("151.101.1.69", "cdn"),
        ("140.82.121.3", "code-hosts"),
        ("raw.githubusercontent.com", "code-hosts"),
        ("23.227.38.65", "shared-hosting"),
        ("52.0.0.0/11", "clouds"),
        ("wikipedia.org", "top-sites"),
        ("blogspot.com", "public-suffixes"),
    ],
)
def test_what_operators_switch_such_products_off_for_is_refused(value, name):
    found = gated(value)
    assert found.indicators.is_empty()
    assert f"warning list {name}" in found.refused[0].reason


@pytest.mark.parametrize("value", ["52.1.2.3", "172.236.228.197", "evil.blogspot.com", "45.155.205.233", "a.at.ply.gg"])
def test_what_is_bad_among_the_shared_passes(value):
    assert gated(value).refused_total == 0


def test_of_several_lists_the_more_telling_one_gives_the_reason():
    assert "public time server" in gated("162.159.200.1").refused[0].reason  # in Cloudflare's range too


def test_a_renewed_list_counts_and_a_damaged_one_does_not(tmp_path):
    newer = written(bundled("root-servers")).replace("# date: 2026-11-23", "# date: 2027-01-01") + "5.6.7.8 new\n"
    (tmp_path / "root-servers.txt").write_text(newer)
    (tmp_path / "cdn.txt").write_text("<html>not found</html>")
    (tmp_path / "clouds.txt").write_text(newer)
    lists, problems = loaded(tmp_path)
    assert lists.about("5.6.7.8")
    assert lists.about("104.16.1.1")
    assert [problem.partition(".txt")[0] for problem in problems] == [f"{tmp_path}/cdn", f"{tmp_path}/clouds"]
    assert all("the bundled list of 2026-11-23 counts" in problem for problem in problems)


def test_an_older_renewed_list_does_not_replace_a_newer_bundled_one(tmp_path):
    (tmp_path / "cdn.txt").write_text(
        written(bundled("root-servers")).replace("root-servers", "cdn", 1).replace("2026-11-23", "2020-01-01")
    )
    assert loaded(tmp_path).lists.about("104.16.1.1")


def test_the_lists_are_one_value_for_as_long_as_they_stay_the_same(tmp_path):
    assert warning_lists(None) is warning_lists(tmp_path) is warning_lists(tmp_path)


def test_no_bundled_address_is_private():
    special = {"168.63.129.16", "169.254.169.253", "169.254.169.123"}  # what the clouds' own networks use
    for name in BUNDLED:
        for value in bundled(name).entries["value"]:
            try:
                found = ip_address(value)
            except ValueError:
                continue
            assert found.is_global or value in special, (name, value)


def test_of_a_poisoned_feed_what_everybody_needs_is_refused_and_the_true_entry_counts():
    found = gated("8.8.8.8", "10.0.0.0/8", "0.0.0.0", "45.155.205.233")
    assert found.indicators["value"].to_list() == ["45.155.205.233"]
    assert [refusal.value for refusal in found.refused] == ["8.8.8.8", "10.0.0.0/8", "0.0.0.0"]
    assert ["public-resolvers" in found.refused[0].reason, "[private]" in found.refused[1].reason] == [True, True]


@needs_shared
@pytest.mark.parametrize("name", ["ipsum/level3.txt", "zeek-intel/tor-exit.intel", "zeek-intel/openphish.intel"])
def test_of_real_feeds_of_single_hosts_nothing_is_refused(name):
    content = (SHARED / "data" / "feeds" / name).read_bytes()
    read = parse(content, FeedSettings("real"))
    assert refuse(read, Protected(lists=warning_lists(None))).refused_total == read.refused_total
