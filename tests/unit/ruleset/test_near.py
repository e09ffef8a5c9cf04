"""The blocks that are asked before the intervals hold every address that lies in a prefix."""

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.ruleset.peers import peer_set

NETWORKS = st.builds(
    lambda number, length: str(ip_network((number, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(6, 31),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(NETWORKS, max_size=6))
def test_every_prefix_lies_in_blocks_that_are_near(texts: list[str]) -> None:
    members = peer_set([*texts, "2001:db8::/32"], "is listed")
    near = set(members.near)
    assert len(near) == len(members.near)
    for text in texts:
        network = ip_network(text)
        for address in (network.network_address, network.broadcast_address):
            assert str(ip_address(int(address) >> 16 << 16)) in near


@settings(max_examples=60, deadline=None)
@given(st.lists(NETWORKS, max_size=6))
def test_a_block_that_is_near_holds_a_part_of_a_prefix(texts: list[str]) -> None:
    networks = [ip_network(text) for text in texts]
    for block in peer_set(texts, "is listed").near:
        assert any(ip_network(f"{block}/16").overlaps(network) for network in networks)
