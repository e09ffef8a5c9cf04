"""A collection tells only what was added: it is laid over what was there, and now and then downloaded whole."""

from __future__ import annotations

import json

import pytest

from feed_servers import said, served
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.flow.window import DAY, HOUR
from taxii_server import indicator
from unit.app.live.feed_clock import Clock, lines


@pytest.fixture
def server():
    with served(lambda _: said(lines(*range(10)))) as running:
        yield running


class Collection:
    """A TAXII collection, whose objects have the instants at which they were added."""

    def __init__(self, server):
        self.objects, self.asked_since = [], []
        server.answer = self.answer

    def add(self, at, *numbers):
        self.objects += [(f"2026-11-23T00:00:{at:02d}Z", indicator(n, f"8.9.{n // 256}.{n % 256}")) for n in numbers]

    def answer(self, asked):
        since = asked.target.partition("added_after=")[2].partition("&")[0].replace("%3A", ":")
        self.asked_since.append(since)
        found = [(at, each) for at, each in self.objects if at > since]
        content = json.dumps({"objects": [each for _, each in found]}).encode()
        return said(content, X_TAXII_Date_Added_Last=found[-1][0]) if found else said(content)


@pytest.fixture
def collection(tmp_path, server):
    collection = Collection(server)
    collection.add(1, *range(10))
    spec = FeedSpec(taxii=server.at("/api/collections/one/"), name="far")
    clock = Clock(tmp_path, feed_source(spec, None, "tests"))
    assert clock.later(0) == {"far"}
    return collection, clock


def test_a_collection_is_laid_over_what_was_there_and_after_a_week_downloaded_whole(collection):
    collection, clock = collection
    collection.add(2, 10)
    assert clock.later(2 * HOUR) == {"far"}
    assert len(clock.values()) == 11
    assert clock.later(2 * HOUR) == set()
    assert collection.asked_since == ["", "2026-11-23T00:00:01Z", "2026-11-23T00:00:02Z"]
    del collection.objects[0]  # which no server tells
    assert clock.later(8 * DAY) == {"far"}
    assert collection.asked_since[-1] == ""
    assert len(clock.values()) == 10
    clock.later(8 * DAY)
    assert clock.later(2 * HOUR) == set()
    assert [since == "" for since in collection.asked_since[-2:]] == [True, False]


def test_of_what_a_person_refused_nothing_goes_on(collection):
    collection, clock = collection
    collection.add(2, *range(100, 300))
    assert clock.later(2 * HOUR) == set()
    assert clock.state().held.entries == 210
    assert clock.later(2 * HOUR) == set()
    assert collection.asked_since[-1] == "2026-11-23T00:00:02Z"  # goes on from what is held
    clock.feeds.decide("far", "ann", "nonsense", accept=False)
    for _ in range(2):
        assert clock.later(2 * HOUR) == set()
        assert collection.asked_since[-1] == "2026-11-23T00:00:01Z"
        assert clock.state().held is None
    collection.objects = collection.objects[:10]  # they took it back
    collection.add(3, 11)
    assert clock.later(2 * HOUR) == {"far"}
    assert len(clock.values()) == 11
