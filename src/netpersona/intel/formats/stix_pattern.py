"""STIX patterns: from text to what is compared with what, by the grammar of STIX 2.1, part 9.

    [ipv4-addr:value = '198.51.100.7' OR url:value IN ('http://a.example/', 'http://b.example/')] START t'..' STOP t'..'

The tree keeps the nesting and the words; which values of it suffice alone, `stix_values` decides.  Words may be in any
case and strings in double quotes, as producers write both; a backslash before any sign but a quote or another
backslash stands for itself.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST = 1_000_000  # characters
_DEEPEST = 50  # parentheses and brackets

_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_STEP = rf"(?:[A-Za-z_][\w-]*|{_STRING})"
_TOKEN = re.compile(
    rf"""(?>\s+|/\*.*?\*/|//[^\n]*)*+
    (?:(?P<path>[A-Za-z_][\w-]*\s*:\s*{_STEP}(?:\s*\.\s*{_STEP}|\s*\[\s*(?:\*|-?\d+)\s*\])*)
    |(?P<text>[thb]?(?:{_STRING}))
    |(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?![\w.]))
    |(?P<word>[A-Za-z]+)
    |(?P<sign><=|>=|==|!=|<>|[=<>\[\](),])
    |(?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(rf"{_STEP}|\[\s*(?:\*|-?\d+)\s*\]")
_ESCAPED = re.compile(r"\\(['\"\\])")
_SIGNS = {"==": "=", "<>": "!="}
_COMPARED = {"=", "!=", "<", ">", "<=", ">="}
_WORDS = {"LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET", "IN"}


class PatternError(ValueError):
    """The text is no STIX pattern; says at which character and what was expected."""


class Comparison(NamedTuple):
    """One property held against a literal, or against several (IN)."""

    object: str  # ipv4-addr, file, ...; in lower case
    path: tuple[str, ...]  # ("hashes", "SHA-256"); a list's place is "[0]" or "[*]"
    operator: str  # = != < > <= >= LIKE MATCHES ISSUBSET ISSUPERSET IN EXISTS
    negated: bool
    literals: tuple[str, ...]
    text: str  # as it stands in the pattern


class Group(NamedTuple):
    """Parts joined by one word; comparisons inside brackets or whole observations."""

    word: str  # AND, OR, FOLLOWEDBY
    parts: tuple[Expression, ...]


class Qualified(NamedTuple):
    """An observation that must also repeat, or lie in a span of time."""

    of: Expression
    word: str  # WITHIN, REPEATS, START
    arguments: tuple[str, ...]  # seconds; times; the start and the stop


Expression = Comparison | Group | Qualified


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


def parse_pattern(text: str) -> Expression:
    """The tree of one pattern.  Raises PatternError."""
    if len(text) > LONGEST:
        raise PatternError(f"a pattern of more than {LONGEST} characters")
    reader = _Reader(text)
    found = reader.observations(0)
    reader.expect("end", "AND, OR, FOLLOWEDBY, a qualifier or the end")
    return found


class _Reader:
    """Reads one pattern from left to right, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = self._token(0)

    def observations(self, depth: int) -> Expression:
        """Observations; FOLLOWEDBY binds loosest, then OR, then AND."""
        return self._joined(("FOLLOWEDBY", "OR", "AND"), lambda: self._observation(depth))

    def _observation(self, depth: int) -> Expression:
        opened = self._opened(depth)
        found: Expression
        if opened == "[":
            found = self._comparisons(depth + 1)
            self._sign("]")
        else:
            found = self.observations(depth + 1)
            self._sign(")")
        while self._next.kind == "word" and self._word() in {"WITHIN", "REPEATS", "START"}:
            found = self._qualified(found)
        return found

    def _opened(self, depth: int) -> str:
        if self._next.kind != "sign" or self._next.text not in {"[", "("}:
            raise self._wrong("[ or (")
        if depth >= _DEEPEST:
            raise PatternError(f"character {self._next.start + 1}: nested deeper than {_DEEPEST}")
        return self._taken().text

    def _qualified(self, of: Expression) -> Qualified:
        word = self._taken().text.upper()
        if word == "START":
            start = self.expect("text", "a time such as t'2026-01-01T00:00:00Z'")
            self._keyword("STOP")
            stop = self.expect("text", "a time such as t'2026-01-01T00:00:00Z'")
            return Qualified(of, word, (_literal(start), _literal(stop)))
        count = self.expect("number", "a number")
        self._keyword("SECONDS" if word == "WITHIN" else "TIMES")
        return Qualified(of, word, (count.text,))

    def _comparisons(self, depth: int) -> Expression:
        """Comparisons inside brackets; OR binds looser than AND."""
        return self._joined(("OR", "AND"), lambda: self._comparison(depth))

    def _joined(self, words: tuple[str, ...], single: object) -> Expression:
        """One or more expressions of the next tighter word, joined by the first of these words."""
        if not words:
            return single()  # type: ignore[operator,no-any-return]
        parts = [self._joined(words[1:], single)]
        while self._next.kind == "word" and self._word() == words[0]:
            self._taken()
            parts.append(self._joined(words[1:], single))
        return parts[0] if len(parts) == 1 else Group(words[0], tuple(parts))

    def _comparison(self, depth: int) -> Expression:
        if self._next.text == "(":
            self._opened(depth)
            found = self._comparisons(depth + 1)
            self._sign(")")
            return found
        start = self._next.start
        negated = self._skipped("NOT")
        if self._skipped("EXISTS"):
            path = self.expect("path", "a property such as file:name")
            return self._compared(path, "EXISTS", negated, (), start, path.end)
        path = self.expect("path", "a property such as ipv4-addr:value")
        negated ^= self._skipped("NOT")
        operator = self._operator()
        last, literals = self._literals(operator)
        return self._compared(path, operator, negated, literals, start, last)

    def _compared(
        self, path: _Token, operator: str, negated: bool, literals: tuple[str, ...], start: int, end: int
    ) -> Comparison:
        kind, _, rest = path.text.partition(":")
        steps = tuple(_step(part) for part in _PARTS.findall(rest))
        return Comparison(kind.strip().lower(), steps, operator, negated, literals, self._text[start:end])

    def _operator(self) -> str:
        token = self._next
        name = _SIGNS.get(token.text, token.text.upper())
        if (token.kind == "sign" and name in _COMPARED) or (token.kind == "word" and name in _WORDS):
            self._taken()
            return name
        raise self._wrong("=, !=, <, >, IN, LIKE, MATCHES, ISSUBSET or ISSUPERSET")

    def _literals(self, operator: str) -> tuple[int, tuple[str, ...]]:
        """Where the literals end, and the literals."""
        if operator != "IN":
            token = self._one()
            return token.end, (_literal(token),)
        self._sign("(")
        found = [self._one()]
        while self._next.text == ",":
            self._taken()
            found.append(self._one())
        return self._sign(")").end, tuple(_literal(token) for token in found)

    def _one(self) -> _Token:
        if self._next.kind in {"text", "number"} or (self._next.kind == "word" and self._word() in {"TRUE", "FALSE"}):
            return self._taken()
        raise self._wrong("a value such as 'text' or 5")

    def _skipped(self, word: str) -> bool:
        if self._next.kind == "word" and self._word() == word:
            self._taken()
            return True
        return False

    def _keyword(self, word: str) -> None:
        if not self._skipped(word):
            raise self._wrong(word)

    def _sign(self, sign: str) -> _Token:
        if self._next.text != sign:
            raise self._wrong(sign)
        return self._taken()

    def expect(self, kind: str, what: str) -> _Token:
        """The next token, which must be of this kind."""
        if self._next.kind != kind:
            raise self._wrong(what)
        return self._taken()

    def _word(self) -> str:
        return self._next.text.upper()

    def _taken(self) -> _Token:
        token = self._next
        if token.kind != "end":
            self._next = self._token(token.end)
        return token

    def _token(self, at: int) -> _Token:
        found = _TOKEN.match(self._text, at)
        if found is None or found.lastgroup is None:
            near = self._text[at : at + 20].strip()
            raise PatternError(f"character {at + 1}: {near!r} is no part of a pattern")
        kind = found.lastgroup
        return _Token(kind, found[kind], found.start(kind), found.end(kind))

    def _wrong(self, expected: str) -> PatternError:
        token = self._next
        seen = "the end" if token.kind == "end" else repr(token.text[:40])
        return PatternError(f"character {token.start + 1}: {seen}; expected {expected}")


def _literal(token: _Token) -> str:
    if token.kind != "text":
        return token.text
    quoted = token.text if token.text[0] in "'\"" else token.text[1:]
    return _unquoted(quoted)


def _step(part: str) -> str:
    if part[0] == "[":
        return f"[{part[1:-1].strip()}]"
    return _unquoted(part) if part[0] in "'\"" else part


def _unquoted(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted[1:-1])
