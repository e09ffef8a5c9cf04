"""Whose address it is where several VMs claim one."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.inventories.libvirt.claims import Claim, Witness, settled
from netpersona.flow.vm import Vm, owners, vm_id

A, B = vm_id("a"), vm_id("b")


def has(claims, before=(), reserved=()):
    return settled(claims, dict(before), reserved).addresses


def test_the_better_witness_counts_whoever_had_the_address_before():
    claims = [Claim(A, "10.0.0.1/24", Witness.AGENT), Claim(B, "10.0.0.1/24", Witness.LEASE)]
    for order in permutations(claims):
        assert has(order, {"10.0.0.1": A}) == {B: ("10.0.0.1/24",)}


def test_among_equals_the_address_stays_where_it_was():
    claims = [Claim(A, "10.0.0.1/24", Witness.ARP), Claim(B, "10.0.0.1/32", Witness.ARP)]
    assert has(claims, {"10.0.0.1": B}) == {B: ("10.0.0.1/32",)}
    assert has(claims, {"10.0.0.1": A}) == {A: ("10.0.0.1/24",)}


def test_who_loses_is_told_with_who_has_it():
    claims = [Claim(A, "10.0.0.1", Witness.LEASE), Claim(B, "10.0.0.1", Witness.AGENT)]
    assert settled(claims, {}, ()).problems == ("b claims 10.0.0.1, which a has; not believed",)


def test_no_guest_may_say_that_it_is_a_gateway_but_an_operator_may():
    assert has([Claim(A, "10.0.0.1/24", Witness.AGENT)], reserved={"10.0.0.1"}) == {}
    assert has([Claim(A, "10.0.0.1/24", Witness.ARP)], reserved={"10.0.0.1"}) == {}
    assert has([Claim(A, "10.0.0.1/24", Witness.OPERATOR)], reserved={"10.0.0.1"}) == {A: ("10.0.0.1/24",)}


def test_several_witnesses_of_one_vm_give_one_address_with_the_best_ones_prefix():
    claims = [Claim(A, "10.0.0.1/32", Witness.ARP), Claim(A, "10.0.0.1/24", Witness.LEASE)]
    assert has(claims) == {A: ("10.0.0.1/24",)}
    assert settled(claims, {}, ()).problems == ()


said = st.builds(
    Claim,
    st.sampled_from([A, B, vm_id("c")]),
    st.integers(1, 4).map(lambda host: f"10.0.0.{host}/24"),
    st.sampled_from(Witness),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(said), st.dictionaries(st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.sampled_from([A, B])), st.randoms()
)
def test_whatever_is_claimed_every_address_has_one_owner_and_the_order_is_of_no_matter(claims, before, chance):
    shuffled = list(claims)
    chance.shuffle(shuffled)
    found = settled(claims, before, ["10.0.0.4"])
    assert found == settled(shuffled, before, ["10.0.0.4"])
    assert owners(Vm(vm, addresses) for vm, addresses in found.addresses.items()) == found.holders
    again = settled(claims, found.holders, ["10.0.0.4"])
    assert again.addresses == found.addresses
