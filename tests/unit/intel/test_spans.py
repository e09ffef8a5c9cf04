"""Ranges of addresses: what Python's ipaddress says of them, address by address, is what they say."""

from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.intel.spans import Spans, blocks, spans_of, union

WIDTH = {4: 32, 6: 128}
ADDRESS = {4: IPv4Address, 6: IPv6Address}


def near_an_end(version):
    """Numbers from two stretches of 40, the first addresses and the last."""
    last = 2 ** WIDTH[version] - 1
    return st.integers(0, 39) | st.integers(last - 39, last)


def ranges(version):
    pairs = st.tuples(near_an_end(version), near_an_end(version)).map(sorted)
    return st.lists(pairs, max_size=6).map(sorted)


def spans(found, version):
    dtype = np.int64 if version == 4 else object
    return union(np.array([a for a, _ in found], dtype), np.array([b for _, b in found], dtype))


def held(found: Spans, version):
    """The probed addresses that ranges hold."""
    return {n for n in probes(version) if any(a <= n <= b for a, b in pairs(found))}


def probes(version):
    last = 2 ** WIDTH[version] - 1
    return [*range(42), *range(last - 41, last + 1)]


def pairs(found: Spans):
    return list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))


@pytest.mark.parametrize("version", [4, 6])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_union_overlap_and_outside_are_those_of_sets(version, data):
    one, two = (data.draw(ranges(version)) for _ in range(2))
    a, b = spans(one, version), spans(two, version)
    everything = set(probes(version))
    in_a = {n for n in everything if any(low <= n <= high for low, high in one)}
    assert held(a, version) == in_a
    assert held(a.overlap(b), version) == in_a & held(b, version)
    assert held(a.outside(version), version) == everything - in_a
    asked = np.array(probes(version), a.starts.dtype)
    assert set(asked[a.holds(asked)].tolist()) == in_a
    for found in (a, b, a.overlap(b), a.outside(version)):
        assert all(low <= high for low, high in pairs(found))
        ends = [n for pair in pairs(found) for n in pair]
        assert ends == sorted(ends)


@pytest.mark.parametrize("version", [4, 6])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_blocks_are_the_prefixes_that_summarise_a_range(version, data):
    low, high = sorted((data.draw(near_an_end(version)), data.draw(near_an_end(version))))
    expected = summarize_address_range(ADDRESS[version](low), ADDRESS[version](high))
    assert [(start, WIDTH[version] - bits) for start, bits in blocks(low, high)] == [
        (int(network.network_address), network.prefixlen) for network in expected
    ]


def test_networks_in_any_order_become_ranges_of_their_own_version():
    networks = [ip_network(text) for text in ("10.0.1.0/24", "2001:db8::/127", "10.0.0.0/24")]
    assert pairs(spans_of(networks, 4)) == [(0x0A000000, 0x0A0001FF)]
    assert pairs(spans_of(networks, 6)) == [(0x20010DB8 << 96, (0x20010DB8 << 96) + 1)]
    assert pairs(spans_of([], 4)) == []
    assert pairs(spans_of([], 4).outside(4)) == [(0, 2**32 - 1)]
