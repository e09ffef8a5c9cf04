"""How fast captures are read: packets a second, beside the bare walk over the records and other readers.

    python bench/packets.py [--packets N] [--tshark] [--dpkt PYTHON]

The capture is made here: four in ten packets belong to TCP conversations with a TLS hello, one in twenty is DNS,
the rest is a SYN scan and UDP.  Figures are CPU seconds of one run; the ratios are what counts.  `--dpkt`
names a Python that has dpkt, which then builds the same table of flows, one object per packet.
Measured on 500,000 packets: the walk 1, the sensor with all it reads 8, dpkt 33 for a table of flows alone, tshark 66.
"""

from __future__ import annotations

import argparse
import resource
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from netpersona.adapters.sensors.packets.capture_file import read_capture
from netpersona.adapters.sensors.packets.dissect import dissect
from netpersona.adapters.sensors.pcap import PcapSensor

_DPKT = """
import sys, dpkt
flows = {}
for ts, buf in dpkt.pcap.Reader(open(sys.argv[1], 'rb')):
    ip = dpkt.ethernet.Ethernet(buf).data
    if not isinstance(ip, dpkt.ip.IP): continue
    t = ip.data
    ends = sorted(((ip.src, getattr(t, 'sport', 0)), (ip.dst, getattr(t, 'dport', 0))))
    key = (ip.p, *ends)
    flow = flows.setdefault(key, [ts, ts, 0, 0])
    flow[1] = ts; flow[2] += 1; flow[3] += len(buf)
print(len(flows))
"""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--packets", type=int, default=500_000)
    options.add_argument("--tshark", action="store_true")
    options.add_argument("--dpkt")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.pcap"
        count = write_capture(path, chosen.packets)
        print(f"{count} packets, {path.stat().st_size / 1e6:.0f} MB")
        walk = timed("records walked and gathered", count, None, lambda: walked(path))
        timed("  and headers dissected", count, walk, lambda: dissected(path))
        timed("flows and transactions (PcapSensor)", count, walk, lambda: sensed(path))
        if chosen.dpkt:
            timed("dpkt, flow table only", count, walk, lambda: ran(chosen.dpkt, "-c", _DPKT, str(path)))
        if chosen.tshark:
            fields = ("-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-e", "frame.len")
            timed("tshark, three fields", count, walk, lambda: ran("tshark", "-n", "-r", str(path), *fields))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def timed(what: str, packets: int, reference: float | None, work: Callable[[], str]) -> float:
    begin = _cpu()
    said = work()
    took = _cpu() - begin
    ratio = f"  {took / reference:6.1f} x the walk" if reference else ""
    print(f"{what:38} {took:7.2f} s  {packets / took / 1e6:6.2f} M packets/s{ratio}  {said}")
    return took


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def walked(path: Path) -> str:
    with path.open("rb") as stream:
        return f"{sum(len(packets) for packets in read_capture(stream, path.name, Counter()))} packets"


def dissected(path: Path) -> str:
    with path.open("rb") as stream:
        return f"{sum(len(dissect(one, Counter())) for one in read_capture(stream, path.name, Counter()))} headers"


def sensed(path: Path) -> str:
    flows = said = 0
    for batch in PcapSensor(path).batches():
        flows, said = flows + batch.flows.height, said + batch.transactions.height
    return f"{flows} flows, {said} transactions"


def ran(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout[:20].splitlines()[0]


def write_capture(path: Path, count: int) -> int:
    """A capture of about so many packets, the same each time."""
    written = 0
    with path.open("wb") as stream:
        stream.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(count // 100):
            packets = list(_hundred(number))
            for step, packet in enumerate(packets):
                at = number * 10_000 + step * 100
                header = struct.pack("<IIII", 1_700_000_000 + at // 1_000_000, at % 1_000_000, len(packet), len(packet))
                stream.write(header + packet)
            written += len(packets)
    return written


def _hundred(number: int) -> Iterator[bytes]:
    client, server = 0x0A000000 + number % 200, 0xC6336400 + number % 5000
    port = 1024 + number % 60_000
    hello = (
        bytes.fromhex("16030100400100003c0303") + bytes(32) + bytes.fromhex("000002002f0100001100000012") + bytes(18)
    )
    for step in range(40):
        payload = hello if step == 3 else bytes(100 * (step % 3))
        flags = {0: 2, 1: 18}.get(step, 16)
        ends = (client, port, server, 443) if step % 2 == 0 or step == 3 else (server, 443, client, port)
        yield _tcp(*ends, flags=flags, payload=payload)
    for step in range(5):
        name = b"\x08host%04d\x07example\x03com\x00" % ((number + step) % 10_000)
        query = struct.pack(">HHHHHH", (number * 5 + step) & 0xFFFF, 0x100, 1, 0, 0, 0) + name + b"\x00\x01\x00\x01"
        yield _udp(client, 40_000 + step, 0x0A0000FE, 53, query)
    for step in range(15):
        yield _udp(client, 5000 + step % 3, server, 6000, bytes(160))
    for step in range(40):
        yield _tcp(0xCB007101, 50_000, 0x0A000000 + number % 200, (number * 40 + step) % 65_536, flags=2, payload=b"")


def _ip(source: int, target: int, protocol: int, rest: bytes) -> bytes:
    header = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(rest), 1, 0x4000, 64, protocol, 0, source, target)
    return b"\x52\x54\x00\x00\x00\x01\x52\x54\x00\x00\x00\x02\x08\x00" + header + rest


def _tcp(source: int, source_port: int, target: int, target_port: int, *, flags: int, payload: bytes) -> bytes:
    options = b"\x02\x04\x05\xb4\x04\x02\x01\x03\x03\x07\x00\x00" if flags & 2 else b""
    offset = (20 + len(options)) // 4 << 4
    header = struct.pack(">HHIIBBHHH", source_port, target_port, 1, 1, offset, flags, 64_240, 0, 0)
    return _ip(source, target, 6, header + options + payload)


def _udp(source: int, source_port: int, target: int, target_port: int, payload: bytes) -> bytes:
    return _ip(source, target, 17, struct.pack(">HHHH", source_port, target_port, 8 + len(payload), 0) + payload)


if __name__ == "__main__":
    main()
