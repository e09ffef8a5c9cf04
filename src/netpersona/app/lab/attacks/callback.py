"""Calls the control server that the feed lists: its name is resolved, then asked for orders over HTTP."""

from __future__ import annotations

import http.client
import socket

from netpersona.app.lab.attacks.order import PATIENCE, Order, Tally, connected
from netpersona.app.lab.layout import CONTROL_NAME

PORT = 8443


def run(order: Order, tally: Tally) -> str:
    """Call; what was done, in words."""
    for _, family in order.turns():
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        try:
            address = str(socket.getaddrinfo(CONTROL_NAME, PORT, kind, socket.SOCK_STREAM)[0][4][0])
            with connected(address, PORT) as line:
                asking = http.client.HTTPConnection(CONTROL_NAME, PORT, timeout=PATIENCE)
                asking.sock = line
                asking.request("GET", "/bytes/180", headers={"User-Agent": "implant", "Connection": "close"})
                asking.getresponse().read()
            tally.answer()
        except socket.gaierror:
            tally.failure("its name was not resolved")
        except (OSError, http.client.HTTPException) as error:
            tally.failure(error if isinstance(error, OSError) else str(error))
    return f"calls to {CONTROL_NAME}, tcp port {PORT}"
