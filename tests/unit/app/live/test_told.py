"""What the kernel tells of denied packets: who may ask why later, and what it says of a VM."""

from dataclasses import replace

import pytest

from netpersona.adapters.dns_relay.hold import HoldHealth
from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.app.live import told
from netpersona.app.live.told import Told
from netpersona.flow.window import HOUR, SECOND, WINDOW
from netpersona.policy.model import Direction
from netpersona.ruleset.verdict import Packet, verdict
from unit.app.live.rig import DESK, FINE, LOW_REPUTATION, RISKY, START, WEB, Rig

_NO = False
DENIED = Receipt(
    START, DESK.name, "low-reputation", "listed", 1, _NO, Direction.OUTBOUND,
    "10.77.0.21", "203.0.113.66", "tcp", 40000, 443,
)  # fmt: skip
SPOOFED = replace(DENIED, policy="", rule="anti-spoof", version=0, source="10.77.0.11", destination="192.0.2.9")


class Kernel:
    """Tells what the test wrote."""

    def __init__(self):
        self.receipts = []

    def concern(self, ruleset):
        pass

    def waiting(self, now):
        waiting, self.receipts = self.receipts, []
        return waiting


def rig_with(tmp_path, *texts, **more):
    kernel = Kernel()
    rig = Rig(tmp_path, *texts, receipts=kernel, **more)
    rig.turns(2)
    return rig, kernel


def spoofing(rig):
    found = {f.id: f for f in rig.store.findings()} | rig.controller.loop.judge.findings()
    return [f for f in found.values() if f.kind == "spoofing"]


def test_a_flood_of_one_rule_hides_no_other_s_receipts():
    kept = Told()
    kept.add([DENIED])
    kept.add([replace(DENIED, vm=WEB.name, at=START + i) for i in range(5_000)])
    kept.add([replace(DENIED, vm=None, rule=f"r{i}") for i in range(told.RULES - 2)])
    assert kept.of(DESK.name) == [DENIED]
    assert [r.at for r in kept.of(WEB.name)] == list(range(START + 5_000 - told.EACH, START + 5_000))
    assert len(kept.of(None)) <= told.EACH * told.RULES
    again = Told(kept.to_bytes())
    assert again.of(DESK.name) == [DENIED]
    assert again.of(WEB.name) == kept.of(WEB.name)[-told.STORED_EACH :]
    assert again.to_bytes() == kept.to_bytes()


def test_what_is_stored_is_bounded():
    kept = Told()
    for i in range(told.RULES):
        kept.add([replace(DENIED, rule=f"r{i}", at=START + j) for j in range(100)])
    assert len(Told(kept.to_bytes()).of(None)) == told.STORED


def test_a_restart_still_knows_the_receipts(tmp_path):
    rig, kernel = rig_with(tmp_path, LOW_REPUTATION)
    kernel.receipts = [DENIED]
    rig.turns(60)
    again = Rig(tmp_path, "", store=rig.store, at=rig.sensor.at + SECOND)
    assert again.ask(lambda: again.controller.receipts(DESK.name)) == [DENIED]


def test_packets_as_if_from_another_vm_are_a_finding_that_cuts_off_who_sent_them(tmp_path):
    rig, kernel = rig_with(tmp_path, RISKY.replace("> 0.3", "> 0.04"))
    kernel.receipts = [SPOOFED]
    rig.turns(2)
    (found,) = spoofing(rig)
    assert (found.vm, found.alert, found.severity) == ("desk-1", True, "high")
    assert "10.77.0.11, which is of web-1" in found.why
    assert found.techniques
    assert not verdict(rig.enforcer.in_force(), Packet(DESK.name, Direction.OUTBOUND, FINE, "tcp", 443)).passes
    assert verdict(rig.enforcer.in_force(), Packet(WEB.name, Direction.OUTBOUND, FINE, "tcp", 443)).passes


def test_an_episode_of_spoofing_is_one_finding_however_long_and_often_and_after_a_restart(tmp_path):
    rig, kernel = rig_with(tmp_path, LOW_REPUTATION)
    risks = []
    for _ in range(40):
        kernel.receipts = [SPOOFED] * 5
        rig.sensor.at += 20 * SECOND
        rig.turns(1)
        risks.append(rig.ask(rig.controller.vms)["desk-1"].risk_ledger)
    rig.turns(60)
    (found,) = [f for f in rig.store.findings() if f.kind == "spoofing"]
    assert found.evidence["packets_at_least"] >= 190
    assert found.last_seen - found.first_seen > WINDOW
    assert sum(term.weight for term in risks[-1]) < 2.5
    assert rig.store.terms(DESK.name)
    again = Rig(tmp_path, "", store=rig.store, at=rig.sensor.at + SECOND)
    again.turns(60)
    assert [f for f in again.store.findings() if f.kind == "spoofing"] == [found]
    assert again.ask(again.controller.vms)["desk-1"].risk_ledger


def test_a_later_episode_is_another_finding(tmp_path):
    rig, kernel = rig_with(tmp_path, LOW_REPUTATION)
    for _ in range(2):
        kernel.receipts = [SPOOFED]
        rig.turns(2)
        rig.sensor.at += 2 * HOUR
        rig.turns(2)
    rig.turns(60)
    assert len([f for f in rig.store.findings() if f.kind == "spoofing"]) == 2


@pytest.mark.parametrize("source", ["0.0.0.0", "::", "fe80::5054:ff:fe00:1", "169.254.7.7"])
def test_what_a_machine_says_before_it_has_an_address_is_no_finding(tmp_path, source):
    rig, kernel = rig_with(tmp_path, LOW_REPUTATION)
    kernel.receipts = [replace(SPOOFED, source=source)]
    rig.turns(2)
    assert not spoofing(rig)


def test_sources_that_nobody_has_are_an_alert_only_when_they_keep_coming(tmp_path):
    rig, kernel = rig_with(tmp_path, LOW_REPUTATION)
    kernel.receipts = [replace(SPOOFED, source="172.17.0.2")]
    rig.turns(2)
    assert [f.alert for f in spoofing(rig)] == [False]
    kernel.receipts = [replace(SPOOFED, source=f"172.17.0.{i}") for i in range(30)]
    rig.sensor.at += 6 * SECOND
    rig.turns(2)
    assert [f.alert for f in spoofing(rig)] == [True]


class Hold:
    """Held answers, of which somebody flushes the table."""

    waiting, healed, flushed = False, 0, False

    def wait(self, _):
        return False

    def follow(self, taps):
        self.healed += self.flushed
        self.flushed = False

    def health(self):
        return HoldHealth(well=True, says="held", figures={"healed": self.healed})

    def settling(self):
        from contextlib import nullcontext

        return nullcontext([])

    quiet = settling

    def publish(self, *_):
        pass


def test_that_the_table_of_dns_answers_was_flushed_is_named_and_counted(tmp_path):
    hold = Hold()
    rig = Rig(tmp_path, LOW_REPUTATION, hold=hold)
    rig.turns(2)
    assert rig.ask(rig.controller.verify) == {"well": True, "drift": (), "healed": 0}
    hold.flushed = True
    said = rig.ask(rig.controller.verify)
    assert [d.where for d in said["drift"]] == ["netdev netpersona_dns"]
    assert said["healed"] == 1
    hold.flushed = True
    rig.turns(12)
    assert rig.ask(rig.controller.verify)["healed"] == 2


def test_what_the_inventory_does_not_believe_is_shown(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.inventory.problems = ("guest-1 says it has 10.77.0.1, which is a gateway or resolver; not believed",)
    rig.turns(2)
    part = next(p for p in rig.ask(rig.controller.health).parts if p.name == "inventory")
    assert (part.well, part.figures["problems"]) == (True, 1)
    assert "not believed" in part.says
