"""A statement of our nft text as the kernel's expressions.

render.py writes what is in force as nft text, for people and for `nft -f`.  This reads that text, and nothing
more of nft's language: a word it does not know is an error.  The nft front end does the same work, but needs 130 ms
to add one rule to a table of 1,000 VMs, since it reads the table's sets first, and cannot put rules and our elements
into one transaction.  tests/kernel/test_assemble.py loads both forms and compares what the kernel then has.

A list of values becomes a constant set of its own, shared by all rules that ask for the same list.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2s
from ipaddress import ip_address

from netpersona.adapters.enforcers.nftables import expressions as x
from netpersona.adapters.enforcers.nftables.fields import FIELDS, Field
from netpersona.errors import EnforcerError

_TOKEN = re.compile(r'"[^"]*"|[{}(),]|[^\s{}(),"]+')
_FIRST = x.REGISTERS


@dataclass(frozen=True, slots=True)
class Values:
    """A constant set: what it is called, its key, and its members as (first, last) pairs of keys."""

    name: str
    kind: int  # nft's number of the key's type
    length: int  # of a key, bytes
    intervals: bool
    members: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A rule as the kernel runs it.  `tag` tells two texts apart; `expressions` end the rule's own part."""

    expressions: bytes
    comment: str
    tag: bytes
    values: tuple[Values, ...]
    counts: bool


@lru_cache(maxsize=1 << 18)
def assemble(line: str, family: str) -> Statement:
    """The expressions of one line of a chain.  Raises EnforcerError for text that is not ours."""
    return _Reader(line, family).statement()


class _Reader:
    def __init__(self, line: str, family: str) -> None:
        self._line = line
        self._family = family
        self._words = _TOKEN.findall(line)
        self._at = 0
        self._parts: list[bytes] = []
        self._known: set[tuple[str, bytes]] = set()
        self._values: list[Values] = []
        self._comment = ""
        self._counts = False

    def statement(self) -> Statement:
        while self._at < len(self._words):
            word = self._next()
            if word in _ACTIONS:
                _ACTIONS[word](self)
            else:
                self._at -= 1
                self._match()
        tag = blake2s(self._line.encode(), digest_size=8).digest()
        return Statement(b"".join(self._parts), self._comment, tag, tuple(self._values), self._counts)

    def _next(self, expected: str | None = None) -> str:
        if self._at >= len(self._words) or expected not in {None, self._words[self._at]}:
            raise EnforcerError(f"not our nft text: {self._line!r}; expected {expected or 'more'}")
        self._at += 1
        return str(self._words[self._at - 1])

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    # Matches: a field or several, then what it must be.

    def _match(self) -> None:
        fields = self._fields()
        register = _FIRST
        for field in fields:
            self._parts.append(field.load(register))
            register += (field.length + 3) // 4
        self._asked(fields)

    def _fields(self) -> list[Field]:
        fields = [self._field()]
        while self._peek() == ".":
            self._next()
            fields.append(self._field())
        return fields

    def _field(self) -> Field:
        for words in (3, 2, 1):
            found = FIELDS.get(" ".join(self._words[self._at : self._at + words]))
            if found is not None:
                self._at += words
                for needed, is_ in found.needs[self._family]:
                    self._need(needed, is_)
                return found
        raise EnforcerError(f"not our nft text: {self._line!r} at {self._peek()!r}")

    def _need(self, name: str, is_: bytes) -> None:
        """What the field rests on, asked once in a rule."""
        if (name, is_) not in self._known:
            self._known.add((name, is_))
            self._parts += [FIELDS[name].load(_FIRST), x.compare(is_, _FIRST)]

    def _asked(self, fields: list[Field]) -> None:
        field, word = fields[0], self._next()
        if word == "&" and field.kind == FIELDS["ip saddr"].kind:
            self._parts += [x.masked(field.span(self._next())[0], _FIRST), x.member(self._next()[1:], _FIRST)]
            return None
        if word == "&":
            return self._bits(field)
        if word == "vmap":
            self._parts.append(x.dispatch(self._next()[1:], _FIRST))
            return None
        negated = word == "!="
        word = self._next() if negated else word
        test = x.Test.UNEQUAL if negated else x.Test.EQUAL
        if word.startswith("@"):
            self._parts.append(x.member(word[1:], _FIRST, negated=negated))
        elif field.flags is not None:
            self._of_flags(field, word)
        elif word == "{":
            self._list(fields, negated=negated)
        else:
            low, high = field.span(word)
            if low == high:
                self._parts.append(x.compare(low, _FIRST, test))
                if not negated:
                    self._known.add((field.name, low))
            elif "-" in word:
                self._parts.append(x.between(low, high, _FIRST, test))
            else:
                mask = bytes(~(one ^ other) & 255 for one, other in zip(low, high, strict=True))
                self._parts += [x.masked(mask, _FIRST), x.compare(low, _FIRST, test)]
        return None

    def _of_flags(self, field: Field, first: str) -> None:
        """One of several bits is set."""
        assert field.flags is not None
        bits = sum(field.flags[word] for word in first.split(","))
        while self._peek() == ",":
            self._next()
            bits += field.flags[self._next()]
        mask = struct.pack("=I", bits)
        self._parts += [x.masked(mask, _FIRST), x.compare(bytes(4), _FIRST, x.Test.UNEQUAL)]

    def _bits(self, field: Field) -> None:
        """As in `& (syn | ack) != syn`."""
        masks = [self._next()]
        if masks[0] == "(":
            masks = [word for word in self._until(")") if word != "|"]
        negated = self._peek() == "!="
        test = x.Test.UNEQUAL if negated else x.Test.EQUAL
        self._next("!=" if negated else "==")
        mask = sum(field.bits(word) for word in masks).to_bytes(field.length, "big")
        is_ = field.bits(self._next()).to_bytes(field.length, "big")
        self._parts += [x.masked(mask, _FIRST), x.compare(is_, _FIRST, test)]

    def _until(self, end: str) -> Iterator[str]:
        while (word := self._next()) != end:
            yield word

    def _list(self, fields: list[Field], *, negated: bool) -> None:
        spans: list[tuple[bytes, bytes]] = []
        parts: list[tuple[bytes, bytes]] = []
        for word in self._until("}"):
            if word in {",", "."}:
                continue
            field = fields[len(parts)]
            low, high = field.span(word)
            parts.append((low + bytes(-len(low) % 4), high + bytes(-len(high) % 4)) if len(fields) > 1 else (low, high))
            if len(parts) == len(fields):
                spans.append((b"".join(low for low, _ in parts), b"".join(high for _, high in parts)))
                parts = []
        found = _constant(fields, _merged(spans))
        self._values.append(found)
        self._parts.append(x.member(found.name, _FIRST, negated=negated))

    # What is done.

    def _count(self) -> None:
        self._counts = True
        self._parts.append(x.counter())

    def _go(self, word: str) -> None:
        self._parts.append(x.verdict(word, self._next() if word in {"jump", "goto"} else None))

    def _limit(self) -> None:
        words = [*self._until("packets"), "packets"]
        self._parts.append(x.expression("limit", *_limit_data(" ".join(words))))

    def _log(self) -> None:
        self._next("prefix")
        prefix = self._next().strip('"')
        self._next("group")
        group = int(self._next())
        self._next("snaplen")
        self._parts.append(x.log(group, prefix, int(self._next())))

    def _reject(self) -> None:
        self._next("with")
        kind = [self._next() for _ in range(2 if self._peek() == "tcp" else 3)]
        if kind[0] == "tcp":
            self._need("meta l4proto", b"\x06")
        self._parts.append(x.reset() if kind[0] == "tcp" else x.prohibited())

    def _translate(self) -> None:
        family = self._next()
        self._next("to")
        host, port = _target(self._next())
        self._need("meta nfproto", b"\x02" if family == "ip" else b"\x0a")
        self._parts.append(x.immediate(host, 1))
        if port is not None:
            self._parts.append(x.immediate(struct.pack(">H", port), 2))
        self._parts.append(x.translate(2 if family == "ip" else 10, 1, None if port is None else 2))

    def _remember(self) -> None:
        """As in `update @set { field . field timeout 60s }`, `{ field counter }` or `{ field limit rate ... }`."""
        name = self._next()[1:]
        self._next("{")
        register = _FIRST
        for field in self._fields():
            self._parts.append(field.load(register))
            register += (field.length + 3) // 4
        word, *words = self._until("}")
        if word == "timeout":
            made = x.remember(name, _FIRST, int(words[0].removesuffix("s")) * 1000)
        elif word == "counter":
            made = x.remember(name, _FIRST, doing=x.bare("counter"))
        else:
            made = x.remember(name, _FIRST, doing=x.bare("limit", *_limit_data(" ".join(words))))
        self._parts.append(made)

    def _say(self) -> None:
        self._comment = self._next().strip('"')


_ACTIONS: dict[str, Callable[[_Reader], None]] = {
    "counter": _Reader._count,  # noqa: SLF001 (the table of this class's own words)
    "limit": _Reader._limit,  # noqa: SLF001
    "log": _Reader._log,  # noqa: SLF001
    "reject": _Reader._reject,  # noqa: SLF001
    "dnat": _Reader._translate,  # noqa: SLF001
    "update": _Reader._remember,  # noqa: SLF001
    "comment": _Reader._say,  # noqa: SLF001
} | {word: (lambda reader, word=word: reader._go(word)) for word in x.VERDICTS}  # type: ignore[misc]  # noqa: SLF001


def _limit_data(words: str) -> tuple[bytes, ...]:
    """`rate over 125000 bytes/second burst 24224 bytes`, or packets, as a token bucket."""
    found = re.fullmatch(r"rate (over )?(\d+)( bytes)?/second burst (\d+) (bytes|packets)", words)
    if found is None:
        raise EnforcerError(f"not our nft text: {words!r}")
    return x.limit(int(found[2]), int(found[4]), octets=found[3] is not None, over=found[1] is not None)


def _target(word: str) -> tuple[bytes, int | None]:
    found = re.fullmatch(r"\[([^\]]+)\]:(\d+)|([^:]+):(\d+)", word)
    host, port = (word, None) if found is None else (found[1] or found[3], int(found[2] or found[4]))
    return ip_address(host).packed, port


def _constant(fields: list[Field], members: tuple[tuple[bytes, bytes], ...]) -> Values:
    kind = 0
    for field in fields:
        kind = kind << 6 | field.kind
    length = fields[0].length if len(fields) == 1 else sum((field.length + 3) & ~3 for field in fields)
    content = b"".join(low + high for low, high in members)
    digest = blake2s(content, digest_size=6, key=str(kind).encode()).hexdigest()
    return Values(f"list.{digest}", kind, length, any(low != high for low, high in members), members)


def _merged(spans: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Spans in order, those that overlap or touch as one."""
    found: list[tuple[bytes, bytes]] = []
    singles = all(low == high for low, high in spans)
    for low, high in sorted(set(spans)):
        if found and not singles and int.from_bytes(low, "big") <= int.from_bytes(found[-1][1], "big") + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)
