"""Allow-lists win over what is listed and over denied names, in the kernel, for a VM's first packet after an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, summarize_address_range

import pytest

from kernel.dns_holding import AT, POLICY, host, through
from kernel.dns_net import BAD, GOOD, NETWORKS, Asker, Outside, address_of, net_of_three
from kernel.private_net import needs_kernel
from netpersona.app.run import allowed
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.indicators import IndicatorSet
from netpersona.policy.model import AllowEntry, AllowListResource, PolicySet
from netpersona.policy.parse import parse as policies

pytestmark = needs_kernel

LISTED = POLICY.replace("{domains: [bad.example]}", "{reputation_below: 0.3}")


def _all_answers() -> Iterator[str]:
    """Networks of every address that a name is answered with; not of what through() ends with."""
    for version in (4, 6):
        for kind in (BAD, GOOD):
            ends = (ip_address(address_of(kind, number, version)) for number in (1, 0xFFFF))
            yield from map(str, summarize_address_range(*ends))


EVERYTHING = parse("\n".join(_all_answers()).encode(), FeedSettings("wide", confidence=0.95))


@pytest.fixture(scope="module")
def net() -> Iterator[Outside]:
    with net_of_three() as outside:
        yield outside


def allowing(text: str, *values: str, until: int | None = None) -> tuple[PolicySet, IndicatorSet]:
    """The policies with an allow-list, and what is listed, as a controller has them."""
    entries = tuple(AllowEntry(value, until, "ours") for value in values)
    found = replace(policies(text, "p.yaml"), allow=(AllowListResource("ours", entries),))
    return found, IndicatorSet.merge([EVERYTHING], allowed(found))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", [1, 3], ids=["routed", "bridged"])
def test_an_allowed_name_is_reached_though_its_addresses_are_listed(net: Outside, place: int, version: int) -> None:
    asker = Asker(place, version)
    rules, intel = allowing(LISTED, "good.example")
    with host((place,), rules, intel=intel) as made:
        assert through(net, asker, "n", "bad", 20) == (20, 0)
        assert through(net, asker, "n", "good", 40) == (40, 40)
        assert through(net, asker, "n", "bad", 20) == (20, 0)
        assert made.figures["late"] == 0
    asker.close()


@pytest.mark.parametrize("version", [4, 6])
def test_an_allowed_address_is_reached_though_a_denied_name_was_answered_with_it(net: Outside, version: int) -> None:
    asker = Asker(1, version)
    width = 16 if version == 4 else 48
    network = f"{address_of(BAD, 0, version)}/{width}"
    for text in (POLICY, LISTED):  # the name is denied; its address is listed
        rules, intel = allowing(text, network)
        with host((1,), rules, intel=intel):
            assert through(net, asker, "n", "bad", 20) == (20, 20)
    asker.close()


@pytest.mark.parametrize("version", [4, 6])
def test_an_allow_entry_that_has_ended_allows_nothing(net: Outside, version: int) -> None:
    asker = Asker(1, version)
    rules, intel = allowing(LISTED, "bad.example", *NETWORKS.values(), until=AT)
    with host((1,), rules, intel=intel):
        assert through(net, asker, "n", "bad", 20) == (20, 0)
    asker.close()
