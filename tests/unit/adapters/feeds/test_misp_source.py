"""MISP, over REST and as a published feed: a server on loopback that answers as MISP does, and worse ones."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.misp import MispFeedSource, MispSource
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.secrets import Credentials, Place
from netpersona.adapters.feeds.source import downloaded
from netpersona.errors import FeedError

KEY = "k3y-0123456789abcdefghij"
QUICK = Limits(total=20.0, stall=5.0)


def uuid(number):
    return str(UUID(int=number | 4 << 76 | 8 << 60))


def event(number, timestamp, *addresses):
    attributes = [{"type": "ip-dst", "value": each, "to_ids": True, "uuid": uuid(1000 + number)} for each in addresses]
    return {"Event": {"uuid": uuid(number), "timestamp": str(timestamp), "published": True, "Attribute": attributes}}


class Misp:
    """Events, told as MISP tells them."""

    def __init__(self, *events):
        self.events = list(events)

    def rest(self, asked):
        if asked.headers.get("authorization") != KEY:
            return said(b'{"message": "Authentication failed"}', "403 Forbidden")
        wanted = json.loads(asked.body)
        assert asked.target == "/events/restSearch"
        found = [e for e in self.events if int(e["Event"]["timestamp"]) >= int(wanted.get("timestamp", 0))]
        begin = (wanted["page"] - 1) * wanted["limit"]
        return said(json.dumps({"response": found[begin : begin + wanted["limit"]]}).encode())

    def feed(self, asked):
        name = asked.target.rpartition("/")[2]
        if name == "manifest.json":
            listed = {e["Event"]["uuid"]: {"timestamp": e["Event"]["timestamp"], "info": "x"} for e in self.events}
            return said(json.dumps(listed).encode())
        for each in self.events:
            if name == f"{each['Event']['uuid']}.json":
                return said(json.dumps(each).encode())
        return said(b"", "404 Not Found")


@pytest.fixture
def server():
    with served() as running:
        yield running


@pytest.fixture
def rest(server, monkeypatch):
    monkeypatch.setenv("MISP_KEY", KEY)
    access = Access(Credentials({"Authorization": Place.of("env:MISP_KEY", "tests")}))
    return MispSource(WebPlace.of(server.url, "tests"), access, QUICK)


@pytest.fixture
def feed(server):
    return MispFeedSource(WebPlace.of(server.at("/feed/"), "tests"), Access(), QUICK)


def told(copy):
    return {
        e["Event"]["uuid"]: [a["value"] for a in e["Event"]["Attribute"]] for e in json.loads(copy.content)["response"]
    }


def test_events_are_asked_for_page_by_page_and_then_only_those_that_changed(server, rest):
    misp = Misp(*(event(n, 1000 + n, f"192.0.2.{n}") for n in range(120)))
    server.answer = misp.rest
    first = downloaded(rest, None)
    assert len(told(first)) == 120
    assert len(server.asked) == 3
    assert downloaded(rest, first) is None
    assert json.loads(server.asked[-1].body)["timestamp"] == "1119"
    misp.events[5] = event(5, 2000, "198.51.100.5", "198.51.100.6")
    misp.events.append(event(500, 2001, "203.0.113.9"))
    second = downloaded(rest, first)
    assert told(second) == told(first) | {uuid(5): ["198.51.100.5", "198.51.100.6"], uuid(500): ["203.0.113.9"]}
    assert second.marks["timestamp"] == "2001"
    assert told(downloaded(rest, None)) == told(second)


def test_a_key_that_is_refused_is_said_and_not_shown(server, rest, monkeypatch):
    server.answer = Misp().rest
    monkeypatch.setenv("MISP_KEY", "another-key")
    with pytest.raises(FeedError, match="403 Forbidden: credentials are missing or refused") as caught:
        downloaded(rest, None)
    assert "another" not in str(caught.value)


def test_a_question_is_not_redirected(server, rest):
    server.answer = lambda _: said(b"", "302 Found", Location="/users/login")
    with pytest.raises(FeedError, match=r"it redirects to http://.*/users/login; name that URL instead"):
        downloaded(rest, None)


@pytest.mark.parametrize(
    "content", [b"<html>", b"[]", b'{"response": 1}', b'{"response": [{"Event": {}}]}', b"[" * 99999]
)
def test_an_answer_without_events_is_an_error(server, rest, content):
    server.answer = lambda _: said(content)
    with pytest.raises(FeedError, match="events of MISP"):
        downloaded(rest, None)


def test_of_a_published_feed_only_events_that_are_new_or_changed_are_fetched(server, feed):
    misp = Misp(event(1, 10, "192.0.2.1"), event(2, 10, "192.0.2.2"), event(3, 10, "192.0.2.3"))
    server.answer = misp.feed
    first = downloaded(feed, None)
    assert sorted(told(first)) == [uuid(1), uuid(2), uuid(3)]
    server.asked.clear()
    assert downloaded(feed, first) is None
    assert [asked.target for asked in server.asked] == ["/feed/manifest.json"]
    misp.events = [event(1, 10, "192.0.2.1"), event(3, 11, "198.51.100.3"), event(4, 12, "192.0.2.4")]
    server.asked.clear()
    second = downloaded(feed, first)
    assert told(second) == {uuid(1): ["192.0.2.1"], uuid(3): ["198.51.100.3"], uuid(4): ["192.0.2.4"]}
    assert len(server.asked) == 3


@pytest.mark.parametrize("manifest", [b'{"../../etc/passwd": {"timestamp": 1}}', b'{"x": 1}', b"<html>", b"[1]"])
def test_a_manifest_that_names_no_events_is_an_error(server, feed, manifest):
    server.answer = lambda _: said(manifest)
    with pytest.raises(FeedError, match=r"manifest\.json"):
        downloaded(feed, None)
    assert len(server.asked) == 1


def test_an_event_that_is_missing_is_an_error_and_nothing_is_half_taken(server, feed):
    server.answer = lambda asked: (
        said(json.dumps({uuid(1): {"timestamp": 1}}).encode()) if "manifest" in asked.target else said(b"", "404 No")
    )
    with pytest.raises(FeedError, match="it answers 404"):
        downloaded(feed, None)
