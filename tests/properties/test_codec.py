"""The codec for any persona: what goes in comes out, and equal values give equal bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from netpersona.flow.vm import VmId
from netpersona.persona.codec import decode, encode
from netpersona.persona.model import Persona
from netpersona.risk.finding import Finding, Severity
from properties.personas import addresses, instants, names, personas, shares, texts

findings = st.builds(
    Finding,
    id=texts,
    vm=names,
    vm_address=addresses,
    detector=texts,
    kind=texts,
    peer=st.none() | addresses,
    peers=st.lists(addresses, max_size=3).map(tuple),
    peers_total=st.integers(0, 9999),
    protocol=st.none() | texts,
    port=st.none() | st.integers(0, 65535),
    direction=texts,
    first_seen=instants,
    last_seen=instants,
    judged_at=instants,
    confidence=shares,
    severity=st.sampled_from(Severity),
    alert=st.booleans(),
    why=texts,
    evidence=st.dictionaries(texts, st.integers(-9, 9) | texts | st.lists(texts, max_size=2), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(personas)
def test_a_persona_comes_back(persona):
    assert decode(encode(persona), Persona) == persona


@settings(max_examples=40, deadline=None)
@given(findings)
def test_a_finding_comes_back(finding):
    assert decode(encode(finding), Finding) == finding


@settings(max_examples=60, deadline=None)
@given(personas, st.randoms(use_true_random=False))
def test_equal_personas_have_equal_bytes(persona, random):
    def shuffled(table):
        items = list(table.items())
        random.shuffle(items)
        return dict(items)

    profile = replace(persona.profile, kinds=shuffled(persona.profile.kinds), names=shuffled(persona.profile.names))
    other = replace(
        persona,
        profile=profile,
        labels=shuffled(persona.labels),
        mitigation_rules=tuple(shuffled(rule) for rule in persona.mitigation_rules),
        vm=VmId(persona.vm),
    )
    assert other == persona
    assert encode(other) == encode(persona)
