"""What fails, and what a restart finds: nothing that was decided is forgotten, and no part stays failed for good."""

from dataclasses import replace

import pytest
from msgspec import structs

from netpersona.adapters.enforcers.plan import Plan
from netpersona.app.live import judge
from netpersona.errors import EnforcerError, InventoryError, SourceError
from netpersona.flow.window import HOUR, MINUTE, SECOND, WINDOW
from unit.app.live.rig import DESK, FINE, LISTED, LOW_REPUTATION, RISKY, WEB, Rig, infect, part, passes

ON_A_NAME = LOW_REPUTATION.replace("{reputation_below: 0.5}", "{domains: [evil.example]}")


def restarted(rig, tmp_path, *, after=SECOND, inventory=True):
    """Killed after its last checkpoint: nothing but the store is left."""
    rig.turns(60)
    again = Rig(tmp_path, "", store=rig.store, at=rig.sensor.at + after)
    if not inventory:
        again.inventory.error = InventoryError("gone")
    return again


class Refusing(Plan):
    """A kernel that refuses when told to."""

    refuses = False

    def apply(self, desired):
        if self.refuses:
            raise EnforcerError("the kernel said no")
        return super().apply(desired)


def test_a_sensor_that_failed_is_tried_again(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    rig.sensor.error = SourceError("no ring")
    rig.turns(3)
    assert not part(rig, "sensor").well
    before = rig.controller.now()
    rig.turns(3)
    assert rig.controller.now() > before  # time goes on, and what ends in time ends
    rig.sensor.error = None
    rig.turns(40)
    assert part(rig, "sensor").well


def test_what_the_kernel_refused_is_tried_again_though_nothing_else_happens(tmp_path):
    rig = Rig(tmp_path, ON_A_NAME, enforcer=Refusing())
    rig.turns(5)
    rig.enforcer.refuses = True
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "evil.example", ["198.51.100.9"], ttl=3600)
    rig.turns(5)
    assert not part(rig, "enforcer").well
    assert passes(rig, DESK, "198.51.100.9")
    rig.enforcer.refuses = False
    rig.turns(30)
    assert part(rig, "enforcer").well
    assert not passes(rig, DESK, "198.51.100.9")


def test_a_trial_that_the_kernel_does_not_let_go_back_is_tried_again(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION, enforcer=Refusing())
    rig.turns()
    off = {"open.yaml": LOW_REPUTATION.replace("enforce", "off")}
    rig.ask(lambda: rig.controller.apply(off, "ann", "a trial", confirm_within=MINUTE))
    rig.enforcer.refuses = True
    rig.sensor.at += 61 * SECOND
    rig.turns(5)
    assert "said no" in part(rig, "policies").says
    rig.enforcer.refuses = False
    rig.turns(30)
    assert part(rig, "policies").well
    assert not passes(rig, WEB, LISTED)


def test_a_restart_keeps_who_is_cut_off_though_they_are_silent_now(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns()
    infect(rig)
    assert not passes(rig, DESK, FINE)
    again = restarted(rig, tmp_path)
    again.turns()
    assert not passes(again, DESK, FINE)
    assert passes(again, WEB, FINE)


def test_a_vm_whose_labels_change_stays_cut_off(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns()
    infect(rig)
    rig.inventory.known = [WEB, replace(DESK, labels={"role": "kiosk"})]
    rig.turns(15)
    assert not passes(rig, DESK, FINE)


def test_a_restart_without_an_inventory_keeps_the_rules(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    again = restarted(rig, tmp_path, inventory=False)
    again.turns(3)
    assert not passes(again, WEB, LISTED)
    assert again.sensor.taps == rig.sensor.taps
    assert not part(again, "inventory").well
    again.inventory.error = None
    again.inventory.known = [DESK]
    again.turns(15)
    assert set(again.enforcer.in_force().vms) == {"desk-1"}


def test_a_restart_keeps_the_answers_that_names_are_enforced_by(tmp_path):
    rig = Rig(tmp_path, ON_A_NAME)
    rig.turns()
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "evil.example", ["198.51.100.9"], ttl=600)
    rig.turns()
    again = restarted(rig, tmp_path)
    again.turns()
    assert not passes(again, DESK, "198.51.100.9")
    assert passes(again, WEB, "198.51.100.9")
    assert again.controller.loop.judge.names["desk-1"]["evil.example"]
    again.sensor.at += 10 * MINUTE
    again.turns(2)
    assert passes(again, DESK, "198.51.100.9")


def test_an_address_that_a_name_had_before_and_has_again_is_denied_again(tmp_path):
    rig = Rig(tmp_path, ON_A_NAME)
    rig.turns()
    for address, ttl in (("198.51.100.9", 60), ("198.51.100.10", 600)):
        rig.sensor.answer("tap-desk-1", "10.77.0.21", "evil.example", [address], ttl=ttl)
    rig.turns()
    rig.sensor.at += 90 * SECOND
    rig.turns(2)
    assert passes(rig, DESK, "198.51.100.9")
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "evil.example", ["198.51.100.9"], ttl=60)
    rig.turns()
    assert not passes(rig, DESK, "198.51.100.9")
    assert not passes(rig, DESK, "198.51.100.10")


def test_a_restart_holds_nothing_against_a_vm_that_was_stopped_already(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    for _ in range(5):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, 443, state="S0", packets_resp=0, bytes_resp=0)
        rig.turns()
    again = restarted(rig, tmp_path)
    again.turns()  # and what it did before is no evidence for a moment either
    assert not again.ask(again.controller.vms)["desk-1"].risk_ledger
    again.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, 443, state="S0", packets_resp=0, bytes_resp=0)
    again.turns(2)
    assert not again.ask(again.controller.vms)["desk-1"].risk_ledger


def test_a_restart_keeps_an_acquittal(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns()
    infect(rig)
    now = rig.ask(rig.controller.vms)["desk-1"]
    clean = structs.replace(now, risk_ledger=(), signatures=(), mitigations=(), version=now.version + 1)
    rig.ask(lambda: rig.controller.edit(clean, "ann", "acquitted"))
    again = restarted(rig, tmp_path)
    again.turns(2)
    assert passes(again, DESK, FINE)


def test_what_was_found_before_a_restart_was_found_then(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns()
    infect(rig)
    rig.turns(60)
    found = {f.id: f.judged_at for f in rig.store.findings()}
    assert found
    again = restarted(rig, tmp_path)
    again.turns(60)
    assert {f.id: f.judged_at for f in again.store.findings()} == found


def test_a_tap_that_never_was_there_is_told_no_longer_once_its_vm_is_gone(tmp_path, monkeypatch):
    rig = Rig(tmp_path, LOW_REPUTATION)
    add = rig.sensor.add

    def absent(interface, vm):
        if interface == "tap-desk-1":
            raise SourceError("no such interface")
        add(interface, vm)

    monkeypatch.setattr(rig.sensor, "add", absent)
    rig.turns()
    assert not part(rig, "tap tap-desk-1").well
    rig.inventory.known = [WEB]
    rig.turns(15)
    assert part(rig, "tap tap-desk-1") is None


@pytest.mark.parametrize("names", [1, 3])
def test_addresses_that_ended_are_forgotten_though_their_name_goes_on(tmp_path, names):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    for i in range(40):
        for name in range(names):
            rig.sensor.answer("tap-web-1", "10.77.0.11", f"pool{name}.example", [f"198.51.100.{i}"], ttl=60)
        rig.sensor.at += 20 * SECOND
        rig.turns()
    known = rig.controller.loop.enforcing.rules.answers["web-1"]
    assert len(known) == names
    assert all(len(addresses) <= 5 for addresses in known.values())


def test_of_a_name_that_has_another_address_each_time_the_last_ones_are_kept(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    for i in range(100):
        rig.sensor.answer("tap-web-1", "10.77.0.11", "pool.example", [f"198.51.100.{i}"], ttl=5)
    rig.turns()
    rig.sensor.at += WINDOW
    rig.turns(2)
    known = rig.controller.loop.judge.names["web-1"]["pool.example"]
    assert 32 <= len(known) <= 64
    rig.sensor.at += 7 * HOUR
    rig.sensor.answer("tap-web-1", "10.77.0.11", "other.example", ["198.51.100.1"], ttl=5)
    rig.sensor.at += WINDOW
    rig.turns(2)
    assert set(rig.controller.loop.judge.names["web-1"]) == {"other.example"}


def test_a_vm_that_was_gone_for_long_is_known_when_it_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "GONE_KEPT", 1)
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    rig.sensor.at += WINDOW + SECOND
    rig.turns(60)
    for i in range(3):  # many others come and go
        brief = replace(DESK, name=f"brief-{i}", interface=f"tap-{i}", addresses=(f"10.77.0.{90 + i}/24",))
        rig.inventory.known = [brief]
        rig.turns(80)
    assert "web-1" not in rig.controller.loop.judge.closed.states
    assert len(rig.controller.loop.judge.closed.states) <= 3
    rig.inventory.known = [WEB]
    rig.turns(15)
    assert rig.ask(rig.controller.vms)["web-1"].profile.flows == 1
    rig.turns(60)
    again = restarted(rig, tmp_path)
    again.inventory.known = [WEB, DESK]
    again.turns(15)
    assert again.ask(again.controller.vms)["web-1"].profile.flows == 1


def test_what_was_pushed_is_stored_within_a_second(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(60)
    rig.controller.loop.supervisor.put_off("save", 60 * SECOND)
    rig.ask(lambda: rig.controller.indicators("ours", ["8.19.44.7"], "ann"))
    rig.turns(11)
    again = Rig(tmp_path, "", store=rig.store, at=rig.sensor.at + SECOND)  # killed: no last checkpoint
    again.turns(2)
    assert not passes(again, DESK, "8.19.44.7")
    read = [{state.name: state.read for state in each.ask(each.controller.feeds)}["ours"] for each in (rig, again)]
    assert read[0] == read[1] is not None
