"""Blocks of a TPACKET_V3 ring (linux/if_packet.h) into packets: the frames' headers gathered in columns.

    block   version, offset_to_priv, block_status, num_pkts, offset_to_first_pkt, blk_len, ...
    frame   next_offset, sec, nsec, snaplen, len, status, mac|net, rxhash, vlan_tci, vlan_tpid|0, 8 unused,
            sockaddr_ll (family|protocol, ifindex, hatype|pkttype|halen, ...), the packet at `mac`

Numbers are in the machine's order.  Where the next frame begins is read one frame after the other, as a number in a
list of numbers; all else at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netpersona.adapters.sensors.packets.packets import Bytes, Ints, Packets

STATUS_WORD = 2  # which 32-bit word of a block says whose it is
KERNEL, USER = 0, 1  # whose it is

_COUNT, _FIRST, _LENGTH = 3, 4, 5  # words of a block's header
_SEC, _NSEC, _CAPTURED, _LEN, _STATUS, _MAC, _TCI, _INDEX, _TYPE = 1, 2, 3, 4, 5, 6, 8, 13, 14  # words of a frame
_VLAN_VALID = 1 << 4
_LINKS = {1: 1, 772: 1, 65534: 101, 768: 101, 769: 101, 776: 101, 778: 101}  # ARPHRD_ (if_arp.h) to LINKTYPE_
_UNKNOWN_LINK = 1 << 20
_OF_NO_TAP = "packet of an interface that is watched no longer"


def used_bytes(words: memoryview, at: int) -> int:
    """How many bytes of the block that begins at that word say something."""
    return int(words[at + _LENGTH])


def packets_of(data: Bytes, starts: list[int], taps: Mapping[int, int], skipped: Counter[str]) -> Packets:
    """The packets of the blocks that begin at these places (bytes, multiples of 8) of `data`, over the same buffer.

    `taps` says which number each interface's index has.  Packets of others are counted in `skipped`.  `data` ends
    with SLACK bytes beyond the last block, and has a length of whole words.
    """
    frames = _frames(data, starts)
    words: NDArray[np.uint32] = data.view(np.uint32)

    def word(place: int) -> Ints:
        return words[frames + place].astype(np.int64)

    index = word(_INDEX)
    known = np.array(sorted(taps) or [0], np.int64)
    place = np.minimum(np.searchsorted(known, index), len(known) - 1)
    mine = known[place] == index if taps else np.zeros(len(index), bool)
    if not mine.all():
        skipped[_OF_NO_TAP] += int((~mine).sum())
        frames, place = frames[mine], place[mine]
    numbers = np.array([taps[index] for index in sorted(taps)] or [0], np.int64)
    captured, status = word(_CAPTURED), word(_STATUS)
    return Packets(
        data=data,
        offset=frames * 4 + (word(_MAC) & 0xFFFF),
        captured=captured,
        length=np.maximum(word(_LEN), captured),
        time=word(_SEC) * 1_000_000 + word(_NSEC) // 1000,
        link=_links(word(_TYPE) & 0xFFFF),
        vlan=np.where(status & _VLAN_VALID != 0, word(_TCI) & 0xFFF, -1),
        tap=numbers[place],
    )


def _frames(data: Bytes, starts: list[int]) -> Ints:
    """The word at which each frame begins."""
    words: Any = memoryview(data.data).cast("I")
    found: list[int] = []
    note = found.append
    for start in starts:
        at = start >> 2
        count = words[at + _COUNT]
        at += words[at + _FIRST] >> 2
        for _ in range(count):
            note(at)
            at += words[at] >> 2
    return np.array(found, np.int64)


def _links(kinds: Ints) -> Ints:
    if (kinds == 1).all():
        return kinds
    return np.select([kinds == kind for kind in _LINKS], list(_LINKS.values()), _UNKNOWN_LINK + kinds)
