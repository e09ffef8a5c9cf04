from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.observation.model import Sighting
from unit.risk.detectors.windows import FAR, START, judged, talk, window


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
