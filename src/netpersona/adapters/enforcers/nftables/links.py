"""Which network interfaces are ports of a bridge: asked of the kernel by rtnetlink, in this thread's namespace."""

from __future__ import annotations

import socket
import struct

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.errors import EnforcerError

_GET_LINK, _DUMP, _DONE, _ERROR = 18, 0x301, 3, 2
_NAME, _MASTER, _INFO = 3, 10, 18
_PORT_KIND = 4  # IFLA_INFO_SLAVE_KIND


def ports_of_bridges() -> frozenset[str]:
    """The names of the interfaces whose packets a bridge forwards.  Raises EnforcerError."""
    return frozenset(name for name, attributes in _links().values() if _is_port(attributes))


def names() -> dict[int, str]:
    """The name of each interface by its index."""
    return {index: name for index, (name, _) in _links().items()}


def _is_port(attributes: dict[int, bytes]) -> bool:
    return _MASTER in attributes and a.read(attributes.get(_INFO, b"")).get(_PORT_KIND, b"").rstrip(b"\0") == b"bridge"


def _links() -> dict[int, tuple[str, dict[int, bytes]]]:
    asked = struct.pack("=IHHIIBxHiII", 32, _GET_LINK, _DUMP, 1, 0, 0, 0, 0, 0, 0)
    found: dict[int, tuple[str, dict[int, bytes]]] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as asking:
            asking.send(asked)
            while _take(asking.recv(1 << 18), found):
                pass
    except OSError as error:
        raise EnforcerError(f"the kernel does not tell its interfaces: {error.strerror}") from error
    return found


def _take(data: bytes, into: dict[int, tuple[str, dict[int, bytes]]]) -> bool:
    """Whether more is to come."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if kind in {_DONE, _ERROR} or length < 32:
            return False
        index = struct.unpack_from("=i", data, at + 20)[0]
        attributes = a.read(data, at + 32, at + length)
        into[index] = a.name(attributes[_NAME]), attributes
        at += (length + 3) & ~3
    return True
