"""From the first packet that proves it to the rule in the kernel, and from a pushed indicator to the dropped packet.

    python bench/live.py [--vms 60] [--pushes 600] [--listed 1000000]

Runs as root, in a network namespace of its own: taps of VMs, a controller with the real sensor and the real nftables.
Each VM sends one packet to a listed peer; measured is from that packet (the kernel's time of it) until the enforcer has
put the rule in the kernel that its risk leads to.  Then indicators are pushed, with as many listed already.  Targets:
p50 at most 250 ms and p99 1 s for what is judged; p50 at most 5 ms and p99 50 ms for what is pushed.  The pushes go on
for so long that what was pushed is worked into all that is listed meanwhile, in another thread.
"""

from __future__ import annotations

import argparse
import logging
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from ipaddress import ip_address
from pathlib import Path

from network_namespace import alone

from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app import policies as policy_files
from netpersona.app.feed_config import FeedSpec, feed_source
from netpersona.app.live.controller import Controller
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.inventory import Following
from netpersona.app.live.parts import Parts
from netpersona.flow.window import WINDOW

POLICIES = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: risky}
spec:
  mode: enforce
  order: 1
  rules: [{name: nothing-out, when: persona.risk_score > 0.05, direction: outbound, action: deny, existing: cut}]
---
apiVersion: netpersona/v1
kind: Policy
metadata: {name: low-reputation}
spec:
  mode: enforce
  order: 2
  rules: [{name: listed, direction: inbound, peers: {reputation_below: 0.5}, action: deny, existing: cut}]
"""


def main() -> None:
    logging.getLogger("netpersona").setLevel(logging.ERROR)  # what is found is meant to be
    sys.setswitchinterval(0.001)  # as `netpersona up` does
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=60)
    parser.add_argument("--pushes", type=int, default=600)
    parser.add_argument("--listed", type=int, default=1_000_000)
    options = parser.parse_args()
    if not alone("live"):
        return
    with tempfile.TemporaryDirectory(prefix="netpersona-bench-") as folder:
        taps(options.vms)
        measure(Path(folder), options)


def taps(count: int) -> None:
    """Each VM is one end of a veth pair, the other end its tap."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for i in range(count):
        for words in (f"link add tap{i} type veth peer name vm{i}", f"link set tap{i} up", f"link set vm{i} up"):
            subprocess.run(["ip", *words.split()], check=True)


def measure(folder: Path, options: argparse.Namespace) -> None:
    vms = "".join(f"  - {{name: vm-{i}, interface: tap{i}, addresses: [10.77.{i}.1/24]}}\n" for i in range(options.vms))
    (folder / "vms.yaml").write_text(f"vms:\n{vms}")
    first = int(ip_address("20.0.0.0"))
    listed = [f"203.0.113.{i % 250 + 1}" for i in range(250)] + [
        str(ip_address(first + 7 * i)) for i in range(options.listed)
    ]
    (folder / "bad.txt").write_text("\n".join(listed) + "\n")
    enforcer = Watched(Nftables())
    with TapSensor() as sensor:
        feed = FeedSpec(name="bad", file=str(folder / "bad.txt"), confidence=0.95, allow=("documentation",))
        parts = Parts(
            Following(folder / "vms.yaml"),
            sensor,
            MemoryStore(),
            enforcer,
            LiveIndicators(LiveFeeds([feed_source(feed, None, "bench")], folder / "feeds")),
            policy_files.parsed,
            WINDOW,
        )
        controller = Controller(parts, {"p.yaml": POLICIES}, sensor.poll(0.0).until)
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            while not any(part.name == "enforcer" and part.well for part in controller.health().parts):
                time.sleep(0.1)
            while max(map(len, controller.ruleset().sets.values()), default=0) < options.listed:
                time.sleep(0.5)
            judged = [call(enforcer, i) for i in range(options.vms)]
            pushed = [push(controller, i) for i in range(options.pushes)]
        finally:
            controller.stop()
            thread.join()
    say("judged", judged, 250, 1000)
    say("pushed", pushed, 5, 50)


class Watched:
    """The enforcer, with the time at which each VM's rules last changed in the kernel."""

    def __init__(self, within: object) -> None:
        self._within = within
        self.changed: dict[str, float] = {}

    def apply(self, desired: object) -> object:
        """Bring it in force, and look at the clock."""
        changes = self._within.apply(desired)  # type: ignore[attr-defined]
        now = time.clock_gettime(time.CLOCK_REALTIME)
        for change in changes.vms:
            self.changed[change.vm] = now
        return changes

    def __getattr__(self, name: str) -> object:
        return getattr(self._within, name)


def call(enforcer: Watched, i: int) -> float:
    """One VM calls a listed peer; seconds until the kernel has the rule against it."""
    enforcer.changed.pop(f"vm-{i}", None)
    time.sleep(0.0137 * (i % 11))  # at any time of a turn
    sent = time.clock_gettime(time.CLOCK_REALTIME)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((f"vm{i}", 0))
        out.send(syn(f"10.77.{i}.1", f"203.0.113.{i % 250 + 1}"))
    deadline = time.monotonic() + 10
    while f"vm-{i}" not in enforcer.changed:
        if time.monotonic() > deadline:
            sys.exit(f"vm-{i} called a listed peer, and nothing followed")
        time.sleep(0.001)
    return enforcer.changed[f"vm-{i}"] - sent


def push(controller: object, i: int) -> float:
    time.sleep(0.0037 * (i % 13))
    begin = time.perf_counter()
    controller.indicators("ours", [f"45.{i // 250}.{i % 250}.9"], "bench")  # type: ignore[attr-defined]
    return time.perf_counter() - begin


def syn(source: str, target: str) -> bytes:
    """An Ethernet frame with a TCP SYN to port 443."""
    tcp = struct.pack("!HHIIBBHHH", 40000, 443, 1, 0, 5 << 4, 2, 64240, 0, 0)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, ip_address(source).packed, ip_address(target).packed
    )
    words = sum(struct.unpack("!10H", head))
    total = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    head = head[:10] + struct.pack("!H", total) + head[12:]
    return b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x01" + b"\x08\x00" + head + tcp


def say(what: str, spent: list[float], median: float, worst: float) -> None:
    if not spent:
        return
    ordered = sorted(spent)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{what:11} p50 {statistics.median(ordered) * 1000:.1f} ms (at most {median}), p99 {p99 * 1000:.1f} ms"
        f" (at most {worst}), n={len(ordered)}"
    )


if __name__ == "__main__":
    main()
