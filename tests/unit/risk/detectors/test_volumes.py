"""Exfiltration, volume anomaly, new behaviour: judged against what the VM usually does."""

from netpersona.flow.window import HOUR, WINDOW
from netpersona.persona.model import Completeness, Kind, Persona, TrafficProfile, Usage
from netpersona.persona.profile import BINS, volume_bin
from netpersona.risk.detectors import Context
from unit.risk.detectors.windows import FAR, START, judged, kinds, talk, window

MB = 1_000_000


def learned(*kinds_, band=100_000, windows=200, seen=0.99):
    volumes = [0] * BINS
    volumes[volume_bin(band)] = windows
    usage = Usage(900.0, 1.0, 1.0, 0, START)
    profile = TrafficProfile(
        kinds=dict.fromkeys(kinds_, usage),
        volumes_out=tuple(volumes),
        volumes_in=tuple(volumes),
        windows=windows,
        flows=10_000,
    )
    return Persona("web-1", profile=profile, completeness=Completeness(1 - seen, 0.0, 0.1))


def test_a_large_upload_to_a_peer_never_used_is_exfiltration():
    [findings] = judged([window([talk(out=80 * MB, back=500_000)])])
    [finding] = findings
    assert (finding.kind, finding.peer, finding.alert) == ("exfiltration", FAR, True)
    assert "80.0 MB" in finding.why


def test_more_upload_makes_surer():
    confidences = [judged([window([talk(out=n * MB, back=0)])])[0][0].confidence for n in (20, 40, 80, 400)]
    assert confidences == sorted(set(confidences))


def test_an_upload_in_pieces_adds_up():
    windows = [window([talk(out=6 * MB, back=1000, at=i * WINDOW)], number=i) for i in range(12)]
    results = judged(windows)
    assert "exfiltration" in kinds(results[-1])
    assert results[0] == []


def test_downloads_meetings_and_usual_places_are_no_exfiltration():
    assert judged([window([talk(out=5 * MB, back=900 * MB)])]) == [[]]
    assert judged([window([talk(out=80 * MB, back=70 * MB)])]) == [[]]
    backup = learned(Kind("outbound", "tcp", 443, FAR), band=100 * MB)
    assert judged([window([talk(out=80 * MB, back=0)])], backup) == [[]]


def test_a_small_upload_counts_where_it_stands_far_out_of_the_own_band():
    upload = window([talk(out=6 * MB, back=1000)])
    assert "exfiltration" in kinds(judged([upload], learned(band=20_000))[0])
    assert judged([upload]) == [[]]


def uploads(*hours):
    """The ids under which a large upload to FAR is told that comes at each of these hours."""
    windows = [window([talk(out=80 * MB, back=0, at=at * HOUR)], number=at * HOUR // WINDOW) for at in hours]
    return {f.id for findings in judged(windows) for f in findings if f.kind == "exfiltration"}


def test_what_is_sent_each_night_is_one_finding_though_the_hour_varies():
    assert len(uploads(0, 27, 49, 77)) == 1
    assert len(uploads(0, 48)) == 2


def test_volume_far_over_the_band_is_an_alert_only_after_learning():
    flood = window([talk(out=300 * MB, back=300 * MB, port=443)])
    usual = learned(Kind("outbound", "tcp", 443, FAR), band=MB)
    assert [(f.direction, f.alert) for f in judged([flood], usual)[0]] == [("inbound", False), ("outbound", True)]
    before = Context(learn_until=START + WINDOW)
    assert kinds(judged([flood], usual, before)[0]) == []
    assert kinds(judged([flood], usual, before)[0], alerts=False) == ["volume_anomaly", "volume_anomaly"]


def test_there_is_no_band_before_two_hours_were_seen():
    young = learned(Kind("outbound", "tcp", 443, FAR), band=MB, windows=23)
    assert judged([window([talk(out=300 * MB, back=300 * MB)])], young) == [[]]


def test_a_new_service_that_answers_the_outside_is_an_alert():
    known = learned(Kind("inbound", "tcp", 443, ""))
    door = window([talk("93.184.216.40", 4444, direction="inbound", out=9000, back=4000)])
    [finding] = judged([door], known)[0]
    assert (finding.kind, finding.alert, finding.port) == ("new_behaviour", True, 4444)


def test_a_new_call_out_is_context_and_known_things_are_nothing():
    known = learned(Kind("inbound", "tcp", 443, ""), Kind("outbound", "tcp", 5432, "10.77.0.12"))
    [finding] = judged([window([talk(port=8883)])], known)[0]
    assert (finding.kind, finding.alert) == ("new_behaviour", False)
    assert judged([window([talk("10.77.0.12", 5432)])], known) == [[]]


def test_nothing_is_new_to_a_vm_that_we_hardly_know():
    assert judged([window([talk(port=8883)])], learned(seen=0.6)) == [[]]
    assert judged([window([talk(port=8883)])], learned(), Context(learn_until=START + WINDOW)) == [[]]


def test_the_first_nightly_backup_is_context():
    flood = window([talk(out=300 * MB, back=1000)])
    young = learned(Kind("outbound", "tcp", 443, FAR), band=MB, windows=60)
    inside = window([talk("10.77.0.90", out=300 * MB, back=1000)])
    old = learned(Kind("outbound", "tcp", 443, "10.77.0.90"), band=MB)
    for backup, persona in ((flood, young), (inside, old)):
        [finding] = judged([backup], persona)[0]
        assert (finding.kind, finding.alert) == ("volume_anomaly", False)
        assert finding.weight < 1.0
