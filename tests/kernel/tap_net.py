"""VMs made of network namespaces: each hangs on a tap (a veth) of a host, which is a namespace of the tests' own."""

from __future__ import annotations

import subprocess
import time

from kernel.private_net import own, run

HOST = own("taphost")


def vm_of(place: int) -> str:
    """The namespace of that VM."""
    return own(f"tapvm{place}")


def addresses(place: int) -> tuple[str, str]:
    """The VM's own addresses; the host's end in 1."""
    return f"10.77.{place}.2", f"2001:db8:{place}::2"


def attach(place: int) -> None:
    """Hang a VM on its tap; both sides know each other's MAC, so that nothing is asked for first."""
    vm, tap = vm_of(place), f"tap{place}"
    run("ip", "-n", HOST, "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", vm)
    for space, link, end in ((HOST, tap, 1), (vm, "eth0", 2)):
        run("ip", "netns", "exec", space, "sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{link}/accept_dad")
        run("ip", "netns", "exec", space, "sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{link}/router_solicitations")
        run(
            "ip",
            "-n",
            space,
            "link",
            "set",
            link,
            "address",
            f"52:54:00:00:{place:02x}:{end:02x}",
            "addrgenmode",
            "none",
        )
        run("ip", "-n", space, "addr", "add", f"10.77.{place}.{end}/24", "dev", link)
        run("ip", "-n", space, "addr", "add", f"2001:db8:{place}::{end}/64", "dev", link, "nodad")
        run("ip", "-n", space, "link", "set", link, "up")
    for space, link, other in ((HOST, tap, 2), (vm, "eth0", 1)):
        mac = f"52:54:00:00:{place:02x}:{other:02x}"
        for address in (f"10.77.{place}.{other}", f"2001:db8:{place}::{other}"):
            run("ip", "-n", space, "neigh", "replace", address, "lladdr", mac, "dev", link, "nud", "permanent")
    for space, link in ((HOST, tap), (vm, "eth0")):
        deadline = time.monotonic() + 60
        while _read(space, f"/sys/class/net/{link}/operstate") != ["up"]:
            assert time.monotonic() < deadline, f"{link} of {space} does not come up"
    run("ip", "-n", vm, "route", "add", "default", "via", f"10.77.{place}.1")
    run("ip", "-n", vm, "-6", "route", "add", "default", "via", f"2001:db8:{place}::1")


def detach(place: int) -> None:
    run("ip", "-n", HOST, "link", "del", f"tap{place}")


def counters(tap: str) -> dict[str, int]:
    """The interface's own counters: what the VM sent (rx) and was sent (tx)."""
    names = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes")
    read = _read(HOST, *(f"/sys/class/net/{tap}/statistics/{name}" for name in names))
    return dict(zip(names, (int(number) for number in read), strict=True))


def _read(namespace: str, *paths: str) -> list[str]:
    # /sys shows the interfaces of the namespace in which it was mounted, so it is read by a process inside
    words = ["ip", "netns", "exec", namespace, "cat", *paths]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
