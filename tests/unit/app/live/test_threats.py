"""When VMs come and go, the gate protects them; what is listed is only loaded anew at once where it must be."""

from __future__ import annotations

import pytest

from netpersona.adapters.feeds.file import FileFeed
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.supervisor import Supervisor
from netpersona.app.live.threats import Threats
from netpersona.flow.vm import Vm, vm_id
from netpersona.flow.window import SECOND
from netpersona.intel.feed import FeedSettings
from netpersona.policy.model import PolicySet

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
            threats._work.done.exception(timeout=30)
    raise AssertionError("it was never worked in")


def test_a_vm_of_which_nothing_is_listed_needs_no_loading(threats):
    other = Vm(vm_id("db-1"), ("10.77.0.31/24",), gateways=("45.66.77.1",))
    assert not threats.concerns([WEB, other], PolicySet())
    assert not threats.concerns([WEB, other], PolicySet())
    assert worked_in(threats).table.height == 2
    with pytest.raises(Exception, match="gateway of db-1"):
        threats.push("ours", ["45.66.77.1"], remove=False)


def test_a_vm_whose_gateway_is_listed_is_protected_at_once_and_forgotten_beside(threats):
    assert threats.concerns([WEB, GATEWAY], PolicySet())
    assert threats.load([WEB, GATEWAY], PolicySet()).intel.table["value"].to_list() == ["45.66.77.8"]
    assert not threats.concerns([WEB], PolicySet())
    assert worked_in(threats).table.height == 2
