"""Hypothesis strategies for personas and what is kept beside them."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import strategies as st

from netpersona.flow.vm import VmId
from netpersona.persona.model import (
    BaseNetworkConfig,
    BehavioralSignature,
    Completeness,
    Kind,
    Mitigation,
    Persona,
    RiskTerm,
    TrafficProfile,
    Usage,
)

instants = st.integers(0, 4_000_000_000_000_000)
shares = st.floats(0, 1)
amounts = st.floats(0, 1e12)
texts = st.text(max_size=20)
addresses = st.one_of(
    st.ip_addresses().map(str), st.integers(2**127, 2**128 - 1).map(lambda number: str(IPv6Address(number)))
)
names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True).map(VmId)
kinds = st.builds(
    Kind, st.sampled_from(["outbound", "inbound"]), st.sampled_from(["tcp", "udp"]), st.integers(0, 65535), addresses
)
usages = st.builds(Usage, amounts, amounts, amounts, instants, instants)
profiles = st.builds(
    TrafficProfile,
    kinds=st.dictionaries(kinds, usages, max_size=6),
    names=st.dictionaries(texts, usages, max_size=4),
    fingerprints=st.dictionaries(texts, usages, max_size=2),
    hours=st.tuples(*[amounts] * 24),
    volumes_out=st.lists(st.integers(0, 1000), max_size=80).map(tuple),
    volumes_in=st.lists(st.integers(0, 1000), max_size=80).map(tuple),
    windows=st.integers(0, 10**6),
    flows=st.integers(0, 10**9),
    singletons=st.integers(0, 10**9),
    dropped_kinds=st.integers(0, 10**6),
    dropped_flows=amounts,
)
terms = st.builds(
    RiskTerm,
    texts,
    st.none() | addresses,
    st.floats(0, 8),
    st.integers(1, 10**12),
    instants,
    texts,
    st.lists(texts, max_size=2).map(tuple),
    texts,
)
personas = st.builds(
    Persona,
    names,
    st.integers(1, 10**6),
    labels=st.dictionaries(texts, texts, max_size=4),
    base=st.builds(BaseNetworkConfig, addresses=st.lists(addresses, max_size=3).map(tuple), mac=st.none() | texts),
    mitigation_rules=st.lists(st.dictionaries(texts, texts | st.integers(-10, 10), max_size=3), max_size=2).map(tuple),
    profile=profiles,
    signatures=st.lists(
        st.builds(BehavioralSignature, texts, instants, instants, st.none() | addresses, shares, texts), max_size=3
    ).map(tuple),
    risk_ledger=st.lists(terms, max_size=4).map(tuple),
    completeness=st.builds(Completeness, shares, shares, shares),
    mitigations=st.lists(
        st.builds(Mitigation, texts, texts, st.integers(1, 99), instants, st.none() | instants, texts), max_size=2
    ).map(tuple),
    learned_until=st.none() | instants,
    last_seen=st.none() | instants,
)
