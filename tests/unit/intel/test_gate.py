"""What no feed may make us block, and how an operator overrides it by name."""

from __future__ import annotations

import pytest

from netpersona.flow.vm import Vm, VmId
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.gate import GATES, NOTHING, Protected, _grounds, refuse

WEB = Vm(
    VmId("web-1"),
    addresses=("8.8.4.11/24", "2a06:e480::b/64"),
    gateways=("8.8.4.1",),
    resolvers=("9.9.9.9",),
)


def gated(values, protected=NOTHING, allow=()):
    return refuse(parse("\n".join(values).encode(), FeedSettings("tests", allow=allow)), protected)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("10.1.2.3", "private"),
        ("172.31.0.0/16", "private"),
        ("192.168.0.1", "private"),
        ("fd00::1", "private"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("224.0.0.251", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "reserved"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.0/8", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.0/24", "documentation"),
        ("2001:db8::/48", "documentation"),
        ("100.64.0.1", "cgnat"),
        ("11.0.0.0/7", "private"),
        ("2.0.0.0/7", "wide"),
        ("2a00::/18", "wide"),
    ],
)
def test_it_is_refused_with_the_name_that_would_admit_it(value, name):
    found = gated(["1.2.3.4", value])
    assert found.indicators["value"].to_list() == ["1.2.3.4"]
    assert found.refused_total == 1
    assert found.refused[0].line == 2
    assert f"[{name}]" in found.refused[0].reason


@pytest.mark.parametrize(
    "value", ["1.0.0.0/8", "11.0.0.0/8", "2a00::/19", "8.8.4.0/24", "9.255.255.255", "evil.example"]
)
def test_what_is_of_the_internet_passes(value):
    assert gated([value]).refused_total == 0


def test_what_holds_a_special_range_whole_is_refused_like_it():
    found = gated(["192.0.0.0/8"])
    assert found.indicators.is_empty()
    assert "it holds the private range 192.168.0.0/16" in found.refused[0].reason


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("8.8.4.11", "the VM web-1"),
        ("2a06:e480::b", "the VM web-1"),
        ("8.8.4.0/28", "the gateway of web-1"),
        ("9.9.9.9", "a resolver of web-1"),
        ("9.9.9.0/24", "a resolver of web-1"),
        ("5.5.5.5", "a management peer"),
    ],
)
def test_the_fleets_own_is_refused_with_whose_it_is(value, what):
    protected = Protected.of([WEB], management=["5.5.5.0/24"])
    found = gated([value, "8.8.5.1"], protected)
    assert found.indicators["value"].to_list() == ["8.8.5.1"]
    assert what in found.refused[0].reason


def test_each_gate_can_be_overridden_by_its_name():
    values = ["192.0.2.1", "10.0.0.1", "8.8.4.11", "1.0.0.0/7"]
    protected = Protected.of([WEB])
    kept = gated(values, protected, allow=("documentation",)).indicators["value"].to_list()
    assert kept == ["192.0.2.1"]
    assert gated(values, protected, allow=GATES).refused_total == 0


def test_refusals_of_the_feed_and_of_the_gate_stand_together_by_line():
    found = gated(["10.0.0.1", "nonsense", "10.0.0.2", "1.2.3.4"])
    assert [refusal.line for refusal in found.refused] == [1, 2, 3]
    assert found.refused_total == 3
    assert found.records == 4


@pytest.mark.parametrize("value", ["0.0.0.0/0", "::/0"])
@pytest.mark.parametrize("allow", [(), ("fleet",), GATES])
def test_every_address_is_refused_whatever_is_allowed(value, allow):
    found = gated([value, "8.8.5.1"], Protected.of([WEB]), allow=allow)
    assert found.indicators["value"].to_list() == ["8.8.5.1"]
    assert "every address there is" in found.refused[0].reason
    assert "allow:" not in found.refused[0].reason


def test_a_network_around_the_fleet_gets_no_hint_that_would_cut_the_fleet_off():
    vm = Vm(VmId("web"), ("8.8.4.11/24",), gateways=("8.8.4.1",))
    (refusal,) = gated(["8.8.4.0/24", "8.8.5.1"], Protected.of([vm])).refused
    assert "it holds 8.8.4.1, the gateway of web" in refusal.reason or "it holds 8.8.4.11" in refusal.reason
    assert "allow:" not in refusal.reason


def test_a_wide_prefix_that_holds_the_fleet_gets_no_hint_either():
    (refusal,) = gated(["8.0.0.0/7", "8.8.5.1"], Protected.of([WEB])).refused
    assert "it holds 8.8.4.1" in refusal.reason
    assert "allow:" not in refusal.reason


def test_one_address_is_refused_as_a_feed_of_it_would_be():
    from netpersona.flow.vm import Vm, vm_id
    from netpersona.intel.gate import objection

    fleet = Protected.of([Vm(vm_id("web-1"), ("10.77.0.11/24",), gateways=("8.8.4.4",))], ["9.9.9.0/24"])
    for address in (
        "10.77.0.11",
        "8.8.4.4",
        "9.9.9.9",
        "127.0.0.1",
        "203.0.113.7",
        "::1",
        "2001:db8::1",
        "45.1.2.3",
        "2a00::1",
    ):
        snapshot = refuse(parse(f"{address}\n".encode(), FeedSettings("x")), fleet)
        assert objection(address, (), fleet) == next((r.reason for r in snapshot.refused), None)
    assert objection("203.0.113.7", ("documentation",)) is None


def test_nothing_of_a_warning_list_passes():
    content = (
        b'{"name": "Resolvers", "type": "string", "list": ["9.9.9.9", "1.1.1.1"], "version": 1, "description": "d"}'
    )
    passed = refuse(parse(content, FeedSettings("mistaken")))
    assert passed.indicators.is_empty()
    assert [(each.value, "warning list" in each.reason) for each in passed.refused] == [
        ("1.1.1.1", True),
        ("9.9.9.9", True),
    ]


def test_of_fleets_that_were_no_more_than_the_last_is_remembered():
    snapshot = parse(b"203.0.113.7\n", FeedSettings("f", 0.9, allow=("documentation",)))
    for number in range(1, 20):
        vms = [Vm(VmId("web"), (f"203.0.113.{number}/24",))]
        refused = refuse(snapshot, Protected.of(vms)).refused
        assert bool(refused) == (number == 7), number
    assert _grounds.cache_info().currsize <= 2
