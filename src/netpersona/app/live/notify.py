"""Tells systemd how the service is, where it runs under systemd (sd_notify(3)); says nothing elsewhere."""

from __future__ import annotations

import os
import socket


def ready(status: str) -> None:
    """The service has started."""
    _send(f"READY=1\nSTATUS={status}")


def alive(status: str) -> None:
    """The service is at work: feeds the watchdog."""
    _send(f"WATCHDOG=1\nSTATUS={status}")


def stopping() -> None:
    """The service ends."""
    _send("STOPPING=1")


def _send(text: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return  # who started us is not listening: no reason to fail
