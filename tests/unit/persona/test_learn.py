import pytest
from msgspec.structs import replace

from netpersona.flow.window import DAY, HOUR, SECOND, WINDOW
from netpersona.observation.model import FingerprintUse
from netpersona.persona.learn import inferred_base, learn, span
from netpersona.persona.model import BaseNetworkConfig, Kind, Persona, TrafficProfile
from netpersona.persona.profile import (
    FINGERPRINTS_KEPT,
    HALF_LIFE,
    KINDS_KEPT,
    NAMES_KEPT,
    SLACK,
    completeness,
    explained,
    volume_bin,
)
from unit.risk.detectors.windows import FAR, OWN, START, VM, asked, probe, talk, window

HTTPS = Kind("outbound", "tcp", 443, FAR)
WEEK = 7 * DAY
MONDAY = START // WEEK * WEEK + WEEK  # µs: where a week begins


def learned(*observations, persona=None, but=()):
    """The persona after these calm windows."""
    persona = persona or Persona(VM)
    for observation in observations:
        profile = learn(persona, observation, but)
        persona = replace(persona, profile=profile, learned_until=observation.window.end)
    return persona


def later(at, *conversations):
    """A window with these conversations (at START + at) in the window that holds them."""
    return window(conversations, number=at // WINDOW)


def test_outbound_flows_are_kinds_by_service_and_peer_inbound_ones_by_service():
    profile = learned(
        window(
            [
                talk(flows=2, every=SECOND),
                talk(FAR, 80),
                talk(FAR, 22, direction="inbound"),
                talk("198.51.100.7", 22, direction="inbound"),
            ]
        )
    ).profile
    assert {kind: usage.flows for kind, usage in profile.kinds.items()} == {
        HTTPS: 2.0,
        Kind("outbound", "tcp", 80, FAR): 1.0,
        Kind("inbound", "tcp", 22, ""): 2.0,
    }
    assert (profile.flows, profile.windows) == (5, 1)
    assert profile.hours[START // HOUR % 24] == 5.0


def test_a_window_is_learned_once():
    once = learned(window([talk()]))
    assert learn(once, window([talk(), talk(FAR, 80)])) is once.profile


def test_a_window_before_the_last_learned_changes_nothing():
    after = learned(window([talk(at=WINDOW)], number=1))
    assert learn(after, window([talk()])) is after.profile


def test_probes_that_nobody_answers_are_not_learned():
    persona = Persona(VM)
    assert learn(persona, window([probe(FAR, port) for port in range(100)])) is persona.profile
    assert learned(window([probe(FAR, 22), talk()])).profile.kinds.keys() == {HTTPS}


def test_what_the_vm_asks_without_an_answer_is_learned():
    assert learned(window([talk(answered=0)])).profile.flows == 1


def test_a_peer_that_a_finding_names_is_not_learned_and_neither_is_its_name():
    bad = "198.51.100.7"
    seen = window(
        [talk(), talk(bad, server_name="evil.example")],
        names=[asked("evil.example", peer=bad, kind="tls"), asked("fine.example")],
    )
    profile = learned(seen, but={bad}).profile
    assert profile.kinds.keys() == {HTTPS}
    assert profile.names.keys() == {"fine.example"}


def test_what_callers_call_the_vm_is_not_a_name_that_it_uses():
    caller = "198.51.100.7"
    names = [asked("x.example", peer=caller, kind="http"), asked("y.example")]
    profile = learned(window([talk(caller, 80, direction="inbound"), talk()], names=names)).profile
    assert profile.names.keys() == {"y.example"}


def test_a_sensors_alerts_are_no_names():
    assert not learned(window([talk()], names=[asked("ET SCAN", kind="alert")])).profile.names


def test_server_names_and_fingerprints_are_learned():
    seen = replace(
        window([talk(server_name="www.example")]),
        fingerprints=(FingerprintUse("tls", "abc", 3), FingerprintUse("tcp", "64:1", 1)),
    )
    profile = learned(seen).profile
    assert profile.names["www.example"].flows == 1.0
    assert {key: usage.flows for key, usage in profile.fingerprints.items()} == {"tls:abc": 3.0, "tcp:64:1": 1.0}


def test_a_habit_fades_by_half_in_a_half_life():
    gap = HALF_LIFE
    usage = learned(window([talk(flows=8)]), later(gap, talk(at=gap))).profile.kinds[HTTPS]
    assert usage.flows == pytest.approx(8 / 2 + 1)
    assert usage.bytes_out == pytest.approx(8 * 1500 / 2 + 1500)
    assert (usage.first, usage.last) == (START, START + gap + SECOND // 2)


def test_hours_and_volumes_halve_when_a_week_begins_and_only_then():
    before, after = MONDAY - START - WINDOW, MONDAY - START
    eve = learned(*(later(before - i * WINDOW, talk(at=before - i * WINDOW, flows=4)) for i in (3, 2, 1, 0)))
    assert sum(eve.profile.hours) == 16.0
    assert sum(eve.profile.volumes_out) == 4
    new = learned(later(after, talk(at=after)), persona=eve)
    assert sum(new.profile.hours) == 16 / 2 + 1
    assert sum(new.profile.volumes_out) == sum(new.profile.volumes_in) == 4 / 2 + 1
    same = learned(later(after + WINDOW, talk(at=after + WINDOW)), persona=new)
    assert sum(same.profile.hours) == 10
    assert same.profile.flows == 18  # an exact count: it does not fade


def test_volumes_are_counted_by_window():
    profile = learned(window([talk(out=100, back=0), talk(FAR, 80, out=200, back=0)])).profile
    assert profile.volumes_out[volume_bin(300)] == 1
    assert profile.volumes_in[0] == 1


def test_a_scanners_thousand_peers_stay_bounded_and_what_was_dropped_is_counted():
    habit = talk(flows=50)
    first = learned(window([habit, *(talk(f"198.51.100.{i}", 80) for i in range(200))]))
    profile = first.profile
    assert len(profile.kinds) <= KINDS_KEPT + SLACK
    assert HTTPS in profile.kinds
    assert profile.dropped_kinds == 201 - len(profile.kinds)
    assert profile.dropped_flows + sum(u.flows for u in profile.kinds.values()) == pytest.approx(250)
    assert explained(profile) == pytest.approx((50 + KINDS_KEPT - 1) / 250)


def test_what_is_heavy_now_outlives_what_was_heavy_long_ago():
    gap = 10 * WEEK
    old = learned(window([talk(f"198.51.100.{i}", flows=20) for i in range(KINDS_KEPT)]))
    fresh = [talk(f"203.0.113.{i}", at=gap, flows=2) for i in range(SLACK + 1)]
    kinds = learned(later(gap, *fresh), persona=old).profile.kinds
    assert len(kinds) == KINDS_KEPT
    assert {kind.peer for kind in kinds} >= {c.peer for c in fresh}


def test_names_and_fingerprints_stay_bounded():
    many = window([talk()], names=[asked(f"{i:03}.example" + "x" * 300) for i in range(100)])
    prints = tuple(FingerprintUse("tls", f"{i:03}" + "y" * 300, 1) for i in range(100))
    profile = learned(replace(many, fingerprints=prints)).profile
    assert len(profile.names) <= NAMES_KEPT + SLACK
    assert len(profile.fingerprints) <= FINGERPRINTS_KEPT + SLACK
    assert max(map(len, profile.names)) <= 64
    assert max(map(len, profile.fingerprints)) <= 84


def test_good_turing_by_hand():
    """Five kinds in twelve flows, three of them seen once: the next flow is of a new kind with 3/12."""
    seen = window([talk(flows=6), talk(FAR, 80, flows=3), talk(FAR, 81), talk(FAR, 82), talk(FAR, 83)])
    profile = learned(seen).profile
    assert (profile.flows, profile.singletons) == (12, 3)
    found = completeness(profile)
    assert found.unseen == 0.25
    assert (found.low, found.high) == (pytest.approx(0.0889, abs=1e-4), pytest.approx(0.5323, abs=1e-4))  # Wilson, 95 %
    again = learned(window([talk(FAR, 81, at=WINDOW)], number=1), persona=replace(learned(seen)))
    assert (again.profile.flows, again.profile.singletons) == (13, 2)


def test_a_kind_that_faded_for_years_is_not_taken_twice_from_those_seen_once():
    decade = 520 * WEEK
    persona = learned(*(later(i * decade, talk(at=i * decade)) for i in range(5)))
    assert persona.profile.singletons == 0
    assert completeness(persona.profile).unseen == 0.0


def test_nothing_learned_is_nothing_known():
    found = completeness(TrafficProfile())
    assert (found.unseen, found.low, found.high, found.seen) == (1.0, 0.0, 1.0, 0.0)


def test_first_and_last_activity_widen():
    seen = window([talk(at=SECOND)], names=[asked("a.example")])
    assert span(Persona(VM), seen) == (START, START + SECOND + SECOND // 2)
    earlier = replace(Persona(VM), first_seen=START - DAY, last_seen=START + DAY)
    assert span(earlier, seen) == (START - DAY, START + DAY)


def test_traffic_shows_addresses_and_resolvers_but_probes_do_not():
    resolver = talk("10.77.0.1", 53, transport="udp")
    dead = talk("10.77.0.2", 53, transport="udp", answered=0)
    seen = replace(window([resolver, dead]), mac="52:54:00:00:00:01")
    base = inferred_base(BaseNetworkConfig(), seen)
    assert (base.addresses, base.resolvers, base.mac) == ((OWN,), ("10.77.0.1",), "52:54:00:00:00:01")
    assert inferred_base(base, seen) is base
    assert inferred_base(BaseNetworkConfig(), window([probe(FAR, 22)])) == BaseNetworkConfig()


def test_what_an_inventory_says_is_never_inferred():
    named = BaseNetworkConfig(addresses=("10.0.0.9/24",), inferred=False)
    assert inferred_base(named, window([talk()])) is named


def test_an_inferred_configuration_stays_bounded_and_comes_to_rest():
    base = BaseNetworkConfig()
    for i in range(12):
        own = replace(talk("10.77.0.1", 53), vm_address=f"10.0.0.{i + 10}")
        server = talk(f"10.77.0.{i + 10}", 53)
        base = inferred_base(base, window([own, server]))
    assert len(base.addresses) == 8
    assert len(base.resolvers) == 4
    again = inferred_base(base, window([replace(talk("10.77.0.10", 53), vm_address="10.0.0.21")]))
    assert again == base
