"""Whether an interface changed: put into a bridge, taken out of it, renamed, gone (rtnetlink(7)).

Where a tap is decides in which of the kernel's tables its rules stand, so they are brought in force again at once.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.errors import SourceError

_GROUP = 1  # RTMGRP_LINK
_NEW, _GONE = 16, 17  # RTM_NEWLINK, RTM_DELLINK
_NAME = 3
_HEAD = 32  # of a message and of its interface


class LinkEvents:
    """What the kernel tells of interfaces, in the network namespace of the thread that makes this.

    Raises SourceError.
    """

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.bind((0, _GROUP))
        except OSError as error:
            raise SourceError(f"changes of interfaces cannot be heard: {error.strerror}") from error

    def changed(self, interfaces: Collection[str]) -> bool:
        """Whether one of these did since this was last asked."""
        told = False
        while True:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return told
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise SourceError(f"changes of interfaces cannot be heard: {error.strerror}") from error
                told = True  # so many that some were lost
                continue
            told = told or any(name in interfaces for name in _names(data))

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()


def _names(data: bytes) -> set[str]:
    """The interfaces that these messages are about."""
    found = set()
    at = 0
    while at + _HEAD <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < _HEAD:
            break
        if kind in {_NEW, _GONE}:
            found.add(a.name(a.read(data, at + _HEAD, at + length).get(_NAME, b"")))
        at += (length + 3) & ~3
    return found
