"""Where credentials come from, and that they are never shown.

A configuration names the place, `env:NAME` or `file:PATH`, and never the credential itself.  It is read when it is
sent, so that a rotated one counts at once.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netpersona.errors import ConfigError, FeedError

_LONGEST = 16 * 1024  # bytes
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, 5.1
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "range"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is found: an environment variable, or the first line of a file."""

    kind: str  # env | file
    where: str

    @classmethod
    def of(cls, text: str, what: str, here: Path | None = None) -> Place:
        """The place that `env:NAME` or `file:PATH` names; a path is relative to `here`.  Raises ConfigError."""
        kind, colon, where = text.partition(":")
        if not colon or kind not in {"env", "file"} or not where.strip():
            raise ConfigError(f"{what}: write env:NAME or file:PATH, and never the secret itself")
        where = where.strip()
        if kind == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", where):
            raise ConfigError(f"{what}: env: is followed by no name of an environment variable")
        if kind == "file":
            path = Path(where) if here is None else here / where
            if not path.is_absolute():
                path = path.absolute()
            where = str(path)
        return cls(kind, where)

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}"

    def read(self) -> str:
        """The secret.  Raises FeedError, which says where it was looked for."""
        try:
            found = os.environ[self.where] if self.kind == "env" else _first_line(Path(self.where))
        except KeyError:
            raise FeedError(f"the environment variable {self.where} is not set; it holds a credential") from None
        except OSError as error:
            raise FeedError(f"{self.where}: {error.strerror}; expected a file that holds a credential") from None
        if not found or not found.isascii() or not found.isprintable():
            raise FeedError(f"{self} holds no credential: expected one line of printable ASCII")
        return found


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a source shows of who asks: headers, or a user and password (RFC 7617), each found at its place."""

    headers: Mapping[str, Place] = field(default_factory=dict)
    basic: Place | None = None  # holds user:password

    @property
    def places(self) -> tuple[Place, ...]:
        """Everywhere that something is read from."""
        return (*self.headers.values(), *(() if self.basic is None else (self.basic,)))

    def read(self) -> dict[str, str]:
        """The headers to send.  Raises FeedError."""
        found = {name: place.read() for name, place in self.headers.items()}
        if self.basic is not None:
            pair = self.basic.read()
            if ":" not in pair:
                raise FeedError(f"{self.basic} holds no user and password: expected user:password")
            found["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return found


def checked_header(name: str, what: str) -> str:
    """The name of a header that may carry a credential.  Raises ConfigError."""
    if not _HEADER.fullmatch(name) or name.lower() in _OURS:
        raise ConfigError(f"{what}: {name[:64]!r} is no header that can be set; Authorization or X-Api-Key can")
    return name


def _first_line(path: Path) -> str:
    with path.open("rb") as source:
        return source.read(_LONGEST).decode("utf-8", errors="replace").partition("\n")[0].strip()
