"""The head of one HTTP/1 request or response (RFC 9112), as far as its first segment shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netpersona.adapters.sensors.packets.tls import host_name
from netpersona.flow.vm import canonical_address

LONGEST_PATH = 200  # characters
LONGEST_AGENT = 200

METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PROPFIND")
_LINE = re.compile(rb"([A-Z]{3,8}) ([^ \r\n]+)(?: HTTP/1\.[01](?:\r?\n|\Z)|\Z)")
_HOST = re.compile(rb"\nhost:[ \t]*([^\r\n]*)", re.IGNORECASE)
_AGENT = re.compile(rb"\nuser-agent:[ \t]*([^\r\n]*)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])\b")


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head; the host is lower case and without its port."""

    method: str
    path: str
    host: str | None
    agent: str | None


def read_request(segment: bytes) -> Request | None:
    """The request that a segment begins with; None where it begins with none."""
    head = segment.partition(b"\r\n\r\n")[0]
    line = _LINE.match(head)
    if line is None or (method := line[1].decode("ascii")) not in METHODS:
        return None
    host, agent = _HOST.search(head), _AGENT.search(head)
    return Request(
        method=method,
        path=_printable(line[2][: LONGEST_PATH * 4])[:LONGEST_PATH],
        host=_host(host[1].decode("latin-1")) if host else None,
        agent=_printable(agent[1])[:LONGEST_AGENT] if agent else None,
    )


def read_status(segment: bytes) -> str | None:
    """The status code of the response that a segment begins with."""
    status = _STATUS.match(segment)
    return status[1].decode("ascii") if status else None


def _host(text: str) -> str | None:
    """A Host header's name or address, without the port."""
    text = text.strip()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    try:
        return canonical_address(name)
    except ValueError:
        return host_name(name)


def _printable(octets: bytes) -> str:
    return "".join([chr(octet) if 32 <= octet < 127 else f"%{octet:02X}" for octet in octets])
