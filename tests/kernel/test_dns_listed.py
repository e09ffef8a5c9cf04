"""A name that feeds list decides, in the kernel, a VM's first packet after its answer; an address of many is spared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kernel.dns_holding import POLICY, host, new_number, through
from kernel.dns_net import BAD, GOOD, SINK, Asker, Outside, address_of, net_of_three
from kernel.private_net import needs_kernel
from netpersona.app.run import allowed
from netpersona.flow.vm import vm_id
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.policy.model import AllowEntry, AllowListResource
from netpersona.policy.parse import parse as policies
from waiting import until

pytestmark = needs_kernel

LISTED = policies(POLICY.replace("{domains: [bad.example]}", "{reputation_below: 0.3}"), "p.yaml")
FEED = parse(b"bad.example\nelsewhere.example\n", FeedSettings("names", confidence=0.95))
INTEL = IndicatorSet.merge([FEED])
ALWAYS = 1 << 60  # µs


@pytest.fixture(scope="module")
def net() -> Iterator[Outside]:
    with net_of_three() as outside:
        yield outside


def reaches(net: Outside, asker: Asker, name: str) -> bool:
    """Whether the datagram arrives that is sent as soon as the name is answered."""
    answer = asker.ask(name)
    assert answer is not None
    asker.connect(name, answer)
    asker.out.sendto(b"end", (address_of(GOOD, 0, asker.version), SINK))
    until(lambda: "end" in net.arrived, "the last datagram arrives")
    net.arrived.discard("end")
    return name in net.arrived


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", [1, 3], ids=["routed", "bridged"])
def test_the_first_packet_to_a_listed_name_is_denied(net: Outside, place: int, version: int) -> None:
    asker = Asker(place, version)
    with host((place,), LISTED, intel=INTEL) as made:
        assert through(net, asker, "n", "bad", 30) == (30, 0)
        assert through(net, asker, "n", "good", 20) == (20, 20)
        assert made.figures["resolved"] >= 30
        assert made.figures["late"] == 0
    asker.close()


@pytest.mark.parametrize("version", [4, 6])
def test_an_address_that_other_sites_share_is_spared_and_nothing_waits_for_it_again(net: Outside, version: int) -> None:
    asker, number = Asker(1, version), new_number()
    shared, alone = f"n{number}.bad.example", f"n{new_number()}.bad.example"
    address = address_of(BAD, number, version)
    with host((1, 2), LISTED, intel=INTEL) as made:
        made.known[vm_id("vm-2")] = {f"www.site{n}.com": {address: ALWAYS} for n in range(4)}
        assert reaches(net, asker, shared)
        resolved = made.figures["resolved"]
        assert reaches(net, asker, shared)
        assert made.figures["resolved"] == resolved
        assert not reaches(net, asker, alone)
    asker.close()


def test_a_vm_that_was_not_answered_the_listed_name_reaches_its_address(net: Outside) -> None:
    one, other, number = Asker(1, 4), Asker(2, 4), new_number()
    with host((1, 2), LISTED, intel=INTEL):
        assert not reaches(net, one, f"n{number}.bad.example")
        other.out.sendto(b"other", (address_of(BAD, number, 4), SINK))
        until(lambda: "other" in net.arrived, "the other VM's datagram arrives")
    one.close()
    other.close()


def test_after_an_allow_entry_it_is_reached(net: Outside) -> None:
    asker = Asker(1, 4)
    ours = replace(LISTED, allow=(AllowListResource("ours", (AllowEntry("bad.example", None, "ours"),)),))
    with host((1,), ours, intel=IndicatorSet.merge([FEED], allowed(ours))):
        assert through(net, asker, "n", "bad", 20) == (20, 20)
    asker.close()
