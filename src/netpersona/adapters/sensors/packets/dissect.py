"""Headers of packets in columns: link layer, VLAN, IPv4 and IPv6, then TCP, UDP, SCTP and ICMP.

Every step looks at the same columns for all packets at once.  A place is read only where the captured bytes reach
it, lengths come from the IP header (RFC 791, RFC 8200) and, where that says 0 or too much, from the length on the
wire, so a capture that cut packets short (snaplen) still counts whole payloads.  A fragment that is not the first
has no ports.  What is inside a tunnel (GRE, IP in IP) is not looked at; MPLS and PPPoE are stepped over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from netpersona.adapters.sensors.packets.packets import Bytes, Flags, Ints, Packets, Words, u8, u16, u32, u64

NO_PORT = 1 << 16
TCP, UDP, ICMP, ICMP6, SCTP = 6, 17, 1, 58, 132
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

_MAPPED = np.uint64(0xFFFF << 32)  # IPv4 as ::ffff:a.b.c.d
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLANS = (0x8100, 0x88A8, 0x9100, 0x9200)
_MPLS, _PPPOE = 0x8847, 0x8864
_EXTENSIONS = (0, 43, 60, 44, 51, 135, 139, 140)
_RAW = (12, 14, 101, 228, 229)
_NULL, _LOOP, _ETHERNET, _SLL, _SLL2 = 0, 108, 1, 113, 276
_PPP = (9, 50)


@dataclass(frozen=True, slots=True)
class Headers:
    """What the IP packets of a batch say; all columns have one row for each IP packet, in the batch's order.

    Addresses are 128 bits in two words, IPv4 as ::ffff:a.b.c.d.  MACs are numbers, 0 where the link has none.
    """

    data: Bytes
    time: Ints  # µs
    length: Ints  # of the frame on the wire
    network: Ints  # where in data the IP header begins
    end: Ints  # where in data the captured bytes end
    version: Ints  # 4 or 6
    src_hi: Words
    src_lo: Words
    dst_hi: Words
    dst_lo: Words
    protocol: Ints  # IANA number; for IPv6 that after the extension headers
    src_port: Ints  # NO_PORT: none
    dst_port: Ints
    flags: Ints  # TCP flags, 0 for others
    transport: Ints  # where in data the transport header begins
    payload: Ints  # where in data the transport's payload begins; at or after `end` where it was not captured
    payload_length: Ints  # bytes of it on the wire
    src_mac: Words
    dst_mac: Words
    vlan: Ints  # the outer one; -1: none
    tap: Ints  # number of the interface

    def __len__(self) -> int:
        """How many packets."""
        return len(self.time)


@dataclass(slots=True)
class _Frames:
    """The link layer's answer: where the network layer begins and what it is; one row for each packet."""

    at: Ints
    kind: Ints  # EtherType; -1: the frame ends before it
    src_mac: Words
    dst_mac: Words
    vlan: Ints


def dissect(packets: Packets, skipped: Counter[str]) -> Headers:
    """The headers of the IP packets; what is no IP packet, or ends inside its IP header, is counted by reason."""
    frames = _link_layer(packets, skipped)
    rows = _ip_rows(packets, frames, skipped)
    data, at = packets.data, frames.at[rows]
    end = packets.offset[rows] + packets.captured[rows]
    version = u8(data, at) >> 4
    room = packets.offset[rows] + packets.length[rows] - at  # bytes on the wire from the IP header on
    protocol, transport, ip_payload, first = _network_layer(data, at, end, version, room)
    src_hi, src_lo, dst_hi, dst_lo = _addresses(data, at, version)
    src_port, dst_port, flags, header = _transport_layer(data, transport, end, protocol, first)
    return Headers(
        data=data,
        time=packets.time[rows],
        length=packets.length[rows],
        network=at,
        end=end,
        version=version,
        src_hi=src_hi,
        src_lo=src_lo,
        dst_hi=dst_hi,
        dst_lo=dst_lo,
        protocol=protocol,
        src_port=src_port,
        dst_port=dst_port,
        flags=flags,
        transport=transport,
        payload=transport + header,
        payload_length=_payload_length(
            data, transport, end=end, protocol=protocol, first=first, header=header, room=ip_payload
        ),
        src_mac=frames.src_mac[rows],
        dst_mac=frames.dst_mac[rows],
        vlan=frames.vlan[rows],
        tap=np.zeros(len(rows), np.int64) if packets.tap is None else packets.tap[rows],
    )


def _link_layer(packets: Packets, skipped: Counter[str]) -> _Frames:
    count = len(packets)
    frames = _Frames(
        at=packets.offset.copy(),
        kind=np.full(count, -1, np.int64),
        src_mac=np.zeros(count, np.uint64),
        dst_mac=np.zeros(count, np.uint64),
        vlan=np.full(count, -1, np.int64) if packets.vlan is None else packets.vlan.copy(),
    )
    for link in np.unique(packets.link).tolist():
        rows = np.flatnonzero(packets.link == link)
        if link in {_ETHERNET, _SLL, _SLL2}:
            _typed_link(packets, frames, rows, link)
        elif link in _RAW:
            _bare_link(packets, frames, rows, 0)
        elif link in {_NULL, _LOOP}:
            _bare_link(packets, frames, rows, 4)
        elif link in _PPP:
            _ppp_link(packets, frames, rows)
        else:
            skipped[f"packet of link type {link}, which is not read"] += len(rows)
            frames.kind[rows] = -2
    _step_over_tags(packets, frames)
    return frames


def _typed_link(packets: Packets, frames: _Frames, rows: Ints, link: int) -> None:
    """Ethernet and Linux cooked: a header of fixed size that names what follows."""
    header, kind_at, mac_at = {_ETHERNET: (14, 12, 6), _SLL: (16, 14, 6), _SLL2: (20, 0, 12)}[link]
    rows = rows[packets.captured[rows] >= header]
    data, at = packets.data, packets.offset[rows]
    frames.kind[rows] = u16(data, at + kind_at)
    frames.at[rows] = at + header
    mac = (u32(data, at + mac_at) << 16 | u16(data, at + mac_at + 4)).astype(np.uint64)
    if link == _ETHERNET:
        frames.src_mac[rows] = mac
        frames.dst_mac[rows] = u64(data, at) >> np.uint64(16)
        _step_into_snap(packets, frames, rows)
        return
    length = u16(data, at + 4) if link == _SLL else u8(data, at + 11)
    frames.src_mac[rows] = np.where(length == 6, mac, np.uint64(0))


def _step_into_snap(packets: Packets, frames: _Frames, rows: Ints) -> None:
    """IEEE 802.3 with an LLC/SNAP header: the EtherType stands after it (RFC 1042)."""
    rows = rows[(frames.kind[rows] <= 1500) & (packets.captured[rows] >= 22)]
    at = frames.at[rows]
    rows = rows[(u32(packets.data, at) == 0xAAAA0300) & (u16(packets.data, at + 4) == 0)]
    frames.kind[rows] = u16(packets.data, frames.at[rows] + 6)
    frames.at[rows] += 8


def _bare_link(packets: Packets, frames: _Frames, rows: Ints, header: int) -> None:
    """Raw IP and BSD loopback: the IP header itself says which version it is."""
    rows = rows[packets.captured[rows] > header]
    at = packets.offset[rows] + header
    version = u8(packets.data, at) >> 4
    frames.kind[rows] = np.select([version == 4, version == 6], [_IPV4, _IPV6], 0)
    frames.at[rows] = at


def _ppp_link(packets: Packets, frames: _Frames, rows: Ints) -> None:
    """PPP with the address and control bytes of HDLC or without them (RFC 1662): two bytes name what follows."""
    rows = rows[packets.captured[rows] > 4]
    at = packets.offset[rows]
    at = at + np.where(u16(packets.data, at) == 0xFF03, 2, 0)
    kind = u16(packets.data, at)
    frames.kind[rows] = np.select([kind == 0x21, kind == 0x57], [_IPV4, _IPV6], 0)
    frames.at[rows] = at + 2


def _step_over_tags(packets: Packets, frames: _Frames) -> None:
    """VLAN tags (802.1Q, 802.1ad), MPLS labels (RFC 3032) and PPPoE sessions (RFC 2516), eight of them at most."""
    data = packets.data
    for _ in range(8):
        rows = np.flatnonzero(np.isin(frames.kind, (*_VLANS, _MPLS, _PPPOE)))
        if not len(rows):
            return
        at, kind = frames.at[rows], frames.kind[rows]
        left = packets.offset[rows] + packets.captured[rows] - at
        whole = left > np.where(kind == _PPPOE, 8, 4)
        frames.kind[rows[~whole]] = -1
        rows, at, kind = rows[whole], at[whole], kind[whole]
        tagged, labelled, session = np.isin(kind, _VLANS), kind == _MPLS, kind == _PPPOE
        outer = rows[tagged & (frames.vlan[rows] < 0)]
        frames.vlan[outer] = u16(data, frames.at[outer]) & 0xFFF
        bottom = labelled & (u8(data, at + 2) & 1 == 1)
        inner = np.select([u8(data, at + 4) >> 4 == 4, u8(data, at + 4) >> 4 == 6], [_IPV4, _IPV6], 0)
        ppp = np.where(session, u16(data, at + 6), 0)
        frames.kind[rows] = np.select(
            [tagged, bottom, labelled, ppp == 0x21, ppp == 0x57], [u16(data, at + 2), inner, kind, _IPV4, _IPV6], 0
        )
        frames.at[rows] = at + np.where(session, 8, 4)


def _ip_rows(packets: Packets, frames: _Frames, skipped: Counter[str]) -> Ints:
    """Which packets have a whole IP header that says what its frame says."""
    at = np.minimum(frames.at, len(packets.data) - 1)
    first = u8(packets.data, at)
    left = packets.offset + packets.captured - frames.at
    ipv4, ipv6 = frames.kind == _IPV4, frames.kind == _IPV6
    whole4 = (left >= 20) & (first >> 4 == 4) & ((first & 15) * 4 >= 20)
    whole6 = (left >= 40) & (first >> 4 == 6)
    good = (ipv4 & whole4) | (ipv6 & whole6)
    reasons = {
        "frame too short for its link layer": int((frames.kind == -1).sum()),
        "not an IP packet": int(((frames.kind >= 0) & ~ipv4 & ~ipv6).sum()),
        "IP header damaged or cut short": int(((ipv4 | ipv6) & ~good).sum()),
    }
    skipped.update({reason: count for reason, count in reasons.items() if count})
    return np.flatnonzero(good)


def _network_layer(data: Bytes, at: Ints, end: Ints, version: Ints, room: Ints) -> tuple[Ints, Ints, Ints, Flags]:
    """Protocol, where its header begins, bytes from there on the wire, and whether this is a first fragment."""
    four = version == 4
    header = np.where(four, (u8(data, at) & 15) * 4, 40)
    said = np.where(four, u16(data, at + 2), u16(data, at + 4) + 40)
    said = np.where((said == np.where(four, 0, 40)) | (said > room), room, said)
    protocol = np.where(four, u8(data, at + 9), u8(data, at + 6))
    first = ~four | (u16(data, at + 6) & 0x1FFF == 0)
    transport = at + header
    _walk_extensions(data, np.flatnonzero(~four), end=end, protocol=protocol, transport=transport, first=first)
    return protocol, transport, np.maximum(said - (transport - at), 0), first


def _walk_extensions(data: Bytes, rows: Ints, *, end: Ints, protocol: Ints, transport: Ints, first: Flags) -> None:
    """Step over IPv6 extension headers (RFC 8200 section 4), eight of them at most, changing the columns in place."""
    for _ in range(8):
        rows = rows[np.isin(protocol[rows], _EXTENSIONS) & (transport[rows] + 8 <= end[rows]) & first[rows]]
        if not len(rows):
            return
        at, kind = transport[rows], protocol[rows]
        units = u8(data, at + 1)
        size = np.select([kind == 44, kind == 51], [8, (units + 2) * 4], (units + 1) * 8)
        first[rows] = (kind != 44) | (u16(data, at + 2) >> 3 == 0)
        protocol[rows] = u8(data, at)
        transport[rows] = at + size


def _addresses(data: Bytes, at: Ints, version: Ints) -> tuple[Words, Words, Words, Words]:
    six = np.flatnonzero(version == 6)
    src_lo = u32(data, at + 12).astype(np.uint64) | _MAPPED
    dst_lo = u32(data, at + 16).astype(np.uint64) | _MAPPED
    src_hi, dst_hi = np.zeros(len(at), np.uint64), np.zeros(len(at), np.uint64)
    where = at[six]
    src_hi[six], src_lo[six] = u64(data, where + 8), u64(data, where + 16)
    dst_hi[six], dst_lo[six] = u64(data, where + 24), u64(data, where + 32)
    return src_hi, src_lo, dst_hi, dst_lo


def _transport_layer(data: Bytes, at: Ints, end: Ints, protocol: Ints, first: Flags) -> tuple[Ints, Ints, Ints, Ints]:
    """Ports, TCP flags and the size of the transport header (0 where it was not captured or is unknown)."""
    ported = first & np.isin(protocol, (TCP, UDP, SCTP)) & (at + 4 <= end)
    where = np.where(ported, at, 0)
    src_port = np.where(ported, u16(data, where), NO_PORT)
    dst_port = np.where(ported, u16(data, where + 2), NO_PORT)
    tcp = ported & (protocol == TCP) & (at + 14 <= end)
    where = np.where(tcp, at, 0)
    flags = np.where(tcp, u8(data, where + 13), 0)
    offset = (u8(data, where + 12) >> 4) * 4
    header = np.select(
        [tcp, first & np.isin(protocol, (UDP, ICMP, ICMP6)), ported & (protocol == SCTP)], [offset, 8, 12], 0
    )
    return src_port, dst_port, flags, header


def _payload_length(
    data: Bytes, at: Ints, *, end: Ints, protocol: Ints, first: Flags, header: Ints, room: Ints
) -> Ints:
    """Payload bytes on the wire.  A TCP header whose length cannot be (under 20 bytes) has no payload."""
    plain = np.maximum(room - header, 0)
    udp = first & (protocol == UDP) & (at + 8 <= end)
    said = u16(data, np.where(udp, at + 4, 0)) - 8
    length = np.where(udp & (said >= 0), np.minimum(said, plain), plain)
    return np.where(first & (protocol == TCP) & (header < 20), 0, length)
