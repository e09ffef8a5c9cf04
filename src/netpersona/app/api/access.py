"""Who may ask: the kernel says who is at the other end of the socket (SO_PEERCRED, SO_PEERGROUPS; unix(7)).

Root, the user who runs the controller, and the members of one group, if one was named.  The group counts if the
process at the other end has it, not if its user could have it.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from netpersona.app.api.problem import http_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

STATE = "caller"  # where a request carries its caller, in the ASGI state
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_PEER_GROUPS = 59  # SO_PEERGROUPS, asm-generic/socket.h; Python has no name for it
_MOST_GROUPS = 1024  # bytes: getsockopt() of Python gives no more, 256 groups


@dataclass(frozen=True, slots=True)
class Caller:
    """A process that connected, as the kernel knew it at that moment."""

    pid: int
    uid: int
    groups: frozenset[int]

    @property
    def name(self) -> str:
        """Its user's name, for the record; the number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def caller_of(connection: socket.socket) -> Caller:
    """Who is at the other end of a connected unix socket.  Raises OSError."""
    pid, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        held = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, _MOST_GROUPS)
    except OSError:  # an old kernel, or more groups than can be read: the first one still counts
        held = b""
    return Caller(pid, uid, frozenset([gid, *struct.unpack(f"{len(held) // 4}I", held)]))


class Checked:
    """Lets those through who may ask; answers 403 to others, and to whom nobody knows."""

    def __init__(self, app: ASGIApp, group: int | None = None) -> None:
        self._app = app
        self._group = group

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            caller = scope.get("state", {}).get(STATE)
            if caller is None or not self._may(caller):
                name = (
                    "nobody knows who asks" if caller is None else f"{caller.name} (process {caller.pid}) may not ask"
                )
                await http_problem(403, f"{name} the controller")(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _may(self, caller: Caller) -> bool:
        return caller.uid in {0, os.geteuid()} or (self._group is not None and self._group in caller.groups)


def who(request: Request) -> str:
    """The name of the user who asks, for the record."""
    caller: Caller | None = getattr(request.state, STATE, None)
    return caller.name if caller is not None else "someone"
