"""Which feeds there are, and when each is read: configured, added, removed, refreshed, watched."""

from __future__ import annotations

import json
import os

import pytest

from feed_servers import said, served
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.feed_schedule import first_run, next_run, share
from netpersona.errors import ConfigError, StoreError
from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND
from unit.app.live.feed_clock import AT, Clock, lines, url
from waiting import until


@pytest.fixture
def server():
    with served(lambda _: said(lines(*range(10)))) as running:
        yield running


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
    until(lambda: server.asked, "it is being read")
    assert clock.feeds.names == []


def test_a_feed_that_this_version_cannot_mean_is_kept_and_not_read(tmp_path, server):
    clock = Clock(tmp_path)
    clock.feeds.add(url(server), "ann")
    kept = clock.feeds.context().replace(b'"1h"', b'"9y"')
    again = Clock(tmp_path, kept=kept)
    assert again.feeds.names == []
    assert json.loads(again.feeds.context())["added"] == json.loads(kept)["added"]
    with pytest.raises(StoreError, match="cannot be read"):
        Clock(tmp_path, kept=kept.replace(b'"interval"', b'"intervall"'))


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


@pytest.mark.parametrize("refused", [False, True])
def test_a_long_file_that_nobody_writes_to_starts_no_process_at_each_look(tmp_path, refused):
    path = tmp_path / "near.txt"
    path.write_bytes(lines(*range(250)) * 1000)
    clock = Clock(tmp_path, feed_source(FeedSpec(file=str(path)), None, "tests"), beside=True)
    if refused:
        path.write_bytes(lines(1) * 150_000)
        clock.later(SECOND)
        clock.feeds.decide("near", "ann", "no", accept=False)
        clock.later(SECOND)
    assert len(clock.values("near")) == 250
    ended = os.times().children_user
    assert clock.later(SECOND) == clock.later(SECOND) == set()
    assert os.times().children_user == ended
    path.write_bytes(lines(*range(251)) * 1000)
    assert clock.later(SECOND) == {"near"}
    assert os.times().children_user > ended


def test_a_file_that_cannot_be_read_is_looked_at_less_and_less_often():
    waits = [next_run("near", None, AT, failures) - AT for failures in range(40)]
    assert waits[:3] == [SECOND, 2 * SECOND, 4 * SECOND]
    assert set(waits[6:]) == {MINUTE}


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
