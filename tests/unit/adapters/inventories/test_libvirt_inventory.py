"""Libvirt's inventory follows events, shown with the test driver that is in libvirt's own library."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from importlib.util import find_spec
from urllib.parse import quote

import pytest

import waiting
from netpersona.adapters.inventories.libvirt.inventory import LibvirtInventory
from netpersona.errors import InventoryError

URI = "test:///default"  # all connections of a process share it
needs_libvirt = pytest.mark.skipif(find_spec("libvirt") is None, reason="needs the Python binding of libvirt")


@pytest.fixture
def inventory():
    with contextlib.closing(LibvirtInventory(URI)) as inventory:
        yield inventory


@pytest.fixture
def driver():
    import libvirt

    connection = libvirt.open(URI)
    yield connection
    for domain in connection.listAllDomains():
        if domain.name().startswith("np-"):
            domain.destroy()
    connection.close()


def started(driver, name, mac, *, said="", kind="network"):
    source = "<source network='default'/>" if kind == "network" else ""
    metadata = f"<metadata><np:vm xmlns:np='urn:netpersona:vm:1'>{said}</np:vm></metadata>" if said else ""
    return driver.createXML(
        f"<domain type='test'><name>{name}</name><uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, name)}</uuid>"
        f"<memory>1024</memory><os><type>hvm</type></os>{metadata}<devices>"
        f"<interface type='{kind}'><mac address='{mac}'/>{source}<target dev='{name}'/></interface></devices></domain>"
    )


def until(inventory, true):
    """The VMs of these tests, as soon as they are as they should be."""
    deadline = time.monotonic() + 60
    while not true(found := {vm.name: vm for vm in inventory.vms() if vm.name.startswith("np-")}):
        assert time.monotonic() < deadline, f"{found}, {inventory.problems}"
        time.sleep(0.01)
    return found


@needs_libvirt
def test_a_domain_that_starts_is_there_with_its_lease_and_gone_when_it_stops(inventory, driver):
    assert until(inventory, lambda vms: not vms) == {}
    domain = started(driver, "np-web", "52:54:00:00:00:01")
    vm = until(inventory, lambda vms: "np-web" in vms)["np-web"]
    assert (vm.interface, vm.mac) == ("np-web", "52:54:00:00:00:01")
    (address,) = vm.addresses
    assert address.startswith("192.168.122.")
    assert address.endswith("/24")
    assert (vm.gateways, vm.resolvers) == (("192.168.122.1",), ("192.168.122.1",))
    domain.destroy()
    until(inventory, lambda vms: not vms)


@needs_libvirt
def test_metadata_is_followed_and_says_it_all(inventory, driver):
    domain = started(driver, "np-web", "52:54:00:00:00:01")
    until(inventory, lambda vms: "np-web" in vms)
    said = "<vm><address>10.77.0.11/24</address><label name='role'>web</label></vm>"
    domain.setMetadata(2, said, "np", "urn:netpersona:vm:1", 0)
    vm = until(inventory, lambda vms: vms["np-web"].labels)["np-web"]
    assert (vm.addresses, vm.labels) == (("10.77.0.11/24",), {"role": "web"})


@needs_libvirt
def test_two_vms_with_one_address_are_told_and_the_one_that_had_it_keeps_it(inventory, driver):
    started(driver, "np-web", "52:54:00:00:00:02", said="<np:address>10.77.0.11</np:address>", kind="ethernet")
    until(inventory, lambda vms: "np-web" in vms)
    started(driver, "np-thief", "52:54:00:00:00:03", said="<np:address>10.77.0.11</np:address>", kind="ethernet")
    vms = until(inventory, lambda vms: "np-thief" in vms)
    assert (vms["np-web"].addresses, vms["np-thief"].addresses) == (("10.77.0.11/32",), ())
    assert inventory.problems == ("np-thief claims 10.77.0.11, which np-web has; not believed",)


@needs_libvirt
def test_without_an_address_a_vm_is_there_with_its_tap_and_mac(inventory, driver):
    started(driver, "np-bare", "52:54:00:00:00:04", kind="ethernet")
    vm = until(inventory, lambda vms: "np-bare" in vms)["np-bare"]
    assert (vm.addresses, vm.interface, vm.mac) == ((), "np-bare", "52:54:00:00:00:04")


@needs_libvirt
def test_what_is_not_there_is_an_error_and_comes_when_it_is(tmp_path):
    path = tmp_path / "node.xml"
    with contextlib.closing(LibvirtInventory(f"test://{quote(str(path))}")) as inventory:
        with pytest.raises(InventoryError, match=r"node\.xml"):
            inventory.vms()
        path.write_text("<node/>")
        waiting.until(lambda: is_read(inventory), "it is there")
        assert inventory.vms() == []


def is_read(inventory):
    with contextlib.suppress(InventoryError):
        return inventory.vms() is not None
    return False


def test_without_the_binding_it_is_said_what_to_install():
    script = (
        "import sys; sys.modules['libvirt'] = None\n"
        "from netpersona.adapters.inventories.libvirt.inventory import LibvirtInventory\n"
        "from netpersona.errors import ConfigError\n"
        "try: LibvirtInventory('qemu:///system')\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert "netpersona[libvirt]" in done.stdout
    assert "libvirt-dev" in done.stdout
