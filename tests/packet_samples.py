"""Packets and capture files for the tests, put together byte by byte."""

from __future__ import annotations

import gzip
import struct
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.meter import Meter
from netpersona.adapters.sensors.packets.packets import SLACK, Packets
from netpersona.adapters.sensors.pcap import PcapSensor

T0 = 1_700_000_000_000_000  # µs
MACS = bytes.fromhex("525400000002525400000001")  # to, from
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
A, B = "10.0.0.1", "203.0.113.9"
A6, B6 = "2001:db8::1", "2001:db8:ffff::9"
LINUX = bytes.fromhex("020405b40402080a000000010000000001030307")  # mss,sok,ts,nop,ws


def ethernet(packet: bytes, tags: bytes = b"", macs: bytes = MACS) -> bytes:
    return macs + tags + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def ip(source: str, target: str, protocol: int, body: bytes, **fields: int) -> bytes:
    if isinstance(ip_address(source), IPv6Address):
        return ip6(source, target, protocol, body)
    options = bytes(fields.get("options", 0))
    head = struct.pack(
        ">BBHHHBBH",
        0x45 + len(options) // 4,
        fields.get("tos", 0),
        fields.get("total", 20 + len(options) + len(body)),
        fields.get("ident", 1),
        fields.get("fragment", 0x4000),
        fields.get("ttl", 64),
        protocol,
        0,
    )
    return head + IPv4Address(source).packed + IPv4Address(target).packed + options + body


def ip6(
    source: str, target: str, protocol: int, body: bytes, extensions: bytes = b"", first: int | None = None
) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(extensions) + len(body), protocol if first is None else first, 64)
    return head + IPv6Address(source).packed + IPv6Address(target).packed + extensions + body


def tcp(source, sport, target, dport, flags, payload=b"", *, seq=1, window=64240, options=b"", **fields) -> bytes:
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack(">HHIIBBHHH", sport, dport, seq, 1 if flags & ACK else 0, offset, flags, window, 0, 0)
    return ethernet(ip(source, target, 6, head + options + payload, **fields))


def udp(source, sport, target, dport, payload=b"", **fields) -> bytes:
    return ethernet(ip(source, target, 17, struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload, **fields))


def icmp(source, target, kind=8, payload=b"") -> bytes:
    return ethernet(ip(source, target, 1, struct.pack(">BBHHH", kind, 0, 0, 1, 1) + payload))


def session(source=A, sport=40000, target=B, dport=80) -> list[bytes]:
    """A whole TCP conversation: 4 packets from each side, 5 and 7 bytes of payload."""
    one, two = (source, sport, target, dport), (target, dport, source, sport)
    return [
        tcp(*one, SYN, options=LINUX),
        tcp(*two, SYN | ACK),
        tcp(*one, ACK),
        tcp(*one, PSH | ACK, b"hello"),
        tcp(*two, PSH | ACK, b"goodbye"),
        tcp(*one, FIN | ACK),
        tcp(*two, FIN | ACK),
        tcp(*one, ACK),
    ]


def pcap(packets: Iterable[bytes], *, order="<", nano=False, link=1, times=None, lengths=None, step=1000) -> bytes:
    """A pcap file; `times` in µs (ns where nano), `lengths` those on the wire."""
    packets = list(packets)
    unit = 1000 if nano else 1
    times = times or [(T0 + place * step) * unit for place in range(len(packets))]
    out = struct.pack(f"{order}IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for place, (packet, at) in enumerate(zip(packets, times, strict=True)):
        length = lengths[place] if lengths else len(packet)
        out += struct.pack(f"{order}IIII", *divmod(at, 1_000_000 * unit), len(packet), length) + packet
    return out


def block(kind: int, body: bytes, order="<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def section(order="<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link=1, order="<", snap=0, resolution: int | None = None, offset: int | None = None) -> bytes:
    options = b""
    if resolution is not None:
        options += struct.pack(f"{order}HHB3x", 9, 1, resolution)
    if offset is not None:
        options += struct.pack(f"{order}HHq", 14, 8, offset)
    return block(1, struct.pack(f"{order}HHI", link, 0, snap) + options + (bytes(4) if options else b""), order)


def enhanced(packet: bytes, ticks: int, which=0, order="<", length: int | None = None) -> bytes:
    head = struct.pack(f"{order}IIIII", which, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), length or len(packet))
    return block(6, head + packet + bytes(-len(packet) % 4), order)


def simple(packet: bytes, order="<") -> bytes:
    return block(3, struct.pack(f"{order}I", len(packet)) + packet, order)


def obsolete(packet: bytes, ticks: int, which=0, order="<") -> bytes:
    head = struct.pack(f"{order}HHIIII", which, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet))
    return block(2, head + packet + bytes(-len(packet) % 4), order)


def packets_of(frames: list[bytes], times: list[int] | None = None, link=1) -> Packets:
    """The frames as a batch, as a live tap would hand it over."""
    sizes = np.array([len(frame) for frame in frames], np.int64)
    return Packets(
        data=np.frombuffer(b"".join(frames) + bytes(SLACK), np.uint8),
        offset=np.cumsum(sizes) - sizes,
        captured=sizes,
        length=sizes,
        time=np.array(times or [T0 + place * 1000 for place in range(len(frames))], np.int64),
        link=np.full(len(frames), link, np.int64),
    )


def read(folder: Path, content: bytes, *, packed=False) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, int]]:
    """Flows and transactions of a capture, each by its start, and what was skipped."""
    path = folder / "capture"
    path.write_bytes(gzip.compress(content) if packed else content)
    sensor = PcapSensor(path)
    parts = list(sensor.batches())
    (account,) = sensor.accounts()
    flows = pl.concat([part.flows for part in parts]).sort("start", "originator", "originator_port")
    said = pl.concat([part.transactions for part in parts]).sort("start", "name", "detail")
    assert account.flows == flows.height
    return flows, said, account.skipped


def metered(frames, times=None, cuts=()):
    """The flows and transactions of frames handed over in batches that end at `cuts`."""
    meter, parts, begin = Meter("tap"), [], 0
    times = times or [T0 + place * 1000 for place in range(len(frames))]
    for end in [*cuts, len(frames)]:
        if end > begin:
            parts.append(meter.add(packets_of(frames[begin:end], times[begin:end]), Counter()))
            begin = end
    parts.append(meter.finish())
    return pl.concat([part.flows for part in parts]), pl.concat([part.transactions for part in parts])


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def dns(ident: int, name: str, kind=1, answers: Iterable[tuple[int, bytes]] | None = None, code=0) -> bytes:
    """A query, or where answers are given (type and data) the response to it."""
    answers = None if answers is None else list(answers)
    flags = 0x0100 if answers is None else 0x8180 | code
    out = (
        struct.pack(">HHHHHH", ident, flags, 1, len(answers or ()), 0, 0) + dns_name(name) + struct.pack(">HH", kind, 1)
    )
    for answer, data in answers or ():
        out += struct.pack(">HHHIH", 0xC00C, answer, 1, 60, len(data)) + data
    return out


def client_hello(name: str | None = "www.example.com", padding=0) -> bytes:
    """A TLS 1.2 hello whose JA3 is "771,4865-49195,0-10-11[-21],29-23,0" (without -0 where there is no name)."""
    extensions = b""
    if name is not None:
        host = name.encode()
        extensions += struct.pack(">HHHBH", 0, len(host) + 5, len(host) + 3, 0, len(host)) + host
    extensions += struct.pack(">HHHHHH", 10, 8, 6, 0x3A3A, 29, 23) + struct.pack(">HHBB", 11, 2, 1, 0)
    if padding:
        extensions += struct.pack(">HH", 21, padding) + bytes(padding)
    extensions = struct.pack(">HH", 0x1A1A, 0) + extensions
    body = b"\x03\x03" + bytes(32) + b"\0" + struct.pack(">HHHH", 6, 0x0A0A, 4865, 49195) + b"\x01\x00"
    body += struct.pack(">H", len(extensions)) + extensions
    return b"\x16\x03\x01" + struct.pack(">H", len(body) + 4) + b"\x01" + len(body).to_bytes(3, "big") + body
