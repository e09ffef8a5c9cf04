"""New indicators are hunted beside the controller; what was met becomes findings."""

import pytest

from netpersona.adapters.history.memory import MemoryHistory
from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.app.retro import RetroHunts
from netpersona.flow.window import DAY
from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.risk.finding import Severity
from past_traffic import AT, a_day, as_seen, traffic
from waiting import until

NOW = AT + 2 * DAY


def indicators(text, allow=()):
    return IndicatorSet.merge([parse(text, FeedSettings("news", category="c2"))], AllowList(allow))


@pytest.fixture
def history():
    history = MemoryHistory()
    history.add(traffic(*a_day()), as_seen)
    history.close(AT + DAY)
    return history


def hunted(hunts, listed, at=NOW):
    hunts.consider(listed, at)
    until(lambda: not hunts.state().busy, "the hunt is over", within=60)
    return {found.evidence["indicator"]: found for found in hunts.notices()}


def test_a_new_indicator_is_hunted_at_once_and_becomes_a_finding(history):
    found = hunted(RetroHunts(history), indicators(b"203.0.113.7\n192.0.2.66"))
    out, into = found["203.0.113.7"], found["192.0.2.66"]
    assert (out.vm, out.peer, out.kind, out.detector, out.judged_at) == (
        "web-1",
        "203.0.113.7",
        "intel_match",
        "retro_hunt",
        NOW,
    )
    assert (out.alert, out.severity, out.weight, out.feeds) == (True, Severity.HIGH, 0.0, ("news",))
    assert out.why == (
        "Before it was known, from 2025-10-09 00:01 to 2025-10-09 00:09, the VM talked to 203.0.113.7, which news now"
        " lists as c2 twice; 5.1 kB went out, 2.0 kB came back."
    )
    assert (into.direction, into.alert) == ("inbound", False)


def test_whom_a_vm_asked_for_a_name_is_not_said_to_be_met(history):
    hunts = RetroHunts(history)
    hunts.consider(indicators(b"evil.example"), NOW)
    until(lambda: not hunts.state().busy, "the hunt is over", within=60)
    assert sorted(found.peers for found in hunts.notices()) == [("198.51.100.20",), ("198.51.100.9",)]


def test_only_what_is_new_is_hunted_and_what_comes_back_is_new(history):
    hunts = RetroHunts(history)
    assert hunted(hunts, indicators(b"203.0.113.7"))
    assert not hunted(hunts, indicators(b"203.0.113.7\n198.51.100.77"))
    assert hunts.state().indicators == 2
    hunted(hunts, indicators(b"198.51.100.77"))
    assert hunted(hunts, indicators(b"203.0.113.7\n198.51.100.77"))


def test_a_restart_hunts_what_came_meanwhile_and_no_more(history, tmp_path):
    marks = tmp_path / "flows" / "hunted"
    hunted(RetroHunts(history, marks), indicators(b"203.0.113.7"))
    assert list(hunted(RetroHunts(history, marks), indicators(b"203.0.113.7\nevil.example"))) == ["evil.example"]
    marks.write_bytes(b"torn")
    assert len(hunted(RetroHunts(history, marks), indicators(b"203.0.113.7\nevil.example"))) == 2


def test_hunting_again_updates_a_finding_and_repeats_none(history):
    once, again = (hunted(RetroHunts(history), indicators(b"203.0.113.7"))["203.0.113.7"] for _ in range(2))
    assert once == again


def test_allow_lists_win_while_they_are_in_force(history):
    listed = indicators(b"203.0.113.7", (AllowEntry("203.0.113.7", NOW, "ours"),))
    assert not hunted(RetroHunts(history), listed, NOW - 1)
    assert hunted(RetroHunts(history), listed, NOW)


def test_a_history_that_cannot_be_read_is_told_and_hunted_later(tmp_path):
    history = ParquetHistory(tmp_path)
    history.add(traffic(*a_day()), as_seen)
    history.close(AT + DAY)
    (about,) = tmp_path.rglob("about.json")
    content = about.read_bytes()
    about.write_bytes(b"{")
    hunts = RetroHunts(history, tmp_path / "hunted")
    assert not hunted(hunts, indicators(b"203.0.113.7"))
    assert "cannot be read" in hunts.state().error
    about.write_bytes(content)
    assert hunted(hunts, indicators(b"203.0.113.7"))
    assert hunts.state().error is None


def test_it_ends_when_it_is_told_to(history):
    hunts = RetroHunts(history)
    hunts.consider(indicators(b"203.0.113.7"), NOW)
    hunts.stop(60)
    assert not hunts._thread.is_alive()
