"""Blocks of a packet ring, put together byte by byte, as linux/if_packet.h has them."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np

from netpersona.adapters.sensors.packets.packets import SLACK, Packets
from netpersona.adapters.sensors.tap.blocks import packets_of

MAC, HEADER = 82, 48  # where a frame's packet and a block's first frame begin


def frame(packet: bytes, at: int, *, index=7, vlan: int | None = None, length=None, kind=1, last=False) -> bytes:
    """One frame; `at` is µs since the epoch."""
    size = (MAC + len(packet) + 7) & ~7
    seconds, micros = divmod(at, 1_000_000)
    status = 1 | (0 if vlan is None else 1 << 4)
    head = struct.pack(
        "=6I", 0 if last else size, seconds, micros * 1000 + 999, len(packet), length or len(packet), status
    )
    head += struct.pack("=HHIIHH8x", MAC, MAC + 14, 0, vlan or 0, 0x8100 if vlan else 0, 0)
    head += struct.pack("=HHiHBB8x", 17, 0, index, kind, 0, 6)
    return (head + bytes(MAC - len(head)) + packet).ljust(size, b"\0")


def block(*frames: bytes) -> bytes:
    """One block that was given away."""
    body = b"".join(frames)
    return struct.pack("=6IQ4I", 1, 48, 1, len(frames), HEADER, HEADER + len(body), 1, 0, 0, 0, 0) + body


def parsed(blocks: list[bytes], taps: dict[int, int], skipped: Counter[str] | None = None) -> Packets:
    """The packets of these blocks, copied out one behind the other."""
    starts = [sum(map(len, blocks[:place])) for place in range(len(blocks))]
    data = np.frombuffer(b"".join(blocks) + bytes(SLACK), np.uint8)
    return packets_of(data, starts, taps, Counter() if skipped is None else skipped)


def ring_of(packets: list[tuple[int, bytes]], per_block=5) -> Packets:
    """These packets (µs, bytes), all of the interface with index 7 and number 0, as they come out of a ring."""
    groups = [packets[first : first + per_block] for first in range(0, len(packets), per_block)]
    return parsed(
        [
            block(*[frame(packet, at, last=one == group[-1]) for one in group for at, packet in [one]])
            for group in groups
        ],
        {7: 0},
    )
