"""How many packets a second go through a VM's chain, beside an empty table: in pairs, in one run.

    source --- tap router uplink --- sink          twice: one router has the rules, the other an empty table

Small UDP packets go both paths in turn (ABAB ...), from one processor, on which the kernel also forwards them; the time
of a turn is that thread's own processor time, so that others who use the machine are left out.  The figure is the
median of the pairs' ratios with its 95 % interval.  A pair of two empty tables says how exact that is.

    established   64 flows that were answered          new      every packet opens a flow
    from, to      what the VM sends; what it is sent

Both routers track connections, as any stateful firewall does; what tracking costs by itself is told beside.  The
namespaces are the benchmark's own and gone with it.  Run as root: python bench/forwarding.py [--pairs N]

Measured here, where a packet takes 7 us from its sender to its receiver.  Of it takes, in percent: one verdict map by
interface name 4 to 5, a second one for the other side 2, connection tracking's state 1 to 2, a hash 1.4 to 2 whether it
holds 100,000 addresses or none, an interval set of 5,000 prefixes 7 to 9, a rule whose first comparison fails 0.3 to
0.6.  So dispatch and state alone, which ask no rule anything, are at 0.94: the floor of asking every packet.  One of an
established flow meets 7 look-ups besides with the 20 policies, for 6 sets that cutting rules name; with the one, 2.
What it would give to remember flows that were judged, and why it is not done: docs/decisions/0011.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import resolve as world
from network_namespace import inside

from netpersona.adapters.enforcers.nftables import nftables, wire
from netpersona.flow.vm import vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona
from netpersona.policy.parse import parse
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.peers import PeerSet
from netpersona.ruleset.resolve import resolve

VMS, ADDRESSES, PREFIXES = 1_000, 95_000, 5_000
PACKETS, FLOWS = 4_096, 64  # of a turn; established ones of a path
OWN, PEER, GATEWAY = "10.1.245.2", "198.18.255.1", "10.1.245.1"  # of the VM with this tap: a calm one
TAP = "tap-501"
LOW_REPUTATION = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: block-outbound-low-reputation}
spec:
  mode: enforce
  order: 100
  rules:
    - {name: nothing-out, when: persona.risk_score > 0.7, direction: outbound, action: deny, existing: cut}
    - {name: listed, direction: outbound, peers: {reputation_below: 0.3}, action: deny, existing: cut}
"""
TRACKING = "table inet np_track { chain c { type filter hook forward priority 0; ct state invalid counter; }; }\n"
HOOKS = ("forward", "input", "output")
EMPTY = (
    "table inet netpersona { "
    + " ".join(f"chain {hook} {{ type filter hook {hook} priority -5; }};" for hook in HOOKS)
    + " }\n"
)
_libc = ctypes.CDLL(None, use_errno=True)


class Ratio(NamedTuple):
    """Of packets a second, with the rules and without: the median of the pairs and its 95 % interval."""

    median: float
    low: float
    high: float
    rate: float  # packets a second without


class Router:
    """One of the two routers, with a VM before it and a peer behind it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.router = f"{name}-router"
        ends = {"from": f"{name}-vm", "to": f"{name}-peer"}
        for space in (self.router, *ends.values()):
            run("ip", "netns", "add", space)
            run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        macs = {"from": ("02:00:00:00:00:01", "02:00:00:00:00:02"), "to": ("02:00:00:00:00:03", "02:00:00:00:00:04")}
        for side, port, near, far in (("from", TAP, GATEWAY, OWN), ("to", "uplink", "198.18.255.2", PEER)):
            here, there = macs[side]
            space = ends[side]
            run("ip", "link", "add", port, "netns", self.router, "address", here, "type", "veth",
                "peer", "name", "eth0", "address", there, "netns", space)  # fmt: skip
            for each, device, address in ((self.router, port, near), (space, "eth0", far)):
                run("ip", "-n", each, "link", "set", device, "up")
                run("ip", "-n", each, "address", "add", f"{address}/30", "dev", device)
            run("ip", "-n", self.router, "neigh", "add", far, "lladdr", there, "dev", port)
            run("ip", "-n", space, "neigh", "add", near, "lladdr", here, "dev", "eth0")
            run("ip", "-n", space, "route", "add", "default", "via", near)
        run("ip", "netns", "exec", self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run("ip", "netns", "exec", self.router, "sysctl", "-qw", "net.netfilter.nf_conntrack_max=1000000")
        self._senders = {}
        for side, space in ends.items():
            with inside(space):
                self._senders[side] = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._outlets = {"from": "uplink", "to": TAP}

    def rules(self, text: str) -> None:
        """Exactly these tables, by nft."""
        run("ip", "netns", "exec", self.router, "nft", "-f", "-", text=f"flush ruleset\n{text}")

    def forget(self) -> None:
        """No tracked flow."""
        with inside(self.router):
            to = wire.Wire()
            list(to.ask_raw(wire.message(2, 0, b"", wire.ACK, 1)))
            to.close()

    def sent(self, side: str, batch: Batch) -> float:
        """Processor seconds that a batch takes; raises RuntimeError if not all of it came out."""
        before = self._out(side)
        start = time.thread_time()
        batch.send(self._senders[side])
        taken = time.thread_time() - start
        came = self._out(side) - before
        if came != batch.count:
            raise RuntimeError(f"{came} of {batch.count} packets came out of {self.router}")
        return taken

    def _out(self, side: str) -> int:
        with inside(self.router):
            for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
                name, _, figures = line.partition(":")
                if name.strip() == self._outlets[side]:
                    return int(figures.split()[9])
        raise RuntimeError(f"no {self._outlets[side]} in {self.router}")


class _Header(ctypes.Structure):
    _fields_ = (("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_size_t), ("sent", ctypes.c_size_t))  # fmt: skip


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Batch:
    """Packets ready for sendmmsg, one processor's work but for the calls themselves."""

    def __init__(self, packets: Sequence[bytes], to: str) -> None:
        self.count = len(packets)
        self._data = ctypes.create_string_buffer(b"".join(packets))
        self._to = ctypes.create_string_buffer(struct.pack("=HH4s8x", socket.AF_INET, 0, ip_address(to).packed))
        self._pieces = (_Piece * self.count)()
        self._headers = (_Header * self.count)()
        at = ctypes.addressof(self._data)
        for number, packet in enumerate(packets):
            self._pieces[number] = _Piece(at, len(packet))
            at += len(packet)
            piece = ctypes.addressof(self._pieces) + number * ctypes.sizeof(_Piece)
            self._headers[number] = _Header(ctypes.addressof(self._to), 16, piece, 1, None, 0, 0, 0)

    def send(self, sender: socket.socket) -> None:
        """All of them."""
        at, sent = ctypes.addressof(self._headers), 0
        while sent < self.count:
            count = min(1024, self.count - sent)
            done = _libc.sendmmsg(sender.fileno(), ctypes.c_void_p(at + sent * ctypes.sizeof(_Header)), count, 0)
            if done <= 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            sent += done


def datagrams(source: str, target: str, ports: Sequence[tuple[int, int]]) -> list[bytes]:
    """UDP packets of 18 bytes: the smallest frame."""
    ends = ip_address(source).packed + ip_address(target).packed
    head = struct.pack(">BBHHHBBH", 0x45, 0, 46, 0, 0, 64, 17, 0) + ends
    return [head + struct.pack(">HHHH", *each, 26, 0) + bytes(18) for each in ports]


def batches() -> dict[tuple[str, str], Batch]:
    """By kind of traffic and side."""
    known = [(40_000 + n % FLOWS, 443) for n in range(PACKETS)]
    fresh = [(10_000 + n, 443) for n in range(PACKETS)]
    return {
        ("established", "from"): Batch(datagrams(OWN, PEER, known), PEER),
        ("established", "to"): Batch(datagrams(PEER, OWN, [(b, a) for a, b in known]), OWN),
        ("new", "from"): Batch(datagrams(OWN, PEER, fresh), PEER),
        ("new", "to"): Batch(datagrams(PEER, OWN, fresh), OWN),
    }


def ratio(ruled: Router, empty: Router, kind: str, side: str, pairs: int) -> Ratio:
    """Turn by turn, each pair's second half first in every other pair."""
    found, rates = [], []
    all_batches = batches()
    for path in (ruled, empty):
        path.forget()
        for way in ("from", "to"):
            path.sent(way, all_batches["established", way])
    batch = all_batches[kind, side]
    for number in range(pairs):
        taken = {}
        for path in (ruled, empty) if number % 2 else (empty, ruled):
            if kind == "new":
                path.forget()
            taken[path.name] = path.sent(side, batch)
        found.append(taken[empty.name] / taken[ruled.name])
        rates.append(batch.count / taken[empty.name])
    found.sort()
    half = 0.98 * pairs**0.5
    low, high = max(0, int(pairs / 2 - half)), min(pairs - 1, int(pairs / 2 + half) + 1)
    return Ratio(statistics.median(found), found[low], found[high], statistics.median(rates))


def low_reputation() -> Ruleset:
    """1,000 VMs that may not reach 95,000 listed addresses and 5,000 listed prefixes."""
    personas = [
        Persona(vm_id(f"vm-{n}"), base=BaseNetworkConfig(
            (f"10.{n >> 8}.{n & 255}.2/24",), gateways=(f"10.{n >> 8}.{n & 255}.1",),
            resolvers=(f"10.{n >> 8}.{n & 255}.1",), inferred=False))
        for n in range(VMS)
    ]  # fmt: skip
    interfaces = {p.vm: f"tap-{n}" for n, p in enumerate(personas)}
    rules = resolve(personas, parse(LOW_REPUTATION, "bench"), IndicatorSet.merge([]), world.AT, interfaces=interfaces)
    listed = PeerSet(
        tuple(str(ip_address(0x20000000 + 7 * i)) for i in range(ADDRESSES)),
        tuple(f"{ip_address(0x60000000 + (i << 9))}/24" for i in range(PREFIXES)),
        "is listed",
    )
    return Ruleset(dict.fromkeys(rules.sets, listed), rules.vms, rules.always, rules.unknown_vm)


def twenty_policies() -> Ruleset:
    """The 1,000 VMs and 20 policies of bench/resolve.py."""
    personas = [world.persona(n) for n in range(VMS)]
    interfaces = {p.vm: p.base.interface for p in personas if p.base.interface is not None}
    names = {p.vm: world.answers(n) for n, p in enumerate(personas)}
    intel = IndicatorSet.merge(world.feeds())
    return resolve(personas, world.policies(), intel, world.AT, interfaces=interfaces, names=names)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=200)
    options.add_argument("--inside", action="store_true")
    chosen = options.parse_args()
    if os.geteuid() != 0:
        print("skipped: needs root, to make network namespaces of its own")
        return 0
    if not chosen.inside:
        here = [sys.executable, str(Path(__file__)), "--inside", "--pairs", str(chosen.pairs)]
        return subprocess.run(["unshare", "-n", "-m", *here], check=False).returncode
    Path("/run/netns").mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    ruled, empty = Router("ruled"), Router("empty")
    for each in (ruled, empty):
        each.rules(TRACKING + EMPTY)
    told("two empty tables", ruled, empty, chosen.pairs, "")
    ruled.rules(TRACKING)
    empty.rules("")
    told("tracking alone, beside nothing", ruled, empty, chosen.pairs, "")
    empty.rules(TRACKING + EMPTY)
    for what, made in (("one policy, 100,000 listed", low_reputation), ("20 policies", twenty_policies)):
        ruled.rules(TRACKING)
        with inside(ruled.router), nftables() as enforcer:
            enforcer.apply(made())
        told(what, ruled, empty, chosen.pairs, "(asked: at least 0.95)")
    return 0


def told(what: str, ruled: Router, empty: Router, pairs: int, asked: str) -> None:
    for kind in ("established", "new"):
        for side in ("from", "to"):
            found = ratio(ruled, empty, kind, side, pairs)
            share = f"{found.median:6.3f} x [{found.low:.3f}, {found.high:.3f}]"
            print(f"{what:32}{kind:12}{side:5}{share} of {found.rate / 1e3:.0f} k packets/s  {asked}", flush=True)


def run(*words: str, text: str | None = None) -> None:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
