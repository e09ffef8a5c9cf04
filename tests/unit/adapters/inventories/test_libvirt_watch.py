"""What a connection knows: when it asks whom, and what stays when an answer fails."""

from __future__ import annotations

from collections import Counter

import pytest

from netpersona.adapters.inventories.libvirt.claims import Witness
from netpersona.adapters.inventories.libvirt.connection import NotHeardError
from netpersona.adapters.inventories.libvirt.domain import Network
from netpersona.adapters.inventories.libvirt.watch import Watch
from netpersona.errors import InventoryError

MAC = "52:54:00:00:00:01"
AGENT = "<channel><target name='org.qemu.guest_agent.0' state='connected'/></channel>"


def xml(name="web-1", mac=MAC, more="", metadata=""):
    return (
        f"<domain><name>{name}</name><uuid>{name}</uuid><metadata>{metadata}</metadata><devices>"
        f"<interface type='network'><mac address='{mac}'/><source network='default'/><target dev='vnet-{name}'/>"
        f"</interface>{more}</devices></domain>"
    )


class Libvirt:
    """A connection to a libvirt that runs what the test says."""

    def __init__(self, **domains):
        self.domains, self.told, self.asked, self.alive = domains, {}, Counter(), True

    def lives(self):
        return self.alive

    def domain(self, uuid):
        self.asked[uuid] += 1
        found = self.domains.get(uuid)
        if isinstance(found, Exception):
            raise found
        return found

    def network(self, name):
        self.asked[name] += 1
        return Network(("192.168.122.1",), ("192.168.122.1",))

    def addresses(self, uuid, witness):
        self.asked[witness] += 1
        found = self.told.get((uuid, witness), [])
        if isinstance(found, Exception):
            raise found
        return found


def watching(libvirt, *ask):
    watch = Watch(libvirt, ask or (Witness.LEASE,), {})
    watch.look(list(libvirt.domains), 0.0)
    return watch


def known(watch):
    return {vm.name: vm.addresses for vm in watch.vms()[0]}


def test_it_looks_again_soon_while_there_is_no_address_and_seldom_then():
    libvirt = Libvirt(web=xml())
    watch, now, pauses = watching(libvirt), 0.0, []
    for _ in range(7):
        pauses.append(watch.idle(now))
        now += pauses[-1]
        watch.look((), now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    libvirt.told["web-1", Witness.LEASE] = [(MAC, "192.168.122.5/24")]
    now += 30.0
    assert watch.look((), now)
    assert (known(watch), watch.idle(now)) == ({"web-1": ("192.168.122.5/24",)}, 30.0)
    assert not watch.look((), now + 30.0), "nothing is otherwise"


def test_a_lease_that_ended_is_over_but_a_guest_that_is_silent_keeps_its_address():
    libvirt = Libvirt(web=xml(more=AGENT))
    libvirt.told["web-1", Witness.LEASE] = [(MAC, "192.168.122.5/24")]
    libvirt.told["web-1", Witness.AGENT] = [(MAC, "10.0.0.5/24")]
    watch = watching(libvirt, Witness.LEASE, Witness.AGENT)
    watch.look((), 0.0)
    assert known(watch) == {"web-1": ("192.168.122.5/24", "10.0.0.5/24")}
    libvirt.told.clear()
    watch.look((), 31.0)
    assert known(watch) == {"web-1": ("10.0.0.5/24",)}


def test_agents_are_asked_one_at_a_time_and_only_when_no_event_waits():
    libvirt = Libvirt(a=xml("a", more=AGENT), b=xml("b", "52:54:00:00:00:02", AGENT), c=xml("c", "52:54:00:00:00:03"))
    watch = watching(libvirt, Witness.AGENT)
    assert libvirt.asked[Witness.AGENT] == 0
    assert watch.idle(0.0) == 0.0
    watch.look({"c"}, 0.0)
    assert libvirt.asked[Witness.AGENT] == 0
    watch.look((), 0.0)
    assert libvirt.asked[Witness.AGENT] == 1
    for _ in range(5):
        watch.look((), 0.0)
    assert libvirt.asked[Witness.AGENT] == 2, "c has none"


def test_a_witness_that_cannot_be_asked_is_told_and_what_it_said_stays():
    libvirt = Libvirt(web=xml())
    libvirt.told["web-1", Witness.LEASE] = [(MAC, "192.168.122.5/24")]
    watch = watching(libvirt)
    libvirt.told["web-1", Witness.LEASE] = NotHeardError("no network driver")
    assert watch.look((), 31.0)
    assert known(watch) == {"web-1": ("192.168.122.5/24",)}
    assert watch.vms()[1] == ("domain web-1: lease: no network driver",)


@pytest.mark.parametrize("unreadable", ["<domain>", InventoryError("timed out")])
def test_a_domain_that_cannot_be_read_stays_as_it_was_and_the_others_are_followed(unreadable):
    libvirt = Libvirt(a=xml("a"), b=xml("b", "52:54:00:00:00:02"))
    watch = watching(libvirt)
    libvirt.domains = {"a": unreadable, "c": xml("c", "52:54:00:00:00:03")}
    assert watch.look({"a", "b", "c"}, 1.0)
    assert list(known(watch)) == ["a", "c"]
    assert "it stays as it was" in watch.vms()[1][0]
    libvirt.domains["a"] = xml(
        "a", metadata="<v:vm xmlns:v='urn:netpersona:vm:1'><label name='role'>web</label></v:vm>"
    )
    watch.look({"a"}, 2.0)
    assert watch.vms()[0][0].labels == {"role": "web"}
    assert watch.vms()[1] == ()


def test_a_domain_that_never_could_be_read_is_tried_again():
    libvirt = Libvirt(a=InventoryError("timed out"))
    watch = watching(libvirt)
    assert known(watch) == {}
    libvirt.domains["a"] = xml("a")
    assert watch.look((), watch.idle(0.0))
    assert list(known(watch)) == ["a"]


def test_a_lost_connection_is_told():
    libvirt = Libvirt(a=xml("a"))
    watch = watching(libvirt)
    libvirt.domains["a"], libvirt.alive = InventoryError("gone"), False
    with pytest.raises(InventoryError, match="gone"):
        watch.look({"a"}, 1.0)


def test_a_network_is_asked_once_in_a_look():
    libvirt = Libvirt(**{name: xml(name, f"52:54:00:00:01:{place:02x}") for place, name in enumerate("abcdef")})
    watching(libvirt)
    assert libvirt.asked["default"] == 1


def test_a_lease_is_nothing_to_an_interface_outside_libvirts_networks():
    libvirt = Libvirt(a=xml("a").replace("type='network'", "type='ethernet'"))
    libvirt.told["a", Witness.LEASE] = [(MAC, "192.168.122.5/24")]
    assert known(watching(libvirt)) == {"a": ()}
    assert libvirt.asked[Witness.LEASE] == 0
