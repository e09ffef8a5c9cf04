"""The conversation with nf_tables: batches that are committed whole or not at all, and reading back.

    BATCH_BEGIN | message | message | ... | BATCH_END        one sendmsg, one transaction

The kernel works on a batch while it is sent: when `send` returns, it is in force or refused.  Without its BATCH_END a
batch is checked and thrown away.  The socket lives in the network namespace of the thread that made it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.errors import EnforcerError

NETFILTER = 12  # NETLINK_NETFILTER
NF_TABLES = 10  # the subsystem
REQUEST, ACK, ECHO, DUMP = 0x1, 0x4, 0x8, 0x300
CREATE, APPEND, REPLACE, EXCL = 0x400, 0x800, 0x100, 0x200

FAMILIES = {"inet": 1, "bridge": 7}

NEW_TABLE, GET_TABLE, DEL_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, DEL_CHAIN = 3, 4, 5
NEW_RULE, GET_RULE, DEL_RULE = 6, 7, 8
NEW_SET, GET_SET, DEL_SET = 9, 10, 11
NEW_ELEMENT, GET_ELEMENT, DEL_ELEMENT = 12, 13, 14
NEW_GENERATION, GET_GENERATION = 15, 16
NEW_OBJECT, GET_OBJECT, DEL_OBJECT = 18, 19, 20
DROP_ELEMENT = 30  # as DEL_ELEMENT, but what is not there is no error (Linux 6.3)

_KINDS = {NEW_TABLE // 3: "table", 1: "chain", 2: "rule", 3: "set", 4: "element"}
_HEAD = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_FAMILY = struct.Struct(">BBH")  # nfgenmsg: family, version, resource
_BEGIN, _END, _ERROR, _DONE = 16, 17, 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_RECEIVED = 1 << 20
_TEXT_OF_ERROR = 1  # NLMSGERR_ATTR_MSG


class AbsentError(EnforcerError):
    """What was asked for is not there."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read: its nf_tables type, its sequence number and its attributes."""

    kind: int
    sequence: int
    body: bytes

    def attributes(self) -> dict[int, bytes]:
        """The message's own attributes, by type."""
        return a.read(self.body)


def message(kind: int, family: str | int, body: bytes, flags: int = 0, subsystem: int = NF_TABLES) -> bytes:
    """A message of a batch; its sequence number is set when the batch is made."""
    head = _HEAD.pack(20 + len(body), subsystem << 8 | kind, REQUEST | flags, 0, 0)
    number = family if isinstance(family, int) else FAMILIES.get(family, 0)
    return head + _FAMILY.pack(number, 0, 0) + body


def batch(messages: Sequence[bytes], *, commit: bool = True) -> bytes:
    """The messages as one transaction; with `commit` off it is only checked."""
    parts = [_HEAD.pack(20, _BEGIN, REQUEST, 0, 0), _FAMILY.pack(0, 0, NF_TABLES)]
    for sequence, each in enumerate(messages, 1):
        parts += (each[:8], sequence.to_bytes(4, "little"), each[12:])
    if commit:
        parts += (_HEAD.pack(20, _END, REQUEST, len(messages) + 1, 0), _FAMILY.pack(0, 0, NF_TABLES))
    return b"".join(parts)


class Wire:
    """A socket to the kernel's netfilter.  Raises EnforcerError with what the kernel said."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETFILTER)
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.bind((0, 0))
        except OSError as error:
            raise EnforcerError(f"no netfilter socket: {error.strerror}; netpersona needs CAP_NET_ADMIN") from error
        self._room = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def send(self, messages: Sequence[bytes], *, commit: bool = True) -> list[Message]:
        """Commit the messages (or only check them); gives what the kernel echoed.

        Raises EnforcerError that names the first message the kernel refused.
        """
        data = batch(messages, commit=commit)
        self._make_room(len(data))
        try:
            self._socket.send(data)
        except OSError as error:
            raise EnforcerError(f"the kernel did not take {len(data)} bytes: {error.strerror}") from error
        answers = []
        for answer in list(self._waiting()):  # none may be left for the next question
            if answer.kind != -1:
                answers.append(answer)
                continue
            code, said = _failure(answer)
            if code:
                which = described(messages[answer.sequence - 1]) if 0 < answer.sequence <= len(messages) else "batch"
                raise EnforcerError(f"the kernel refused the transaction at {which}: {said}")
        return answers

    def ask(self, kind: int, family: str, body: bytes = b"", flags: int = DUMP) -> Iterator[Message]:
        """Read something back.  Raises AbsentError where it is not there."""
        asked = message(kind, family, body, flags)
        yield from self.ask_raw(asked, dump=flags & DUMP == DUMP)

    def ask_raw(self, asked: bytes, *, dump: bool = True, about: Collection[bytes] = ()) -> Iterator[Message]:
        """The answers to one message; where `about` says what must occur in them, others may be left out."""
        self._socket.send(asked)
        while True:
            data = self._socket.recv(_RECEIVED)
            for answer in _split(data, ends=bool(about) and not any(each in data for each in about)):
                if answer.kind == -2:
                    return
                if answer.kind == -1:
                    code, said = _failure(answer)
                    if code in {errno.ENOENT, errno.EAFNOSUPPORT}:
                        raise AbsentError(said)
                    if code:
                        raise EnforcerError(f"the kernel would not tell: {said}")
                    return
                yield answer
                if not dump:
                    return

    def generation(self) -> int:
        """The number that every change of any table in this namespace raises."""
        found = next(self.ask(GET_GENERATION, "", flags=0))
        return a.number(found.attributes()[1])

    def _make_room(self, size: int) -> None:
        if size > self._room:
            self._room = max(2 * size, 1 << 20)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, self._room)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)

    def _waiting(self) -> Iterator[Message]:
        while True:
            try:
                yield from _split(self._socket.recv(_RECEIVED, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return
            except OSError as error:
                raise EnforcerError(f"the kernel's answer was lost: {error.strerror}") from error


def described(sent: bytes) -> str:
    """A message in words: what it is about and of what name."""
    kind = sent[4]
    found = a.read(sent, 20)
    names = [a.name(found[key]) for key in (1, 2, 3) if key in found and (key < 3 or kind in {NEW_CHAIN, DEL_CHAIN})]
    verb = "remove" if kind in {DEL_TABLE, DEL_CHAIN, DEL_RULE, DEL_SET, DEL_ELEMENT, DEL_OBJECT} else "make"
    return f"{verb} {'limit' if kind >= NEW_OBJECT else _KINDS.get(kind // 3, 'message')} {' '.join(names)}"


def _split(data: bytes, *, ends: bool = False) -> Iterator[Message]:
    """The messages of a datagram: -1 for an error or acknowledgement, -2 for the end of a dump; `ends`: only these."""
    at = 0
    while at + 16 <= len(data):
        length, kind, _, sequence, _ = _HEAD.unpack_from(data, at)
        if length < 16:
            return
        if kind in {_ERROR, _DONE}:
            yield Message(-1 if kind == _ERROR else -2, sequence, data[at + 16 : at + length])
        elif not ends:
            yield Message(kind & 0xFF, sequence, data[at + 20 : at + length])
        at += (length + 3) & ~3


def _failure(answer: Message) -> tuple[int, str]:
    code = -struct.unpack_from("=i", answer.body)[0]
    said = a.read(answer.body, 20).get(_TEXT_OF_ERROR)
    return code, os.strerror(code) + (f" ({a.name(said)})" if said else "")
