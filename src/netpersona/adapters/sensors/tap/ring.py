"""The ring: a packet socket whose packets the kernel writes into memory that is mapped here (packet_mmap.rst).

One socket for all interfaces, with a filter that takes only those watched, and one ring: its memory does not grow with
the interfaces, and one batch holds the packets of all, in the order of time.  What a packet socket sees of an interface
is what the VM sent before the host's firewall or address translation touched it, and what the VM is sent after; each
packet once in each direction.  (A ring for each of 100 interfaces takes 400 MiB instead of 64, and 0.6 ms instead of
0.01 for each look at nothing; bench/tap.py.  The price of one: a VM that floods may fill it for all, which is counted.)

The kernel gives a block away when it is full, or some TIMEOUT after its first packet; what is ready is copied out at
once, so that the kernel may use the block again while its packets are worked on.  Blocks are many and small, since each
holds at least TIMEOUT's packets, however few: so long may nobody look before one is lost, 20 s with little traffic.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netpersona.adapters.sensors.packets.packets import SLACK, Bytes
from netpersona.adapters.sensors.tap.blocks import KERNEL, STATUS_WORD, USER, used_bytes
from netpersona.adapters.sensors.tap.filter import packed, program
from netpersona.errors import SourceError

BLOCK_SIZE = 1 << 16  # bytes; of a longer frame the rest is cut off
BLOCKS = 1024
TIMEOUT = 20  # ms; the kernel looks this often, so a block may take twice as long
SEEN_AFTER = 100_000  # µs after which a packet's block was given away: two timeouts, and some for a late timer

_SOL_PACKET, _RX_RING, _STATISTICS, _VERSION, _V3 = 263, 5, 6, 10, 2
_SO_ATTACH_FILTER, _ALL_PROTOCOLS = 26, 3
_GET_INDEX, _GET_NAME = 0x8933, 0x8910  # SIOCGIFINDEX, SIOCGIFNAME
_FRAME = 2048  # bytes; must divide a block, says nothing else in version 3


@dataclass(frozen=True, slots=True)
class Seen:
    """How many packets came to the ring, and how many of these found no room in it."""

    packets: int
    lost: int


class Ring:
    """A ring of `blocks` blocks in the network namespace in which it was made.  Raises SourceError."""

    def __init__(self, blocks: int = BLOCKS, block_size: int = BLOCK_SIZE) -> None:
        self._size, self._count, self._next = block_size, blocks, 0
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
        except PermissionError as error:
            raise SourceError("taps: no packet socket may be opened; expected the capability CAP_NET_RAW") from error
        except OSError as error:
            raise SourceError(f"taps: no packet socket can be opened: {error.strerror}") from error
        try:
            self._socket.setsockopt(_SOL_PACKET, _VERSION, _V3)
            self.watch([])
            frames = blocks * block_size // _FRAME
            request = struct.pack("=7I", block_size, blocks, _FRAME, frames, TIMEOUT, 0, 0)
            self._socket.setsockopt(_SOL_PACKET, _RX_RING, request)
            self._map = mmap.mmap(self._socket.fileno(), blocks * block_size, mmap.MAP_SHARED)
            self.seen()  # setting the ring threw away what came before the filter
        except OSError as error:
            self._socket.close()
            size = blocks * block_size >> 20
            raise SourceError(f"taps: a ring of {size} MiB cannot be made: {error.strerror or error}") from error
        self._words = memoryview(self._map).cast("I")
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN | select.POLLERR)
        self._woken: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._woken, select.POLLIN)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._count * self._size

    def watch(self, indices: Sequence[int]) -> None:
        """Take the packets of the interfaces with these indices, and no others, from now on.  Raises SourceError."""
        try:
            steps = program(indices)
        except ValueError as error:
            raise SourceError(f"taps: {error}") from error
        code = ctypes.create_string_buffer(packed(steps))
        pointer = struct.pack("HP", len(steps), ctypes.addressof(code))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
        except OSError as error:
            limit = "net.core.optmem_max may be too small for so many"
            raise SourceError(f"taps: no filter for {len(indices)} interfaces: {error.strerror}; {limit}") from error

    def index_of(self, interface: str) -> int | None:
        """The index of the interface of that name; None: there is none."""
        found = self._ask(_GET_INDEX, struct.pack("16si20x", interface.encode(), 0)) if len(interface) < 16 else None
        return None if found is None else int(struct.unpack("16si20x", found)[1])

    def name_of(self, index: int) -> str | None:
        """The name of the interface with that index; None: there is none any more."""
        found = self._ask(_GET_NAME, struct.pack("16si20x", b"", index))
        return None if found is None else found[:16].split(b"\0")[0].decode("utf-8", "replace")

    def _ask(self, what: int, request: bytes) -> bytes | None:
        try:
            return fcntl.ioctl(self._socket.fileno(), what, request)
        except OSError as error:
            if error.errno in {errno.ENODEV, errno.ENXIO}:
                return None
            raise

    def wait(self, seconds: float) -> bool:
        """Until the kernel has given a block away, or somebody wakes us, but no longer; whether we were woken."""
        ready = self._poll.poll(max(seconds, 0) * 1000)
        woken = self._woken is not None and any(descriptor == self._woken for descriptor, _ in ready)
        if woken and self._woken is not None:
            os.eventfd_read(self._woken)
        return woken

    def wake(self) -> None:
        """End the present wait, or the next one.  From any thread; once it is closed, nothing."""
        if self._woken is not None:
            os.eventfd_write(self._woken, 1)

    def copy_out(self, into: Bytes, at: int) -> tuple[list[int], int]:
        """Copy the blocks that are ready into a buffer from that place on, as far as they fit with SLACK.

        Where each begins there, and where the next one will.
        """
        starts: list[int] = []
        for _ in range(self._count):
            word = self._next * self._size >> 2
            if not self._words[word + STATUS_WORD] & USER:
                break
            length = used_bytes(self._words, word) + 7 & ~7
            if at + length + SLACK > len(into):
                break
            begin = word << 2
            into[at : at + length] = self._bytes[begin : begin + length]
            starts.append(at)
            at += length
            self._words[word + STATUS_WORD] = KERNEL
            self._next = (self._next + 1) % self._count
        return starts, at

    def ready(self) -> bool:
        """Whether a block waits to be copied out."""
        return bool(self._words[(self._next * self._size >> 2) + STATUS_WORD] & USER)

    def now(self) -> int:
        """The time by the clock that stamps packets, µs."""
        return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000

    def seen(self) -> Seen:
        """What came to the ring since this was last asked."""
        packets, lost, _ = struct.unpack("=3I", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12))
        return Seen(packets, lost)

    def close(self) -> None:
        """Give the ring back."""
        if self._woken is not None:
            os.close(self._woken)
            self._woken = None
        self._words.release()
        del self._bytes
        self._map.close()
        self._socket.close()
