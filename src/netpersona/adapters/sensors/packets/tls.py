"""A TLS ClientHello: the server it names (RFC 6066) and its JA3 fingerprint.

JA3 (Salesforce, 2017): md5 of "version,ciphers,extensions,groups,point formats", numbers joined by "-", the reserved
values of GREASE (RFC 8701) left out.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from hashlib import md5

from netpersona.adapters.sensors.long_name import shortened

_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
_GREASE = frozenset(0x0A0A + 0x1010 * step for step in range(16))
_SERVER_NAME, _GROUPS, _POINTS = 0, 10, 11


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client says first; `fingerprint` is None where the hello was not captured whole."""

    server_name: str | None
    fingerprint: str | None


def hello_size(start: bytes) -> int:
    """How many bytes the record that begins so has, with its header."""
    return 5 + int.from_bytes(start[3:5], "big")


def read_client_hello(record: bytes) -> ClientHello | None:
    """The hello in a TLS record, as far as it goes; None where it is none."""
    if len(record) < 44 or record[0] != 22 or record[1] != 3 or record[5] != 1:
        return None
    version = int.from_bytes(record[9:11], "big")
    name: str | None = None
    try:
        _session, at = _part(record, 43, 1)
        ciphers, at = _part(record, at, 2)
        _compression, at = _part(record, at, 1)
        kinds: list[int] = []
        groups, points = b"", b""
        stop = at + 2 + int.from_bytes(record[at : at + 2], "big")
        at += 2
        while at < stop:
            (kind,) = struct.unpack_from(">H", record, at)
            body, at = _part(record, at + 2, 2)
            kinds.append(kind)
            if kind == _SERVER_NAME:
                name = _server_name(body)
            elif kind == _GROUPS:
                groups = body[2:]
            elif kind == _POINTS:
                points = body[1:]
    except (struct.error, IndexError, ValueError):
        return ClientHello(name, None)
    fields = (str(version), _joined(_pairs(ciphers)), _joined(kinds), _joined(_pairs(groups)), _joined(list(points)))
    return ClientHello(name, md5(",".join(fields).encode(), usedforsecurity=False).hexdigest())


def host_name(text: str) -> str | None:
    """The text as a host name in lower case, without a final dot; None where it cannot be one.

    A name that is too long loses its middle (see `long_name`).
    """
    lowered = shortened(text.strip().lower().removesuffix("."))
    return lowered if _HOST.fullmatch(lowered) and ".." not in lowered else None


def _part(record: bytes, at: int, size: int) -> tuple[bytes, int]:
    """The bytes behind a length of that size, and where what follows begins.  Raises ValueError if cut."""
    begin = at + size
    end = begin + int.from_bytes(record[at:begin], "big")
    if begin > len(record) or end > len(record):
        raise ValueError("the hello was cut short")
    return record[begin:end], end


def _server_name(body: bytes) -> str | None:
    """The first host name of a server_name extension: list length, type 0, length, name."""
    if len(body) < 5 or body[2] != 0:
        return None
    length = int.from_bytes(body[3:5], "big")
    return host_name(body[5 : 5 + length].decode("latin-1"))


def _pairs(octets: bytes) -> list[int]:
    return [number for (number,) in struct.iter_unpack(">H", octets[: len(octets) & ~1])]


def _joined(numbers: list[int]) -> str:
    return "-".join([str(number) for number in numbers if number not in _GREASE])
