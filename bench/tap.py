"""The live sensor: the highest rate at which it loses no packet, and what a packet costs it.

    python bench/tap.py [--seconds S] [--rates 100,150,...] [--traffic mix,bulk,scan] [--taps N] [--real-time]

Needs root.  Everything happens in two network namespaces that are made here and gone afterwards: a host with a tap
(a veth), and a VM behind it.  A sender on the last core puts frames on both ends with sendmmsg; the sensor has the
first core, and polars one thread.  `--real-time` keeps other work off both: without it, a busy machine is measured.

    mix    long connections in both directions (seven in ten packets), one short one with a TLS hello in 100 packets,
           ten packets of DNS, other UDP, two SYNs of a scan; 4,300 flows in 60,000 packets; 425 bytes on average
    bulk   one VM sends 1,500-byte segments on ten connections
    scan   every packet opens a flow of its own

A rate counts as kept where the ring lost nothing, every packet sent was seen, and the flows' packets add up to them.
`ring of its own` measures what was not chosen: one ring for each of N idle taps, against one ring for all.

Measured on 2 cores of an EPYC 7003 at 2.4 GHz under other load (about 7 waiting), --real-time, 10 s each: mix 150,000
a second without loss (53 to 60 % of the core, four runs of four), 225,000 at most; bulk 350,000 and scan 330,000, which
is all that the sender can do.  A flow's first row comes 250 ms after its first packet at that rate (p99 550 ms), 90 ms
(p99 140 ms) at 1,000 packets a second.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ["POLARS_MAX_THREADS"] = "1"

import numpy as np
from network_namespace import inside

POLL = 0.1  # s, as the controller does
HOST, VM = "np-bench-host", "np-bench-vm"
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--rates", default="100,150,200,250")
    options.add_argument("--traffic", default="mix,bulk,scan")
    options.add_argument("--taps", type=int, default=100)
    options.add_argument("--real-time", action="store_true")
    options.add_argument("--send", type=int)
    chosen = options.parse_args()
    if os.geteuid() != 0:
        print("skipped: needs root, to make network namespaces of its own")
        return 0
    if chosen.real_time:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    # before polars starts its thread, which else could find itself behind the sender
    os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1 if chosen.send else 0})
    if chosen.send:
        return send(chosen.traffic, chosen.send, chosen.seconds)
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with namespaces():
        for traffic in chosen.traffic.split(","):
            measure(traffic, [int(rate) * 1000 for rate in chosen.rates.split(",")], chosen.seconds)
        if chosen.taps:
            rings_of_their_own(chosen.taps)
    return 0


def measure(traffic: str, rates: list[int], seconds: float) -> None:
    kept = 0
    for rate in rates:
        lost, sent, cost = one_rate(traffic, rate, seconds)
        share = 100 * cost.cpu / seconds
        print(f"{traffic:5} {rate // 1000:4} thousand packets/s asked, {sent / seconds / 1000:.1f} sent: {lost} lost")
        print(f"      {cost.cpu / sent * 1e6:.2f} µs of CPU each, {share:.0f} % of the core")
        print(f"      longest poll {cost.longest:.2f} s, {cost.rows} rows, {cost.open_flows} flows open")
        half, most = (np.percentile(cost.delays, share) / 1000 for share in (50, 99))
        print(f"      from a flow's first packet to its row: p50 {half:.0f} ms, p99 {most:.0f} ms", flush=True)
        if lost:
            break
        kept = max(kept, int(sent / seconds))
    print(f"{traffic:5} highest rate without loss: {kept // 1000} thousand packets/s")


class Cost:
    """What a run took."""

    def __init__(self) -> None:
        self.cpu = self.longest = 0.0
        self.rows = self.open_flows = 0
        self.delays: list[int] = []  # from a flow's first packet to its first row, µs


def one_rate(traffic: str, rate: int, seconds: float) -> tuple[int, int, Cost]:
    from netpersona.adapters.sensors.tap.sensor import TapSensor  # noqa: PLC0415  # only once the core is chosen

    cost, counted = Cost(), 0
    with inside(HOST):
        sensor = TapSensor()
        sensor.add("tap0", "vm")
    with sensor:
        sensor.poll(0.3)
        before = sensor.health.packets
        command = [sys.executable, __file__, "--send", str(rate), "--traffic", traffic, "--seconds", str(seconds)]
        command += ["--real-time"] * (os.sched_getscheduler(0) == os.SCHED_FIFO)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
            totals: dict[tuple[str, int], int] = {}
            done = 0
            while done < 5:  # until nothing comes any more
                begun, busy = time.monotonic(), time.process_time()
                report = sensor.poll(POLL)
                cost.longest = max(cost.longest, time.monotonic() - begun)
                cost.cpu += time.process_time() - busy
                flows = report.batch.flows
                cost.rows += flows.height
                cost.open_flows = max(cost.open_flows, sensor.health.open_flows)
                now = time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000
                known = flows["uid"].is_in(list({uid for uid, _ in totals}))
                cost.delays += (now - flows.filter(~known)["start"]).to_list()
                changed = flows.select("uid", "part", flows["packets_orig"] + flows["packets_resp"])
                totals.update({(uid, part): packets for uid, part, packets in changed.iter_rows()})
                done += sender.poll() is not None
            sent = int(sender.stdout.read()) if sender.stdout else 0
        counted = sum(totals.values())
        seen, lost = sensor.health.packets - before, sensor.health.lost
        early = sensor.health.skipped.get("flow closed early: too many are open", 0)
    if seen != sent or counted + lost != sent:
        print(f"      {sent} sent, {seen} seen, {counted} in flows, {early} flows closed early")
    return max(lost, sent - counted), sent, cost


def rings_of_their_own(count: int) -> None:
    from netpersona.adapters.sensors.tap.ring import Ring  # noqa: PLC0415

    with inside(HOST):
        shared, own = [Ring()], [Ring(blocks=64) for _ in range(count)]
    for name, rings in (("one ring for all taps", shared), (f"{count} rings of their own", own)):
        begun = time.process_time()
        for _ in range(50):
            for ring in rings:
                ring.copy_out(np.empty(0, np.uint8), 0)
                ring.seen()
        size = sum(ring.size for ring in rings) >> 20
        print(f"{name}: {size} MiB, {(time.process_time() - begun) / 50 * 1e3:.2f} ms for each look at nothing")
    for ring in (*shared, *own):
        ring.close()


def send(traffic: str, rate: int, seconds: float) -> int:
    with inside(VM):
        from_vm = Sender("eth0", bypass=True)
    with inside(HOST):
        to_vm = Sender("tap0", bypass=False)  # what bypasses the queue of an interface is not seen on it
    batches = [(from_vm.prepared(out), to_vm.prepared(back)) for out, back in frames(traffic)]
    sent, begun = 0, time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        for out, back in batches:
            while sent > (time.monotonic() - begun) * rate:
                time.sleep(0.0001)
            sent += from_vm.send(out) + to_vm.send(back)
            if time.monotonic() - begun >= seconds:
                break
    print(sent)
    return 0 if now else 1


class Sender:
    """A packet socket and arrays of struct mmsghdr that point at frames."""

    def __init__(self, interface: str, *, bypass: bool) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((interface, 0))
        if bypass:
            self.socket.setsockopt(263, 20, 1)  # PACKET_QDISC_BYPASS

    def prepared(self, frames: list[bytes]) -> tuple[int, int, object]:
        """Where their array of struct mmsghdr is, how many they are, and what must be kept for it."""
        data = np.frombuffer(b"".join(frames) or b"\0", np.uint8).copy()
        sizes = np.array([len(frame) for frame in frames], np.uint64)
        vectors = np.zeros((len(frames), 2), np.uint64)
        vectors[:, 0] = data.ctypes.data + np.cumsum(sizes) - sizes
        vectors[:, 1] = sizes
        messages = np.zeros((len(frames), 8), np.uint64)
        messages[:, 2] = vectors.ctypes.data + np.arange(len(frames), dtype=np.uint64) * 16
        messages[:, 3] = 1
        return messages.ctypes.data, len(frames), (data, vectors, messages)

    def send(self, prepared: tuple[int, int, object]) -> int:
        """Send them all."""
        address, count, _ = prepared
        sent = 0
        while sent < count:
            done = _libc.sendmmsg(self.socket.fileno(), ctypes.c_void_p(address + 64 * sent), count - sent, 0)
            if done <= 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            sent += done
        return sent


def frames(traffic: str) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Batches of about 100 frames: what the VM sends, what it is sent."""
    for number in range(600):
        if traffic == "mix":
            yield mixed(number)
        elif traffic == "bulk":
            yield [tcp(OWN, 40_000 + n % 10, peer(n % 10), 443, 16, bytes(1446)) for n in range(100)], []
        else:
            yield [tcp(OWN, 1024 + number * 100 + n, peer(n), 22, 2) for n in range(100)], []


OWN = 0x0A4D0002


def peer(number: int) -> int:
    return 0xC6336400 + number % 4000


def mixed(number: int) -> tuple[list[bytes], list[bytes]]:
    out, back = [], []
    for n in range(70):  # 700 connections that go on
        ends = (OWN, 30_000 + (number * 70 + n) % 700, peer((number * 70 + n) % 700), 443)
        other = (ends[2], ends[3], ends[0], ends[1])
        (out if n % 2 else back).append(tcp(*(ends if n % 2 else other), 16, bytes((0, 100, 500, 1400)[n % 4])))
    port = 20_000 + number
    one, two = (OWN, port, peer(number), 443), (peer(number), 443, OWN, port)
    out += [tcp(*one, 2), tcp(*one, 16), tcp(*one, 24, HELLO), tcp(*one, 17), tcp(*one, 16)]
    back += [tcp(*two, 18), tcp(*two, 16), tcp(*two, 24, bytes(1200)), tcp(*two, 17)]
    for n in range(5):
        name = b"\x08host%04d\x07example\x03com\x00" % ((number * 5 + n) % 10_000)
        head, question = struct.pack(">H", number * 5 + n), name + b"\0\x01\0\x01"
        answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + bytes([198, 51, 100, n])
        out.append(udp(OWN, 40_000 + n, 0x0A4D0001, 53, head + b"\x01\0\0\x01\0\0\0\0\0\0" + question))
        back.append(udp(0x0A4D0001, 53, OWN, 40_000 + n, head + b"\x81\x80\0\x01\0\x01\0\0\0\0" + question + answer))
    out += [udp(OWN, 6000 + n % 3, peer(number), 6001, bytes(160)) for n in range(9)]
    back += [tcp(0xCB007101, 50_000, OWN, 1 + (number * 2 + n) % 1200, 2) for n in range(2)]
    return out, back


def tcp(source: int, source_port: int, target: int, target_port: int, flags: int, payload: bytes = b"") -> bytes:
    options = b"\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07\x00\x00" if flags & 2 else b""
    offset = (20 + len(options)) // 4 << 4
    header = struct.pack(">HHIIBBHHH", source_port, target_port, 1, 1, offset, flags, 64_240, 0, 0)
    return _ip(source, target, 6, header + options + payload)


def udp(source: int, source_port: int, target: int, target_port: int, payload: bytes) -> bytes:
    return _ip(source, target, 17, struct.pack(">HHHH", source_port, target_port, 8 + len(payload), 0) + payload)


def _ip(source: int, target: int, protocol: int, rest: bytes) -> bytes:
    header = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(rest), 1, 0x4000, 64, protocol, 0, source, target)
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x00" + header + rest


HELLO = bytes.fromhex(
    "160301007a010000760303" + "00" * 32 + "0000020a0a13010100004b0000000e000c0000096c6f63616c686f7374"
) + bytes(61)


@contextmanager
def namespaces() -> Iterator[None]:
    for name in (HOST, VM):
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", HOST, "link", "add", "tap0", "type", "veth", "peer", "name", "eth0", "netns", VM)
        for name, link in ((HOST, "tap0"), (VM, "eth0")):
            for setting in ("disable_ipv6",):
                path = f"/proc/sys/net/ipv6/conf/{link}/{setting}"
                _run("ip", "netns", "exec", name, "sh", "-c", f"echo 1 > {path}")
            _run("ip", "-n", name, "link", "set", link, "up")
        yield
    finally:
        for name in (HOST, VM):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    sys.exit(main())
