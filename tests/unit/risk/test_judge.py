"""Judge first, then learn: what a window does to the persona, its ledger and its version."""

from dataclasses import replace
from itertools import pairwise

import pytest

from netpersona.flow.window import DAY, SECOND, WINDOW
from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.observation.model import Sighting
from netpersona.persona.memory import Memory
from netpersona.persona.model import Kind, Persona
from netpersona.persona.state import VmState
from netpersona.risk import ledger
from netpersona.risk.detectors import Context
from netpersona.risk.judge import SERIOUS, advance
from unit.risk.detectors.windows import FAR, START, VM, probe, talk, window

BAD = "198.51.100.7"
LISTED = Indicator(BAD, IndicatorType.ADDRESS, "c2", "c2", 0.95, None, None, "feodo", 7)


def calm(number):
    """A window as every other of this VM."""
    return window([talk(at=number * WINDOW + SECOND)], number=number)


def called(number, *, answered=1, confidence=0.95):
    """A window in which the VM calls a listed address, beside what it always does."""
    at = number * WINDOW
    indicator = replace(LISTED, confidence=confidence)
    seen = Sighting(indicator, "address", BAD, "outbound", "tcp", 443, 1, answered, 1500, 6000, START + at, START + at)
    return window([talk(at=at), talk(BAD, at=at, answered=answered)], number=number, sightings=[seen])


def judged(*observations, state=None):
    """The step of each window in turn."""
    steps = []
    for observation in observations:
        steps.append(advance(state, observation, Context()))
        state = steps[-1].state
    return steps


def weight_of(persona, finding, at):
    return sum(ledger.decayed(t, at) for t in persona.risk_ledger if t.finding == finding.id)


def test_a_vm_never_seen_begins_with_its_first_window():
    [step] = judged(calm(0))
    persona = step.state.persona
    assert (persona.vm, persona.version, step.changes) == (VM, 1, ("first seen",))
    assert persona.learned_until == START + WINDOW
    assert persona.profile.kinds.keys() == {Kind("outbound", "tcp", 443, FAR)}
    assert persona.completeness.unseen == 1.0  # one flow, of a kind seen once
    assert (step.findings, step.terms, persona.risk_ledger) == ([], (), ())


def test_a_calm_window_of_the_usual_makes_no_new_version():
    first, *rest = judged(*(calm(i) for i in range(5)))
    assert [step.changes for step in rest] == [()] * 4
    assert rest[-1].state.persona.version == first.state.persona.version == 1
    assert rest[-1].state.persona.profile.windows == 5


def test_nothing_of_a_serious_window_is_learned():
    before, step = judged(calm(0), called(1))
    assert max(f.weight for f in step.findings) >= SERIOUS
    assert step.state.persona.profile is before.state.persona.profile
    assert step.state.persona.completeness == before.state.persona.completeness
    assert step.state.persona.learned_until == START + 2 * WINDOW
    assert step.state.persona.last_seen > before.state.persona.last_seen


def test_of_a_window_that_worries_a_little_the_named_peers_are_not_learned():
    _, step = judged(calm(0), called(1, answered=0, confidence=0.2))
    assert step.findings
    assert all(f.weight < SERIOUS for f in step.findings)
    profile = step.state.persona.profile
    assert profile.windows == 2
    assert BAD not in {kind.peer for kind in profile.kinds}


def test_a_serious_finding_that_is_no_alert_keeps_only_its_own_peers_from_being_learned():
    agent = {"server_name": "agent.telemetry-vendor.com", "flows": 5, "every": 60 * SECOND}
    windows = [window([talk(at=i * WINDOW), talk(BAD, at=i * WINDOW, **agent)], number=i) for i in range(20)]
    *_, step = judged(*windows)
    [finding] = step.findings
    assert (finding.kind, finding.alert, finding.weight >= SERIOUS) == ("c2_beacon", False, True)
    profile = step.state.persona.profile
    assert profile.windows == 20
    assert profile.kinds[Kind("outbound", "tcp", 443, FAR)].flows > 19.9
    assert profile.kinds[Kind("outbound", "tcp", 443, BAD)].flows < 11  # those before it was found


def test_learning_goes_on_when_it_is_calm_again():
    *_, after = judged(calm(0), called(1), calm(2))
    assert after.state.persona.profile.windows == 2


def test_a_frozen_persona_is_judged_but_learns_nothing():
    frozen = VmState(Persona(VM, learning="frozen"), Memory())
    steps = judged(calm(0), called(1), state=frozen)
    assert steps[-1].state.persona.profile is frozen.persona.profile
    assert steps[-1].findings
    assert steps[-1].state.persona.risk_ledger


def test_a_finding_adds_its_weight_with_its_owner_and_its_feed():
    _, step = judged(calm(0), called(1))
    [finding] = [f for f in step.findings if f.kind == "intel_match"]
    [term] = [t for t in step.terms if t.finding == finding.id]
    assert (term.detector, term.peer, term.feeds) == ("intel_match", BAD, ("feodo",))
    assert (term.weight, term.at, term.why) == (finding.weight, START + 2 * WINDOW, finding.why)
    assert ledger.risk_score(step.state.persona, term.at) > ledger.risk_score(step.state.persona, term.at - 1) == 0.02


def test_a_finding_that_goes_on_keeps_its_weight_and_does_not_pile_it_up():
    steps = judged(calm(0), *(called(i) for i in range(1, 200, 9)))
    [first] = [f for f in steps[1].findings if f.kind == "intel_match"]
    for step in steps[1:]:
        [finding] = [f for f in step.findings if f.kind == "intel_match"]
        assert (finding.id, finding.judged_at) == (first.id, first.judged_at)
        at = step.state.persona.learned_until
        assert weight_of(step.state.persona, finding, at) == pytest.approx(finding.weight, abs=0.05)


def test_risk_fades_once_the_finding_ends():
    *_, step = judged(calm(0), called(1))
    persona, at = step.state.persona, START + 2 * WINDOW
    risks = [ledger.risk_score(persona, at + days * DAY) for days in range(4)]
    assert risks == sorted(risks, reverse=True)
    assert len(set(risks)) == 4


@pytest.mark.parametrize("last", [calm, called])
def test_a_window_given_twice_is_learned_once_and_weighs_once(last):
    *_, step = judged(calm(0), calm(1), last(2))
    again = advance(step.state, last(2), Context())
    assert again.state == step.state
    assert again.terms == ()
    assert again.changes == ()
    assert [f.id for f in again.findings] == [f.id for f in step.findings]


def test_a_window_that_comes_late_is_not_learned_and_does_not_turn_back_time():
    *_, step = judged(calm(0), calm(2))
    late = advance(step.state, calm(1), Context())
    assert late.state.persona.profile is step.state.persona.profile
    assert late.state.persona.learned_until == step.state.persona.learned_until


def test_the_version_rises_by_one_exactly_where_a_change_is_named():
    quiet = [calm(i) for i in range(2, 8)]
    server = window([talk(FAR, 22, direction="inbound", at=8 * WINDOW)], number=8)
    steps = judged(calm(0), called(1), *quiet, server, calm(9), calm(9 + 3 * DAY // WINDOW))
    for before, after in pairwise(steps):
        rise = after.state.persona.version - before.state.persona.version
        assert rise == bool(after.changes)
    words = [change for step in steps for change in step.changes]
    assert "answers tcp/22" in words
    assert any(word.startswith("risk went from low to") for word in words)
    assert any(word.startswith("risk went from") and word.endswith("to low") for word in words)


def test_probes_alone_leave_no_change_behind():
    scan = window([probe(BAD, port, at=SECOND) for port in range(200)], number=0)
    [step] = judged(scan)
    assert step.state.persona.profile == Persona(VM).profile
    assert step.state.persona.base == Persona(VM).base


def test_the_same_windows_give_the_same_steps():
    observations = [calm(0), called(1), calm(2), called(3)]
    assert judged(*observations) == judged(*observations)
