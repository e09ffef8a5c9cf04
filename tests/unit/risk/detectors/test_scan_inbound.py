from netpersona.flow.window import HOUR, SECOND, WINDOW
from netpersona.persona.model import RiskTerm
from netpersona.risk.ledger import score
from unit.risk.detectors.windows import FAR, judged, kinds, probe, talk, window

SCANNER = "45.155.205.44"


def test_one_probe_is_weather():
    assert judged([window([probe(SCANNER, 23)])]) == [[]]


def test_many_ports_at_once_are_a_vertical_scan():
    [findings] = judged([window([probe(SCANNER, port) for port in range(20, 55)])])
    [finding] = findings
    assert (finding.kind, finding.peer, finding.direction, finding.alert) == ("scan_vertical", SCANNER, "inbound", True)
    assert finding.evidence["distinct_ports_at_least"] == 35
    assert "35 ports" in finding.why


def test_a_patient_scan_of_one_port_every_two_hours_is_found():
    step = 2 * HOUR // WINDOW
    windows = [window([probe(SCANNER, 1000 + i, at=i * 2 * HOUR)], number=i * step) for i in range(12)]
    results = judged(windows)
    assert [bool(r) for r in results[:10]] == [False] * 9 + [True]
    told = [f for r in results for f in r]
    assert len({f.id for f in told}) == 1
    assert {f.judged_at for f in told} == {windows[9].window.end}


def test_knocking_at_one_port_again_and_again_is_found():
    [findings] = judged([window([probe(SCANNER, 3389, flows=25)])])
    assert [(f.kind, f.alert) for f in findings] == [("scan_horizontal", True)]


def test_a_scan_goes_on_quietly_but_growth_is_told():
    windows = [
        window([probe(SCANNER, 100 + 12 * i + j, at=i * WINDOW) for j in range(12)], number=i) for i in range(40)
    ]
    told = [r[0] for r in judged(windows) if r]
    assert 4 <= len(told) <= 20
    assert len({f.id for f in told}) == 1
    assert [f.confidence for f in told] == sorted(f.confidence for f in told)


def test_late_replies_of_a_server_the_vm_called_are_no_scan():
    called = window([talk(FAR)])
    replies = window([probe(FAR, 40000 + i, at=WINDOW + i * SECOND) for i in range(30)], number=1)
    assert judged([called, replies]) == [[], []]


def test_announcements_are_no_scan():
    heard = [probe("10.77.0.9", port, transport="udp") for port in (137, 138, 1900, 5353)]
    assert judged([window(heard, number=i) for i in range(30)]) == [[]] * 30


def test_being_scanned_all_day_by_twenty_does_not_make_a_vm_risky():
    [findings] = judged([window([probe(f"45.0.0.{i}", 20 + j) for i in range(20) for j in range(12)])])
    terms = [RiskTerm(f.detector, f.peer, f.weight, f.half_life, 0, f.id, (), f.why) for f in findings]
    assert len(kinds(findings)) == 20
    assert score(0.02, terms, 0) < 0.3
