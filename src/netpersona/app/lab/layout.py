"""Who is where in the lab: machines, interfaces, addresses, names.

    desktop-1  desktop-2  web-1  database-1        10.77.0.0/24   fd00:77::/64
        |          |        |        |
    tap-desktop-1 ...                tap-database-1
        +---------- hypervisor ------+             routed: each tap a link of its own; bridged: all in br-vms
    br-services |              | uplink
    svc-resolver ...           |
        |                   outside                192.0.2.0/24 good, 198.51.100.0/25 visitors, 203.0.113.0/24 bad
    resolver repository analyser admin             2001:db8:1::/48,   2001:db8:2::/48,         2001:db8:bad::/48
    10.77.1.0/24   fd00:77:0:1::/64                198.51.100.128/25 and 2001:db8:dead::/48 are silent

Addresses are private (RFC 1918, RFC 4193) or for documentation (RFC 5737, RFC 3849), names end in .example (RFC 2606).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HYPERVISOR = "hypervisor"
OUTSIDE = "outside"
GATEWAY, GATEWAY6 = "10.77.0.1", "fd00:77::1"
SERVICES_GATEWAY, SERVICES_GATEWAY6 = "10.77.1.1", "fd00:77:0:1::1"
UPLINK, UPLINK6 = "10.77.255.1", "fd00:77:0:ff::1"
OUTSIDE_LINK, OUTSIDE_LINK6 = "10.77.255.2", "fd00:77:0:ff::2"
FLEET, FLEET6 = "10.77.0.0/16", "fd00:77::/48"
OUTSIDE_RANGES = ("192.0.2.0/24", "198.51.100.0/25", "203.0.113.0/24")
OUTSIDE_RANGES6 = ("2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:bad::/48")
SILENT, SILENT6 = "198.51.100.128/25", "2001:db8:dead::/48"
MTU = 1500


class Machine(NamedTuple):
    """A machine with one interface, eth0; its other end is `tap`, in the hypervisor."""

    name: str
    role: str
    v4: str
    v6: str
    mac: str
    tap: str

    def address(self, family: int) -> str:
        """Its address of family 4 or 6."""
        return self.v4 if family == 4 else self.v6


def _vm(name: str, role: str, number: int) -> Machine:
    return Machine(name, role, f"10.77.0.{number}", f"fd00:77::{number}", f"52:54:00:77:00:{number:02d}", f"tap-{name}")


def _service(name: str, number: int) -> Machine:
    return Machine(
        name, name, f"10.77.1.{number}", f"fd00:77:0:1::{number}", f"52:54:00:77:01:{number:02d}", f"svc-{name}"
    )


WEB = _vm("web-1", "web", 11)
DATABASE = _vm("database-1", "database", 12)
DESKTOP = _vm("desktop-1", "desktop", 21)
NEIGHBOUR = _vm("desktop-2", "desktop", 22)
VMS = (WEB, DATABASE, DESKTOP, NEIGHBOUR)

ANALYSER = _service("analyser", 9)
ADMIN = _service("admin", 10)
RESOLVER = _service("resolver", 53)
REPOSITORY = _service("repository", 80)
SERVICES = (RESOLVER, REPOSITORY, ANALYSER, ADMIN)

MACHINES = (HYPERVISOR, *(machine.name for machine in (*VMS, *SERVICES)), OUTSIDE)
"""The names of all machines."""


class Peer(NamedTuple):
    """An address pair outside."""

    v4: str
    v6: str

    def address(self, family: int) -> str:
        """Its address of family 4 or 6."""
        return self.v4 if family == 4 else self.v6


SITES = {f"site-{n}.example": Peer(f"192.0.2.{100 + n}", f"2001:db8:1::{100 + n}") for n in range(1, 21)}
CONTROL = Peer("203.0.113.66", "2001:db8:bad::66")  # on the feed
DROP = Peer("203.0.113.67", "2001:db8:bad::67")  # on no feed: only what is sent there can tell
RENDEZVOUS = Peer("203.0.113.70", "2001:db8:bad::70")  # on no feed: only the rhythm can tell
AUTHORITY = Peer("203.0.113.53", "2001:db8:bad::53")  # answers for TUNNEL
VISITORS = tuple(Peer(f"198.51.100.{n}", f"2001:db8:2::{n}") for n in range(2, 62))
PERFORMANCE = Peer("192.0.2.10", "2001:db8:1::10")  # where iperf3 listens

TUNNEL = "tunnel.example"
BAD_DOMAIN = "bad.example"  # on the feed
CONTROL_NAME = f"control.{BAD_DOMAIN}"
SHARED_NAME = f"shared.{BAD_DOMAIN}"  # has the address of a good site
UPDATES = "updates.example"
LISTED_NETWORKS = ("203.0.113.128/28", "2001:db8:bad:80::/64")

NAMES: dict[str, Peer] = {
    **SITES,
    UPDATES: Peer(REPOSITORY.v4, REPOSITORY.v6),
    "web-1.example": Peer(WEB.v4, WEB.v6),
    "database-1.example": Peer(DATABASE.v4, DATABASE.v6),
    CONTROL_NAME: CONTROL,
    SHARED_NAME: SITES["site-1.example"],
    "speed.example": PERFORMANCE,
}
"""What the resolver knows; below TUNNEL it asks AUTHORITY."""


def vm(name: str) -> Machine | None:
    """The VM of this name."""
    return next((machine for machine in VMS if machine.name == name), None)


def others(name: str) -> Iterator[Machine]:
    """All VMs but this one."""
    return (machine for machine in VMS if machine.name != name)
