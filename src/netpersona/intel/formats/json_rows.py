"""Rows of a feed in JSON, wherever they stand: in the document's array or lines, or in members of its object.

A record is a row: an object with a telling member (`row`), or a text in an array of indicators.  Rows may lie in arrays
that are members of objects ({"data": [...]}), or under their own number ({"1234": [{...}]}); objects inside are only
entered through names that are known to wrap rows, so that a link to the feed's own site is not taken for one.  An array
in which none of the first items is telling holds no rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

import msgspec

from netpersona.intel.formats.entry import Entries, FormatError
from netpersona.intel.formats.gathered import Gathered, Record
from netpersona.intel.formats.json_fields import shown
from netpersona.intel.formats.json_text import (
    BadValueError,
    Document,
    Value,
    array,
    first,
    head,
    members,
    placed,
    plain,
)
from netpersona.intel.formats.row import GENERIC, Row, read_row

NAME = GENERIC
_SAMPLE = 20  # items by which an array is judged
_DEEPEST = 4
_WRAPS = re.compile(
    r"^(?:\d+|[0-9a-f-]{24,64}|data|results?|items|indicators?|iocs?|threat|records|entries|list|decisions|new|hits"
    r"|_source|response|payload|feed|observables?|attributes|properties|file|hash)$"
)
_PASSED = {"deleted", "meta", "metadata", "tags", "references", "details", "sources"}
_INDICATOR = re.compile(
    r"(?=\S{1,2048}\Z)(?:[^.:\[({]+[.:\[({]|:|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|AS\d+\Z|CVE-\d{4}-)", re.IGNORECASE
)
_ADDRESS = re.compile(r"^(?:\d+\.\d+\.\d+\.\d+|[0-9a-fA-F]*:[0-9a-fA-F:]+)(?:/\d+)?$")
_NO_ITEM = re.compile(rb"\[\s*\]|\{\s*\}|[^\[{]")
_NO_ERROR = re.compile(rb"(?:null|false|0|\"\"|\[\s*\]|\{\s*\})\Z")
_NOTHING = {"no_result", "no_results", "ok"}
_KNOWN = "STIX, MISP, OTX, the JSON of abuse.ch, Spamhaus, CISA, FIRST, CrowdSec, or rows with a member such as ip, url"
_UNTOLD = "none of its members holds an indicator"


class _Found(NamedTuple):
    """A record: a row, or a text; or why it is neither."""

    at: int
    row: Row | None
    text: str = ""
    reason: str | None = None


def recognised(_: dict[str, msgspec.Raw]) -> bool:
    """It is what any other JSON is held to be."""
    return True


def read(document: Document) -> Entries:
    """The values of the rows.  Raises FormatError where there is no row, and no empty array for rows either."""
    if document.array is None and not document.lines:
        _refuse_errors(head(document))
    gathered = Gathered()
    names: dict[str, None] = {}
    for number, found in enumerate(_records(document), 1):
        if found.reason != _UNTOLD:
            names[NAME if found.row is None else found.row.service] = None
        _enter(Record(number, found.at), found, gathered)
    if not names:
        _refuse_strangers(document)
    return gathered.found(next(iter(names)) if len(names) == 1 else NAME, document.content)


def _enter(record: Record, found: _Found, gathered: Gathered) -> None:
    row = found.row
    if row is None and found.reason is None:
        gathered.enter(record, found.text)
    elif row is None or row.objection is not None:
        text = found.text if row is None else " ".join(text for text, _ in row.values)
        gathered.refuse(record, text, found.reason or (row.objection if row is not None else None) or "")
    else:
        for text, kind in row.values:
            gathered.enter(
                record,
                text,
                kind,
                label=row.label,
                category=row.category,
                confidence=row.confidence,
                start=row.start,
                stop=row.stop,
            )


def _records(document: Document) -> Iterator[_Found]:
    """Every record of the document."""
    if document.array is not None or document.lines:
        yield from _items(document.content, document.values(), 0)
        return
    value = next(document.values())
    inside = _inside(document.content, value, 0)
    found = next(inside, None)
    if found is not None:
        yield from chain([found], inside)
    elif (alone := _row(value)) is not None:
        yield alone
    else:
        yield from _keys(document.content, value)


def _items(content: bytes, values: Iterator[Value], depth: int) -> Iterator[_Found]:
    """The records of an array, or of lines: rows and texts, if some of the first are telling; else what lies inside."""
    values = iter(values)
    sample = list(islice(values, _SAMPLE))
    texts = [_text(value) for value in sample if _sign(value) == b'"']
    listed = sum(_INDICATOR.match(text) is not None for text in texts) * 2 > len(texts)
    told = any(found is not None and found.row is not None for found in map(_row, sample))
    for value in chain(sample, values):
        found = _row(value)
        if found is not None:
            yield found
        elif _sign(value) == b'"':
            if listed:
                yield _Found(value.at, None, _text(value))
        elif listed or told:
            if not _is_metadata(value):
                yield _Found(value.at, None, shown(value), _UNTOLD)
        else:
            inside = _inside(content, value, depth + 1)
            found = next(inside, None if depth else _Found(value.at, None, shown(value), _UNTOLD))
            yield from inside if found is None else chain([found], inside)


def _inside(content: bytes, value: Value, depth: int) -> Iterator[_Found]:
    """The records in the arrays of an object, and in those of its objects that wrap rows."""
    if depth > _DEEPEST or _sign(value) != b"{":
        return
    try:
        told = members(value.raw)
    except BadValueError:
        return
    for name, inner in placed(content, max(value.at, 0), told):
        if name.lower() in _PASSED:
            continue
        if _sign(inner) == b"[":
            yield from _items(content, array(content, inner.at, inner.raw), depth + 1)
        elif _sign(inner) == b"{" and _WRAPS.match(name.lower()):
            found = _row(inner)
            yield from _inside(content, inner, depth + 1) if found is None else [found]


def _row(value: Value) -> _Found | None:
    """The object as a row, if it is telling; what is no JSON is a record too, and refused."""
    if _sign(value) in {b'"', b"["}:
        return None
    try:
        told = plain(value.raw)
    except BadValueError as error:
        return _Found(value.at, None, shown(value), f"no JSON: {error}")
    row = read_row(told) if isinstance(told, dict) else None
    return None if row is None else _Found(value.at, row)


def _keys(content: bytes, value: Value) -> Iterator[_Found]:
    """The addresses by which the members of an object are named, where all are."""
    told = members(value.raw)
    if all(_ADDRESS.match(name) for name in told):
        for name, inner in placed(content, max(value.at, 0), told):
            yield _Found(inner.at, None, name)


def _is_metadata(value: Value) -> bool:
    """Whether it is the line that says what the file is."""
    try:
        told = plain(value.raw)
    except BadValueError:
        return False
    return isinstance(told, dict) and told.get("type") == "metadata"


def _sign(value: Value) -> bytes:
    """The first byte that is no space."""
    return bytes(memoryview(value.raw)[:64]).lstrip()[:1]


def _text(value: Value) -> str:
    try:
        return str(plain(value.raw))
    except BadValueError:
        return ""


def _refuse_errors(told: dict[str, msgspec.Raw]) -> None:
    """Raises FormatError for an answer that says that something went wrong, whatever else it says."""
    for name in ("error", "errors", "error_code", "error_message"):
        if name in told and not _NO_ERROR.match(raw := bytes(memoryview(told[name])[:100])):
            said = raw.decode("utf-8", errors="replace")
            raise FormatError(1, f"the service answered {said!r} and no list", "its list: is the question right?")


def _refuse_strangers(document: Document) -> None:
    """Raises FormatError, unless the document is a list of nothing."""
    told = head(document)
    status = _text(Value(-1, told["query_status"])) if "query_status" in told else ""
    if status and status not in _NOTHING:
        raise FormatError(1, f"the service answered {status[:60]!r} and no list", "its list: is the question right?")
    if any("Orgc" in first(raw) for raw in islice(told.values(), 3)):
        raise FormatError(1, "a MISP feed's manifest: it names events and holds none", "the events, or a MISP source")
    if told.keys() & {"api_roots", "collections"}:
        raise FormatError(1, "what a TAXII server says of itself", "the objects of one collection")
    if status or _is_empty(document, told):
        return
    names = ", ".join(repr(name[:30]) for name in islice(told, 8))
    raise FormatError(1, "JSON without indicators" + (f": its members are {names}" if names else ""), _KNOWN)


def _is_empty(document: Document, told: dict[str, msgspec.Raw]) -> bool:
    """Whether it is {}, [], or an object of which all arrays are empty, and some are there."""
    if document.array is not None or document.lines:
        return not document.array and not document.lines
    signs = [bytes(memoryview(raw)[:1]) for raw in told.values()]
    return not told or (b"[" in signs and all(_NO_ITEM.match(bytes(memoryview(raw)[:200])) for raw in told.values()))
