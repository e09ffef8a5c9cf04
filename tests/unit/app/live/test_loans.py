"""What is pushed is in force at once, and stays so, whatever else is applied until it is worked in."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

from netpersona.adapters.enforcers.plan import Plan
from netpersona.app.live.loans import Loans
from netpersona.flow.window import MINUTE, SECOND
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.peers import PeerSet, peer_set
from unit.app.live.rig import DESK, LISTED, LOW_REPUTATION, START, WEB, Rig, passes

PUSHED, OTHER = "8.19.44.7", "8.19.44.8"


class Lending(Plan):
    """A kernel of which sets can be added to; what is applied replaces that, as nftables' enforcer does."""

    def __init__(self):
        super().__init__()
        self.lent = []

    def apply(self, desired):
        changes = super().apply(desired)
        self.lent = []
        return changes

    def lend(self, name, addresses, seconds):
        assert seconds is None
        self.lent += addresses

    def denies(self, rig, address):
        return address in self.lent or not passes(rig, WEB, address)


class Settling(Lending):
    """One to which somebody pushes while it does what an `apply` left to be done."""

    def __init__(self):
        super().__init__()
        self.push = None
        self.waits = None

    def settle(self):
        if self.push is not None:
            pushing = threading.Thread(target=self.push, daemon=True)
            pushing.start()
            pushing.join(60)
            self.waits, self.push = pushing.is_alive(), None


def resting(tmp_path, enforcer=Lending):
    """A controller that worked a push in a moment ago, so that the next one is worked in later."""
    rig = Rig(tmp_path, LOW_REPUTATION, enforcer=enforcer())
    rig.turns(2)
    rig.controller.indicators("ours", ["8.19.44.1"], "ann")
    assert rig.enforcer.lent == ["8.19.44.1"]
    rig.until(lambda: known(rig, "8.19.44.1"))
    assert not passes(rig, WEB, "8.19.44.1")
    rig.controller.loop.threats._rest_until = rig.controller.now() + MINUTE
    return rig


def known(rig, address):
    """Whether it is worked in; asked after each of many turns, and so without working out what it is worth."""
    return address in rig.controller.loop.judge.ground.intel.table["value"].to_list()


def test_a_pushed_address_is_in_force_without_a_turn_and_stays_so_whatever_is_applied_meanwhile(tmp_path):
    rig = resting(tmp_path)
    rig.controller.indicators("ours", [PUSHED], "ann")
    assert rig.enforcer.denies(rig, PUSHED)
    rig.inventory.known = [replace(WEB, interface="tap-else"), DESK]  # something else that has to be applied
    rig.turns(15)
    assert rig.enforcer.lent == []
    assert rig.enforcer.denies(rig, PUSHED)
    assert not known(rig, PUSHED)
    rig.sensor.at += 2 * MINUTE
    rig.until(lambda: known(rig, PUSHED))
    assert rig.enforcer.denies(rig, PUSHED)


def test_who_pushes_does_not_wait_until_the_flows_that_a_change_cut_are_found(tmp_path):
    rig = resting(tmp_path, Settling)
    rig.enforcer.push = lambda: rig.controller.loop.enforcing.lend("ours", [PUSHED], 2)
    rig.inventory.known = [replace(WEB, interface="tap-else"), DESK]
    rig.until(lambda: rig.enforcer.waits is not None)
    assert not rig.enforcer.waits
    assert rig.enforcer.lent == [PUSHED]


def test_a_pushed_address_that_is_taken_back_before_it_is_worked_in_is_let_through(tmp_path):
    rig = resting(tmp_path)
    rig.controller.indicators("ours", [PUSHED, OTHER], "ann")
    assert rig.ask(lambda: rig.controller.indicators("ours", [PUSHED], "ann", remove=True)) == 1
    assert not rig.enforcer.denies(rig, PUSHED)
    assert rig.enforcer.denies(rig, OTHER)


def test_a_network_is_worked_in_at_once_though_it_is_time_to_rest(tmp_path):
    rig = resting(tmp_path)
    assert rig.ask(lambda: rig.controller.indicators("ours", ["8.19.45.0/24"], "ann")) == 1
    assert rig.enforcer.denies(rig, "8.19.45.99")


def test_policies_that_change_meanwhile_apply_to_what_was_pushed_too(tmp_path):
    rig = resting(tmp_path)
    rig.controller.indicators("ours", [PUSHED], "ann")
    other = LOW_REPUTATION.replace("0.5", "0.4")
    rig.ask(lambda: rig.controller.apply({"p.yaml": other}, "ann", "another bound"))
    rig.sensor.at += 2 * MINUTE
    rig.until(lambda: rig.enforcer.denies(rig, PUSHED))
    assert rig.enforcer.denies(rig, LISTED)


def stamp(seconds):
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stix(*indicators):
    """A bundle of addresses, each with its end (s)."""
    objects = [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd{i:02}",
            "created": "2020-01-01T00:00:00Z",
            "modified": "2020-01-01T00:00:00Z",
            "pattern": f"[ipv4-addr:value = '{address}']",
            "pattern_type": "stix",
            "valid_from": stamp(START // SECOND - 60),
            "valid_until": stamp(end),
        }
        for i, (address, end) in enumerate(indicators)
    ]
    return json.dumps({"type": "bundle", "id": "bundle--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd99", "objects": objects})


def test_a_listing_that_ends_is_let_through_soon(tmp_path):
    now = START // SECOND
    (tmp_path / "bad.txt").write_text(stix(("198.51.100.7", now + 20), (LISTED, now + 9000)))
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(5)
    assert not passes(rig, WEB, "198.51.100.7")
    rig.sensor.at += 30 * SECOND
    rig.until(lambda: passes(rig, WEB, "198.51.100.7"))
    assert not passes(rig, WEB, LISTED)


def ruleset(*addresses):
    return Ruleset(sets={"bad": peer_set(addresses, "is bad")}, vms={}, always=None, unknown_vm="allow")


def test_loans_stand_in_order_among_the_members_and_each_once():
    loans = Loans()
    loans.add("bad", ["1.1.1.9", "9.9.9.9", "2001:db8::1", "1.1.1.1"], 1)
    loans.add("none", ["1.1.1.1"], 1)
    lent = loans.added_to(ruleset("1.1.1.1", "2.2.2.2", "2001:db8::2")).sets
    assert lent["bad"].addresses == ("1.1.1.1", "1.1.1.9", "2.2.2.2", "9.9.9.9", "2001:db8::1", "2001:db8::2")
    assert set(lent) == {"bad"}


def test_the_same_loans_to_the_same_set_make_the_same_set():
    loans, base = Loans(), ruleset("1.1.1.1")
    loans.add("bad", ["2.2.2.2"], 1)
    once = loans.added_to(base).sets["bad"]
    assert loans.added_to(base).sets["bad"] is once
    loans.add("bad", ["3.3.3.3"], 2)
    assert loans.added_to(base).sets["bad"] == PeerSet(("1.1.1.1", "2.2.2.2", "3.3.3.3"), (), "is bad")
    loans.are_in(1)
    assert loans.added_to(base).sets["bad"].addresses == ("1.1.1.1", "3.3.3.3")
    loans.drop(["3.3.3.3"])
    assert loans.added_to(base) is base
