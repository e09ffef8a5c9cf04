"""How servers of the lab listen: over IPv4 and IPv6 on one socket, with a thread for each client."""

from __future__ import annotations

import socket
import socketserver


class BothFamilies(socketserver.ThreadingTCPServer):
    """A server at `::` and a port that clients of both families reach."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Answer both families."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves, or is cut off, is nothing to report."""
