"""A web server: pages, answers of any size, answers that take their time, uploads.

/             a page; with --database, made of rows that the database gave
/bytes/N      N bytes, at once
/slow/N       N seconds of 20,000 bytes each tenth of a second: a transfer to be kept, drained or cut
/NAME         the file NAME of --folder
POST          takes all, and says how many bytes it were
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BLOCK = bytes(range(32, 112)) * 250  # 20,000 bytes
_MOST = 10**9  # bytes or seconds that anyone may ask for


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Answer both families."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves, or is cut off, is nothing to report."""


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pages"
    sys_version = ""
    timeout = 60
    databases: tuple[str, ...] = ()
    folder: Path | None = None
    asked = 0

    def do_GET(self) -> None:
        """Answer one of the paths above."""
        kind, _, number = self.path.strip("/").partition("/")
        if kind == "bytes" and number.isdecimal() and int(number) <= _MOST:
            self._sized(int(number))
        elif kind == "slow" and number.isdecimal() and int(number) <= _MOST:
            self._slowly(int(number))
        elif self.path == "/" and self.folder is None:
            self._say(HTTPStatus.OK, self._page())
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

    def _page(self) -> bytes:
        if not self.databases:
            return _BLOCK[:6_000]
        type(self).asked += 1
        host = self.databases[self.asked % len(self.databases)]
        with socket.create_connection((host, 5432), timeout=3) as database, database.makefile("rwb") as lines:
            lines.write(b"SELECT name, price FROM goods ORDER BY name LIMIT 40\n")
            lines.flush()
            rows = json.loads(lines.readline())
        return "\n".join(f"<li>{name}: {price}" for name, price in rows).encode()

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
    _Pages.databases, _Pages.folder = tuple(said.database), said.folder
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
