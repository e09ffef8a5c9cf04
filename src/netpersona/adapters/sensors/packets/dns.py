r"""One DNS message (RFC 1035), as far as it can be read: questions, answers, response code.

Hostile messages are bounded: a name has few compression pointers, of which the first must point before the name's own
beginning and each further one before the last; it has at most 255 octets; and of a message at most MOST_QUESTIONS and
MOST_ANSWERS are kept.
Octets outside printable ASCII are written \DDD, as in a zone file, so no name carries a control character.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address
from socket import inet_ntoa
from typing import NamedTuple, TypeAlias

from netpersona.flow.vm import canonical_address

MOST_QUESTIONS = 16
MOST_ANSWERS = 64
MOST_POINTERS = 16  # in one name
LONGEST_TEXT = 255  # characters kept of a TXT answer
_SHORT = 512  # bytes of a message that is remembered

_TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    10: "NULL",
    12: "PTR",
    13: "HINFO",
    15: "MX",
    16: "TXT",
    25: "KEY",
    28: "AAAA",
    33: "SRV",
    35: "NAPTR",
    39: "DNAME",
    43: "DS",
    46: "RRSIG",
    48: "DNSKEY",
    52: "TLSA",
    64: "SVCB",
    65: "HTTPS",
    99: "SPF",
    252: "AXFR",
    255: "ANY",
}
_HEADER = struct.Struct(">HHHH").unpack_from
_QUESTION = struct.Struct(">HH").unpack_from
_ANSWER = struct.Struct(">HHIH").unpack_from
_CODES = (
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
)
_WRITTEN = [f"\\{octet:03d}" for octet in range(256)]
for _octet in range(33, 127):
    _WRITTEN[_octet] = chr(_octet).lower()
for _special in b'."\\':
    _WRITTEN[_special] = "\\" + chr(_special)
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Message(NamedTuple):
    """A DNS message; names are lower case, without the final dot ("" is the root)."""

    ident: int
    response: bool
    code: str  # NOERROR, NXDOMAIN, ...
    questions: tuple[tuple[str, str], ...]  # name, type
    answers: tuple[str, ...]  # addresses, names, texts
    ttl: int | None  # s: the least of the answers' (RFC 2181); None without answers


def read_message(wire: bytes) -> Message | None:
    """The message, or None where its header or a question is damaged; answers end at the first damaged one."""
    if len(wire) < 12:
        return None
    said = _said(wire[2:]) if len(wire) <= _SHORT else _said.__wrapped__(wire[2:])
    return None if said is None else Message(wire[0] << 8 | wire[1], *said)


_Said: TypeAlias = tuple[bool, str, tuple[tuple[str, str], ...], tuple[str, ...], int | None]


@lru_cache(maxsize=8_192)
def _said(rest: bytes) -> _Said | None:
    """What a message says behind its number: most questions, and many answers, are said again and again."""
    wire = b"\0\0" + rest
    _ident, flags, questions, answers = _HEADER(wire)
    if questions > MOST_QUESTIONS:
        return None
    asked, at = [], 12
    try:
        for _ in range(questions):
            name, at = _asked_name(wire, at)
            kind, _class = _QUESTION(wire, at)
            asked.append((name, _TYPES.get(kind, f"TYPE{kind}")))
            at += 4
    except (struct.error, ValueError):
        return None
    code = flags & 15
    given = list(_answers(wire, at, min(answers, MOST_ANSWERS)))
    return (
        flags & 0x8000 != 0,
        _CODES[code] if code < len(_CODES) else f"RCODE{code}",
        tuple(asked),
        tuple(value for value, _ in given),
        min((ttl for _, ttl in given), default=None),
    )


def _answers(wire: bytes, at: int, count: int) -> Iterator[tuple[str, int]]:
    """Each answer with its time to live, s; a TTL with the top bit set means 0 (RFC 2181 section 8)."""
    try:
        for _ in range(count):
            at = _after_name(wire, at)
            kind, _class, ttl, length = _ANSWER(wire, at)
            at += 10
            value = _value(wire, at, kind, length) if at + length <= len(wire) else None
            if value is not None:
                yield value, ttl if ttl < 1 << 31 else 0
            at += length
    except (struct.error, ValueError):
        return


def _value(wire: bytes, at: int, kind: int, length: int) -> str | None:
    if kind == 1 and length == 4:
        return inet_ntoa(wire[at : at + 4])
    if kind == 28 and length == 16:
        return _ipv6(wire[at : at + 16])
    if kind in {2, 5, 12, 39}:
        return _name(wire, at)[0]
    if kind == 15 and length > 2:
        return _name(wire, at + 2)[0]
    if kind == 33 and length > 6:
        return _name(wire, at + 6)[0]
    if kind in {16, 99}:
        return _text(wire[at : at + length])
    return None


@lru_cache(maxsize=16_384)
def _ipv6(octets: bytes) -> str:
    return canonical_address(str(IPv6Address(octets)))


def _text(strings: bytes) -> str:
    """The character strings of a TXT record, joined."""
    joined, at = bytearray(), 0
    while at < len(strings):
        joined += strings[at + 1 : at + 1 + strings[at]]
        at += 1 + strings[at]
    return "".join(chr(octet) if 32 <= octet < 127 else _WRITTEN[octet] for octet in joined)[:LONGEST_TEXT]


def _asked_name(wire: bytes, at: int) -> tuple[str, int]:
    """As _name; most names that are asked for are plain, and were asked for before."""
    end = wire.find(0, at)
    name = _plain_name(wire[at:end]) if end > at else None
    return _name(wire, at) if name is None else (name, end + 1)


@lru_cache(maxsize=16_384)
def _plain_name(labels: bytes) -> str | None:
    """The name of which these are all labels; None where they need a closer look."""
    texts, at = [], 0
    while at < len(labels):
        size = labels[at]
        label = labels[at + 1 : at + 1 + size]
        if size > 63 or len(label) != size or not _PLAIN.issuperset(label):
            return None
        texts.append(label)
        at += 1 + size
    return b".".join(texts).decode("ascii").lower() if len(labels) < 255 else None


def _name(wire: bytes, at: int) -> tuple[str, int]:
    """The name there, and where what follows it begins.  Raises ValueError."""
    labels: list[str] = []
    end, limit, left, pointers = -1, at, 255, 0
    while True:
        if at >= len(wire):
            raise ValueError("the name runs past the message")
        size = wire[at]
        if size >= 192:
            target = (size & 63) << 8 | wire[at + 1] if at + 1 < len(wire) else limit
            end = at + 2 if end < 0 else end
            pointers += 1
            if target >= limit or pointers > MOST_POINTERS:
                raise ValueError("a compression pointer does not point back, or there are too many")
            at = limit = target
        elif size == 0:
            return ".".join(labels), at + 1 if end < 0 else end
        else:
            left -= size + 1
            if size > 63 or left < 1 or at + 1 + size > len(wire):
                raise ValueError("a label is too long")
            labels.append(_label(wire[at + 1 : at + 1 + size]))
            at += 1 + size


def _label(octets: bytes) -> str:
    if _PLAIN.issuperset(octets):
        return octets.decode("ascii").lower()
    return "".join([_WRITTEN[octet] for octet in octets])


def _after_name(wire: bytes, at: int) -> int:
    """Where what follows the name begins, without following its pointer."""
    while at < len(wire):
        size = wire[at]
        if size >= 192:
            return at + 2
        if size == 0:
            return at + 1
        at += size + 1
    raise ValueError("the name runs past the message")
