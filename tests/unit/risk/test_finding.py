import pytest

from netpersona.risk.finding import KINDS, Severity, finding_id


def test_an_id_is_the_same_for_the_same_thing_and_no_other():
    same = finding_id("web-1", "c2_beacon", "tcp", 443, "9.9.9.9")
    assert (
        same
        == finding_id("web-1", "c2_beacon", "tcp", 443, "9.9.9.9")
        == finding_id("web-1", "c2_beacon", "tcp", "443", "9.9.9.9")
    )
    others = [
        finding_id("web-2", "c2_beacon", "tcp", 443, "9.9.9.9"),
        finding_id("web-1", "dga", "tcp", 443, "9.9.9.9"),
        finding_id("web-1", "c2_beacon", "tcp", 443),
        finding_id("web-1", "c2_beacon", "tcp4", "43", "9.9.9.9"),
    ]
    assert len({same, *others}) == 5


def test_an_id_is_stable_across_machines_and_releases():
    assert finding_id("web-1", "c2_beacon", 7, 1_760_000_100_000_000) == "1615de39d2163930"


def test_severities_are_the_reports_words():
    assert [s.value for s in Severity] == ["informational", "low", "medium", "high", "critical"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_techniques_by_their_ids(kind):
    assert all(t[0] == "T" and t[1:5].isdigit() for t in KINDS[kind])
