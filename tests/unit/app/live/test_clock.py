"""The machine's clock is set an hour forward, and back: nothing is forgotten, ends early or hangs."""

from dataclasses import replace

import pytest

from netpersona.app.live.clock import Clock
from netpersona.flow.window import HOUR, MINUTE, SECOND, WINDOW
from unit.app.live.rig import DESK, FINE, LISTED, LOW_REPUTATION, RISKY, START, Rig, Script, infect, part, passes

ON_A_NAME = LOW_REPUTATION.replace("{reputation_below: 0.5}", "{domains: [evil.example]}")
FOR_A_WHILE = RISKY.replace("existing: cut", "existing: cut, for: 20m")


class Stepped(Script):
    """A sensor whose clock may be set; `set` is how far it was, µs."""

    def __init__(self, at):
        super().__init__()
        self.at, self.set = at, 0

    def step(self, by):
        self.at, self.set = self.at + by, self.set + by

    @property
    def steady(self):
        return (self.at - self.set) / SECOND

    def passes(self, span, rig):
        """Time that really passes."""
        self.at += span
        rig.turns(2)


def stepping(tmp_path, *texts, store=None, at=START):
    from netpersona.app.live.controller import Controller

    rig = Rig(tmp_path, *texts, store=store, at=at)
    rig.sensor = Stepped(at)
    rig.parts = replace(rig.parts, sensor=rig.sensor, steady=lambda: rig.sensor.steady)
    rig.controller = Controller(rig.parts, {f"{i}.yaml": text for i, text in enumerate(texts)}, at)
    rig.turns(2)
    return rig


@pytest.mark.parametrize("by", [HOUR, -HOUR, 3 * MINUTE, -3 * MINUTE])
def test_an_answer_holds_as_long_as_it_was_to_hold(tmp_path, by):
    rig = stepping(tmp_path, ON_A_NAME)
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "evil.example", ["198.51.100.9"], ttl=600)
    rig.turns()
    rig.sensor.step(by)
    rig.turns(2)
    assert not passes(rig, DESK, "198.51.100.9")
    rig.sensor.answer("tap-desk-1", "10.77.0.21", "evil.example", ["198.51.100.10"], ttl=60)
    rig.turns(2)
    assert not passes(rig, DESK, "198.51.100.10")
    rig.sensor.passes(2 * MINUTE, rig)
    assert (passes(rig, DESK, "198.51.100.9"), passes(rig, DESK, "198.51.100.10")) == (False, True)
    rig.sensor.passes(10 * MINUTE, rig)
    assert passes(rig, DESK, "198.51.100.9")


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_a_trial_is_neither_cut_short_nor_left_standing(tmp_path, by):
    rig = stepping(tmp_path, LOW_REPUTATION)
    off = {"open.yaml": LOW_REPUTATION.replace("enforce", "off")}
    rig.ask(lambda: rig.controller.apply(off, "ann", "a trial", confirm_within=5 * MINUTE))
    rig.sensor.step(by)
    rig.turns(5)
    assert passes(rig, DESK, LISTED)
    rig.sensor.passes(5 * MINUTE, rig)
    assert not passes(rig, DESK, LISTED)


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_what_a_vm_did_and_does_is_judged_at_once_and_once(tmp_path, by):
    rig = stepping(tmp_path, RISKY)
    infect(rig)
    rig.sensor.step(by)
    rig.turns(3)
    assert not passes(rig, DESK, FINE)
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    rig.turns(3)
    assert rig.ask(rig.controller.vms)["web-1"].profile.flows == 1
    rig.sensor.passes(WINDOW, rig)
    rig.sensor.passes(WINDOW, rig)
    assert rig.store.states()["web-1"].persona.profile.flows == 1  # its window was closed in time
    assert rig.controller.loop.judge.windows.skipped == {}
    assert rig.controller.loop.judge.windows.starts() == []


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_the_inventory_is_asked_and_the_store_is_written_as_before(tmp_path, by):
    rig = stepping(tmp_path, LOW_REPUTATION)
    rig.sensor.step(by)
    rig.turns(2)
    rig.inventory.known = [DESK]
    written = []
    commit, rig.store.commit = rig.store.commit, written.append
    rig.turns(60)
    rig.store.commit = commit
    assert set(rig.enforcer.in_force().vms) == {"desk-1"}
    assert 1 <= len(written) <= 3


@pytest.mark.parametrize("by", [HOUR, -HOUR])
def test_the_clock_s_time_is_come_back_to(tmp_path, by):
    rig = stepping(tmp_path, LOW_REPUTATION)
    rig.sensor.step(by)
    rig.turns(12)
    shown = part(rig, "clock")
    assert shown.well
    assert "3600 s " + ("behind" if by > 0 else "ahead of") in shown.says
    before = rig.controller.now()
    for _ in range(800):
        rig.sensor.passes(MINUTE, rig)
        assert before < rig.controller.now() < before + 2 * MINUTE
        before = rig.controller.now()
    assert abs(before - rig.sensor.at) < SECOND
    assert part(rig, "clock") is None


def test_a_clock_that_was_set_back_while_nothing_ran(tmp_path):
    rig = stepping(tmp_path, RISKY)
    infect(rig)
    rig.sensor.passes(WINDOW, rig)
    rig.turns(60)
    again = stepping(tmp_path, "", store=rig.store, at=rig.sensor.at - HOUR)
    assert not passes(again, DESK, FINE)
    again.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    again.turns(2)
    assert again.ask(again.controller.vms)["web-1"].profile.flows == 1


def test_a_sensor_s_time_that_waits_for_answers_is_no_step():
    clock = Clock(START, None, iter([0.0, 10.0, 20.0]).__next__, WINDOW)
    script = Script()
    for waited in (2, 19):
        script.at = START + waited * SECOND
        assert clock.level(script.poll(0.0)).until == script.at


def test_time_goes_on_while_an_answer_is_waited_for_and_that_is_no_step_of_the_clock(tmp_path):
    rig = stepping(tmp_path, ON_A_NAME)
    asked, meant = rig.sensor.at, rig.sensor.poll
    rig.sensor.poll = lambda seconds: waiting(meant(seconds), asked)
    for _ in range(60):
        rig.sensor.at += SECOND
        rig.turns()
        assert rig.controller.now() == rig.sensor.at
    rig.sensor.poll = meant
    rig.turns(2)
    assert rig.controller.now() == rig.sensor.at
    assert part(rig, "clock") is None


def test_what_is_final_is_moved_as_the_rows_of_that_time_are():
    steady = Stepped(START)
    clock = Clock(START, None, lambda: steady.steady, WINDOW)
    steady.step(HOUR)
    report = clock.level(steady.poll(0.0))
    assert (report.until, clock.shift) == (START, -HOUR)
    for _ in range(3):
        steady.at += 70 * SECOND
        report = clock.level(waiting(steady.poll(0.0), steady.at - 100 * SECOND))
        assert report.now - report.until >= 100 * SECOND
        assert report.now == steady.at + clock.shift


def waiting(report, since):
    """The report, where something is waited for that was asked then."""
    return replace(report, until=since, waits=report.until - since)
