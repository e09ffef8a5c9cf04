"""What the configuration says to the gate holds for feeds that are read and for what is pushed."""

from __future__ import annotations

import pytest

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.config import read_config
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.live.threats import Threats
from netpersona.errors import FeedError
from netpersona.flow.window import SECOND
from netpersona.intel.feed import FeedSettings
from netpersona.policy.model import PolicySet

AT = 1_800_000_000 * SECOND
GATE = """
gate:
  time_servers: [45.66.77.123]
  admit:
    - {value: 198.51.100.9, gate: documentation, feed: ours, reason: "a drill, ticket 4711", author: lena}
    - {value: 198.51.100.8, gate: documentation, reason: "a drill, ticket 4711", author: lena}
"""


@pytest.fixture
def threats(tmp_path):
    (tmp_path / "netpersona.yaml").write_text(GATE)
    (tmp_path / "bad.txt").write_text("45.66.77.8\n45.66.77.123\n198.51.100.8\n198.51.100.9\n")
    config = read_config(tmp_path / "netpersona.yaml")
    feed = FileFeed(tmp_path / "bad.txt", FeedSettings("bad"))
    made = Threats(LiveIndicators([feed], gate=config.gate, usual=config.precision), Supervisor(AT))
    yield made
    made.close()


def test_a_time_server_is_refused_and_one_value_is_let_through_on_somebodys_word(threats):
    known = threats.load([], PolicySet())
    assert known.intel.table["value"].to_list() == ["198.51.100.8", "45.66.77.8"]
    [state] = threats.states()
    assert {each.value: each.reason for each in state.refusals}["45.66.77.123"].startswith("it is 45.66.77.123, a time")
    assert not threats.concerns([], PolicySet())


def test_what_is_pushed_is_let_through_for_the_feed_that_was_named(threats):
    threats.load([], PolicySet())
    assert threats.push("ours", ["198.51.100.9"], remove=False).values == ["198.51.100.9"]
    for feed, value in (("theirs", "198.51.100.9"), ("ours", "198.51.100.10"), ("ours", "45.66.77.123")):
        with pytest.raises(FeedError, match=f"{value}' is refused"):
            threats.push(feed, [value], remove=False)
