import random

import pytest
from msgspec.structs import replace

from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND, WINDOW
from netpersona.persona.model import Completeness, Kind, Persona, TrafficProfile, Usage
from netpersona.risk.detectors import Context
from netpersona.risk.detectors.c2_beacon import regularity
from unit.risk.detectors.windows import FAR, START, judged, kinds, talk, window


def calls(starts, **how):
    """One window for each that holds some of the starts (µs after START)."""
    by_window = {}
    for start in starts:
        by_window.setdefault(start // WINDOW, []).append(START + start)
    return [window([talk(starts=begun, **how)], number=n) for n, begun in sorted(by_window.items())]


def every(period, count, jitter=0.0, seed=1):
    chance, at, starts = random.Random(seed), 0, []
    for _ in range(count):
        starts.append(int(at))
        at += period * (1 + jitter * chance.uniform(-1, 1))
    return starts


def beacons(results):
    return [f for r in results for f in r if f.kind == "c2_beacon"]


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("period", [2 * SECOND, 11 * SECOND, 60 * SECOND])
def test_quick_calls_at_an_odd_port_are_alerts_even_with_jitter(period, jitter):
    found = beacons(judged(calls(every(period, 60, jitter), port=4711)))
    assert found[-1].alert
    assert found[-1].confidence >= 0.9
    assert found[-1].weight >= 2.9
    assert found[-1].evidence["period_s"] == pytest.approx(period / SECOND, rel=0.25)


def test_calls_that_nobody_answers_are_beacons_too():
    found = beacons(judged(calls(every(12 * SECOND, 100, 0.2), port=1177, answered=0, back=0)))
    assert found[-1].alert
    assert "never answered" in found[-1].why


def test_a_call_and_its_retry_alternate_and_are_regular_still():
    starts, at = [], 0
    for _ in range(60):
        starts += [at, at + 9 * SECOND]
        at += 23 * SECOND
    assert beacons(judged(calls(starts, port=1177, answered=0, back=0)))[-1].alert


def test_an_hourly_beacon_at_an_odd_port_is_found_within_a_day():
    assert beacons(judged(calls(every(HOUR, 24, 0.1), port=4711)))


def test_a_loop_at_443_is_an_alert_and_an_updater_there_is_not():
    assert beacons(judged(calls(every(2 * SECOND, 150))))[-1].alert
    for period in (5 * MINUTE, 15 * MINUTE, 30 * MINUTE):
        assert kinds([f for r in judged(calls(every(period, 60))) for f in r]) == []


def test_a_makers_name_makes_it_an_updater():
    assert not any(
        f.alert for f in beacons(judged(calls(every(30 * SECOND, 80), server_name="settings.data.microsoft.com")))
    )
    assert any(
        f.alert for f in beacons(judged(calls(every(30 * SECOND, 80), server_name="microsoft.com.evil.example")))
    )


AGENT = {"server_name": "agent.telemetry-vendor.com"}


def of_age(began):
    """A VM known for three days, that calls to FAR began `began` µs after START, if at all."""
    kinds = {Kind("outbound", "tcp", 443, "10.77.0.1"): Usage(9000.0, 1.0, 1.0, START - 3 * DAY, START)}
    if began is not None:
        kinds[Kind("outbound", "tcp", 443, FAR)] = Usage(5.0, 1.0, 1.0, START + began, START + began)
    profile = TrafficProfile(kinds=kinds, windows=500, flows=9000)
    return Persona("web-1", profile=profile, completeness=Completeness(0.01, 0.0, 0.02), first_seen=START - 3 * DAY)


@pytest.mark.parametrize("jitter", [0.0, 0.2])
@pytest.mark.parametrize("period", [40 * SECOND, 60 * SECOND, 90 * SECOND])
def test_an_agent_that_asks_each_minute_by_a_name_is_context(period, jitter):
    found = beacons(judged(calls(every(period, 60, jitter), **AGENT)))
    assert found
    assert not any(f.alert for f in found)


@pytest.mark.parametrize(
    ("period", "how"),
    [
        (60 * SECOND, {}),
        (60 * SECOND, {"server_name": "198.51.100.7"}),
        (60 * SECOND, {"server_name": "xkqzjvwpthgb.com"}),
        (60 * SECOND, AGENT | {"port": 4711}),
        (60 * SECOND, AGENT | {"answered": 0}),
        (15 * SECOND, AGENT),
    ],
)
def test_one_that_has_no_name_or_no_answer_or_hurries_is_an_alert(period, how):
    assert beacons(judged(calls(every(period, 60), **how)))[-1].alert


@pytest.mark.parametrize("learned", [None, 0, -10 * MINUTE])
def test_an_agent_that_is_new_to_a_vm_of_age_is_an_alert_also_where_its_first_calls_were_learned(learned):
    assert beacons(judged(calls(every(60 * SECOND, 60), **AGENT), of_age(learned)))[-1].alert


def test_an_agent_that_a_vm_had_from_its_first_hour_never_becomes_new():
    young = replace(of_age(None), first_seen=START - HOUR)
    assert not any(f.alert for f in beacons(judged(calls(every(60 * SECOND, 600), **AGENT), young)))


def test_a_person_who_reads_is_no_beacon():
    chance, at, starts = random.Random(5), 0.0, []
    for _ in range(300):
        at += chance.expovariate(1 / (20 * SECOND))
        starts.append(int(at))
    assert not any(f.alert for f in beacons(judged(calls(starts))))


def test_a_burst_of_connections_has_no_rhythm():
    assert beacons(judged(calls(every(SECOND // 20, 40), port=4711))) == []


def test_nine_calls_are_too_few():
    assert beacons(judged(calls(every(10 * SECOND, 9), port=4711))) == []


def test_time_and_name_services_are_called_regularly_by_design():
    for port in (53, 123):
        assert beacons(judged(calls(every(16 * SECOND, 90), port=port, transport="udp"))) == []


def test_health_checks_between_our_own_machines_are_no_alert():
    context = Context(fleet=frozenset({"10.77.0.12"}))
    assert not any(
        f.alert for f in beacons(judged(calls(every(2 * SECOND, 400), peer="10.77.0.12", port=5432), context=context))
    )


def test_what_the_vm_has_done_for_days_is_no_alert_at_a_usual_port():
    usage = Usage(9000.0, 1.0, 1.0, START - 3 * DAY, START)
    profile = TrafficProfile(kinds={Kind("outbound", "tcp", 443, FAR): usage})
    assert not any(f.alert for f in beacons(judged(calls(every(10 * SECOND, 100)), Persona("web-1", profile=profile))))


def test_windows_of_one_beacon_update_one_finding():
    found = beacons(judged(calls(every(10 * SECOND, 200), port=4711)))
    assert len({f.id for f in found}) == 1
    assert len({f.judged_at for f in found}) == 1
    assert [f.last_seen for f in found] == sorted({f.last_seen for f in found})


def test_regularity_of_known_rhythms():
    assert regularity([1000] * 20) == (1.0, 1000)
    assert regularity([1000, 2000, 1000, 3000] * 5)[0] == 1.0
    assert regularity([0] * 20) == (0.0, 0)
    chance = random.Random(2)
    scores = [regularity([int(chance.expovariate(1 / 10_000)) for _ in range(60)])[0] for _ in range(40)]
    assert sum(scores) / len(scores) < 0.65


def test_a_monitor_makes_rounds_and_is_no_implant():
    rounds = [talk(f"172.20.{i}.5", 9100, starts=[START + t for t in every(15 * SECOND, 20)]) for i in range(12)]
    assert not any(f.alert for f in beacons(judged([window(rounds)])))


def words(count=60, at=0, **more):
    """Calls for a few words each, without any rhythm."""
    chance = random.Random(7)
    starts = sorted(START + at + chance.randrange(2 * MINUTE) for _ in range(count))
    return talk(**{"port": 80, "out": 550, "back": 470, "starts": starts, **more})


def test_many_calls_for_a_few_words_need_no_rhythm():
    [finding] = beacons(judged([window([words()])]))
    assert (finding.alert, finding.evidence["received_bytes_per_call"]) == (True, 470)


@pytest.mark.parametrize(
    "other",
    [
        {"count": 40},
        {"back": 2400},
        {"out": 4000},
        {"back": 0},
        {"port": 5000},
        {"peer": "10.99.0.7"},
        {"server_name": "telemetry.ubuntu.com"},
    ],
)
def test_pages_questions_inside_and_makers_are_no_words_of_an_implant(other):
    assert not [f for f in beacons(judged([window([words(**other)])])) if f.alert]


def test_a_habit_of_asking_for_a_few_words_is_one():
    usage = Usage(900.0, 1.0, 1.0, START - 2 * DAY, START)
    profile = TrafficProfile(kinds={Kind("outbound", "tcp", 80, FAR): usage}, windows=200)
    assert not beacons(judged([window([words()])], Persona("web-1", profile=profile)))
