import pytest

from netpersona.persona.model import Kind, TrafficProfile, Usage
from netpersona.persona.profile import BINS, explained, kind_of, knows, volume_bin, volume_quantile
from unit.risk.detectors.windows import FAR, talk


@pytest.mark.parametrize(
    ("size", "bin_"), [(0, 0), (1, 2), (3, 4), (1023, 20), (2**40 - 1, BINS - 1), (2**62, BINS - 1), (-1, 0)]
)
def test_volumes_fall_in_half_octaves(size, bin_):
    assert volume_bin(size) == bin_


def test_no_windows_have_no_quantile():
    assert volume_quantile((), 0.5) == volume_quantile((0, 0), 0.99) == 0.0


def test_a_quantile_is_the_upper_edge_of_its_bin():
    volumes = [0] * BINS
    volumes[volume_bin(1000)], volumes[volume_bin(1_000_000)] = 9, 1
    assert 1000 <= volume_quantile(tuple(volumes), 0.9) <= 1000 * 2**0.5 + 1
    assert 1_000_000 <= volume_quantile(tuple(volumes), 0.91) <= 1_000_000 * 2**0.5 + 1


def test_a_kind_is_known_by_service_and_for_outbound_flows_by_peer():
    known = TrafficProfile(kinds={kind_of(talk()): Usage(1, 0, 0, 0, 0)})
    assert knows(known, kind_of(talk(flows=9)))
    assert not knows(known, kind_of(talk("198.51.100.7")))
    assert kind_of(talk(FAR, 22, direction="inbound")) == kind_of(talk("198.51.100.7", 22, direction="inbound"))
    assert kind_of(talk(FAR, 22, direction="inbound")) == Kind("inbound", "tcp", 22, "")


def test_an_empty_profile_explains_all_that_there_was():
    assert explained(TrafficProfile()) == 1.0
    assert explained(TrafficProfile(dropped_flows=5.0)) == 0.0
