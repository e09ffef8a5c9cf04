import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpersona.ruleset.peers import peer_set


def test_addresses_stay_addresses_and_prefixes_are_aggregated() -> None:
    made = peer_set(["10.0.0.9", "10.0.0.0/25", "10.0.0.128/25", "2001:db8::/33", "192.0.2.1/32", "10.0.0.10"], "x")
    assert made.addresses == ("10.0.0.9", "10.0.0.10", "192.0.2.1")
    assert made.networks == ("10.0.0.0/24", "2001:db8::/33")


def test_text_that_is_no_peer_is_refused() -> None:
    for text in ("example.com", "10.0.0.1\n", "10.0.0.0/33", "::1%eth0", ""):
        with pytest.raises(ValueError):
            peer_set([text], "x")


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("203.0.113.64", "203.0.113.63"),
        ("203.0.113.127", "203.0.113.128"),
        ("2001:db8::ffff", "2001:db8::1:0"),
        ("192.0.2.1", "192.0.2.2"),
    ],
)
def test_membership_at_the_borders(inside: str, outside: str) -> None:
    made = peer_set(["203.0.113.64/26", "2001:db8::/112", "192.0.2.1"], "x")
    assert made.holds(inside)
    assert not made.holds(outside)


@given(st.lists(st.ip_addresses().map(str)), st.lists(st.ip_addresses(network="10.0.0.0/28").map(str)))
def test_the_order_of_members_means_nothing(some: list[str], more: list[str]) -> None:
    assert peer_set([*some, *more], "x") == peer_set([*reversed(more), *reversed(some), *some], "x")


def test_the_narrowest_member_explains() -> None:
    made = peer_set([], "x", [("10.0.0.0/8", "wide"), ("10.1.0.0/16", "narrow"), ("2001:db8::/32", "six")])
    assert made.note("10.1.2.3") == "narrow"
    assert made.note("10.2.2.3") == "wide"
    assert made.note("2001:db8::1") == "six"
    assert made.note("192.0.2.1") is None
