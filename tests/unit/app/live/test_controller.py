from dataclasses import replace

import pytest
from msgspec import structs

from netpersona.app.exempted import ACQUITTED, terms_of
from netpersona.app.live.rules import ANSWERS_KEPT
from netpersona.errors import (
    ConfigError,
    EnforcerError,
    FeedError,
    InventoryError,
    PolicyError,
    SourceError,
    StoreError,
)
from netpersona.flow.window import DAY, MINUTE, SECOND, WINDOW
from unit.app.live.rig import DESK, FINE, LISTED, LOW_REPUTATION, RISKY, WEB, Rig, part, passes


def test_taps_are_watched_and_policies_in_force_after_one_turn(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    assert rig.sensor.taps == {"tap-web-1": "web-1", "tap-desk-1": "desk-1"}
    assert not passes(rig, WEB, LISTED)
    assert passes(rig, WEB, FINE)


def test_what_a_vm_does_raises_its_risk_and_its_rules_follow_within_a_turn(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns(2)
    assert passes(rig, DESK, FINE)
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
    rig.turns()
    assert not passes(rig, DESK, FINE)
    assert passes(rig, WEB, FINE)
    persona = rig.ask(rig.controller.vms)["desk-1"]
    assert persona.risk_ledger
    assert {f.kind for f in rig.controller.loop.judge.findings().values()} >= {"intel_match"}


def test_retries_against_a_block_are_no_new_evidence(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns(2)
    for _ in range(5):  # blocked from the start: never an answer
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, 443, state="S0", packets_resp=0, bytes_resp=0)
        rig.turns()
    assert not rig.ask(rig.controller.vms)["desk-1"].risk_ledger
    rig.ask(lambda: rig.controller.apply({}, "ann", "no policy"))
    rig.turns()
    for port in (443, 8443):  # answered: before the block
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
        rig.turns()
    before = rig.ask(rig.controller.vms)["desk-1"].risk_ledger
    assert before
    rig.ask(lambda: rig.controller.apply({"p.yaml": LOW_REPUTATION}, "ann", "back"))
    rig.turns(2)
    rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, 8080, state="S0", packets_resp=0, bytes_resp=0)
    rig.turns(2)
    after = rig.ask(rig.controller.vms)["desk-1"].risk_ledger
    assert {t.finding for t in after} == {t.finding for t in before}


def test_a_peer_that_another_vm_forges_is_not_held_against_this_one(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns()
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-web-1", "10.77.0.21", LISTED, port)  # the address of desk-1, at the tap of web-1
    rig.turns(2)
    assert passes(rig, DESK, FINE)


def test_a_name_that_is_asked_for_is_enforced_with_its_answer_at_once(tmp_path):
    text = LOW_REPUTATION.replace("{reputation_below: 0.5}", "{domains: [evil.example]}")
    rig = Rig(tmp_path, text)
    rig.turns()
    assert passes(rig, DESK, "198.51.100.9")
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "www.evil.example", ["198.51.100.9"], ttl=120)
    rig.turns()
    assert not passes(rig, DESK, "198.51.100.9")
    assert passes(rig, WEB, "198.51.100.9")
    rig.sensor.at += 100 * SECOND
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "www.evil.example", ["198.51.100.10"], ttl=1)
    rig.turns()
    assert not passes(rig, DESK, "198.51.100.9")  # a later answer does not end an earlier one
    rig.sensor.at += 30 * SECOND
    rig.turns()
    assert passes(rig, DESK, "198.51.100.9")
    assert not passes(rig, DESK, "198.51.100.10")  # programs keep a name for a minute, whatever its time to live


def test_an_indicator_pushed_is_in_force_when_the_push_returns(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    assert passes(rig, WEB, "8.19.44.7")
    assert rig.ask(lambda: rig.controller.indicators("ours", ["8.19.44.7", "8.19.45.0/24"], "ann")) == 2
    assert not passes(rig, WEB, "8.19.44.7")
    assert not passes(rig, WEB, "8.19.45.99")
    assert rig.ask(lambda: rig.controller.indicators("ours", ["8.19.44.7"], "ann", remove=True)) == 1
    assert passes(rig, WEB, "8.19.44.7")
    for values, name, error in (
        (["10.77.0.11"], "ours", FeedError),
        (["what?"], "ours", FeedError),
        (["1.2.3.4"], "bad", FeedError),
    ):
        with pytest.raises(error, match=r"refused|file|expected"):
            rig.ask(lambda values=values, name=name: rig.controller.indicators(name, values, "ann"))
    with pytest.raises(ConfigError, match="nothing was ever pushed"):
        rig.ask(lambda: rig.controller.indicators("nobody", ["1.2.3.4"], "ann", remove=True))


def test_a_feed_file_that_changes_is_followed_and_one_that_breaks_is_not(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    rig.feed.write_text(f"{LISTED}\n198.51.100.77\n")
    rig.until(lambda: not passes(rig, WEB, "198.51.100.77"))
    rig.feed.unlink()
    rig.until(lambda: not part(rig, "feed bad").well)
    assert not passes(rig, WEB, "198.51.100.77")


def test_policies_are_applied_rolled_back_and_versioned(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    applied = rig.ask(
        lambda: rig.controller.apply({"open.yaml": LOW_REPUTATION.replace("enforce", "off")}, "ann", "a test")
    )
    assert applied.version.number == 2
    assert passes(rig, WEB, LISTED)
    rig.ask(lambda: rig.controller.roll_back("bob"))
    assert not passes(rig, WEB, LISTED)
    versions = rig.ask(rig.controller.policies)
    assert [(v.number, v.who) for v in versions] == [(1, "configuration"), (2, "ann"), (3, "bob")]
    with pytest.raises(ConfigError, match="no version 9"):
        rig.ask(lambda: rig.controller.roll_back("bob", 9))


def test_a_policy_that_cannot_be_read_changes_nothing(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    with pytest.raises(PolicyError):
        rig.ask(lambda: rig.controller.apply({"bad.yaml": "kind: Polcy"}, "ann", "a slip"))
    assert not passes(rig, WEB, LISTED)
    assert len(rig.ask(rig.controller.policies)) == 1


def test_what_is_not_confirmed_in_time_goes_back(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    off = {"open.yaml": LOW_REPUTATION.replace("enforce", "off")}
    rig.ask(lambda: rig.controller.apply(off, "ann", "a trial", confirm_within=MINUTE))
    assert passes(rig, WEB, LISTED)
    rig.sensor.at += 61 * SECOND
    rig.turns(2)
    assert not passes(rig, WEB, LISTED)
    rig.ask(lambda: rig.controller.apply(off, "ann", "again", confirm_within=MINUTE))
    assert rig.ask(lambda: rig.controller.confirm("ann")).confirmed
    rig.sensor.at += 61 * SECOND
    rig.turns(2)
    assert passes(rig, WEB, LISTED)
    with pytest.raises(ConfigError, match="nothing waits"):
        rig.ask(lambda: rig.controller.confirm("ann"))


def test_a_restart_keeps_policies_pushes_and_what_was_learned_and_undoes_what_was_not_confirmed(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    rig.ask(lambda: rig.controller.indicators("ours", ["8.19.44.7"], "ann"))
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    rig.sensor.at += WINDOW
    rig.turns(2)
    off = {"open.yaml": LOW_REPUTATION.replace("enforce", "off")}
    rig.ask(lambda: rig.controller.apply(off, "ann", "a trial", confirm_within=MINUTE))
    again = Rig(tmp_path, "", store=rig.store)  # killed: nothing but the store is left
    again.sensor.at = rig.sensor.at + 2 * MINUTE
    again.turns(2)
    assert not passes(again, WEB, LISTED)
    assert not passes(again, WEB, "8.19.44.7")
    assert again.ask(again.controller.vms)["web-1"].profile.flows == 1


class Guarded:
    """A guard that writes down what it was told."""

    def __init__(self):
        self.told, self.refuses = [], False

    def arm(self, earlier, seconds):
        if self.refuses:
            raise EnforcerError("the kernel would refuse the revert")
        self.told.append(("armed", seconds, set(earlier.vms)))

    def disarm(self):
        self.told.append(("disarmed",))


def test_a_trial_is_guarded_until_it_is_over(tmp_path):
    guard = Guarded()
    rig = Rig(tmp_path, LOW_REPUTATION, guard=guard)
    rig.turns()
    off = {"open.yaml": LOW_REPUTATION.replace("enforce", "off")}
    rig.ask(lambda: rig.controller.apply(off, "ann", "a trial", confirm_within=MINUTE))
    assert guard.told == [("armed", 60.0, {"web-1", "desk-1"})]
    with pytest.raises(ConfigError, match="wait to be confirmed"):
        rig.ask(lambda: rig.controller.apply(off, "bob", "another", confirm_within=MINUTE))
    rig.ask(lambda: rig.controller.confirm("ann"))
    assert guard.told[1:] == [("disarmed",)]
    guard.refuses = True
    with pytest.raises(EnforcerError):
        rig.ask(lambda: rig.controller.apply({}, "ann", "without a way back", confirm_within=MINUTE))
    assert passes(rig, WEB, LISTED)
    assert len(rig.ask(rig.controller.policies)) == 2


class Refusing:
    """An enforcer that refuses when told to: what was in force stays."""

    def __init__(self, within):
        self.within, self.refuses = within, False

    def apply(self, desired):
        if self.refuses:
            raise EnforcerError("the kernel said no")
        return self.within.apply(desired)

    def __getattr__(self, name):
        return getattr(self.within, name)


def test_parts_that_fail_are_told_and_tried_again_and_the_last_good_rules_stay(tmp_path):
    from netpersona.adapters.enforcers.plan import Plan

    rig = Rig(tmp_path, RISKY, enforcer=Refusing(Plan()))
    rig.turns()
    held = rig.enforcer.in_force()
    rig.enforcer.refuses = True
    rig.inventory.error = InventoryError("gone")
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-web-1", "10.77.0.11", LISTED, port)
    rig.turns(60)
    assert rig.enforcer.in_force() == held
    assert (part(rig, "enforcer").well, part(rig, "inventory").well) == (False, False)
    with pytest.raises(EnforcerError):
        rig.ask(lambda: rig.controller.apply({"x.yaml": RISKY}, "ann", "a test"))
    assert len(rig.ask(rig.controller.policies)) == 1
    rig.enforcer.refuses, rig.inventory.error = False, None
    rig.sensor.at += 40 * SECOND
    rig.turns(3)
    assert (part(rig, "enforcer").well, part(rig, "inventory").well) == (True, True)
    rig.sensor.error = SourceError("no ring")
    rig.turns(3)
    assert not part(rig, "sensor").well
    rig.sensor.error = None


def test_a_store_that_fails_loses_nothing(tmp_path, monkeypatch):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    commit = rig.store.commit

    def full(checkpoint):
        raise StoreError("the disk is full")

    monkeypatch.setattr(rig.store, "commit", full)
    rig.sensor.at += WINDOW + SECOND
    rig.turns(30)
    assert not part(rig, "store").well
    monkeypatch.setattr(rig.store, "commit", commit)
    rig.sensor.at += 40 * SECOND
    rig.turns(30)
    assert part(rig, "store").well
    assert rig.store.states()["web-1"].persona.profile.flows == 1


def test_a_vm_that_leaves_and_one_that_moves_are_followed(tmp_path):
    rig = Rig(tmp_path, LOW_REPUTATION)
    rig.turns()
    rig.inventory.known = [replace(WEB, interface="tap-new")]
    rig.turns(12)
    assert rig.sensor.taps == {"tap-new": "web-1"}
    assert set(rig.enforcer.in_force().vms) == {"web-1"}
    assert rig.enforcer.in_force().vms["web-1"].interface == "tap-new"


def test_a_mitigation_ends_though_no_packet_comes(tmp_path):
    rig = Rig(tmp_path, RISKY.replace("existing: cut", "existing: cut, for: 2m").replace("> 0.3", "> 0.4"))
    rig.turns()
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
    rig.turns()
    assert not passes(rig, DESK, FINE)
    rig.sensor.at += 3 * WINDOW
    rig.turns(2)
    assert not passes(rig, DESK, FINE)  # the risk that triggered it is still there
    rig.sensor.at += 4 * DAY
    rig.turns(2)
    assert passes(rig, DESK, FINE)


def test_a_vm_that_is_acquitted_is_let_out_at_once_and_only_what_it_does_next_counts(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns()
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
    rig.turns()
    assert not passes(rig, DESK, FINE)
    now = rig.ask(rig.controller.vms)["desk-1"]
    clean = structs.replace(now, risk_ledger=(), signatures=(), mitigations=(), version=now.version + 1)
    rig.ask(lambda: rig.controller.edit(clean, "ann", ACQUITTED))
    rig.turns(3)
    assert passes(rig, DESK, FINE)
    counting = [term for term in terms_of(rig.store, DESK.name, rig.sensor.at) if term.exempt is None]
    assert not counting
    rig.sensor.at += WINDOW
    rig.turns(3)
    assert passes(rig, DESK, FINE)
    for port in (443, 8443, 4444):
        rig.sensor.flow("tap-desk-1", "10.77.0.21", LISTED, port)
    rig.turns()
    assert not passes(rig, DESK, FINE)


def test_a_persona_is_frozen_where_it_stands(tmp_path):
    rig = Rig(tmp_path)
    rig.turns()
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    rig.turns()
    now = rig.ask(rig.controller.vms)["web-1"]
    rig.ask(
        lambda: rig.controller.edit(structs.replace(now, learning="frozen", version=now.version + 1), "ann", "frozen")
    )
    assert rig.ask(rig.controller.vms)["web-1"].learning == "frozen"


def test_names_that_nobody_asks_about_do_not_push_out_a_denied_one(tmp_path):
    text = LOW_REPUTATION.replace("{reputation_below: 0.5}", "{domains: [evil.example]}")
    rig = Rig(tmp_path, text)
    rig.turns()
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "www.evil.example", ["198.51.100.9"], ttl=120)
    for i in range(ANSWERS_KEPT + 10):
        rig.sensor.answer("tap-desk-1", "10.77.0.21", f"n{i}.fine.example", [f"8.{i >> 8}.{i & 255}.1"], ttl=100_000)
    rig.turns(2)
    assert not passes(rig, DESK, "198.51.100.9")
    assert len(rig.controller.loop.enforcing.rules.answers["desk-1"]) <= ANSWERS_KEPT
