"""The layout as lines for `ip -batch`, machine by machine.  Plain data: who runs them is machine's business."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from netpersona.app.lab import layout
from netpersona.app.lab.layout import SERVICES, VMS, Machine

SETTINGS = {
    # New interfaces answer at once, and say nothing of their own accord.
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/router_solicitations": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}
"""What every machine sets below /proc/sys/net, whatever the host has there."""

FORWARDING = {
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/forwarding": "1",
    # Where the host loaded br_netfilter: a bridge is a bridge.
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}
"""What the hypervisor sets besides.  A source that lies is not dropped here: seeing to it is netpersona's work."""

OUTSIDE_SETTINGS = {"ipv6/ip_nonlocal_bind": "1"}
"""What the outside sets besides: a route makes all its addresses its own, but IPv6 asks for this to use them."""


def settings(name: str) -> dict[str, str]:
    """What a machine sets below /proc/sys/net."""
    more = {layout.HYPERVISOR: FORWARDING, layout.OUTSIDE: OUTSIDE_SETTINGS}.get(name, {})
    return {**SETTINGS, **more}


def links(ends: Mapping[str, str], guest: str | None = None) -> list[str]:
    """For the hypervisor, first: every cable, and the tap of the VM that is a guest.

    `ends` is where each machine's network namespace is found.
    """
    cables = [(machine.name, machine.tap, machine.mac) for machine in (*VMS, *SERVICES)]
    cables.append((layout.OUTSIDE, "uplink", "52:54:00:77:ff:02"))
    return [
        f"link add name {tap} address fe{mac[2:]} mtu {layout.MTU} type veth "
        f"peer name eth0 address {mac} mtu {layout.MTU} netns {ends[name]}"
        for name, tap, mac in cables
        if name != guest
    ] + [
        line
        for name, tap, mac in cables
        if name == guest
        for line in (f"tuntap add dev {tap} mode tap", f"link set {tap} address fe{mac[2:]} mtu {layout.MTU}")
    ]


def hypervisor(*, bridged: bool) -> list[str]:
    """For the hypervisor, last: its addresses and routes."""
    return ["link set lo up", *_vms_side(bridged), *_services_side(), *_outside_side()]


def machines(*, bridged: bool) -> dict[str, list[str]]:
    """For every other machine, by name."""
    found = {vm.name: list(_bridged_vm(vm) if bridged else _routed_vm(vm)) for vm in VMS}
    found |= {service.name: list(_service(service)) for service in SERVICES}
    return {**found, layout.OUTSIDE: list(_outside())}


def _vms_side(bridged: bool) -> Iterator[str]:
    if bridged:
        yield from _bridge("br-vms", "52:54:00:77:00:01", VMS)
        yield f"address add {layout.GATEWAY}/24 dev br-vms"
        yield f"address add {layout.GATEWAY6}/64 dev br-vms nodad"
        return
    for vm in VMS:
        yield f"link set {vm.tap} up"
        yield f"address add {layout.GATEWAY}/32 dev {vm.tap}"
        yield f"address add {layout.GATEWAY6}/128 dev {vm.tap} nodad"
        yield f"route add {vm.v4}/32 dev {vm.tap}"
        yield f"route add {vm.v6}/128 dev {vm.tap}"


def _services_side() -> Iterator[str]:
    yield from _bridge("br-services", "52:54:00:77:01:01", SERVICES)
    yield f"address add {layout.SERVICES_GATEWAY}/24 dev br-services"
    yield f"address add {layout.SERVICES_GATEWAY6}/64 dev br-services nodad"


def _outside_side() -> Iterator[str]:
    yield "link set uplink up"
    yield f"address add {layout.UPLINK}/30 dev uplink"
    yield f"address add {layout.UPLINK6}/64 dev uplink nodad"
    yield f"route add default via {layout.OUTSIDE_LINK} dev uplink"
    yield f"route add default via {layout.OUTSIDE_LINK6} dev uplink"
    # What the fleet's ranges do not hold goes nowhere, rather than back and forth.
    yield f"route add unreachable {layout.FLEET}"
    yield f"route add unreachable {layout.FLEET6}"


def _bridge(name: str, mac: str, members: tuple[Machine, ...]) -> Iterator[str]:
    yield f"link add name {name} address {mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    yield f"link set {name} up"
    for machine in members:
        yield f"link set {machine.tap} master {name}"
        yield f"link set {machine.tap} up"


def _routed_vm(vm: Machine) -> Iterator[str]:
    """One address, no neighbours but the gateway: all that it sends passes the hypervisor's routing."""
    yield from _up()
    yield f"address add {vm.v4}/32 dev eth0"
    yield f"address add {vm.v6}/128 dev eth0 nodad"
    yield f"route add {layout.GATEWAY}/32 dev eth0"
    yield f"route add default via {layout.GATEWAY} dev eth0"
    yield f"route add {layout.GATEWAY6}/128 dev eth0"
    yield f"route add default via {layout.GATEWAY6} dev eth0"


def _bridged_vm(vm: Machine) -> Iterator[str]:
    yield from _up()
    yield from _in_a_segment(vm, layout.GATEWAY, layout.GATEWAY6)


def _service(service: Machine) -> Iterator[str]:
    yield from _up()
    yield from _in_a_segment(service, layout.SERVICES_GATEWAY, layout.SERVICES_GATEWAY6)


def _in_a_segment(machine: Machine, gateway: str, gateway6: str) -> Iterator[str]:
    yield f"address add {machine.v4}/24 dev eth0"
    yield f"address add {machine.v6}/64 dev eth0 nodad"
    yield f"route add default via {gateway} dev eth0"
    yield f"route add default via {gateway6} dev eth0"


def _outside() -> Iterator[str]:
    """Every address of its ranges is its own, without being listed; the silent ranges swallow all."""
    yield from _up()
    yield f"address add {layout.OUTSIDE_LINK}/30 dev eth0"
    yield f"address add {layout.OUTSIDE_LINK6}/64 dev eth0 nodad"
    yield f"route add {layout.FLEET} via {layout.UPLINK} dev eth0"
    yield f"route add {layout.FLEET6} via {layout.UPLINK6} dev eth0"
    yield from (f"route add local {network} dev lo" for network in layout.OUTSIDE_RANGES)
    yield from (f"route add local {network} dev lo" for network in layout.OUTSIDE_RANGES6)
    yield f"route add blackhole {layout.SILENT}"
    yield f"route add blackhole {layout.SILENT6}"
    # Anything else outside does not exist, and says so.
    yield "route add unreachable 0.0.0.0/0"
    yield "route add unreachable ::/0"


def _up() -> Iterator[str]:
    yield "link set lo up"
    yield "link set eth0 up"
