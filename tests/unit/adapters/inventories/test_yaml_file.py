"""What is wrong with an inventory file is told with its place, all of it at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.adapters.inventories.yaml_file import YamlInventory, read_inventory
from netpersona.errors import InventoryError


def problems(text):
    with pytest.raises(InventoryError) as caught:
        read_inventory(text, "vms.yaml")
    return str(caught.value).splitlines()


def of_one(fields):
    """The problems of a VM with these fields, on line 2."""
    return problems(f"vms:\n- {{name: a, addresses: [10.0.0.1], {fields}}}\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "vms.yaml:1:1: an inventory is one mapping with the field `vms`"),
        ("- a", "vms.yaml:1:1: an inventory is one mapping with the field `vms`"),
        ("vms: []\n---\nvms: []", "vms.yaml:3:1: an inventory is one mapping with the field `vms`"),
        ("vm: []", "vms.yaml:1:1: unknown field 'vm' in an inventory; did you mean 'vms'?"),
        ("vms: {a: 1}", "vms.yaml:1:6: `vms` is a list of VMs"),
        ("vms:\n- web-1", "vms.yaml:2:3: a VM is a mapping: {name: ..., addresses: [...]}"),
        ("vms:\n- {addresses: [10.0.0.1]}", "vms.yaml:2:3: a VM needs a name"),
        (
            "vms:\n- {name: a, addresses: []}",
            "vms.yaml:2:3: a VM needs at least one address: addresses: [10.77.0.11/24]",
        ),
        ("vms:\n- {name: a b, addresses: [10.0.0.1]}", "vms.yaml:2:10: name: 'a b' cannot name a VM"),
    ],
)
def test_the_shape(text, told):
    assert any(line.startswith(told) for line in problems(text))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("adresses: [10.0.0.2]", "vms.yaml:2:36: unknown field 'adresses' in a VM; did you mean 'addresses'?"),
        ("colour: red", "vms.yaml:2:36: unknown field 'colour' in a VM; known are: name, interface"),
        ("mac: 52:54:00:00:00", "vms.yaml:2:41: mac: '52:54:00:00:00' is no MAC"),
        ("mtu: big", "vms.yaml:2:41: mtu: 'big' is no MTU: a number from 68 to 65535"),
        ("mtu: 70000", "vms.yaml:2:41: mtu: '70000' is no MTU"),
        ("interface: a tap", "vms.yaml:2:47: interface: 'a tap' cannot name an interface"),
        ("gateways: 10.0.0.2", "vms.yaml:2:46: gateways is a list: gateways: [...]"),
        ("gateways: [10.0.0.2/24]", "vms.yaml:2:47: gateways: '10.0.0.2/24': an address without a prefix"),
        ("resolvers: [dns]", "vms.yaml:2:48: resolvers: 'dns' is no address"),
        ("resolvers: [[]]", "vms.yaml:2:48: resolvers: text is expected here"),
        ("labels: [role]", "vms.yaml:2:44: labels is a mapping: labels: {role: web}"),
        ("labels: {'a b': c}", "vms.yaml:2:45: labels: 'a b' cannot name a label"),
        ("labels: {a: [b]}", "vms.yaml:2:48: labels.a: text is expected here"),
    ],
)
def test_the_fields(fields, told):
    (line,) = of_one(fields)
    assert line.startswith(told)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("10.0.0.256", "is no address; write for example"),
        ("10.0.0.1/33", "is no address"),
        ("'fe80::1%eth0'", "names a zone"),
        ("'::ffff:10.0.0.1'", "is an IPv4 address in IPv6 clothes; write 10.0.0.1"),
        ("224.0.0.1", "cannot be the address of a VM"),
        ("'::'", "cannot be the address of a VM"),
    ],
)
def test_addresses(address, told):
    (line,) = problems(f"vms:\n- name: a\n  addresses: [{address}]\n")
    assert line.startswith("vms.yaml:3:15: addresses: ")
    assert told in line


@pytest.mark.parametrize("what", ["interface: tap1", "mac: '52:54:00:00:00:01'"])
def test_two_vms_may_not_share(what):
    text = f"vms:\n- {{name: a, addresses: [10.0.0.1], {what}}}\n- {{name: b, addresses: [10.0.0.2], {what}}}"
    (line,) = problems(text)
    assert line.startswith("vms.yaml:3:3: the ")
    assert line.endswith("of b is also that of a, line 2")


def test_a_name_and_an_address_are_given_once():
    assert problems("vms:\n- {name: a, addresses: [10.0.0.1/24]}\n- {name: a, addresses: [10.0.0.1/16]}") == [
        "vms.yaml:3:3: the address 10.0.0.1 of a is also that of a, line 2",
        "vms.yaml:3:3: the name a of a is also that of a, line 2",
    ]
    assert problems("vms:\n- {name: a, addresses: [10.0.0.1/24, 10.0.0.1]}") == [
        "vms.yaml:2:3: the address 10.0.0.1 of a is also that of a, line 2"
    ]


def test_every_problem_is_told_at_once():
    lines = problems("vms:\n- {name: a, adress: x, mtu: 1}\n- {name: '', addresses: [x]}\n")
    assert [line.split(": ")[0] for line in lines] == [
        "vms.yaml:2:3",
        "vms.yaml:2:13",
        "vms.yaml:2:29",
        "vms.yaml:3:10",
        "vms.yaml:3:26",
    ]


def test_what_is_not_yaml_is_told_with_its_line():
    (line,) = problems("vms:\n- {name: a\n")
    assert line.startswith(("vms.yaml:2:", "vms.yaml:3:"))
    assert "not YAML" in line


@pytest.mark.parametrize("text", ["vms: []", "vms:", "vms: null"])
def test_an_inventory_without_a_vm_is_a_mistake(text):
    with pytest.raises(InventoryError, match=r"vms.yaml:1:\d+: `vms` lists no VM"):
        read_inventory(text, "vms.yaml")


def test_words_and_numbers_of_labels_stay_text():
    (vm,) = read_inventory("vms: [{name: a, addresses: [10.0.0.1], labels: {on: yes, tier: 3}}]", "vms.yaml")
    assert vm.labels == {"on": "yes", "tier": "3"}


def test_a_file_that_is_no_text_is_an_inventory_error(tmp_path):
    (tmp_path / "vms.yaml").write_bytes(b"vms: \xff")
    with pytest.raises(InventoryError, match="not UTF-8 text at byte 5"):
        YamlInventory(tmp_path / "vms.yaml").vms()


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80) | st.text(alphabet="vms:{}[]-& *!,\n '\"10./%", max_size=60).map("vms: ".__add__))
def test_any_text_is_read_or_refused(text):
    try:
        read_inventory(text, "vms.yaml")
    except InventoryError as error:
        assert str(error).startswith("vms.yaml:")  # noqa: PT017  (any text may also be fine)
