"""When VMs come and go, the gate protects them; what is listed is only loaded anew at once where it must be."""

from __future__ import annotations

import time

import polars as pl
import pytest

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.live.threats import Threats
from netpersona.flow.vm import Vm, vm_id
from netpersona.flow.window import SECOND
from netpersona.intel.feed import FeedSettings
from netpersona.policy.model import AllowEntry, AllowListResource, AlwaysAllow, PolicySet

AT = 1_800_000_000 * SECOND
WEB = Vm(vm_id("web-1"), ("10.77.0.11/24",))
GATEWAY = Vm(vm_id("desk-1"), ("10.77.0.21/24",), gateways=("45.66.77.9",))


@pytest.fixture
def threats(tmp_path):
    (tmp_path / "bad.txt").write_text("45.66.77.8\n45.66.77.9\n")
    made = Threats(LiveIndicators([FileFeed(tmp_path / "bad.txt", FeedSettings("bad"))]), Supervisor(AT))
    assert made.load([WEB], PolicySet()).intel.table.height == 2
    yield made
    made.close()


def worked_in(threats):
    """What is known once all is worked in."""
    known = None
    for _ in range(1000):
        threats._supervisor.now += SECOND
        known = threats.news(lambda: lambda _: None, ended=False) or known
        if known is not None and threats._work is None and not threats._stale:
            return known.intel
        if threats._work is not None:
            threats._work.done.exception(timeout=300)
    raise AssertionError("it was never worked in")


def counting(intel):
    """What of the listed addresses is in force."""
    return intel.match_addresses(pl.Series(["45.66.77.8", "45.66.77.9"]), AT)["peer"].to_list()


def allowing(value):
    entries = (AllowEntry(value, None, "ours", author="ann"),)
    return PolicySet(allow=(AllowListResource("ours", entries),))


def test_a_vm_of_which_nothing_is_listed_needs_no_loading(threats):
    other = Vm(vm_id("db-1"), ("10.77.0.31/24",), gateways=("45.66.77.1",))
    assert not threats.concerns([WEB, other], PolicySet())
    assert not threats.concerns([WEB, other], PolicySet())
    assert worked_in(threats).table.height == 2
    with pytest.raises(Exception, match="gateway of db-1"):
        threats.push("ours", ["45.66.77.1"], remove=False)


def test_a_vm_whose_gateway_is_listed_is_protected_at_once_and_forgotten_beside(threats):
    assert threats.concerns([WEB, GATEWAY], PolicySet())
    assert counting(threats.load([WEB, GATEWAY], PolicySet()).intel) == ["45.66.77.8"]
    assert worked_in(threats).table["value"].to_list() == ["45.66.77.8"]
    assert not threats.concerns([WEB], PolicySet())
    assert worked_in(threats).table.height == 2


def test_what_is_allowed_is_so_at_once_and_no_more_when_that_is_taken_back(threats):
    before = threats.load([WEB], PolicySet()).intel
    known = threats.load([WEB], allowing("45.66.77.8"))
    assert counting(known.intel) == ["45.66.77.9"]
    assert counting(worked_in(threats)) == ["45.66.77.9"]
    assert counting(threats.load([WEB], PolicySet()).intel) == counting(before) == ["45.66.77.8", "45.66.77.9"]


@pytest.mark.parametrize("peer", ["45.66.77.9", "45.66.77.8/31", "45.66.0.0/16"])
def test_a_management_peer_is_listed_no_more_at_once_and_is_refused_beside(threats, peer):
    managed = PolicySet(always=AlwaysAllow(management=(peer,)))
    left = ["45.66.77.8"] if "/" not in peer else []
    assert counting(threats.load([WEB], managed).intel) == left
    assert worked_in(threats).table["value"].to_list() == left
    assert counting(threats.load([WEB], PolicySet()).intel) == left  # it is let through beside
    assert counting(worked_in(threats)) == ["45.66.77.8", "45.66.77.9"]


def test_what_is_being_worked_in_by_an_earlier_gate_is_not_taken_over(threats):
    threats.push("ours", ["45.66.77.7"], remove=False)
    threats.news(lambda: lambda _: None, ended=False)
    assert threats._work is not None
    assert counting(threats.load([WEB], allowing("45.66.77.8")).intel) == ["45.66.77.9"]
    assert counting(worked_in(threats)) == ["45.66.77.9"]
    assert threats._known.table.height == 3


def test_an_address_that_was_pushed_and_is_to_be_protected_is_gone_at_once(threats):
    threats.push("ours", ["45.66.77.1"], remove=False)
    gateway = Vm(vm_id("db-1"), ("10.77.0.31/24",), gateways=("45.66.77.1",))
    assert threats.concerns([WEB, gateway], PolicySet())
    assert threats.load([WEB, gateway], PolicySet()).intel.table["value"].to_list() == ["45.66.77.8", "45.66.77.9"]


def test_another_gate_does_not_stop_judging_however_much_is_listed(tmp_path):
    listed = [f"20.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(300_000)]
    (tmp_path / "bad.txt").write_text("\n".join(listed) + "\n")
    feed = feed_source(FeedSpec(file=str(tmp_path / "bad.txt")), None, "test")
    threats = Threats(LiveIndicators(LiveFeeds([feed])), Supervisor(AT))
    begin = time.process_time()
    before = threats.load([WEB], PolicySet())
    before.intel.match_addresses(pl.Series(["20.0.0.1"]))
    first = time.process_time() - begin
    begin = time.process_time()
    managed = AlwaysAllow(management=("20.0.0.1", "20.1.0.0/16"))
    known = threats.load([WEB], PolicySet(allow=allowing("20.0.0.2").allow, always=managed))
    asked = known.intel.match_addresses(pl.Series(["20.0.0.1", "20.0.0.2", "20.0.0.3", "20.1.0.7"]), AT)
    spent = time.process_time() - begin
    threats.close()
    assert asked["peer"].to_list() == ["20.0.0.3"]
    assert known.intel._addresses is before.intel._addresses  # nothing was worked out anew
    assert spent < first / 2, f"{spent:.3f} s, and {first:.3f} s the first time"
