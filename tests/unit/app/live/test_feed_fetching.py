"""Feeds that are read by themselves, over real servers: what counts, and what stays when all goes wrong."""

from __future__ import annotations

import gc
import json
import logging
import re
import tempfile

import pytest

from feed_servers import said, served
from netpersona.adapters.feeds.copies import Copies
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.feed_reading import read_here, reading_of
from netpersona.app.live.indicators import LiveIndicators
from netpersona.errors import FeedError
from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND
from netpersona.intel.allow import AllowList
from netpersona.intel.gate import Protected
from unit.app.live.feed_clock import AT, Clock, hanging, lines, url
from waiting import until


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


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's folder for what is temporary."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_where_copies_have_a_place_none_is_temporary(tmp_path, server, temporary):
    assert Clock(tmp_path, url(server)).later(0) == {"far"}
    assert list(temporary.iterdir()) == []  # a controller that is killed leaves nothing there


def test_copies_without_a_place_go_with_their_feeds(tmp_path, temporary):
    (tmp_path / "near.txt").write_bytes(lines(1, 2))
    feeds = LiveFeeds([feed_source(FeedSpec(file=str(tmp_path / "near.txt")), None, "tests")])
    feeds.start(AT)
    assert len(feeds.said("near").indicators) == 2
    (folder,) = temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    del feeds
    gc.collect()
    assert list(temporary.iterdir()) == []


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


def test_a_big_file_is_read_in_a_process_of_its_own(tmp_path):
    path = tmp_path / "big.txt"
    path.write_bytes(b"# filler\n" * 200_000 + lines(1, 2))
    clock = Clock(tmp_path, feed_source(FeedSpec(file=str(path)), None, "tests"), beside=True)
    assert len(clock.values("big")) == 2


def test_looking_never_waits_for_a_server(tmp_path, server):
    server.answer = hanging(server)
    clock = Clock(tmp_path, *(url(server, name=f"far-{n}", time_limit="60s") for n in range(20)))
    for _ in range(100):
        assert clock.feeds.look(clock.at) == set()
    assert all(clock.state(name).running for name in clock.feeds.names)
    clock.feeds.close()


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
    until(lambda: indicators.look(AT), "it is read")
    assert indicators.adopt(indicators.rebuild()()).table.height == 10
    assert indicators.states()[0].counts == {"address": 10}
    (tmp_path / "feeds" / "far.copy").write_bytes(b"damaged")
    assert indicators.load(Protected(), AllowList(), AT).table.height == 10
    indicators.push("ours", ["45.66.77.1"], AT, remove=False)
    assert indicators.adopt(indicators.rebuild()()).table.height == 11
