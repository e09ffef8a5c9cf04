"""The words of a CEL expression and where they stand, for what the CEL library does not say.

It tells which persona fields an expression asks for, which names in it mean nothing, and where its conjunctions
part; what an expression gives is for CEL to say.  Source of the lexis: the CEL language definition, "Syntax".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netpersona.policy.facts import FIELDS

MAX_LENGTH = 2_000  # characters; the CEL library overruns its stack on expressions some ten times as long
MAX_LOOPS = 4  # exists, all, map ...: nested loops multiply
LOOPS = ("all", "exists", "exists_one", "filter", "map")
CONSTANTS = ("true", "false", "null", "in")
TYPES = ("bool", "bytes", "double", "duration", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "uint")
FUNCTIONS = tuple(
    sorted(
        {*LOOPS, *TYPES, "has", "size", "type", "contains", "endsWith", "startsWith", "matches", "max", "min"}
        | {f"get{part}" for part in ("Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "FullYear", "Hours")}
        | {f"get{part}" for part in ("Milliseconds", "Minutes", "Month", "Seconds")}
    )
)

_LEXIS = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<number>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||[<>=!]=|.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One word, text, number or sign, with its offset in the expression."""

    kind: str  # text | number | word | sign
    text: str
    offset: int


class Reference(NamedTuple):
    """A persona field asked for: persona.labels.role -> ("labels", "role") with the offsets of both words."""

    words: tuple[Token, ...]

    @property
    def field(self) -> str:
        """The persona field."""
        return self.words[0].text


def tokens(expression: str) -> list[Token]:
    """The expression's tokens without space and comments; whatever is no CEL becomes a sign of one character."""
    found = _LEXIS.finditer(expression)
    return [Token(m.lastgroup or "sign", m.group(), m.start()) for m in found if m.lastgroup != "space"]


def references(words: Sequence[Token]) -> list[Reference]:
    """Every `persona.FIELD[.PART]` in the order in which they stand; `persona['x']` and a bare `persona` have none."""
    return [Reference(path[1:]) for path in _paths(words) if path[0].text == "persona" and len(path) > 1]


def fields_asked(words: Sequence[Token]) -> frozenset[str]:
    """The fields of FIELDS that evaluation needs; all of them where `persona` stands without a plain field."""
    paths = [path for path in _paths(words) if path[0].text == "persona"]
    if any(len(path) == 1 for path in paths):
        return frozenset(FIELDS)
    return frozenset(path[1].text for path in paths if path[1].text in FIELDS)


def loops(words: Sequence[Token]) -> int:
    """How many loops (exists, all, map ...) stand in it."""
    return sum(1 for i, w in enumerate(words) if w.kind == "word" and w.text in LOOPS and _sign(words, i + 1) == "(")


def bindings(words: Sequence[Token]) -> dict[str, str]:
    """The loop variables, each with the persona field whose members it walks ("" where that is not known).

    persona.signatures.exists(s, ...) gives {"s": "signatures"}.
    """
    bound = {}
    for i, word in enumerate(words):
        opens = word.kind == "word" and word.text in LOOPS and _sign(words, i - 1) == "." and _sign(words, i + 1) == "("
        if opens and _sign(words, i + 3) == "," and words[i + 2].kind == "word":
            walked = words[i - 2].text if i >= 4 and words[i - 4].text == "persona" else ""
            bound[words[i + 2].text] = walked
    return bound


def paths(words: Sequence[Token]) -> list[tuple[Token, ...]]:
    """Every dotted path of names that starts at a variable; the names of methods and functions are left out."""
    return list(_paths(words))


def calls(words: Sequence[Token]) -> list[Token]:
    """The names of the functions and methods that are called."""
    return [w for i, w in enumerate(words) if w.kind == "word" and w.text != "in" and _sign(words, i + 1) == "("]


def conjuncts(expression: str) -> list[str]:
    """The parts that `&&` joins at the top, or the expression itself where it is not a conjunction."""
    depth, start, parts = 0, 0, []
    for token in tokens(expression):
        if token.kind != "sign":
            continue
        depth += (token.text in "([{") - (token.text in ")]}")
        if depth == 0 and token.text in ("||", "?"):
            return [expression]
        if depth == 0 and token.text == "&&":
            parts.append(expression[start : token.offset])
            start = token.offset + 2
    return [*parts, expression[start:]]


def _paths(words: Sequence[Token]) -> Iterator[tuple[Token, ...]]:
    for i, word in enumerate(words):
        if word.kind != "word" or word.text in CONSTANTS or _sign(words, i - 1) == "." or _sign(words, i + 1) == "(":
            continue
        path = [word]
        while _sign(words, i + 1) == "." and i + 2 < len(words) and words[i + 2].kind == "word":
            if _sign(words, i + 3) == "(":
                break
            path.append(words[i + 2])
            i += 2  # noqa: PLW2901
        yield tuple(path)


def _sign(words: Sequence[Token], index: int) -> str:
    return words[index].text if 0 <= index < len(words) and words[index].kind == "sign" else ""
