"""Sends packets under another VM's name: UDP with its addresses, frames with its MAC, ARP that claims its address.

Nothing comes back to the sender: whether it worked shows at the far end, and at the tap.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

from netpersona.app.lab.attacks.order import Order, Tally
from netpersona.app.lab.layout import DROP, Machine, others, vm

PORT = 9_999
_UDP = 17
_ARP = 0x0806
_IPV6_HDRINCL = 36
_PAYLOAD = b"not from whom it says\n"


def run(order: Order, tally: Tally) -> str:
    """Send; what was done, in words.  Each third turn is an ARP claim, with the other's MAC."""
    victim, own = next(others(order.vm)), vm(order.vm)
    if own is None:
        raise OSError(f"{order.vm} is no VM")
    wires = _Wires()
    for number, family in order.turns():
        try:
            wires.claim(victim) if number % 3 == 2 else wires.send(victim.address(family), DROP.address(family))
            tally.answer()
        except OSError as error:
            tally.failure(error)
    return f"packets sent as {victim.name} ({victim.v4}, {victim.v6}, {victim.mac})"


class _Wires:
    """Sockets that send what they are given, whole."""

    def __init__(self) -> None:
        self.v4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.v6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.v6.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
        self.frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.frames.bind(("eth0", _ARP))

    def send(self, source: str, peer: str) -> None:
        """One UDP datagram with a source that is not ours."""
        (self.v6 if ":" in source else self.v4).sendto(datagram(source, peer), (peer, 0))

    def claim(self, victim: Machine) -> None:
        """An ARP announcement (RFC 5227) of the victim's address, in a frame with the victim's MAC."""
        mac, address = bytes.fromhex(victim.mac.replace(":", "")), ip_address(victim.v4).packed
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + bytes(6) + address
        self.frames.send(b"\xff" * 6 + mac + struct.pack("!H", _ARP) + body)


def datagram(source: str, peer: str) -> bytes:
    """An IP packet with a UDP datagram for PORT, checksums and all."""
    a, b = ip_address(source).packed, ip_address(peer).packed
    size = 8 + len(_PAYLOAD)
    udp = struct.pack("!HHHH", PORT, PORT, size, 0) + _PAYLOAD
    total = _sum(a + b + struct.pack("!II", size, _UDP) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    if len(a) == 16:
        return struct.pack("!IHBB", 6 << 28, size, _UDP, 64) + a + b + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 64, _UDP, 0) + a + b
    return head[:10] + struct.pack("!H", _sum(head)) + head[12:] + udp


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
