"""Feeds that are read by themselves, over real servers: what counts, what is held, what stays when all goes wrong."""

from __future__ import annotations

import json
import logging
import re
import time

import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.copies import Copies
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.feed_reading import read_feed, read_here, reading_of
from netpersona.app.live.feed_schedule import first_run, next_run, share
from netpersona.app.live.indicators import LiveIndicators
from netpersona.errors import ConfigError, FeedError, StoreError
from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND
from netpersona.intel.allow import AllowList
from netpersona.intel.gate import Protected
from taxii_server import indicator

AT = 1_800_000_000 * SECOND


def lines(*hosts):
    return "".join(f"8.8.{host // 256}.{host % 256}\n" for host in hosts).encode()


def url(server, **more):
    return feed_source(FeedSpec(url=server.at("/list.txt"), **{"name": "far", "interval": "1h", **more}), None, "tests")


def hanging(server):
    def answer(_):
        server.over.wait(30)
        return b""

    return answer


class Clock:
    """LiveFeeds and an instant; nothing sleeps, a reading is waited for.  `beside`: in processes of their own."""

    def __init__(self, folder, *sources, at=AT, kept=None, beside=False):
        self.feeds, self.at = LiveFeeds(sources, folder / "feeds", read_feed if beside else read_here), at
        self.feeds.resume(kept)
        self.feeds.start(at)

    def later(self, span):
        """What has changed after so long, once everything that was due is read."""
        self.at += span
        changed = self.feeds.look(self.at)
        self.done()
        return changed | self.feeds.look(self.at)

    def done(self):
        end = time.monotonic() + 60
        while any(self.feeds.fetching(name).running for name in self.feeds.names):
            assert time.monotonic() < end, "a reading never ended"
            time.sleep(0.005)

    def values(self, name="far"):
        found = self.feeds.said(name)
        return None if found is None else found.indicators["value"].to_list()

    def state(self, name="far"):
        return self.feeds.fetching(name)


@pytest.fixture
def server():
    with served(lambda _: said(lines(*range(10)))) as running:
        yield running


def test_a_feed_is_read_at_once_then_at_its_time_and_only_what_is_new_counts(tmp_path, server):
    clock = Clock(tmp_path, url(server))
    assert clock.values() is None
    assert clock.later(0) == {"far"}
    assert len(clock.values()) == 10
    assert clock.later(SECOND) == set()
    assert len(server.asked) == 1
    assert clock.later(2 * HOUR) == set()  # read, and the same
    assert len(server.asked) == 2
    server.answer = lambda _: said(lines(*range(11)))
    assert clock.later(2 * HOUR) == {"far"}
    state = clock.state()
    assert (state.attempted, state.succeeded, state.error, state.failures) == (clock.at, clock.at, None, 0)
    assert clock.at < state.next <= clock.at + 2 * HOUR
    assert state.entries == 11


def test_a_start_without_any_network_has_everything(tmp_path, server):
    Clock(tmp_path, url(server)).later(0)
    server.answer = lambda _: b""
    clock = Clock(tmp_path, url(server), at=AT + DAY)
    assert len(clock.values()) == 10
    assert clock.later(2 * MINUTE) == set()
    assert "does not speak HTTP" in clock.state().error
    assert len(clock.values()) == 10
    assert clock.state().fetched == AT
    assert clock.state().failures == 1


def test_settings_that_changed_since_count_at_once(tmp_path, server):
    Clock(tmp_path, url(server)).later(0)
    server.answer = lambda _: b""
    clock = Clock(tmp_path, url(server, confidence=0.3, family="kin"), at=AT + 1)
    rows = clock.feeds.said("far").indicators.select("confidence", "family").unique().rows()
    assert rows == [(0.3, "kin")]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b[:200] + b"X" + b[201:], lambda b: b"", lambda b: b"x" * 99]
)
def test_a_damaged_copy_is_as_none_and_the_feed_is_read_anew(tmp_path, server, damage):
    Clock(tmp_path, url(server)).later(0)
    kept = tmp_path / "feeds" / "far.copy"
    kept.write_bytes(damage(kept.read_bytes()))
    clock = Clock(tmp_path, url(server), at=AT + 1)
    assert clock.values() is None
    assert clock.later(0) == {"far"}
    assert len(clock.values()) == 10


def test_a_full_disk_keeps_no_feed_from_counting(tmp_path, server, monkeypatch):
    clock = Clock(tmp_path, url(server))
    clock.later(0)
    write = Copies.write

    def full(copies, *what):
        if copies.folder == tmp_path / "feeds":
            raise FeedError("no room")
        write(copies, *what)

    monkeypatch.setattr(Copies, "write", full)
    server.answer = lambda _: said(lines(*range(12)))
    assert clock.later(2 * HOUR) == {"far"}
    assert len(clock.values()) == 12
    assert clock.state().notices == ("no room",)
    monkeypatch.undo()
    server.answer = lambda _: said(lines(1))
    clock.later(2 * HOUR)
    clock.feeds.decide("far", "ann", "so be it", accept=True)
    assert len(clock.values()) == 1
    assert clock.state().notices == ()
    assert len(Clock(tmp_path, url(server)).values()) == 1


BROKEN = {
    "hangs": (hanging, "nothing came for|not done within"),
    "promises more than it sends": (
        lambda _: lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n8.8.8.8\n", "breaks off",
    ),
    "sends a file's address": (lambda _: lambda _: said(b"", "302 F", Location="file:///etc/passwd"), "redirects to file:"),
    "sends us to the metadata": (
        lambda _: lambda _: said(b"", "302 F", Location="http://169.254.169.254/"), "an address that no feed may have",
    ),
    "sends a page": (lambda _: lambda _: said(b"<html><title>Login</title></html>"), "HTML"),
    "sends 10 GB": (
        lambda _: lambda _: (b"HTTP/1.1 200 OK\r\n\r\n" if n == 0 else b"8.8.8.8\n" * 131072 for n in range(10_000)),
        "more than 2 MiB",
    ),
}  # fmt: skip


def test_a_feed_is_read_in_a_process_of_its_own(tmp_path, server, caplog, monkeypatch):
    secret = "s3cret-0123456789abcdef"
    monkeypatch.setenv("FEED_KEY", secret)
    clock = Clock(tmp_path, url(server, headers_from={"X-Key": "env:FEED_KEY"}, time_limit="3s"), beside=True)
    assert clock.later(0) == {"far"}
    assert len(clock.values()) == 10
    assert server.asked[0].headers["x-key"] == secret
    server.answer = hanging(server)
    assert clock.later(2 * HOUR) == set()
    assert "not done within 3 s" in clock.state().error or "nothing came" in clock.state().error
    assert len(clock.values()) == 10
    assert secret not in caplog.text + repr(clock.state())


@pytest.mark.parametrize("how", BROKEN)
def test_whatever_a_server_does_is_survived_told_once_and_what_it_said_last_stays(tmp_path, server, caplog, how):
    clock = Clock(tmp_path, url(server, time_limit="3s", largest="2MiB"))
    clock.later(0)
    make, said_so = BROKEN[how]
    server.answer = make(server)
    for _ in range(2):
        assert clock.later(2 * HOUR) == set()
    state = clock.state()
    assert state.failures == 2
    assert re.search(said_so, state.error), state.error
    assert len(clock.values()) == 10
    assert len([line for line in caplog.messages if "far" in line]) == 1
    server.answer = lambda _: said(lines(*range(9)))
    assert clock.later(2 * HOUR) == {"far"}
    assert caplog.messages[-1] == "feed far: it is well again"


def test_after_failures_it_is_tried_again_sooner_and_as_late_as_the_server_asks(tmp_path, server):
    clock = Clock(tmp_path, url(server, interval="1d"))
    server.answer = lambda _: said(b"", "500 Oops")
    clock.later(0)
    assert clock.at + 50 * SECOND < clock.state().next < clock.at + 70 * SECOND
    clock.later(2 * MINUTE)
    assert clock.at + 100 * SECOND < clock.state().next < clock.at + 140 * SECOND
    server.answer = lambda _: said(b"", "429 Too Many", Retry_After="7200")
    clock.later(5 * MINUTE)
    assert clock.state().next >= clock.at + 2 * HOUR


# Held for a person


@pytest.fixture
def shrunk(tmp_path, server):
    clock = Clock(tmp_path, url(server))
    clock.later(0)
    server.answer = lambda _: said(lines(1, 2, 3))
    assert clock.later(2 * HOUR) == set()
    return clock


def test_a_feed_that_shrank_is_held_and_what_it_said_last_stays(shrunk, caplog):
    held = shrunk.state().held
    assert (held.why, held.entries) == ("it shrank from 10 to 3 entries, to under half", 3)
    assert shrunk.state().error is None
    assert shrunk.feeds.wrong("far").startswith("held: it shrank")
    assert len(shrunk.values()) == 10
    assert shrunk.later(2 * HOUR) == set()  # the same again: still held
    assert shrunk.state().held == held


def test_a_person_accepts_it(shrunk):
    shrunk.feeds.decide("far", "ann", "the provider cleaned up", accept=True)
    assert shrunk.later(0) == {"far"}
    assert len(shrunk.values()) == 3
    assert shrunk.state().held is None
    decision = shrunk.state().decision
    assert (decision.what, decision.who, decision.why) == ("accepted", "ann", "the provider cleaned up")


def test_a_person_refuses_it_and_is_not_asked_again_for_the_same(shrunk, server):
    shrunk.feeds.decide("far", "ann", "cut short", accept=False)
    for _ in range(2):
        assert shrunk.later(2 * HOUR) == set()
        assert shrunk.state().held is None
        assert shrunk.feeds.wrong("far") is None
    server.answer = lambda _: said(lines(1, 2))
    assert shrunk.later(2 * HOUR) == set()
    assert shrunk.state().held.entries == 2
    with pytest.raises(ConfigError, match="nothing of feed far is held"):
        shrunk.feeds.decide("far", "ann", "", accept=True) or shrunk.feeds.decide("far", "ann", "", accept=True)


def test_it_is_no_more_held_once_it_is_what_it_was_or_grows_again(shrunk, server):
    server.answer = lambda _: said(lines(*range(10)))
    assert shrunk.later(2 * HOUR) == set()
    assert shrunk.state().held is None
    server.answer = lambda _: said(lines(1))
    shrunk.later(2 * HOUR)
    assert shrunk.state().held is not None
    server.answer = lambda _: said(lines(*range(12)))
    assert shrunk.later(2 * HOUR) == {"far"}
    assert shrunk.state().held is None
    assert len(shrunk.values()) == 12


def test_what_is_held_and_decided_outlasts_a_restart(tmp_path, shrunk, server):
    again = Clock(tmp_path, url(server), at=shrunk.at)
    assert again.state().held.entries == 3
    assert len(again.values()) == 10
    again.feeds.decide("far", "ann", "cut short", accept=False)
    third = Clock(tmp_path, url(server), at=shrunk.at, kept=again.feeds.context())
    assert third.later(2 * HOUR) == set()
    assert third.state().held is None
    assert third.state().decision.why == "cut short"


def test_a_feed_that_grows_more_than_tenfold_is_held_and_one_told_not_to_is_not(tmp_path, server):
    clock = Clock(tmp_path, url(server), url(server, name="free", hold=False))
    clock.later(0)
    server.answer = lambda _: said(lines(*range(101)))
    assert clock.later(2 * HOUR) == {"free"}
    assert clock.state().held.why == "it grew from 10 to 101 entries, more than tenfold"


# Added, removed, refreshed


def test_feeds_are_added_and_removed_and_outlast_a_restart(tmp_path, server):
    clock = Clock(tmp_path)
    clock.feeds.add(url(server), "ann")
    assert clock.later(0) == {"far"}
    with pytest.raises(ConfigError, match="there is a feed far already"):
        clock.feeds.add(url(server), "ann")
    again = Clock(tmp_path, at=clock.at, kept=clock.feeds.context())
    assert len(again.values()) == 10
    assert again.state().added
    again.feeds.remove("far", "bob", "of no use")
    assert again.later(0) == {"far"}
    assert again.feeds.said("far") is None
    assert list((tmp_path / "feeds").iterdir()) == []
    configured = Clock(tmp_path, url(server))
    with pytest.raises(ConfigError, match="in the configuration"):
        configured.feeds.remove("far", "bob", "")
    with pytest.raises(ConfigError, match="there is no feed nobody"):
        configured.feeds.refresh("nobody")


def test_a_feed_is_refreshed_at_once(tmp_path, server):
    clock = Clock(tmp_path, url(server))
    clock.later(0)
    clock.feeds.refresh("far")
    clock.done()
    assert len(server.asked) == 2


def test_a_removed_feed_is_not_brought_back_by_a_reading_that_ends_late(tmp_path, server):
    clock = Clock(tmp_path)
    clock.feeds.add(url(server), "ann")
    clock.feeds.look(clock.at)
    clock.feeds.remove("far", "ann", "")
    end = time.monotonic() + 30
    while not server.asked and time.monotonic() < end:
        time.sleep(0.01)
    assert clock.feeds.names == []


def test_files_and_folders_are_watched(tmp_path):
    path = tmp_path / "near.txt"
    path.write_bytes(lines(1, 2))
    clock = Clock(tmp_path, feed_source(FeedSpec(file=str(path)), None, "tests"))
    assert len(clock.values("near")) == 2  # at the start, at once
    path.write_bytes(lines(1, 2, 3))
    assert clock.later(SECOND) == {"near"}
    path.unlink()
    assert clock.later(SECOND) == set()
    assert "No such file" in clock.state("near").error
    assert len(clock.values("near")) == 3
    again = Clock(tmp_path, feed_source(FeedSpec(file=str(path)), None, "tests"))
    assert len(again.values("near")) == 3


def test_a_big_file_is_read_in_a_process_of_its_own(tmp_path):
    path = tmp_path / "big.txt"
    path.write_bytes(b"# filler\n" * 200_000 + lines(1, 2))
    clock = Clock(tmp_path, feed_source(FeedSpec(file=str(path)), None, "tests"), beside=True)
    assert len(clock.values("big")) == 2


def test_looking_never_waits_for_a_server(tmp_path, server):
    server.answer = hanging(server)
    clock = Clock(tmp_path, *(url(server, name=f"far-{n}", time_limit="5s") for n in range(20)))
    begin = time.monotonic()
    for _ in range(100):
        clock.feeds.look(clock.at)
    assert time.monotonic() - begin < 1.0
    clock.feeds.close()


# When


def test_the_schedule_is_spread_and_the_same_after_every_start():
    names = [f"feed-{n}" for n in range(200)]
    waits = [next_run(name, HOUR, AT) - AT for name in names]
    assert waits == [next_run(name, HOUR, AT) - AT for name in names]
    assert all(0.9 * HOUR <= wait <= 1.1 * HOUR for wait in waits)
    assert len({wait // MINUTE for wait in waits}) > 8
    assert 0.4 < sum(map(share, names)) / len(names) < 0.6
    starts = [first_run(name, HOUR, AT, AT - DAY) for name in names]
    assert all(AT <= start <= AT + MINUTE for start in starts)
    assert len(set(starts)) > 150
    assert first_run("x", HOUR, AT, None) == AT
    assert first_run("x", DAY, AT, AT - HOUR) > AT + 20 * HOUR


def test_no_credential_is_in_what_is_told(tmp_path, server, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    secret = "s3cret-0123456789abcdef"
    monkeypatch.setenv("FEED_KEY", secret)
    spec = FeedSpec(url=server.at(f"/{secret}/x?key={secret}"), name="far", headers_from={"X-Key": "env:FEED_KEY"})
    clock = Clock(tmp_path, feed_source(spec, None, "tests"))
    clock.later(0)
    seen = [repr(clock.state()), repr(clock.feeds.source("far")), repr(spec), *map(repr, clock.feeds._feeds.values())]
    server.answer = lambda _: said(secret.encode(), "500 Oops", Location=secret)
    clock.later(2 * HOUR)
    seen += [repr(clock.state()), clock.feeds.wrong("far")]
    assert server.asked[0].headers["x-key"] == secret
    assert secret not in "".join(seen) + caplog.text
    assert reading_of(clock.feeds.source("far"))
    assert secret.encode() not in (tmp_path / "feeds" / "far.copy").read_bytes()
    assert json.loads(clock.feeds.context())["added"] == {}


def test_a_copy_that_cannot_be_read_takes_nothing_away(tmp_path, server):
    indicators = LiveIndicators(LiveFeeds([url(server)], tmp_path / "feeds", read_here))
    assert indicators.load(Protected(), AllowList(), AT).table.is_empty()
    end = time.monotonic() + 30
    while not indicators.look(AT) and time.monotonic() < end:
        time.sleep(0.005)
    assert indicators.adopt(indicators.rebuild()()).table.height == 10
    assert indicators.states()[0].counts == {"address": 10}
    (tmp_path / "feeds" / "far.copy").write_bytes(b"damaged")
    assert indicators.load(Protected(), AllowList(), AT).table.height == 10
    indicators.push("ours", ["45.66.77.1"], AT, remove=False)
    assert indicators.adopt(indicators.rebuild()()).table.height == 11


# What is only added to


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


def test_a_feed_that_this_version_cannot_mean_is_kept_and_not_read(tmp_path, server):
    clock = Clock(tmp_path)
    clock.feeds.add(url(server), "ann")
    kept = clock.feeds.context().replace(b'"1h"', b'"9y"')
    again = Clock(tmp_path, kept=kept)
    assert again.feeds.names == []
    assert json.loads(again.feeds.context())["added"] == json.loads(kept)["added"]
    with pytest.raises(StoreError, match="cannot be read"):
        Clock(tmp_path, kept=kept.replace(b'"interval"', b'"intervall"'))
