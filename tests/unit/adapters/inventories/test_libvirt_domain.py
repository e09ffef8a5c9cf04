"""What libvirt's XML says: one VM for each interface, each with a name of its own, and what the operator wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.inventories.libvirt.domain import Network, read_domain, read_network
from netpersona.app.config import read_config
from netpersona.errors import InventoryError
from netpersona.flow.vm import vm_id

PAGE = Path(__file__).resolve().parents[4] / "docs" / "libvirt.md"
UUID = "1f6a03bc-0000-4000-8000-000000000001"


def nic(number, *, kind="bridge", alias=True, more=""):
    named = f"<alias name='net{number}'/>" if alias else ""
    return (
        f"<interface type='{kind}'><mac address='52:54:00:00:00:0{number}'/><target dev='vnet{number}'/>"
        f"{named}{more}</interface>"
    )


def domain(*nics, name="web-1", said="", channel=""):
    metadata = f"<metadata><np:vm xmlns:np='urn:netpersona:vm:1'>{said}</np:vm></metadata>" if said else ""
    devices = f"<devices>{''.join(nics)}{channel}</devices>"
    return read_domain(f"<domain type='kvm'><name>{name}</name><uuid>{UUID}</uuid>{metadata}{devices}</domain>")


def names(found):
    return [nic.name for nic in found.nics]


def test_the_first_interface_bears_the_domains_name_and_the_others_their_alias_too():
    found = domain(nic(0), nic(1))
    assert names(found) == ["web-1", "web-1_net1"]
    assert [(n.device, n.mac) for n in found.nics] == [("vnet0", "52:54:00:00:00:00"), ("vnet1", "52:54:00:00:00:01")]


def test_an_interface_keeps_its_name_when_the_one_before_it_is_taken_away():
    assert names(domain(nic(1))) == ["web-1_net1"]


def test_a_driver_without_aliases_counts_the_interfaces():
    assert names(domain(nic(0, alias=False), nic(1, alias=False))) == ["web-1", "web-1_net1"]


@pytest.mark.parametrize(
    ("name", "rebuilt"),
    [
        ("ubuntu22.04", "ubuntu22-04_1f6a03bc"),
        ("web 1", "web-1_1f6a03bc"),
        ("web-1_net1", "web-1-net1_1f6a03bc"),
        ("é" * 80, "-" * 46 + "_1f6a03bc"),
        ("a" * 56, "a" * 46 + "_1f6a03bc"),
        ("a" * 55, "a" * 55),
    ],
)
def test_a_name_that_is_none_of_ours_is_rebuilt_and_stays_distinct(name, rebuilt):
    assert names(domain(nic(0), name=name)) == [rebuilt]


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="<>&'￾￿"), min_size=1))
def test_every_name_gives_names_that_chains_can_bear(name):
    for found in names(domain(nic(0), nic(1), name=name)):
        assert vm_id(found) == found


def test_what_the_operator_wrote_belongs_to_the_first_interface_or_to_the_one_of_that_mac():
    said = (
        "<np:address>10.77.0.11/24</np:address><np:address mac='52:54:00:00:00:01'>10.78.0.11</np:address>"
        "<gateway>10.77.0.1</gateway><np:resolver mac='52-54-00-00-00-01'>10.78.0.1</np:resolver>"
        "<np:label name='role'>web</np:label><label name='app'>shop</label>"
    )
    found = domain(nic(0), nic(1), said=said)
    first, second = found.nics
    assert (first.addresses, first.gateways, first.resolvers) == (("10.77.0.11/24",), ("10.77.0.1",), ())
    assert (second.addresses, second.gateways, second.resolvers) == (("10.78.0.11/32",), (), ("10.78.0.1",))
    assert found.labels == {"app": "shop", "role": "web"}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("<np:adress>10.0.0.1</np:adress>", "'adress' is none of address, gateway, resolver, label"),
        ("<np:address>10.0.0.256</np:address>", "'10.0.0.256' is no address"),
        ("<np:address>0.0.0.0/0</np:address>", "cannot be the address of a VM"),
        ("<np:address mac='52:54:00:00:00:09'>10.0.0.1</np:address>", "which no interface of it has"),
        ("<np:label name='a b'>x</np:label>", "'a b' cannot name a label"),
        ("<np:label name='a'>" + "x" * 64 + "</np:label>", "cannot be a label's value"),
    ],
)
def test_what_cannot_be_used_is_told_and_the_rest_counts(said, told):
    found = domain(nic(0), said=f"{said}<np:label name='role'>web</np:label>")
    (problem,) = found.problems
    assert told in problem
    assert "domain 'web-1'" in problem
    assert (names(found), found.labels, found.nics[0].addresses) == (["web-1"], {"role": "web"}, ())


def test_a_card_handed_through_has_no_tap_and_is_a_vm_where_the_operator_says_its_address():
    (found,) = domain("<interface type='hostdev'><mac address='52:54:00:00:00:01'/></interface>").nics
    assert (found.device, found.mac) == (None, "52:54:00:00:00:01")
    assert domain().nics == ()
    assert names(domain(said="<np:address>10.0.0.1</np:address>")) == ["web-1"]


def test_a_network_and_a_guest_agent_are_known():
    more = "<source network='default' bridge='virbr0'/><mtu size='1400'/>"
    agent = "<channel><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>"
    found = domain(nic(0, kind="network", more=more), channel=agent)
    assert (found.nics[0].network, found.nics[0].mtu, found.has_agent) == ("default", 1400, True)
    assert not domain(nic(0), channel=agent.replace("connected", "disconnected")).has_agent


def test_the_host_is_gateway_and_resolver_of_libvirts_own_networks_only():
    ip = "<ip address='192.168.122.1' netmask='255.255.255.0'/><ip family='ipv6' address='FD00::1' prefix='64'/>"
    both = ("192.168.122.1", "fd00::1")
    assert read_network(f"<network><forward mode='nat'/>{ip}</network>") == Network(both, both)
    assert read_network(f"<network>{ip}</network>") == Network((), both)
    assert read_network(f"<network><forward mode='nat'/><dns enable='no'/>{ip}</network>") == Network(both, ())
    assert read_network("<network><forward mode='bridge'/><bridge name='br0'/></network>") == Network()


@pytest.mark.parametrize("xml", ["", "<domain>", "<!DOCTYPE d [<!ENTITY a 'b'>]><domain>&a;</domain>"])
def test_what_is_no_xml_of_libvirts_is_refused(xml):
    with pytest.raises(InventoryError):
        read_domain(xml)


def test_the_documentations_examples_mean_what_it_says(tmp_path):
    text = PAGE.read_text()
    (metadata,) = re.findall(r"^```xml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    said = re.search(r"<np:vm[^>]*>(.*)</np:vm>", metadata, flags=re.DOTALL)[1]
    found = domain(nic(0), nic(2), said=said)
    assert [n.addresses for n in found.nics] == [("10.77.0.11/24", "2001:db8::11/64"), ("10.78.0.11/24",)]
    assert (found.labels, found.problems) == ({"role": "web"}, ())
    for config in re.findall(r"^```conf\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        (tmp_path / "netpersona.yaml").write_text(config)
        assert read_config(tmp_path / "netpersona.yaml").libvirt.uri == "qemu:///system"
