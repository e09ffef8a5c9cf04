"""NetFlow v5, v9 and IPFIX datagrams, written field by field."""

from __future__ import annotations

import struct
from ipaddress import ip_address

SENT = 1_700_000_000  # s
UPTIME = 500_000  # ms
CLIENT, SERVER = "192.0.2.10", "198.51.100.5"
V4 = [(8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (2, 4), (1, 4), (22, 4), (21, 4)]
V6 = [(27, 16), (28, 16), (7, 2), (11, 2), (4, 1), (2, 8), (1, 8), (152, 8), (153, 8)]


def number(value, length):
    return value.to_bytes(length, "big")


def address(text):
    return ip_address(text).packed


def template(number_, fields, kind=0):
    body = struct.pack(">HH", number_, len(fields))
    for element, length, *enterprise in fields:
        body += struct.pack(">HH", element | (0x8000 if enterprise else 0), length)
        body += b"".join(struct.pack(">I", e) for e in enterprise)
    return struct.pack(">HH", kind, len(body) + 4) + body


def data(number_, *records):
    body = b"".join(records)
    body += b"\0" * (-len(body) % 4)
    return struct.pack(">HH", number_, len(body) + 4) + body


def v9(*sets, domain=1, uptime=UPTIME):
    return struct.pack(">HHIIII", 9, len(sets), uptime, SENT, 0, domain) + b"".join(sets)


def ipfix(*sets, domain=1):
    body = b"".join(sets)
    return struct.pack(">HHIII", 10, 16 + len(body), SENT, 0, domain) + body


def v5(*records, uptime=UPTIME):
    return struct.pack(">HHIIIIBBH", 5, len(records), uptime, SENT, 250_000_000, 0, 0, 0, 0) + b"".join(records)


def v5_record(
    source=CLIENT, destination=SERVER, ports=(40000, 443), flags=0x1B, first=UPTIME - 2000, last=UPTIME - 1000
):
    packed = address(source) + address(destination) + bytes(4)
    packed += struct.pack(">HHIIIIHH", 0, 0, 3, 300, first, last, *ports)
    return packed + struct.pack(">BBBBHHBBH", 0, flags, 6, 0, 0, 0, 0, 0, 0)


def v4_record(source=CLIENT, destination=SERVER, sport=40000, dport=443, protocol=6, flags=0x1B):
    packed = address(source) + address(destination) + struct.pack(">HHBB", sport, dport, protocol, flags)
    return packed + struct.pack(">IIII", 3, 300, UPTIME - 2000, UPTIME - 1000)


def recording(tmp_path, *datagrams):
    path = tmp_path / "recording"
    path.write_bytes(b"".join(struct.pack(">I", len(d)) + d for d in datagrams))
    return path
