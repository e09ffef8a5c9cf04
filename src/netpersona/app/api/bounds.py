"""How much a request may hold: a body is counted as it comes, whatever its header says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netpersona.app.api.problem import http_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST = 4 * 1024 * 1024  # bytes


class Bounded:
    """Reads a body of at most `most` bytes and hands it on; answers 413 to a bigger one."""

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await self._read(scope, receive)
        if body is None:
            detail = f"a body of more than {self._most} bytes is not read"
            await http_problem(413, detail)(scope, receive, send)
            return
        given = False

        async def read() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, read, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None for one that is too big."""
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > self._most:
            return None
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > self._most:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)
