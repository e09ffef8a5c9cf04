"""Real servers on loopback that a feed may meet: well-behaved, hostile, slow and broken ones."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ANSWER = "HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n{more}\r\n"


class Request(NamedTuple):
    """What a client asked."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes


Answering = Callable[[Request], bytes | Iterable[bytes]]


@dataclass
class Served:
    """A server that runs, and what it was asked."""

    url: str
    asked: list[Request] = field(default_factory=list)
    answer: Answering = lambda _: said(b"")
    over: threading.Event = field(default_factory=threading.Event)  # for those that hang: the test is done

    def at(self, path: str) -> str:
        return self.url + path


def said(content: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An answer with its length."""
    more = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    return ANSWER.format(status=status, size=len(content), more=more).encode() + content


@contextmanager
def served(
    answer: Answering | None = None,
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    listening: socket.socket | None = None,
) -> Iterator[Served]:
    """A server at a free port, or on this socket; `answer` may be set later, too."""
    if listening is None:
        listening = socket.create_server((host, 0))
    listening.settimeout(0.2)
    scheme = "http" if context is None else "https"
    server = Served(f"{scheme}://{host}:{listening.getsockname()[1]}")
    if answer is not None:
        server.answer = answer
    accepting = threading.Thread(target=_accept, args=(listening, server, context), daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.over.set()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # it waits for nobody any more
        accepting.join()
        listening.close()


def _accept(listening: socket.socket, server: Served, context: ssl.SSLContext | None) -> None:
    while not server.over.is_set():
        with suppress(OSError):  # nobody came yet, or it is over
            connection, _ = listening.accept()
            threading.Thread(target=_serve, args=(connection, server, context), daemon=True).start()


def _serve(connection: socket.socket, server: Served, context: ssl.SSLContext | None) -> None:
    with suppress(OSError), connection:
        connection.settimeout(20)
        stream = connection if context is None else context.wrap_socket(connection, server_side=True)
        with stream:
            request = _request(stream)
            if request is None:
                return
            server.asked.append(request)
            answer = server.answer(request)
            for piece in (answer,) if isinstance(answer, bytes) else answer:
                stream.sendall(piece)


def _request(stream: socket.socket) -> Request | None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = stream.recv(65536)
        if not piece:
            return None
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += stream.recv(65536)
    method, target, _ = first.split(" ", 2)
    return Request(method, target, headers, body)


class Certificates(NamedTuple):
    """An authority of one's own, and a server that it vouches for as 127.0.0.1 and localhost."""

    ca: Path
    server: ssl.SSLContext


def certificates(folder: Path) -> Certificates:
    """Made by openssl, valid for a day."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-days", "1", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=an authority of tests")
    openssl(*new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return Certificates(folder / "ca.pem", context)
