"""Findings as OCSF events: lines of JSON at the end of a file, or sent over HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from netpersona.adapters.sinks.ocsf_event import event
from netpersona.adapters.sinks.web import Server
from netpersona.errors import SinkError
from netpersona.ports import News, Told

_LINES = {"Content-Type": "application/x-ndjson"}


def lines(news: Sequence[News]) -> bytes:
    """One line of JSON for each finding."""
    return b"".join(msgspec.json.encode(event(each.finding, again=each.again)) + b"\n" for each in news)


@dataclass(frozen=True, slots=True)
class OcsfFile:
    """A file to whose end events are written; it may be moved away at any time (logrotate), and is made anew."""

    path: Path

    @property
    def place(self) -> str:
        """The file."""
        return f"OCSF to {self.path}"

    def tell(self, news: Sequence[News]) -> Told:
        """Write them at its end, whole lines or none.  Raises SinkError."""
        content = lines(news)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                _written(handle, content)
            finally:
                os.close(handle)
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror}; findings wait") from error
        return Told(taken=len(news))


def _written(handle: int, content: bytes) -> None:
    """All of it, or nothing: a disk that is full keeps no half of a line."""
    before = os.fstat(handle).st_size
    left = memoryview(content)
    try:
        while left:
            left = left[os.write(handle, left) :]
    except OSError:
        os.ftruncate(handle, before)
        raise


@dataclass(frozen=True, slots=True)
class OcsfHttp:
    """A server that takes events as lines of JSON (application/x-ndjson) by POST."""

    server: Server

    @property
    def place(self) -> str:
        """The server."""
        return f"OCSF to {self.server.place}"

    def tell(self, news: Sequence[News]) -> Told:
        """Send them in one request.  Raises SinkError."""
        self.server.post(lines(news), _LINES)
        return Told(taken=len(news))
