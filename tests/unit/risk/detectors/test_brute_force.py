import pytest

from netpersona.flow.window import HOUR, MINUTE, SECOND, WINDOW
from netpersona.persona.model import Kind, Persona, TrafficProfile, Usage
from unit.risk.detectors.windows import FAR, judged, kinds, talk, window

GUESSER = "112.85.42.94"


def session(peer=GUESSER, port=22, direction="inbound", flows=1, *, at=0, **more):
    return talk(peer, port, direction=direction, flows=flows, at=at, every=2 * SECOND, out=900, back=1200, **more)


def test_failed_log_ins_are_counted_over_windows():
    windows = [window([session(flows=4, failed=4, at=i * WINDOW)], number=i) for i in range(5)]
    results = judged(windows)
    assert [kinds(r) for r in results] == [[], [], ["brute_force"], ["brute_force"], ["brute_force"]]
    assert results[2][0].id == results[4][0].id
    assert results[2][0].confidence < results[4][0].confidence
    assert "20" in results[4][0].why


def test_many_short_sessions_of_unknown_outcome_are_found():
    [findings] = judged([window([session(flows=40)])])
    [finding] = findings
    assert (finding.kind, finding.direction, finding.port, finding.alert) == ("brute_force", "inbound", 22, True)


def test_sessions_spread_over_a_day_are_found():
    windows = [window([session(at=i * HOUR // 2)], number=i * (HOUR // 2 // WINDOW)) for i in range(40)]
    assert kinds(judged(windows)[-1]) == ["brute_force"]


def test_work_is_no_guessing():
    typing = session(flows=30, lasts=40 * MINUTE)
    copying = talk(GUESSER, 22, direction="inbound", flows=30, back=5_000_000)
    automation = session(flows=30, ok=30)
    for work in (typing, copying, automation):
        assert judged([window([work])]) == [[]]


def test_a_password_that_several_outside_use_was_guessed():
    crowd = [session(f"112.85.42.{i}", flows=30, ok=30) for i in (1, 2, 3)]
    assert kinds(judged([window(crowd)])[0]) == ["brute_force"] * 3
    assert judged([window(crowd[:2])]) == [[]]
    runners = [session(f"10.77.0.{i}", flows=30, ok=30) for i in (21, 22, 23)]
    assert judged([window(runners)]) == [[]]


def test_extensions_of_a_telephone_are_guessed_in_a_burst_from_outside():
    assert kinds(judged([window([session(port=5060, flows=22)])])[0]) == ["brute_force"]
    calls = [window([session(port=5060, flows=10, at=i * 2 * WINDOW)], number=2 * i) for i in range(6)]
    assert judged(calls)[-1] == []
    assert judged([window([session("10.77.0.21", 5060, flows=22)])]) == [[]]


@pytest.mark.parametrize("before", [3, 9, 11, 19])
def test_a_burst_of_guessed_extensions_is_found_wherever_a_window_ends_in_it(before):
    first = session(port=5060, flows=before, at=WINDOW - before * 2 * SECOND)
    rest = session(port=5060, flows=22 - before, at=WINDOW)
    assert kinds(judged([window([first]), window([rest], number=1)])[1]) == ["brute_force"]


def test_who_guessed_hours_ago_does_not_displace_who_guesses():
    done = [window([session(f"112.85.{i}.9", flows=24) for i in range(60)])]
    later = [
        window([session(f"112.86.{i}.9", flows=2, at=number * WINDOW) for i in range(17)], number=number)
        for number in range(72, 84)
    ]
    assert len(kinds(judged([*done, *later])[-1])) == 17


def test_a_web_client_is_no_guesser():
    assert judged([window([talk(GUESSER, 443, direction="inbound", flows=200, every=SECOND)])]) == [[]]


def test_guessing_at_an_odd_port_is_known_by_its_protocol():
    odd = session("147.32.80.37", 902, "outbound", flows=60, application="ssh")
    [findings] = judged([window([odd])])
    assert "brute_force" in kinds(findings)


def test_the_vms_own_habit_of_logging_in_is_none():
    habit = session(FAR, 22, "outbound", flows=30)
    profile = TrafficProfile(kinds={Kind("outbound", "tcp", 22, FAR): Usage(500.0, 1.0, 1.0, 0, 1)})
    findings = judged([window([habit])], Persona("web-1", profile=profile))[0]
    assert "brute_force" not in kinds(findings)


def test_getting_in_after_many_failures_is_worse():
    [held] = judged([window([session(flows=30, failed=30)])])
    [broken] = judged([window([session(flows=31, failed=30, ok=1)])])
    assert broken[0].severity == "high"
    assert held[0].weight < broken[0].weight


def test_a_web_server_that_opens_its_database_all_day_is_no_guesser():
    for application in (None, "postgresql"):
        opened = [
            window([session("10.77.0.11", 5432, flows=40, at=i * WINDOW, application=application)], number=i)
            for i in range(20)
        ]
        assert judged(opened) == [[]] * 20


def test_automation_inside_that_logs_in_twice_an_hour_is_no_guesser():
    windows = [window([session("10.77.0.9", at=i * HOUR // 2)], number=i * (HOUR // 2 // WINDOW)) for i in range(47)]
    assert judged(windows) == [[]] * 47
