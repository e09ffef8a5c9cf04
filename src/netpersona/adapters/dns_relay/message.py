r"""What one DNS answer tells (RFC 1035): which names stand for which addresses, and for how long.

The names of an address are: the name it is said of, every name that leads there by CNAME, and, in the answer section,
the name that was asked for, since some programs look no further.  Addresses also come as hints of HTTPS and SVCB
records (RFC 9460), which browsers use at once.

A message that cannot be read to its end tells nothing, whatever a more patient reader may find in it.  Hostile ones
are bounded: names have at most 255 octets and few pointers, which point back; records that are kept are counted.
Names are spelled as the sensors spell them, so that both ways of learning an answer learn the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address
from socket import inet_ntoa
from typing import NamedTuple

from netpersona.adapters.sensors.long_name import shortened
from netpersona.flow.vm import canonical_address

MOST_RECORDS = 512  # of those that carry addresses or lead to them
MOST_PAIRS = 2_048  # of a name and an address that it stands for
MOST_POINTERS = 16  # in one name
MOST_QUESTIONS = 16
LONGEST_LIFE = 7 * 86_400  # s

_HEADER = struct.Struct(">HHHHHH").unpack_from
_RECORD = struct.Struct(">HHIH").unpack_from
_PAIR = struct.Struct(">HH").unpack_from
_RESPONSE, _TRUNCATED = 0x8000, 0x0200
_A, _CNAME, _AAAA, _SVCB, _HTTPS = 1, 5, 28, 64, 65
_TELLING = frozenset((_A, _CNAME, _AAAA, _SVCB, _HTTPS))
_TRANSFERS = frozenset((251, 252))  # IXFR, AXFR
_HINTS = {4: 4, 6: 16}  # ipv4hint, ipv6hint: bytes of an address
_SPELLED = [f"\\{octet:03d}" for octet in range(256)]
for _octet in range(33, 127):
    _SPELLED[_octet] = chr(_octet).lower()
for _special in b'."\\':
    _SPELLED[_special] = "\\" + chr(_special)


class Told(NamedTuple):
    """The addresses that a name was answered, each with its time to live, s."""

    name: str
    addresses: tuple[tuple[str, int], ...]


class Message(NamedTuple):
    """A message as far as it matters here; `question` is its bytes in lower case, to be compared only."""

    ident: int
    response: bool
    question: bytes
    transfer: bool  # of a whole zone
    told: tuple[Told, ...]


class DamagedError(ValueError):
    """The message cannot be read to its end."""


def read(wire: bytes) -> Message:
    """The message.  Raises DamagedError."""
    try:
        return _Reader(wire).message()
    except (struct.error, IndexError) as error:
        raise DamagedError("the message ends too early") from error


def question(wire: bytes) -> tuple[int, bytes]:
    """The number of a question and, to be compared only, its bytes in lower case.  Raises DamagedError."""
    try:
        ident, flags, questions, *_ = _HEADER(wire)
        if flags & _RESPONSE:
            raise DamagedError("this is an answer")
        return ident, wire[12 : _Reader(wire).after_questions(questions)].lower()
    except (struct.error, IndexError) as error:
        raise DamagedError("the message ends too early") from error


def truncated(wire: bytes) -> bytes | None:
    """The answer that tells to ask again over TCP, in place of this one; None where not even its question is whole."""
    try:
        ident, flags, questions, *_ = _HEADER(wire)
        end = _Reader(wire).after_questions(questions)
    except (struct.error, IndexError, DamagedError):
        return None
    return struct.pack(">HHHHHH", ident, flags | _TRUNCATED, questions, 0, 0, 0) + wire[12:end]


@dataclass(slots=True)
class _Reader:
    wire: bytes
    names: dict[int, str] = field(default_factory=dict)  # by the place where they begin
    leads: dict[str, set[str]] = field(default_factory=dict)  # name -> those that lead there
    said: dict[str, dict[str, int]] = field(default_factory=dict)  # name -> address -> s
    kept: int = 0

    def message(self) -> Message:
        ident, flags, questions, *counts = _HEADER(self.wire)
        at = self.after_questions(questions)
        asked = self.wire[12:at]
        response = flags & _RESPONSE != 0
        names, transfer = self._asked(questions) if response and any(counts) else ((), False)
        if response and not transfer:
            for section, count in enumerate(counts):
                at = self._records(at, count, names if section == 0 else ())
        told = self._told() if self.said else ()
        return Message(ident, response, asked.lower(), transfer, told)

    def after_questions(self, count: int) -> int:
        """Where the records begin."""
        if count > MOST_QUESTIONS:
            raise DamagedError(f"{count} questions")
        at = 12
        for _ in range(count):
            at = self._after_name(at) + 4
        if at > len(self.wire):
            raise DamagedError("the question ends too early")
        return at

    def _asked(self, count: int) -> tuple[tuple[str, ...], bool]:
        """The names that were asked for, and whether a whole zone was."""
        found, at, transfer = [], 12, False
        for _ in range(count):
            end = self._after_name(at)
            found.append(self._name(at))
            transfer = transfer or _PAIR(self.wire, end)[0] in _TRANSFERS
            at = end + 4
        return tuple(found), transfer

    def _records(self, at: int, count: int, asked: tuple[str, ...]) -> int:
        for _ in range(count):
            owner = at
            at = self._after_name(at)
            kind, _, ttl, length = _RECORD(self.wire, at)
            at += 10
            if at + length > len(self.wire):
                raise DamagedError("a record runs past the message")
            if kind in _TELLING:
                self.kept += 1
                self._take(self._name(owner), kind, _lifetime(ttl), at, length, asked)
            at += length
        return at

    def _take(self, owner: str, kind: int, ttl: int, at: int, length: int, asked: tuple[str, ...]) -> None:
        if kind == _CNAME:
            self.leads.setdefault(self._name(at), set()).add(owner)
            return
        if kind in {_SVCB, _HTTPS}:
            found, target = self._hints(at, length)
            names = [owner, target or owner]
        else:
            if length != (4 if kind == _A else 16):
                raise DamagedError("an address of a wrong length")
            found, names = [_address(self.wire[at : at + length])], [owner]
        if self.kept > MOST_RECORDS:
            raise DamagedError(f"more than {MOST_RECORDS} addresses")
        for name in {*names, *asked}:
            known = self.said.setdefault(name, {})
            for address in found:
                known[address] = max(ttl, known.get(address, 0))

    def _hints(self, at: int, length: int) -> tuple[list[str], str]:
        """The addresses that a service record hints at, and its target, empty for its owner."""
        end, found = at + length, []
        target = self._name(at + 2)
        at = self._after_name(at + 2)
        while at < end:
            key, size = _PAIR(self.wire, at)
            at += 4
            width = _HINTS.get(key)
            if at + size > end or (width is not None and size % width):
                raise DamagedError("a service parameter of a wrong length")
            if width is not None:
                found += [_address(self.wire[each : each + width]) for each in range(at, at + size, width)]
                self.kept += size // width
            at += size
        return found, target

    def _told(self) -> tuple[Told, ...]:
        told: dict[str, dict[str, int]] = {} if self.leads else self.said
        pairs = 0 if self.leads else sum(map(len, self.said.values()))
        for name, addresses in self.said.items() if self.leads else ():
            aliases = self._aliases(name)
            pairs += len(aliases) * len(addresses)
            if pairs > MOST_PAIRS:
                break
            for alias in aliases:
                known = told.setdefault(alias, {})
                for address, ttl in addresses.items():
                    known[address] = max(ttl, known.get(address, 0))
        if pairs > MOST_PAIRS:
            raise DamagedError(f"more than {MOST_PAIRS} pairs of name and address")
        return tuple([Told(shortened(name), tuple(sorted(told[name].items()))) for name in sorted(told) if told[name]])

    def _aliases(self, name: str) -> set[str]:
        """The name and all that lead to it."""
        found, open_ = {name}, [name]
        while open_:
            for alias in self.leads.get(open_.pop(), ()):
                if alias not in found:
                    found.add(alias)
                    open_.append(alias)
        return found

    def _after_name(self, at: int) -> int:
        """Where what follows the name begins; its pointer is not followed."""
        wire = self.wire
        while True:
            size = wire[at]
            if size >= 192:
                return at + 2
            if size == 0:
                return at + 1
            if size > 63:
                raise DamagedError("a label is too long")
            at += size + 1

    def _name(self, at: int) -> str:
        if at not in self.names:
            size, limit = self.wire[at], at
            if size >= 192 and (place := (size & 63) << 8 | self.wire[at + 1]) < limit and place in self.names:
                return self.names[place]
            self.names[at] = self._spelled(at)
        return self.names[at]

    def _spelled(self, at: int) -> str:
        wire, labels, left, pointers, limit = self.wire, [], 255, 0, at
        while (size := wire[at]) != 0:
            if size >= 192:
                at = (size & 63) << 8 | wire[at + 1]
                pointers += 1
                if at >= limit or pointers > MOST_POINTERS:
                    raise DamagedError("a compression pointer does not point back, or points on and on")
                limit = at
                continue
            left -= size + 1
            if size > 63 or left < 1 or at + 1 + size > len(wire):
                raise DamagedError("a label is too long")
            labels.append(_label(wire[at + 1 : at + 1 + size]))
            at += 1 + size
        return ".".join(labels)


@lru_cache(maxsize=16_384)
def _label(octets: bytes) -> str:
    return "".join([_SPELLED[octet] for octet in octets])


def _lifetime(ttl: int) -> int:
    """A time with the top bit set means 0 (RFC 2181); resolvers keep nothing longer than a week (RFC 8767)."""
    return min(ttl, LONGEST_LIFE) if ttl < 1 << 31 else 0


def _address(octets: bytes) -> str:
    return inet_ntoa(octets) if len(octets) == 4 else canonical_address(str(IPv6Address(octets)))
