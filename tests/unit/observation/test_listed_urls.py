"""Requests of listed URLs are sightings; of their hosts alone a weaker one, unless many share the host."""

from __future__ import annotations

import pytest

from netpersona.adapters.warning_lists import warning_lists
from netpersona.flow.orient import oriented, owner_table
from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.observation.observe import observe
from properties.given_flows import START, flow_table, transaction_table

SERVER, RESOLVER = "203.0.113.7", "10.0.0.53"
LISTED = [
    b"http://evil.example/gate.php",
    b"http://evil.example/other",
    b"https://quiet.example/b",
    b"http://github.com/somebody/bad.sh",
    b"http://evil.github.io/x",
    b"http://203.0.113.7/a",
]


def known(allow=(), *more):
    feeds = [parse(b"\n".join(LISTED), FeedSettings("urls", confidence=0.9)), *more]
    return IndicatorSet.merge(feeds, AllowList(tuple(allow)), warning_lists(None))


def said(kind, name, detail=None, *, port=80, peer=SERVER):
    return {
        "start": START,
        "transport": "tcp",
        "originator": "10.0.0.1",
        "responder": peer,
        "responder_port": port,
        "kind": kind,
        "name": name,
        "detail": detail,
    }


def sighted(*rows, intel=None):
    table = owner_table({"10.0.0.1": "a"})
    flows, transactions = oriented(flow_table([]), table), oriented(transaction_table(list(rows)), table)
    (one,) = observe(flows, transactions, known() if intel is None else intel)
    return [(s.via, s.indicator.value, s.peer, s.flows) for s in one.sightings]


@pytest.mark.parametrize("detail", ["GET /gate.php", "POST /gate.php?id=1", "GET http://evil.example/gate.php"])
def test_a_request_of_a_listed_url_is_seen(detail):
    row = said("http", "evil.example", detail)
    assert sighted(row, row) == [("url", "http://evil.example/gate.php", SERVER, 2)]


def test_through_a_proxy_the_url_says_the_port():
    row = said("http", "evil.example", "GET http://evil.example/gate.php", port=3128, peer="10.0.0.9")
    assert sighted(row) == [("url", "http://evil.example/gate.php", "10.0.0.9", 1)]
    assert sighted(said("http", "evil.example", "GET http://evil.example:8080/gate.php", port=3128)) == []


def test_another_page_of_the_site_is_none():
    assert sighted(said("http", "evil.example", "GET /"), said("http", "evil.example", "GET /gate.phpx")) == []


def test_an_address_in_place_of_a_host_is_one():
    assert sighted(said("http", SERVER, "GET /a")) == [("url", "http://203.0.113.7/a", SERVER, 1)]


@pytest.mark.parametrize(
    ("row", "via"),
    [
        (said("dns", "evil.example", "A", port=53, peer=RESOLVER), "dns-host"),
        (said("tls", "evil.example", port=443), "tls-host"),
        (said("http", "evil.example"), "http-host"),
    ],
)
def test_of_the_host_alone_one_url_of_each_feed_is_noted(row, via):
    second = parse(b"http://evil.example/gate.php", FeedSettings("second"))
    found = sighted(row, intel=known((), second))
    assert [f[:2] for f in found] == [(via, "http://evil.example/gate.php")] * 2


def test_names_below_the_host_are_others():
    assert sighted(said("tls", "www.evil.example", port=443)) == []


def test_a_host_of_many_sites_is_no_sighting_but_a_page_of_it_is():
    assert sighted(said("tls", "github.com", port=443), said("dns", "github.com", "A", port=53)) == []
    assert sighted(said("http", "github.com", "GET /somebody/bad.sh")) == [
        ("url", "http://github.com/somebody/bad.sh", SERVER, 1)
    ]


def test_what_one_customer_registered_at_a_host_of_many_is_his_own():
    assert sighted(said("tls", "evil.github.io", port=443)) == [("tls-host", "http://evil.github.io/x", SERVER, 1)]


@pytest.mark.parametrize("until", [None, START + 1])
@pytest.mark.parametrize("value", ["evil.example", "203.0.113.0/24"])
def test_an_allow_list_wins_for_the_host_and_for_the_server(value, until):
    rows = [said("http", "evil.example", "GET /gate.php"), said("tls", "evil.example", port=443)]
    assert sighted(*rows, intel=known([AllowEntry(value, until, "ours")])) == []
    assert len(sighted(*rows, intel=known([AllowEntry(value, START, "ended")]))) == 2


def test_alerts_and_empty_sets_give_nothing():
    assert sighted(said("alert", "evil.example", "c2")) == []
    assert sighted(said("http", "evil.example", "GET /gate.php"), intel=IndicatorSet.merge([])) == []
