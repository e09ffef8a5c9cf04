"""A web server: pages, answers of any size, answers that take their time, uploads.

/             a page; with --database, made of rows that the database gave
/bytes/N      N bytes, at once
/slow/N       N seconds of 20,000 bytes each tenth of a second: a transfer to be kept, drained or cut
/NAME         the file NAME of --folder
POST          takes all, and says how many bytes it were
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import socket
import ssl
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from netpersona.app.lab.programs.both_families import BothFamilies

_BLOCK = bytes(range(32, 112)) * 250  # 20,000 bytes
_MOST = 10**9  # bytes or seconds that anyone may ask for


class _Server(BothFamilies, ThreadingHTTPServer):
    """HTTP over both families."""


class _Database:
    """A connection to the database that many pages share; now and then a new one takes its place, as in a pool."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.line: socket.socket | None = None
        self.one_at_a_time = threading.Lock()
        self.chance = random.Random(host)  # noqa: S311 - a story that can be told again, not a secret

    def rows(self) -> list[tuple[str, int]]:
        """What a page is made of.  Raises OSError, ValueError."""
        with self.one_at_a_time:
            if self.line is not None and self.chance.random() < 0.1:
                self._close()
            fresh = self.line is None
            try:
                return self._ask()
            except (OSError, ValueError):
                self._close()
                if fresh:
                    raise
            return self._ask()  # the old connection was closed, or cut off

    def _ask(self) -> list[tuple[str, int]]:
        if self.line is None:
            self.line = socket.create_connection((self.host, 5432), timeout=3)
        with self.line.makefile("rwb") as lines:
            lines.write(b"SELECT name, price FROM goods ORDER BY name LIMIT 40\n")
            lines.flush()
            found: list[tuple[str, int]] = json.loads(lines.readline())
        return found

    def _close(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pages"
    sys_version = ""
    timeout = 60
    databases: tuple[_Database, ...] = ()
    folder: Path | None = None
    pages = itertools.count()

    def do_GET(self) -> None:
        """Answer one of the paths above."""
        kind, _, number = self.path.strip("/").partition("/")
        if kind == "bytes" and number.isdecimal() and int(number) <= _MOST:
            self._sized(int(number))
        elif kind == "slow" and number.isdecimal() and int(number) <= _MOST:
            self._slowly(int(number))
        elif self.path == "/" and self.folder is None:
            self._page()
        elif self.folder is not None and kind.replace("-", "").isalnum() and (self.folder / kind).is_file():
            self._say(HTTPStatus.OK, (self.folder / kind).read_bytes())
        else:
            self._say(HTTPStatus.NOT_FOUND, b"nothing here\n")

    def do_POST(self) -> None:
        """Take what is sent."""
        length = self.headers.get("Content-Length", "0")
        left = total = int(length) if length.isdecimal() else 0
        while left > 0:
            block = self.rfile.read(min(left, 1 << 16))
            if not block:
                break
            left -= len(block)
        self._say(HTTPStatus.OK, f"{total - left} bytes\n".encode())

    def log_message(self, *_: object) -> None:
        """Nothing for each request."""

    def _page(self) -> None:
        if not self.databases:
            self._say(HTTPStatus.OK, _BLOCK[:6_000])
            return
        try:
            rows = self.databases[next(self.pages) % len(self.databases)].rows()
        except (OSError, ValueError) as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"the database does not answer: {error}\n".encode())
        else:
            self._say(HTTPStatus.OK, "\n".join(f"<li>{name}: {price}" for name, price in rows).encode())

    def _say(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _sized(self, size: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for sent in range(0, size, len(_BLOCK)):
            self.wfile.write(_BLOCK[: size - sent])

    def _slowly(self, seconds: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(seconds * 10 * len(_BLOCK)))
        self.end_headers()
        for _ in range(seconds * 10):
            self.wfile.write(_BLOCK)
            time.sleep(0.1)


def _secured(server: _Server, certificate: str) -> _Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, action="append", default=[])
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--certificate")
    parser.add_argument("--database", action="append", default=[])
    parser.add_argument("--folder", type=Path)
    said = parser.parse_args()
    _Pages.databases, _Pages.folder = tuple(map(_Database, said.database)), said.folder
    servers = [_Server(("::", port), _Pages) for port in said.port]
    if said.tls_port is not None:
        servers.append(_secured(_Server(("::", said.tls_port), _Pages), said.certificate))
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
