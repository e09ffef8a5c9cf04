"""The API on a unix socket, in a thread beside the controller.

The socket file is made under another name, given its mode, and then put in place: nobody can connect to it before it
is as it should be, and one that a dead controller left behind is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from netpersona.app.api.access import STATE, Checked, caller_of
from netpersona.app.api.application import application
from netpersona.app.api.bounds import Bounded
from netpersona.errors import ConfigError

if TYPE_CHECKING:
    import asyncio

    from netpersona.app.live.service import Service

SOCKET = Path("/run/netpersona/api.sock")
_MODE = 0o660
_WAIT = 10.0  # s: for the server to begin, and for answers under way to end
_AT_ONCE = 64  # connections; one more is answered 503


class Server:
    """Serves one Service at one path until stop().  `group`: the name of the group whose members may ask too."""

    def __init__(self, service: Service, path: Path = SOCKET, group: str | None = None) -> None:
        self._path = path
        self._group = None if group is None else _group_id(group)
        app = Checked(Bounded(application(service)), self._group)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_Known,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_AT_ONCE,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=int(_WAIT),
            )
        )
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._inode = 0

    @property
    def path(self) -> Path:
        """Where it answers."""
        return self._path

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return self._thread is not None and self._thread.is_alive() and self._server.started

    def start(self) -> None:
        """Begin to answer.  Raises ConfigError where another controller answers, or the path cannot be used."""
        self._socket = _listening(self._path, self._group)
        self._inode = self._path.stat().st_ino
        self._thread = threading.Thread(target=self._serve, name="api", daemon=True)
        self._thread.start()
        begun = threading.Event()
        for _ in range(int(_WAIT / 0.01)):
            if self._server.started or not self._thread.is_alive():
                break
            begun.wait(0.01)
        if not self._server.started:
            self.stop()
            raise ConfigError(f"{self._path}: the API did not begin to answer within {_WAIT:g} s")

    def stop(self) -> None:
        """Let answers under way end, answer no more, and take the socket file away if it is still ours."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_WAIT + 1)
        if self._socket is not None:
            self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _serve(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])


class _Known(H11Protocol):
    """HTTP on a connection whose other end the kernel names."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        told: dict[str, Any] = {}
        with contextlib.suppress(OSError):  # then nobody knows who asks, and the answer is 403
            told[STATE] = caller_of(connection)
        self.app_state = {**self.app_state, **told}


def _listening(path: Path, group: int | None) -> socket.socket:
    """A socket that listens at the path, for its owner and the group."""
    _refuse_live(path)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        made.unlink(missing_ok=True)
        listener.bind(str(made))
        if group is not None:
            os.chown(made, -1, group)
        made.chmod(_MODE)
        listener.listen(_AT_ONCE)
        made.replace(path)
    except OSError as error:
        listener.close()
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot answer there: {error.strerror or error}; name another socket") from error
    return listener


def _refuse_live(path: Path) -> None:
    """Nothing for a free path or a socket that nobody answers.  Raises ConfigError for anything else."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name another socket") from error
    if not is_socket:
        raise ConfigError(f"{path} is there and is no socket; name another, or take it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.settimeout(1)
        failed = asked.connect_ex(str(path))
    if failed not in {errno.ECONNREFUSED, errno.ENOENT}:
        raise ConfigError(f"{path}: another controller answers there; stop it, or name another socket")


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"there is no group {name!r} on this host; 'groupadd {name}' makes it") from None
