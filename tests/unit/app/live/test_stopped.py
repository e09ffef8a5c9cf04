"""What our own rules stopped is no evidence, whatever becomes of the rules."""

import pytest

from live_policies import LOW_REPUTATION, NOTHING_OUT
from unit.app.live.rig import LISTED, Rig


def tries(rig, times=5):
    for _ in range(times):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, 443, state="S0", packets_resp=0, bytes_resp=0)
        rig.turns()


def put(rig, texts):
    rig.ask(lambda: rig.controller.apply(texts, "ann", "a test"))


def risky(rig):
    rig.sensor.flow("tap-desk-1", "10.77.0.21", "192.0.2.10", 443)  # so that the open window is judged again
    rig.turns(2)
    return bool(rig.ask(rig.controller.vms)["desk-1"].risk_ledger)


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    tries(rig)
    assert not risky(rig)
    return rig


def test_a_rule_that_overtakes_the_one_that_stopped_makes_no_evidence(rig):
    put(rig, {"low": LOW_REPUTATION, "all": NOTHING_OUT})
    assert not risky(rig)
    tries(rig)
    assert not risky(rig)
    put(rig, {"low": LOW_REPUTATION})
    assert not risky(rig)


def test_rules_that_end_leave_none_behind_but_what_is_tried_then_is_some(rig):
    put(rig, {})
    assert not risky(rig)
    tries(rig, 1)
    assert risky(rig)


def test_a_restart_knows_what_rules_stopped_that_are_no_more(rig, tmp_path):
    put(rig, {})
    again = Rig(tmp_path, store=rig.store, at=rig.sensor.at)
    again.turns(2)
    assert not risky(again)
    tries(again, 1)
    assert risky(again)
