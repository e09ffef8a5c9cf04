"""A feed that shrank or grew much is held for a person, and what the person says is what happens."""

from __future__ import annotations

import pytest

from feed_servers import said, served
from netpersona.errors import ConfigError
from netpersona.flow.window import HOUR
from unit.app.live.feed_clock import Clock, lines, url


@pytest.fixture
def server():
    with served(lambda _: said(lines(*range(10)))) as running:
        yield running


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
