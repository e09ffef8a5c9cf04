"""Tracked flows of some addresses: asked for one by one or looked through, the answer is the same."""

import pytest

from kernel.private_net import inside, namespaces, needs_kernel, own
from kernel.tracked_flows import track
from netpersona.adapters.enforcers.nftables import wire
from netpersona.adapters.enforcers.nftables.tracked import flows, forget
from netpersona.ruleset.tables import packed

pytestmark = needs_kernel

HOST = own("tracked")
VMS = [f"10.1.{n}.2" for n in range(200)]
OTHERS = 12_000  # beside which one address is asked for by itself
ONE, OTHER = VMS[3], "2001:db8::2"
OPENED = [(ONE, "198.51.100.7", 40_000 + n, 443) for n in range(3)] + [(OTHER, "2001:db8:9::7", 40_000, 443)]
RECEIVED = [("198.51.100.9", ONE, 50_000 + n, 22) for n in range(2)] + [("2001:db8:9::9", OTHER, 50_000, 22)]


@pytest.fixture(scope="module", autouse=True)
def _tracked():
    with namespaces(HOST), inside(HOST):
        track([*OPENED, *RECEIVED])
        track([(VMS[9], "198.51.100.7", 41_000, 443)], zone=7)
        track((f"10.2.{n % 250}.2", "198.51.100.8", 1024 + n // 250, 443) for n in range(OTHERS))
        yield


@pytest.fixture
def to():
    with inside(HOST):
        made = wire.Wire()
        yield made
        made.close()


def ends(found):
    return sorted((each.source, each.destination, *each.ports) for each in found)


def asked(to, originators, responders):
    return list(flows(to, {packed(each) for each in originators}, {packed(each) for each in responders}))


@pytest.mark.parametrize("more", [[], VMS], ids=["one by one", "looked through"])
def test_flows_are_told_by_who_opened_them_and_to_whom(to, more):
    here = [ONE, OTHER, *more]
    others = [(VMS[9], "198.51.100.7", 41_000, 443)] if more else []
    assert ends(asked(to, here, [])) == sorted(OPENED + others)
    assert ends(asked(to, [], here)) == sorted(RECEIVED)
    assert ends(asked(to, here, here)) == sorted(OPENED + RECEIVED + others)


def test_a_flow_between_two_that_are_asked_for_is_told_once(to):
    with inside(HOST):
        track([(VMS[5], VMS[6], 42_000, 443)])
    assert ends(asked(to, VMS[5:7], VMS[5:7])) == [(VMS[5], VMS[6], 42_000, 443)]


def test_a_flow_of_another_zone_is_told_and_forgotten(to):
    with inside(HOST):
        track([(VMS[8], "198.51.100.7", 43_000, 443)], zone=7)
    (found,) = asked(to, [VMS[8]], [])
    assert forget(to, found)
    assert not forget(to, found)
    assert asked(to, [VMS[8]], []) == []


def test_nothing_is_told_where_nothing_is_tracked_or_asked(to):
    assert asked(to, [], []) == []
    with namespaces(own("empty")), inside(own("empty")):
        nobody = wire.Wire()
        assert asked(nobody, VMS, VMS) == []
        nobody.close()
