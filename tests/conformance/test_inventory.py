"""What every inventory must do."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec

import pytest

from netpersona.adapters.inventories.libvirt.inventory import LibvirtInventory
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


@contextlib.contextmanager
def yaml_file(tmp_path):
    path = tmp_path / "vms.yaml"
    path.write_text(VMS)
    yield YamlInventory(path)


@contextlib.contextmanager
def no_yaml_file(tmp_path):
    yield YamlInventory(tmp_path / "absent.yaml")


# The same as libvirt's own test driver has them: the driver is in the library, there is no daemon.
DOMAINS = """
<node>
  <domain type="test">
    <name>web-1</name><memory>1024</memory><os><type>hvm</type></os>
    <metadata>
      <np:vm xmlns:np="urn:netpersona:vm:1">
        <np:address>10.77.0.11/24</np:address><np:address>2001:db8::11/64</np:address>
        <np:gateway>10.77.0.1</np:gateway><np:resolver>10.77.0.1</np:resolver><np:label name="role">web</np:label>
      </np:vm>
    </metadata>
    <devices>
      <interface type="ethernet">
        <mac address="52:54:00:00:00:01"/><target dev="tap-web-1" managed="no"/><mtu size="1500"/>
      </interface>
    </devices>
  </domain>
  <domain type="test">
    <name>db-1</name><memory>1024</memory><os><type>hvm</type></os>
    <metadata><np:vm xmlns:np="urn:netpersona:vm:1"><np:address>10.77.0.12</np:address></np:vm></metadata>
  </domain>
  <domain type="test">
    <name>desk_2</name><memory>1024</memory><os><type>hvm</type></os>
    <metadata><np:vm xmlns:np="urn:netpersona:vm:1"><address>FD00::0:2</address></np:vm></metadata>
  </domain>
</node>
"""


@contextlib.contextmanager
def libvirt(tmp_path):
    path = tmp_path / "node.xml"
    path.write_text(DOMAINS)
    with contextlib.closing(LibvirtInventory(f"test://{path}")) as inventory:
        yield inventory


@contextlib.contextmanager
def no_libvirt(tmp_path):
    with contextlib.closing(LibvirtInventory(f"test://{tmp_path}/absent.xml")) as inventory:
        yield inventory


needs_libvirt = pytest.mark.skipif(find_spec("libvirt") is None, reason="needs the Python binding of libvirt")
INVENTORIES = [
    pytest.param(yaml_file, no_yaml_file, id="yaml_file"),
    pytest.param(libvirt, no_libvirt, id="libvirt", marks=needs_libvirt),
]


@pytest.mark.parametrize(("made", "_unreadable"), INVENTORIES)
def test_the_vms_come_in_the_order_of_their_names(made, _unreadable, tmp_path):
    with made(tmp_path) as inventory:
        assert [vm.name for vm in inventory.vms()] == ["db-1", "desk_2", "web-1"]
        assert inventory.vms() == inventory.vms()


@pytest.mark.parametrize(("made", "_unreadable"), INVENTORIES)
def test_a_vm_is_as_it_was_described(made, _unreadable, tmp_path):
    with made(tmp_path) as inventory:
        db, desk, web = inventory.vms()
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
    with made(tmp_path) as inventory:
        vms = inventory.vms()
    assert owners(vms) == {
        "10.77.0.11": "web-1",
        "2001:db8::11": "web-1",
        "10.77.0.12": "db-1",
        "fd00::2": "desk_2",
    }


@pytest.mark.parametrize(("_made", "unreadable"), INVENTORIES)
def test_what_cannot_be_read_is_an_inventory_error_that_names_it(_made, unreadable, tmp_path):
    with unreadable(tmp_path) as inventory, pytest.raises(InventoryError, match=str(tmp_path)):
        inventory.vms()
