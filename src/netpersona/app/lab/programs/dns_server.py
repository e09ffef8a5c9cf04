"""A DNS server over UDP (RFC 1035): names from a file, all names below one domain, the rest from elsewhere.

It stands in for dnsmasq where that is not installed, and outside it is the end of the DNS tunnel: to every name below
--answer-below it answers with text, as the far end of a tunnel does.  It uses no compression but for the question.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

A, TXT, AAAA = 1, 16, 28
_NO_ERROR, _NO_NAME = 0, 3
_TTL = 30
_SHORTEST = 17  # bytes: a header and the shortest question


class _Question(NamedTuple):
    name: str
    kind: int
    end: int  # where the question ends in the message


class _Zone(NamedTuple):
    names: Mapping[str, tuple[str, str]]  # name -> IPv4, IPv6
    below: str | None  # every name below it is answered


def _asked(message: bytes) -> _Question | None:
    """The message's only question; None where it is none."""
    if len(message) < _SHORTEST or message[2] & 0x80 or struct.unpack_from("!H", message, 4)[0] != 1:
        return None
    labels, at = [], 12
    while at < len(message) and message[at] != 0:
        size = message[at]
        if size > 63 or at + 1 + size >= len(message):
            return None
        labels.append(message[at + 1 : at + 1 + size].decode("ascii", "replace").lower())
        at += 1 + size
    if at + 5 > len(message):
        return None
    return _Question(".".join(labels), struct.unpack_from("!H", message, at + 1)[0], at + 5)


def _answer(message: bytes, question: _Question, zone: _Zone) -> bytes:
    known = zone.names.get(question.name)
    below = _within(question.name, zone.below)
    data: bytes | None = None
    if known is not None and question.kind in (A, AAAA):
        data = ip_address(known[0] if question.kind == A else known[1]).packed
    elif below and question.kind == TXT:
        text = f"{len(question.name)} taken".encode()
        data = bytes([len(text)]) + text
    code = _NO_ERROR if known is not None or below else _NO_NAME
    flags = 0x8580 | code if message[2] & 1 else 0x8480 | code  # an authoritative answer
    head = message[:2] + struct.pack("!HHHHH", flags, 1, int(data is not None), 0, 0)
    record = b"" if data is None else struct.pack("!HHHIH", 0xC00C, question.kind, 1, _TTL, len(data)) + data
    return head + message[12 : question.end] + record


def _within(name: str, domain: str | None) -> bool:
    return domain is not None and (name == domain or name.endswith("." + domain))


def _elsewhere(message: bytes, server: str) -> bytes | None:
    """What another server answers; None where it does not within two seconds."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2.0)
        asking.connect((server, 53))
        try:
            asking.send(message)
            return asking.recv(4_096)
        except OSError:
            return None


def _bound(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind((address, 53))
    return listening


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", required=True)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--answer-below")
    parser.add_argument("--forward")
    parser.add_argument("--to")
    said = parser.parse_args()
    names = {} if said.names is None else json.loads(said.names.read_text())
    zone = _Zone({name: tuple(pair) for name, pair in names.items()}, said.answer_below)
    listening = [_bound(address) for address in said.listen]
    while True:
        for ready in select.select(listening, [], [])[0]:
            message, sender = ready.recvfrom(4_096)
            question = _asked(message)
            if question is None:
                continue
            forward = said.to is not None and _within(question.name, said.forward)
            reply = _elsewhere(message, said.to) if forward else _answer(message, question, zone)
            if reply is not None:
                ready.sendto(reply, sender)


if __name__ == "__main__":
    main()
