"""Connections that go only where a feed may go, and end when the fetch must.

A name is resolved once, what it resolves to is checked, and that very address is connected to: between the check and
the connection no other answer can slip in (DNS rebinding).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from netpersona.adapters.feeds.place import Reach, reach
from netpersona.errors import FeedError

_TRIED = 4  # addresses of one name
_CONNECTING = 10.0  # s


class Deadline:
    """When a fetch must be over, by a clock that nobody sets, and how long it may hear nothing."""

    def __init__(self, total: float, stall: float) -> None:
        self._total = total
        self._stall = stall
        self._end = time.monotonic() + total

    def left(self) -> float:
        """How many seconds may be waited now.  Raises FeedError where it is over."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise FeedError(f"it was not done within {self._total:g} s; what came of it is thrown away")
        return min(left, self._stall)

    def stalled(self) -> FeedError:
        """What is said where nothing came for too long."""
        return FeedError(f"nothing came for {self._stall:g} s") if time.monotonic() < self._end else self._over()

    def _over(self) -> FeedError:
        return FeedError(f"it was not done within {self._total:g} s; what came of it is thrown away")


class Checked(httpcore.NetworkBackend):
    """Connects to addresses that are no nearer than `nearest`, and remembers how near each peer was."""

    def __init__(self, deadline: Deadline) -> None:
        self.nearest = Reach.HOST
        self.reached: dict[tuple[str, int], Reach] = {}
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline knows better
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to an address of this name that may be connected to.  Raises FeedError."""
        wrong = ""
        for address in self._admitted(host, port):
            try:
                seconds = min(_CONNECTING, self._deadline.left())
                stream = self._plain.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout, OSError) as error:
                wrong = str(error).partition("] ")[2] or "no answer"
                continue
            self.reached[host, port] = reach(address)
            return _Bounded(stream, self._deadline)
        raise FeedError(f"{host} port {port} cannot be reached: {wrong}")

    def _admitted(self, host: str, port: int) -> list[str]:
        found = resolved(host, port, self._deadline)
        admitted = [address for address in found if reach(address) >= self.nearest]
        if not admitted:
            near = max(reach(address) for address in found)
            allowed = "" if self.nearest is Reach.HOST else f", and it may be no nearer than {self.nearest.words}"
            raise FeedError(f"{host} is {found[0]}, {near.words}{allowed}; it is not asked")
        return admitted[:_TRIED]


class _Bounded(httpcore.NetworkStream):
    """A connection each of whose operations ends with the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Some bytes."""
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send them."""
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        """End it."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """The connection, encrypted."""
        inner = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        return _Bounded(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)


def resolved(host: str, port: int, deadline: Deadline) -> list[str]:
    """The addresses of a name.  Raises FeedError.  The resolver has no time limit of its own, so it is asked beside."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(dict.fromkeys(str(each[4][0]) for each in told))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(deadline.left())
    if asking.is_alive():
        raise FeedError(f"the name {host} was not resolved in time")
    if not found:
        raise FeedError(f"the name {host} cannot be resolved")
    return list(found)
