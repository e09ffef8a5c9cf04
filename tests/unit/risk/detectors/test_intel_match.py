from msgspec.structs import replace

from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.observation.model import Sighting
from unit.risk.detectors.windows import FAR, START, asked, judged, talk, window


def listing(confidence=0.9, feed="feodo", value=FAR, type_=IndicatorType.ADDRESS, label="c2"):
    return Indicator(value, type_, label, "c2", confidence, None, None, feed, 7)


def sighting(indicator, *, via="address", direction="outbound", answered=1, peer=FAR):
    return Sighting(indicator, via, peer, direction, "tcp", 443, 1, answered, 1500, 6000, START, START + 1)


def only(*sightings):
    [findings] = judged([window([talk()], sightings=sightings)])
    [finding] = findings
    return finding


def test_a_listed_peer_that_answers_is_an_alert_and_weighs_about_three():
    finding = only(sighting(listing()))
    assert finding.alert
    assert finding.kind == "intel_match"
    assert 2.7 <= finding.weight <= 3.4
    assert finding.feeds == ("feodo",)
    assert "feodo" in finding.why
    assert FAR in finding.why


def test_silence_and_mere_questions_weigh_less_than_answers():
    answered = only(sighting(listing())).weight
    silent = only(sighting(listing(), answered=0)).weight
    dns = only(sighting(listing(value="evil.example", type_=IndicatorType.DOMAIN), via="dns", peer="10.77.0.1")).weight
    assert silent < dns < answered


def test_a_listed_scanner_that_probes_us_is_context():
    for answered in (0, 1):
        finding = only(sighting(listing(), direction="inbound", answered=answered))
        assert not finding.alert
        assert finding.weight < 0.3


def test_a_doubtful_listing_alone_is_context():
    assert not only(sighting(listing(confidence=0.3))).alert


def test_a_second_feed_makes_surer_and_the_same_feed_twice_does_not():
    one = only(sighting(listing(0.6)))
    same = only(sighting(listing(0.6)), sighting(listing(0.6)))
    two = only(sighting(listing(0.6)), sighting(listing(0.6, feed="drop")))
    assert one.confidence == same.confidence < two.confidence
    assert two.feeds == ("drop", "feodo")


def test_a_hostile_label_is_shown_safely():
    why = only(sighting(listing(label='x"; drop\n\x1b[31m' + "é" * 200))).why
    assert why.isascii()
    assert why.isprintable()
    assert len(why) < 400


def test_a_peer_that_is_listed_itself_and_by_its_network_is_one_finding_that_names_both():
    around = listing(0.6, feed="drop", value="93.184.216.0/24", type_=IndicatorType.NETWORK, label="hosting")
    itself = listing(0.9)
    finding = only(sighting(around), sighting(itself))
    assert finding.confidence > only(sighting(itself)).confidence
    assert finding.feeds == ("drop", "feodo")
    assert finding.evidence["indicator"] == FAR
    assert finding.evidence["feed_line"] == 7
    assert finding.evidence["listings"] == [
        "drop:7 lists 93.184.216.0/24 as hosting (0.60)",
        f"feodo:7 lists {FAR} as c2 (0.90)",
    ]
    assert finding.evidence["flows"] == 1
    assert FAR in finding.why


def test_one_feed_that_lists_a_peer_and_its_network_is_one_witness():
    around = listing(0.9, value="93.184.216.0/24", type_=IndicatorType.NETWORK)
    finding = only(sighting(around), sighting(listing()))
    assert finding.confidence == only(sighting(listing())).confidence
    assert len(finding.evidence["listings"]) == 2


def test_a_finding_keeps_its_id_when_a_surer_network_joins_the_listed_address():
    itself = listing(0.6)
    around = listing(0.95, feed="drop", value="93.184.216.0/24", type_=IndicatorType.NETWORK)
    assert only(sighting(itself)).id == only(sighting(itself), sighting(around)).id


def domain(value, feed="feodo"):
    return sighting(listing(value=value, type_=IndicatorType.DOMAIN, feed=feed), via="dns", peer="10.77.0.1")


def test_the_names_that_were_used_are_in_the_evidence_of_a_listed_domain():
    names = [asked("www.evil.example"), asked("evil.example"), asked("notevil.example"), asked("other.test")]
    [[finding]] = judged([window([talk()], names=names, sightings=[domain("evil.example")])])
    assert finding.evidence["names_seen"] == ["evil.example", "www.evil.example"]
    assert finding.evidence["indicator"] == "evil.example"


def test_a_name_that_is_listed_with_a_domain_above_it_is_one_finding_and_another_name_is_another():
    nested = [domain("a.evil.example", "one"), domain("evil.example", "two"), domain("evil.test", "one")]
    [findings] = judged([window([talk()], names=[asked("a.evil.example")], sightings=nested)])
    assert [f.evidence["indicator"] for f in findings] == ["evil.example", "evil.test"]
    assert findings[0].feeds == ("one", "two")
    assert findings[0].evidence["names_seen"] == ["a.evil.example"]
    assert findings[1].evidence["names_seen"] == []


def test_flows_to_different_ports_of_a_listed_peer_stay_apart():
    other = replace(sighting(listing()), port=8443)
    [findings] = judged([window([talk()], sightings=[sighting(listing()), other])])
    assert [f.port for f in findings] == [443, 8443]


URL = listing(value="http://evil.example/gate.php", type_=IndicatorType.URL, label="loader")


def test_a_request_of_a_listed_url_weighs_as_a_call_and_names_the_url():
    finding = only(sighting(URL, via="url"))
    assert finding.alert
    assert finding.weight == only(sighting(listing())).weight
    assert finding.evidence["indicator"] == "http://evil.example/gate.php"
    assert finding.evidence["names_seen"] == ["evil.example"]
    assert finding.why == (
        f"http://evil.example/gate.php is listed as loader by feodo (0.90), and the VM asked {FAR} for it once."
    )
    asked_by = only(sighting(URL, via="url", direction="inbound"))
    assert not asked_by.alert
    assert f"the VM was asked for it by {FAR} once" in asked_by.why


def test_the_host_of_a_listed_url_alone_is_noted_and_says_how_little_that_is():
    for via, did in [
        ("dns-host", "the VM asked for the address of its host once"),
        ("tls-host", f"the VM named its host to {FAR} once"),
    ]:
        finding = only(sighting(URL, via=via))
        assert not finding.alert
        assert 0 < finding.weight < 0.4
        assert finding.evidence["indicator"] == "evil.example"
        assert finding.evidence["listings"] == ["feodo:7 lists http://evil.example/gate.php as loader (0.90)"]
        assert finding.why.endswith(f"{did}: which page was meant was not seen, so this says little.")


def test_urls_of_one_server_stay_apart_and_those_of_a_host_are_one_note():
    other = listing(0.5, feed="drop", value="http://evil.example/x", type_=IndicatorType.URL)
    [requested] = judged([window([talk()], sightings=[sighting(URL, via="url"), sighting(other, via="url")])])
    assert {f.evidence["indicator"] for f in requested} == {"http://evil.example/gate.php", "http://evil.example/x"}
    note = only(sighting(URL, via="tls-host"), sighting(other, via="tls-host"))
    assert note.feeds == ("drop", "feodo")
    assert note.id == only(sighting(other, via="tls-host")).id
