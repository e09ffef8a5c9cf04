"""The two ends of a held tap: the packet socket on it, and the device that the kernel hands the answers to.

    VM -> tap       the packet socket sees the VM's questions (a copy; they go on by themselves)
    tap -> VM       what comes from port 53 goes to the device instead (table.py), and is read there
                    the packet socket sends it on to the VM, marked, so that it is not taken again

The device is a TAP device that belongs to its descriptor: when the process dies, however it dies, it is gone.  The
kernel cuts large segments and completes checksums before it hands a frame to it, so a frame goes on as it came.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from netpersona.errors import SourceError

MARK = 0x6E70444E  # of packets that were held and let go
_TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_GET_INDEX, _SET_FLAGS, _GET_MTU, _SET_MTU = 0x8933, 0x8914, 0x8921, 0x8922
_IFF_UP, _IFF_NOARP = 0x1, 0x80
_SOL_PACKET, _IGNORE_OUTGOING, _ALL = 263, 23, 3
_SO_MARK, _SO_ATTACH_FILTER = 36, 26
_LONGEST = 1 << 17  # bytes of a frame
_ROOM = 1 << 20  # bytes of questions that may wait
_ASKED = 1 << 16  # bytes kept of a question
_NAME = struct.Struct("16sH22x")
_NUMBER = struct.Struct("16si20x")

# Questions: UDP to port 53, IPv4 (not a later fragment) or IPv6 without extension headers.  struct sock_filter.
_FILTER = b"".join(
    struct.pack("=HBBI", *step)
    for step in (
        (0x28, 0, 0, 12),
        (0x15, 0, 7, 0x0800),
        (0x30, 0, 0, 23),
        (0x15, 0, 10, 17),
        (0x28, 0, 0, 20),
        (0x45, 8, 0, 0x1FFF),
        (0xB1, 0, 0, 14),
        (0x48, 0, 0, 16),
        (0x05, 0, 0, 4),
        (0x15, 0, 4, 0x86DD),
        (0x30, 0, 0, 20),
        (0x15, 0, 2, 17),
        (0x28, 0, 0, 56),
        (0x15, 1, 0, 53),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, _ASKED),
    )
)

# Heartbeats: empty IPv4 packets of the protocols that are held, UDP and TCP, from nobody to nobody.
_BEATS = tuple(
    bytes(12) + struct.pack(">HBBHHHBBH8x26x", 0x0800, 0x45, 0, 46, 0, 0, 1, protocol, 0) for protocol in (17, 6)
)


class Tap:
    """A packet socket on a VM's tap.  Raises SourceError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0  # frames that the tap did not take
        try:
            self.index = socket.if_nametoindex(name)
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        except OSError as error:
            raise SourceError(f"tap {name}: {error.strerror}; expected an interface and CAP_NET_RAW") from error
        try:
            self._attach(_FILTER)
            self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
            self._socket.bind((name, _ALL))
        except OSError as error:
            self.close()
            raise SourceError(f"tap {name}: {error.strerror}; expected CAP_NET_ADMIN and CAP_NET_RAW") from error

    def fileno(self) -> int:
        """To wait for questions."""
        return self._socket.fileno()

    def questions(self) -> Iterator[bytes]:
        """The frames with questions that wait to be read."""
        while True:
            try:
                yield self._socket.recv(_LONGEST)
            except OSError:  # nothing waits, or the tap is gone: follow() sees to that
                return

    def send(self, frame: bytes) -> None:
        """Give the VM this frame."""
        try:
            self._socket.send(frame)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Watch it no longer."""
        self._socket.close()

    def _attach(self, program: bytes) -> None:
        code = ctypes.create_string_buffer(program)
        pointer = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)


class Holding:
    """A TAP device of our own, for as long as it is open; `%d` in the name becomes the first number that is free.

    Raises SourceError.
    """

    def __init__(self, name: str, like: str | None = None) -> None:
        try:
            self._descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise SourceError(f"{_TUN}: {error.strerror}; answers cannot be held without it") from error
        try:
            asked = _NAME.pack(name.encode(), _IFF_TAP | _IFF_NO_PI)
            given = fcntl.ioctl(self._descriptor, _TUNSETIFF, asked)
            self.name = _NAME.unpack(given)[0].split(b"\0")[0].decode()
            self.index = self._up(self.name, like)
        except OSError as error:
            os.close(self._descriptor)
            raise SourceError(f"device {name}: {error.strerror}; expected CAP_NET_ADMIN") from error

    def fileno(self) -> int:
        """To wait for answers."""
        return self._descriptor

    def frames(self, most: int) -> Iterator[bytes]:
        """Frames that wait to be read, at most so many.  Raises SourceError where the device is no more."""
        for _ in range(most):
            try:
                yield os.read(self._descriptor, _LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                raise SourceError(f"device {self.name}: {error.strerror}") from error

    def overflown(self) -> int:
        """How many answers found no room in the device's queue."""
        try:
            return int(Path(f"/sys/class/net/{self.name}/statistics/tx_dropped").read_text())
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Remove the device."""
        os.close(self._descriptor)

    def _up(self, name: str, like: str | None) -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
            if like is not None:
                mtu = _NUMBER.unpack(fcntl.ioctl(ask, _GET_MTU, _NUMBER.pack(like.encode(), 0)))[1]
                fcntl.ioctl(ask, _SET_MTU, _NUMBER.pack(name.encode(), mtu))
            fcntl.ioctl(ask, _SET_FLAGS, _NAME.pack(name.encode(), _IFF_UP | _IFF_NOARP))
        return socket.if_nametoindex(name)


class Pulse:
    """Tells the kernel that we live: marked frames on a device of ours, which a rule there takes note of."""

    def __init__(self, name: str) -> None:
        self._device = Holding(name)
        self.name = name
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_MARK, MARK)
        self._socket.bind((name, 0))

    def beat(self) -> None:
        """Say it once.  The rule drops the frames, and the kernel reports that as a lack of room."""
        for frame in _BEATS:
            try:
                self._socket.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise SourceError(f"device {self.name}: {error.strerror}") from error

    def close(self) -> None:
        """Be silent."""
        self._socket.close()
        self._device.close()
