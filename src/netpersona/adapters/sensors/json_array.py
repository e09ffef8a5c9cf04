"""A JSON array of records, `[{...}, {...}]`, as the lines that every reader of JSON logs expects: one record each.

An array is made by exports and by `jq -s`.  It cannot be cut into blocks without reading it, so it is held in memory
whole, up to LARGEST.  Of one that is cut short or damaged the elements before the damage are given; what follows is
one line more, which its reader counts as no record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

LARGEST = 64 * 1024 * 1024  # bytes, decompressed
ADVICE = "write one object on each line, for example with: jq -c '.[]' FILE"

_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\[[ \t\r\n]*(?:\{|\][ \t\r\n]*\Z)")
_SEPARATORS = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")


def is_array(start: bytes) -> bool:
    """Whether text that begins so is an array of objects, or an empty array and nothing else."""
    return _ARRAY.match(start) is not None


def lines(content: bytes) -> bytes:
    """The array's elements, one on each line."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        elements = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return b"".join(_as_line(text.encode()) for text in _salvaged(content.decode("utf-8", "replace")))
    return b"".join(_as_line(bytes(element)) for element in elements)


def _as_line(element: bytes) -> bytes:
    """Inside JSON a line end is nothing but space: in a string it would be escaped."""
    return element.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


def _salvaged(text: str) -> Iterator[str]:
    """The whole elements from the beginning on, then what is left."""
    decoder = json.JSONDecoder()
    at = text.index("[") + 1
    while at < len(text):
        at = _SEPARATORS.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        yield text[at:end]
        at = end
    rest = text[at:].strip()
    if rest not in ("", "]"):
        yield rest
