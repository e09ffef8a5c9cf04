"""What must hold of learning whatever the traffic: bounded, each window once, and every number a possible one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from netpersona.flow.window import DAY, SECOND, WINDOW
from netpersona.persona.learn import learn
from netpersona.persona.model import Persona
from netpersona.persona.profile import (
    BINS,
    FINGERPRINTS_KEPT,
    KINDS_KEPT,
    NAMES_KEPT,
    SLACK,
    completeness,
    explained,
    volume_bin,
    volume_quantile,
)
from unit.risk.detectors.windows import VM, asked, talk, window

peers = st.integers(0, 300).map(lambda n: f"198.51.{n // 250}.{n % 250}")
GAPS = st.sampled_from([WINDOW, WINDOW, DAY, 9 * DAY, 400 * DAY, 8000 * DAY])


@st.composite
def windows(draw, at):
    """A window at `at` µs after START with conversations that differ in kind."""
    places = draw(st.lists(st.tuples(peers, st.integers(1, 3), st.booleans()), max_size=12, unique=True))
    crowd = draw(st.sampled_from([0, 0, 100]))
    conversations = [
        talk(
            peer,
            port,
            at=at,
            every=SECOND,
            flows=draw(st.integers(1, 3)),
            direction="inbound" if inbound else "outbound",
            answered=draw(st.sampled_from([0, None])),
            out=draw(st.sampled_from([0, 1000, 2**50])),
        )
        for peer, port, inbound in places
    ] + [talk(f"203.0.113.{i}", 9, at=at) for i in range(crowd)]
    names = [asked(name, at=at) for name in draw(st.lists(st.text(min_size=1, max_size=90), max_size=30, unique=True))]
    return window(conversations, number=at // WINDOW, names=names)


@st.composite
def histories(draw):
    at, seen = 0, []
    for gap in draw(st.lists(GAPS, max_size=6)):
        at += gap
        seen.append(draw(windows(at)))
    return seen


def learned(persona, observation):
    return replace(persona, profile=learn(persona, observation), learned_until=observation.window.end)


@settings(max_examples=25, deadline=None)
@given(histories())
def test_a_profile_is_bounded_and_its_numbers_are_possible(history):
    persona = Persona(VM)
    for observation in history:
        before, persona = persona.profile, learned(persona, observation)
        after = persona.profile
        assert len(after.kinds) <= KINDS_KEPT + SLACK
        assert len(after.names) <= NAMES_KEPT + SLACK
        assert len(after.fingerprints) <= FINGERPRINTS_KEPT + SLACK
        assert len(after.volumes_out) in (0, BINS)
        assert len(after.hours) == 24
        assert all(usage.first <= usage.last and usage.flows > 0 for usage in after.kinds.values())
        assert after.flows >= before.flows
        assert after.dropped_kinds >= before.dropped_kinds
        assert 0 <= after.singletons <= after.flows
        found = completeness(after)
        assert 0 <= found.low <= found.unseen + 1e-6
        assert found.unseen <= found.high + 1e-6 <= 1 + 2e-6
        assert 0 <= explained(after) <= 1


@settings(max_examples=15, deadline=None)
@given(histories())
def test_a_window_or_one_before_it_given_again_changes_nothing(history):
    persona, seen = Persona(VM), []
    for observation in history:
        persona = learned(persona, observation)
        seen.append(observation)
        assert all(learn(persona, old) is persona.profile for old in seen)


@given(st.lists(st.integers(0, 2**39), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_volume_quantile_is_numpys_within_a_bin(sizes, share):
    bins = [0] * BINS
    for size in sizes:
        bins[volume_bin(size)] += 1
    exact = float(np.quantile(sizes, share, method="inverted_cdf"))
    found = volume_quantile(tuple(bins), share)
    assert exact <= found * (1 + 1e-9)
    assert found <= (exact + 1) * 2**0.5 * (1 + 1e-9)
