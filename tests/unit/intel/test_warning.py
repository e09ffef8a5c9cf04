"""What a feed lists by mistake, and which warning list says so."""

from __future__ import annotations

from ipaddress import ip_network

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.gate import Admission, Protected, objection, refuse
from netpersona.intel.prefix import prefixes
from netpersona.intel.warning import LISTS, WarningLists, read, written

HEAD = "# name: {}\n# what: {}\n# effect: {}\n# source: tests\n# licence: CC0-1.0\n# date: 2026-11-23\n"


def a_list(name, what, effect, *lines):
    return read(HEAD.format(name, what, effect) + "\n".join(lines) + "\n")


LISTED = WarningLists(
    (
        a_list("public-suffixes", "a public suffix", "suffix", "com", "co.uk", "github.io", "*.ck", "!www.ck"),
        a_list("public-resolvers", "a public DNS resolver", "refuse", "8.8.8.8 Google", "2620:fe::fe Quad9", "dns.google Google"),
        a_list("cdn", "the edge of a content network", "refuse", "104.16.0.0/13 Cloudflare", "2606:4700::/32 Cloudflare"),
        a_list("clouds", "part of a cloud", "share", "52.0.0.0/10 AWS", "2600:1f00::/24 AWS"),
        a_list("top-sites", "a much visited site", "refuse", "wikipedia.org", "google.com", "amazon.co.uk"),
    )
)  # fmt: skip
LISTS_ONLY = Protected(lists=LISTED)


def gated(*values, allow=(), protected=LISTS_ONLY):
    return refuse(parse("\n".join(values).encode(), FeedSettings("tests", allow=allow)), protected)


@pytest.mark.parametrize(
    ("value", "name", "says"),
    [
        ("8.8.8.8", "public-resolvers", "it is a public DNS resolver (Google)"),
        ("8.8.8.0/24", "public-resolvers", "it holds 8.8.8.8, a public DNS resolver (Google)"),
        ("2620:fe::/48", "public-resolvers", "it holds 2620:fe::fe"),
        ("104.17.2.3", "cdn", "it lies in 104.16.0.0/13, the edge of a content network (Cloudflare)"),
        ("104.16.0.0/13", "cdn", "it is the edge"),
        ("104.0.0.0/8", "cdn", "it holds 104.16.0.0/13"),
        ("2606:4700::1:2", "cdn", "it lies in 2606:4700::/32"),
        ("52.3.0.0/16", "clouds", "it lies in 52.0.0.0/10, part of a cloud (AWS)"),
        ("52.0.0.0/9", "clouds", "it holds 52.0.0.0/10"),
        ("2600:1f00:1::/47", "clouds", "it lies in 2600:1f00::/24"),
        ("google.com", "top-sites", "it is a much visited site"),
        ("www.wikipedia.org", "top-sites", "it is a much visited site"),
        ("dns.google", "public-resolvers", "it is a public DNS resolver"),
        ("co.uk", "public-suffixes", "it is a public suffix"),
        ("github.io", "public-suffixes", "it is a public suffix"),
        ("evil.ck", "public-suffixes", "it is a public suffix"),
        ("https://google.com/", "top-sites", "it is a much visited site"),
        ("http://8.8.8.8:80", "public-resolvers", "it is a public DNS resolver"),
    ],
)
def test_what_a_list_holds_is_refused_with_the_lists_name_and_admitted_by_it(value, name, says):
    refusal = gated("1.2.3.4", value).refused[0]
    assert refusal.line == 2
    assert says in refusal.reason
    assert f"warning list {name}" in refusal.reason
    assert gated(value, allow=LISTS).refused_total == 0


@pytest.mark.parametrize(
    "value",
    [
        "8.8.8.9", "8.8.8.0/29", "104.24.0.0/13", "52.1.2.3", "52.3.4.0/24", "2600:1f00:1::/48", "evil.github.io",
        "evil.google.com", "notgoogle.com", "www.ck", "https://google.com/evil", "https://evil.github.io/", "evil.co.uk",
    ],
)  # fmt: skip
def test_what_only_resembles_an_entry_passes(value):
    assert gated(value).refused_total == 0


def test_of_shared_servers_one_address_passes_and_is_noted_once_for_each_owner():
    found = gated("52.1.2.3", "52.1.2.4", "1.2.3.4", "52.2.0.0/15")
    assert found.indicators["value"].to_list() == ["52.1.2.3", "52.1.2.4", "1.2.3.4"]
    assert [(note.line, note.value) for note in found.noted] == [(1, "52.1.2.3")]
    assert "(AWS)" in found.noted[0].reason
    assert "2 of this feed" in found.noted[0].reason


def test_one_value_is_let_through_on_somebodys_word_and_the_feed_says_so():
    word = Admission("public-resolvers", "8.8.8.8", "we block it on purpose", "ada")
    found = gated("8.8.8.8", "8.8.8.0/24", protected=Protected(lists=LISTED, admitted=(word,)))
    assert found.indicators["value"].to_list() == ["8.8.8.8"]
    assert found.refused_total == 1
    (note,) = found.noted
    assert note.value == "8.8.8.8"
    assert all(part in note.reason for part in ("public-resolvers", "ada", "we block it on purpose"))


def test_a_word_counts_for_its_gate_and_its_feed_alone():
    other = Admission("cdn", "8.8.8.8", "no", "ada")
    elsewhere = Admission("public-resolvers", "8.8.8.8", "no", "ada", feed="another")
    assert gated("8.8.8.8", protected=Protected(lists=LISTED, admitted=(other, elsewhere))).refused_total == 1
    everything = Admission("everything", "0.0.0.0/0", "no", "ada")
    assert gated("0.0.0.0/0", protected=Protected(admitted=(everything,))).refused_total == 1


def test_a_time_server_of_the_fleet_is_its_own():
    found = gated("5.6.7.8", protected=Protected.of([], time_servers=["5.6.7.8"]))
    assert "a time server of the fleet" in found.refused[0].reason


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "8.8.8.9", "104.16.0.1", "52.1.2.3", "2620:fe::fe", "2620:fe::ff", "10.0.0.1"]
)
@pytest.mark.parametrize("allow", [(), ("public-resolvers",), ("cdn", "clouds")])
def test_one_address_is_refused_as_a_feed_of_it_would_be(address, allow):
    found = gated(address, allow=allow)
    assert objection(address, allow, LISTS_ONLY) == next((refusal.reason for refusal in found.refused), None)


def test_a_text_is_read_and_written_again():
    for each in LISTED.lists:
        again = read(written(each))
        assert again.entries.equals(each.entries)
        assert (again.name, again.effect, again.date) == (each.name, each.effect, each.date)


@pytest.mark.parametrize(
    "line",
    ["8.8.8.8/24", "08.8.8.8", "Google.com", "google", "goo gle.com\x1b[0m", "-", "::1/129", "2001:DB8::1", "a..b"],
)
def test_a_line_that_is_no_entry_is_named(line):
    with pytest.raises(ValueError, match=r"line 8: .*expected"):
        a_list("x", "an x", "refuse", "8.8.4.4 Google", line)


@pytest.mark.parametrize("head", ["", "# name: x\n", HEAD.format("x", "an x", "shun"), "8.8.8.8\n" * 7])
def test_a_text_without_its_head_is_no_list(head):
    with pytest.raises(ValueError, match=r"warning list|line [12]|Effect"):
        read(head + "8.8.8.8\n")


def slowly(value, lists):
    """Which lists refuse an address or network, entry by entry."""
    own, found = ip_network(value), set()
    for each in lists.lists:
        for entry in each.entries["value"]:
            try:
                network = ip_network(entry)
            except ValueError:
                continue
            if own.version == network.version and own.overlaps(network):
                wide = own.prefixlen < {4: 24, 6: 48}[own.version]
                if each.effect != "share" or wide:
                    found.add(each.name)
    return found


near = st.sampled_from(["8.8.8.8", "8.8.8.9", "104.15.255.255", "104.16.0.0", "104.24.0.0", "52.63.1.1", "52.64.0.0"])
near6 = st.sampled_from(["2620:fe::fe", "2620:fe::", "2606:4700::", "2606:4701::", "2600:1f00::", "2600:2000::"])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(near, st.integers(8, 32)).map(lambda of: ip_network(f"{of[0]}/{of[1]}", strict=False)),
            st.tuples(near6, st.integers(19, 128)).map(lambda of: ip_network(f"{of[0]}/{of[1]}", strict=False)),
        ),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_every_list_that_speaks_of_a_network_is_found(networks):
    values = [str(n.network_address) if n.num_addresses == 1 else str(n) for n in networks]
    asked = pl.DataFrame({"id": range(len(values)), "value": values})
    said = LISTED.of_addresses(pl.concat([asked, prefixes(asked["value"])], how="horizontal"))
    said = said.filter(pl.col("shared").is_null())
    for number, value in enumerate(values):
        assert set(said.filter(pl.col("id") == number)["gate"]) == slowly(value, LISTED)


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            [*HEAD.format("x", "an x", "share").splitlines(), "8.8.8.8 G", "::", "a.b", "#", "*.c.d", "\x00"]
        ),
        max_size=12,
    ).map("\n".join)
)
def test_any_text_is_a_list_or_a_value_error(text):
    try:
        found = read(text)
    except ValueError:
        return
    assert read(written(found)).entries.equals(found.entries)


@settings(max_examples=50, deadline=None)
@given(
    st.permutations(
        [
            "8.8.8.8",
            "104.17.0.1",
            "52.1.2.3",
            "52.0.0.0/12",
            "google.com",
            "co.uk",
            "1.2.3.4",
            "https://google.com/",
            "2606:4700::/31",
        ]
    )
)
def test_what_is_refused_does_not_depend_on_the_order_and_what_passes_passes_again(values):
    found = gated(*values)
    assert set(found.indicators["value"]) == {"52.1.2.3", "1.2.3.4"}
    assert {refusal.value: refusal.reason for refusal in found.refused} == {
        refusal.value: refusal.reason for refusal in gated(*sorted(values)).refused
    }
    again = refuse(found, LISTS_ONLY)
    assert again.indicators.equals(found.indicators)
    assert again.refused_total == found.refused_total
