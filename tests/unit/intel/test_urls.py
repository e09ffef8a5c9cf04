"""Listed URLs, and what was asked for."""

from __future__ import annotations

import polars as pl
import pytest

from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import AllowEntry, AllowList, IndicatorSet

AT = 1_700_000_000_000_000
LISTED = [
    "http://evil.example/gate.php",
    "http://evil.example:8080/gate.php",
    "http://files.example/x?id=7",
    "http://203.0.113.7/a",
    "https://quiet.example/b",
    "http://long.example/" + "a" * 300,
    "http://[2001:db8::7]/six",
]
INTEL = IndicatorSet.merge([parse("\n".join(LISTED).encode(), FeedSettings("urls"))])


def asked(name, detail, port=80, intel=INTEL, at=AT):
    schema = {"name": pl.String, "port": pl.UInt16, "detail": pl.String}
    requests = pl.DataFrame([(name, port, detail)], schema, orient="row")
    found = intel.match_requests(requests, at)
    return intel.table["value"].gather(found["indicator"]).to_list()


@pytest.mark.parametrize(
    ("name", "detail", "port", "listed"),
    [
        ("evil.example", "GET /gate.php", 80, 0),
        ("EVIL.example.", "POST /gate.php?bot=1", 80, 0),
        ("evil.example", "GET http://evil.example/gate.php", 80, 0),
        ("evil.example", "GET /gate.php", 8080, 1),
        ("files.example", "GET /x?id=7", 80, 2),
        ("203.0.113.7", "GET /a", 80, 3),
        ("quiet.example", "GET /b", 443, 4),
        ("long.example", ("GET /" + "a" * 300)[:200], 80, 5),
        ("2001:db8::7", "GET /six", 80, 6),
    ],
)
def test_what_was_asked_for_is_the_listed_url(name, detail, port, listed):
    assert asked(name, detail, port) == [LISTED[listed]]


@pytest.mark.parametrize(
    ("name", "detail", "port"),
    [
        ("evil.example", "GET /", 80),
        ("evil.example", "GET /gate.phpx", 80),
        ("evil.example", "GET /GATE.php", 80),
        ("evil.example", "GET /gate.php", 81),
        ("www.evil.example", "GET /gate.php", 80),
        ("files.example", "GET /x", 80),
        ("files.example", "GET /x?id=70", 80),
        ("evil.example", None, 80),
        ("evil.example", "GET", 80),
        ("evil.example", "", 80),
    ],
)
def test_what_is_another_request_is_none(name, detail, port):
    assert asked(name, detail, port) == []


def test_a_host_alone_is_a_note_and_no_listed_name():
    hosts = INTEL.match_url_hosts(pl.Series(["evil.example", "www.evil.example", "203.0.113.7", None]))
    assert hosts["name"].to_list() == ["203.0.113.7", "evil.example", "evil.example"]
    assert INTEL.reputation("evil.example", AT) == 1.0
    assert INTEL.reputation("203.0.113.7", AT) == 1.0


@pytest.mark.parametrize(("value", "name"), [("evil.example", "evil.example"), ("203.0.113.0/24", "203.0.113.7")])
def test_an_allowed_host_is_no_match_until_the_entry_ends(value, name):
    allowed = IndicatorSet(INTEL.table, AllowList((AllowEntry(value, AT, "ours"),)))
    detail = "GET /a" if name[0] == "2" else "GET /gate.php"
    assert asked(name, detail, intel=allowed, at=AT - 1) == []
    assert len(asked(name, detail, intel=allowed, at=AT)) == 1
    assert allowed.match_url_hosts(pl.Series([name]), AT - 1).is_empty()


def test_nothing_listed_matches_nothing():
    assert asked("evil.example", "GET /gate.php", intel=IndicatorSet.merge([])) == []
