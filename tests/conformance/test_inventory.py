"""What every inventory must do."""

from __future__ import annotations

import pytest

from netpersona.adapters.inventories.yaml_file import YamlInventory
from netpersona.errors import InventoryError
from netpersona.flow.vm import Vm, VmId, owners

# One source of the same three VMs for each implementation, and one that cannot be read.
VMS = """
vms:
  - {name: web-1, interface: tap-web-1, mac: "52:54:00:00:00:01", addresses: [10.77.0.11/24, "2001:db8::11/64"],
     gateways: [10.77.0.1], resolvers: [10.77.0.1], mtu: 1500, labels: {role: web}}
  - {name: db-1, addresses: [10.77.0.12]}
  - {name: desk_2, addresses: [FD00::0:2]}
"""


def yaml_file(tmp_path):
    path = tmp_path / "vms.yaml"
    path.write_text(VMS)
    return YamlInventory(path)


def no_yaml_file(tmp_path):
    return YamlInventory(tmp_path / "absent.yaml")


INVENTORIES = [pytest.param(yaml_file, no_yaml_file, id="yaml_file")]


@pytest.mark.parametrize(("made", "_unreadable"), INVENTORIES)
def test_the_vms_come_in_the_order_of_their_names(made, _unreadable, tmp_path):
    inventory = made(tmp_path)
    assert [vm.name for vm in inventory.vms()] == ["db-1", "desk_2", "web-1"]
    assert inventory.vms() == inventory.vms()


@pytest.mark.parametrize(("made", "_unreadable"), INVENTORIES)
def test_a_vm_is_as_it_was_described(made, _unreadable, tmp_path):
    db, desk, web = made(tmp_path).vms()
    assert web == Vm(
        VmId("web-1"),
        ("10.77.0.11/24", "2001:db8::11/64"),
        "tap-web-1",
        "52:54:00:00:00:01",
        ("10.77.0.1",),
        ("10.77.0.1",),
        1500,
        {"role": "web"},
    )
    assert db == Vm(VmId("db-1"), ("10.77.0.12/32",))
    assert desk.addresses == ("fd00::2/128",)
    assert not web.inferred


@pytest.mark.parametrize(("made", "_unreadable"), INVENTORIES)
def test_every_address_has_one_owner(made, _unreadable, tmp_path):
    assert owners(made(tmp_path).vms()) == {
        "10.77.0.11": "web-1",
        "2001:db8::11": "web-1",
        "10.77.0.12": "db-1",
        "fd00::2": "desk_2",
    }


@pytest.mark.parametrize(("_made", "unreadable"), INVENTORIES)
def test_what_cannot_be_read_is_an_inventory_error_that_names_it(_made, unreadable, tmp_path):
    with pytest.raises(InventoryError, match=str(tmp_path)):
        unreadable(tmp_path).vms()
