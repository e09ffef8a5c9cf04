"""How much later a VM has a DNS answer since it is held until the kernel knows what it means.

    python bench/answers.py [--vms 40] [--names 5]

Runs as root, in a network namespace of its own: taps of VMs, a controller with the real sensor, the real nftables and
the real holding of answers.  Measured is from the answer's leaving for the tap until the VM has it, for answers that
  resolve   belong to what the VM has learned, which a rule asks for: the rules must be resolved anew first
  lend      give the kernel another address for the set of a rule on names
  pass      no rule asks for
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import defaultdict
from ipaddress import ip_address
from pathlib import Path

from live import say, syn, taps
from network_namespace import alone

from netpersona.adapters.dns_relay.hold import AnswerHold
from netpersona.adapters.enforcers.nftables import Nftables
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app import policies as policy_files
from netpersona.app.live.controller import Controller
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.indicators import LiveIndicators
from netpersona.app.live.inventory import Following
from netpersona.app.live.parts import Parts
from netpersona.flow.window import WINDOW

RESOLVER = "10.77.255.53"
POLICY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: sites}
spec:
  mode: enforce
  order: 1
  rules:
    - {name: denied, direction: outbound, peers: {domains: [denied.example]}, action: deny, existing: cut}
    - {name: known, direction: outbound, peers: {profile: known}, action: allow}
"""


def main() -> None:
    sys.setswitchinterval(0.001)  # as `netpersona up` does
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=40)
    parser.add_argument("--names", type=int, default=5)
    options = parser.parse_args()
    if not alone("answers"):
        return
    with tempfile.TemporaryDirectory(prefix="netpersona-bench-") as folder:
        taps(options.vms)
        measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    vms = "".join(f"  - {{name: vm-{i}, interface: tap{i}, addresses: [10.77.{i}.1/24]}}\n" for i in range(options.vms))
    (folder / "vms.yaml").write_text(f"vms:\n{vms}")
    enforcer = Nftables()
    with TapSensor() as sensor:
        hold = AnswerHold(enforcer.lend, getattr(sensor, "wake", lambda: None))
        parts = Parts(
            Following(folder / "vms.yaml"),
            sensor,
            MemoryStore(),
            enforcer,
            LiveIndicators(LiveFeeds([], folder / "feeds")),
            policy_files.parsed,
            WINDOW,
            hold=hold,
        )
        if not hold.start():
            sys.exit(hold.health().says)
        controller = Controller(parts, {"p.yaml": POLICY}, sensor.poll(0.0).until)
        thread = threading.Thread(target=controller.run)
        thread.start()
        spent = defaultdict(list)
        try:
            while hold.health().figures.get("held_taps") != options.vms:
                time.sleep(0.1)
            for i in range(options.vms):
                learned(i)
            while not all(persona.profile.names for persona in controller.vms().values()):
                time.sleep(0.1)
            time.sleep(1)
            for i in range(options.vms):
                names = [
                    (what, f"{n}.{below}.example")
                    for what, below in (("pass", "other"), ("lend", "denied"), ("resolve", "www.known"))
                    for n in range(options.names)
                ]
                for ident, (what, name) in enumerate(names):
                    time.sleep(0.0137 * ((i + ident) % 11))  # at any time of a turn
                    spent[what].append(answered(i, ident + 1, name))
            late, waited = (hold.health().figures[name] for name in ("late", "resolved"))
        finally:
            controller.stop()
            thread.join()
            hold.stop()
    for what, median, worst in (("resolve", 25, 100), ("lend", 5, 50), ("pass", 5, 50)):
        say(what, spent[what], median, worst)
    print(f"late        {late} answers went before the kernel held them; {waited} waited for a resolution")


def learned(i: int) -> None:
    """The VM asks for a name, and calls the address that it is told."""
    answered(i, 99, "www.known.example")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((f"vm{i}", 0))
        out.send(syn(f"10.77.{i}.1", f"198.51.{i}.99"))


def answered(i: int, ident: int, name: str) -> float:
    """The VM asks, and its resolver answers at once; seconds from then until the VM has the answer."""
    own, address = f"10.77.{i}.1", f"198.51.{i}.{ident}"
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    answer = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + ip_address(address).packed
    asked = struct.pack("!6H", ident, 0x0100, 1, 0, 0, 0) + question
    said = struct.pack("!6H", ident, 0x8180, 1, 1, 0, 0) + question + answer
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as vm,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as host,
    ):
        vm.bind((f"vm{i}", 0x0800))
        vm.settimeout(10)
        host.bind((f"tap{i}", 0))
        vm.send(datagram((own, 40000), (RESOLVER, 53), asked))
        begin = time.perf_counter()
        host.send(datagram((RESOLVER, 53), (own, 40000), said))
        while not vm.recv(2048).endswith(said):
            pass
        return time.perf_counter() - begin


def datagram(source: tuple[str, int], target: tuple[str, int], payload: bytes) -> bytes:
    """An Ethernet frame with it; no checksum of UDP."""
    udp = struct.pack("!4H", source[1], target[1], 8 + len(payload), 0) + payload
    ends = ip_address(source[0]).packed + ip_address(target[0]).packed
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + ends
    words = sum(struct.unpack("!10H", head))
    total = ~((words & 0xFFFF) + (words >> 16)) & 0xFFFF
    return b"\xff" * 6 + b"\x52\x54\0\0\0\1\x08\0" + head[:10] + struct.pack("!H", total) + head[12:] + udp


if __name__ == "__main__":
    main()
