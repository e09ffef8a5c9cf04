"""JSON, opened only as far as a format needs: its values stay bytes until somebody asks for them.

A document is one value, an array of values, or a line for each value (JSON lines; lines that begin with # are
comments).  Every value knows at which byte it begins, so that the line of a record is known without keeping more.
Untrusted: values that break off, are nested too deeply, or are no JSON raise FormatError with the line; bytes that
are no UTF-8 become the replacement character.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import polars as pl

from netpersona.intel.formats.entry import FormatError

T = TypeVar("T")

_BLOCK = 1 << 24  # bytes
_FIRST = re.compile(rb"(?>\s+|#[^\n]*(?:\n|\Z))*+")
_OPENED = re.compile(rb'\{\s*["}]|\[\s*(?:["{\[\]]|-?\d+(?:\.\d+)?\s*[,\]])')
_SOMETHING = re.compile(rb"\S")
_BYTE = re.compile(r"\(byte (\d+)\)")
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_DEEPEST = 500
_TELLING = 64  # bytes of a value by which it is found again

_TOP: msgspec.json.Decoder[dict[str, msgspec.Raw] | list[msgspec.Raw]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw] | list[msgspec.Raw]
)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_ANY: msgspec.json.Decoder[object] = msgspec.json.Decoder()


class Value(NamedTuple):
    """One JSON value of a document, not decoded yet."""

    at: int  # the byte at which it begins; -1: not known
    raw: msgspec.Raw | memoryview | bytes


class BadValueError(ValueError):
    """One value is no JSON, or not of the wanted form; says why in a few words."""


@dataclass(frozen=True, slots=True)
class Document:
    """A feed in JSON."""

    content: bytes
    array: list[msgspec.Raw] | None = None  # the items, where it is one array
    lines: bool = False  # whether each line is a value

    def values(self) -> Iterator[Value]:
        """Its values, one by one: the items of an array, the values of the lines, or the one value."""
        if self.lines:
            yield from _lines(self.content)
        elif self.array is not None:
            yield from items(self.content, _begins(self.content), self.array)
        else:
            yield Value(_begins(self.content), self.content)


def looks_like(content: bytes) -> bool:
    """Whether the content begins as JSON does that a feed could be in."""
    start = _FIRST.match(content)
    return _OPENED.match(content, start.end() if start else 0) is not None


def opened(content: bytes) -> Document:
    """The document.  Raises FormatError where it is damaged; of JSON lines, each line is judged on its own."""
    content = _utf8(content)
    if _by_lines(content):
        return Document(content, lines=True)
    try:
        top = decoded(_TOP, content)
    except BadValueError as error:
        if _mostly_lines(content):
            return Document(content, lines=True)
        raise damaged(content, error) from error
    return Document(content, top if isinstance(top, list) else None)


def decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw | memoryview | bytes) -> T:
    """The value of a piece of JSON.  Raises BadValueError."""
    try:
        return decoder.decode(raw)
    except RecursionError as error:
        raise BadValueError("nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = str(error).removeprefix("JSON is malformed: ").replace("`", "").replace(" - at $", " at ")
        raise BadValueError(why) from error


def members(raw: msgspec.Raw | memoryview | bytes) -> dict[str, msgspec.Raw]:
    """The members of an object, not decoded yet; of equal names the last counts.  Raises BadValueError."""
    return decoded(_MEMBERS, raw)


def plain(raw: msgspec.Raw | memoryview | bytes) -> object:
    """The whole value as dicts, lists and scalars.  Raises BadValueError."""
    return decoded(_ANY, raw)


def array(content: bytes, at: int, raw: msgspec.Raw | memoryview | bytes) -> Iterator[Value]:
    """The items of an array that begins at or after the byte `at`.  Raises BadValueError where it is none."""
    found = decoded(_ITEMS, raw)
    return items(content, content.find(memoryview(raw)[:_TELLING], max(at, 0)), found)


def items(content: bytes, at: int, raws: list[msgspec.Raw]) -> Iterator[Value]:
    """The items of an array that begins at the byte `at` (-1: not known); only commas and space lie between them."""
    known = at >= 0
    at += 1
    for raw in raws:
        view = memoryview(raw)
        at = content.find(view[0], at) if known else -1
        yield Value(at, raw)
        at += view.nbytes


def placed(content: bytes, at: int, raws: dict[str, msgspec.Raw]) -> Iterator[tuple[str, Value]]:
    """The members of an object that begins at the byte `at`, each with its place."""
    for name, raw in raws.items():
        view = memoryview(raw)
        found = content.find(view[:_TELLING], at)
        yield name, Value(found, raw)
        at = max(at, found + view.nbytes)


def lines_of(content: bytes, places: pl.Series) -> pl.Series:
    """The lines (UInt32, from 1) on which these bytes lie; 1 where the byte is not known."""
    wanted = places.to_numpy()
    order = np.argsort(wanted, kind="stable")
    ordered = wanted[order]
    found = np.ones(len(wanted), dtype=np.uint32)
    before = 1
    for start in range(0, len(content), _BLOCK):
        ends = np.flatnonzero(np.frombuffer(content[start : start + _BLOCK], dtype=np.uint8) == ord("\n")) + start
        low, high = np.searchsorted(ordered, (start, start + _BLOCK))
        found[order[low:high]] = before + np.searchsorted(ends, ordered[low:high])
        before += len(ends)
    return pl.Series("line", found, dtype=pl.UInt32)


def line_of(content: bytes, at: int) -> int:
    """The line (from 1) on which this byte lies."""
    return content.count(b"\n", 0, max(at, 0)) + 1


def head(document: Document) -> dict[str, msgspec.Raw]:
    """The members of the first value that is an object, of a few; none where there is none."""
    for place, value in enumerate(document.values()):
        if place == 20:
            break
        try:
            return members(value.raw)
        except BadValueError:
            continue
    return {}


def first(raw: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    """The members of an object, or of the first item of an array; none where there is no such thing."""
    if raw is None:
        return {}
    try:
        found = decoded(_TOP, raw)
        return found if isinstance(found, dict) else members(found[0]) if found else {}
    except BadValueError:
        return {}


def damaged(content: bytes, error: BadValueError) -> FormatError:
    """The error for a document that cannot be read, with its line."""
    text = str(error)
    if "nested" in text:
        return FormatError(line_of(content, _too_deep(content)), f"JSON that is {text}", f"at most {_DEEPEST} levels")
    byte = _BYTE.search(text)
    if byte is None:
        return FormatError(content.count(b"\n") + 1, f"the JSON breaks off ({text})", "the whole file")
    at = int(byte.group(1))
    near = content[at : at + 20].decode("utf-8", errors="replace").split("\n")[0]
    return FormatError(line_of(content, at), f"no JSON from here: {near!r}", "valid JSON, whole")


def _utf8(content: bytes) -> bytes:
    """The content; where it is no UTF-8, with replacement characters, once for all its values."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _BLOCK):
            decoder.decode(content[start : start + _BLOCK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return content.decode("utf-8", errors="replace").encode()
    return content


def _begins(content: bytes) -> int:
    found = _FIRST.match(content)
    return found.end() if found else 0


def _by_lines(content: bytes) -> bool:
    """Whether the first line is a whole value, and more follows."""
    start = _begins(content)
    end = content.find(b"\n", start)
    if end < 0 or _SOMETHING.search(content, end) is None:
        return False
    return _is_whole(memoryview(content)[start:end])


def _mostly_lines(content: bytes) -> bool:
    """Whether most of the first lines, and not one only, are whole values."""
    whole = [_is_whole(value.raw) for value in islice(_lines(content), 20)]
    return sum(whole) > max(1, len(whole) // 2)


def _is_whole(raw: msgspec.Raw | memoryview | bytes) -> bool:
    try:
        decoded(_TOP, raw)
    except BadValueError:
        return False
    return True


def _lines(content: bytes) -> Iterator[Value]:
    view = memoryview(content)
    at = 0
    while at < len(content):
        end = content.find(b"\n", at)
        end = len(content) if end < 0 else end
        first = content[at : min(at + 64, end)].lstrip()[:1]
        if (first and first != b"#") or (not first and content[at:end].strip()):
            yield Value(at, view[at:end])
        at = end + 1


def _too_deep(content: bytes) -> int:
    """The byte at which the brackets are nested too deeply."""
    depth = 0
    for found in _BRACKETS.finditer(content):
        sign = found[0][:1]
        depth += (sign in b"[{") - (sign in b"]}")
        if depth > _DEEPEST:
            return found.start()
    return 0
