"""MISP warning lists: what must not be taken for bad.  An allow-list, never a list of indicators.

Its entries say so themselves: their confidence is 0, so that a list that somebody gives as a feed calls nothing bad.

How an entry is to be held against a value, its list's `type` says; it is the entries' category:

    cidr         the address lies in the network
    hostname     the name is the entry, or lies below it
    string       the value is the entry, and nothing else
    substring    the entry stands anywhere in the value      refused: only whole values are matched
    regex        the expression matches the value            refused, likewise

Source: https://github.com/MISP/misp-warninglists, schema.json.
"""

from __future__ import annotations

from itertools import count

import msgspec

from netpersona.intel.formats.entry import Entries
from netpersona.intel.formats.gathered import Gathered, Record
from netpersona.intel.formats.json_fields import Fields, shown
from netpersona.intel.formats.json_text import BadValueError, Document, Value, array, decoded

NAME = "warninglist"
KINDS = ("cidr", "hostname", "string", "substring", "regex")
"""The values of a list's `type`."""

_REFUSED = {
    "substring": "a part of a value: this product matches whole values only",
    "regex": "a regular expression: this product matches whole values only",
}
_STATED = {"cidr": "address", "hostname": "domain"}
_TEXT = msgspec.json.Decoder(str)


class _List(msgspec.Struct):
    name: str | None = None
    type: str | None = None
    entries: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"[]"), name="list")


_LIST = Fields(_List)


def recognised(head: dict[str, msgspec.Raw]) -> bool:
    """Whether these are the members of a warning list."""
    return "list" in head and ("matching_attributes" in head or head.keys() >= {"name", "type", "version"})


def read(document: Document) -> Entries:
    """The entries of its lists; of the lists' types, `substring` and `regex` are refused."""
    gathered = Gathered()
    numbers = count(1)
    for value in document.values():
        try:
            told = _LIST.read(value)
            listed = list(array(document.content, value.at, told.entries))
        except BadValueError as error:
            gathered.refuse(Record(next(numbers), value.at), shown(value), f"no warning list: {error}")
            continue
        for entry in listed:
            _enter(Record(next(numbers), entry.at), entry, told, gathered)
    return gathered.found(NAME, document.content)


def _enter(record: Record, entry: Value, told: _List, gathered: Gathered) -> None:
    kind = told.type or "string"
    try:
        text = decoded(_TEXT, entry.raw)
    except BadValueError:
        gathered.refuse(record, shown(entry), "an entry that is no text")
        return
    if kind in _REFUSED:
        gathered.refuse(record, text, _REFUSED[kind])
    else:
        gathered.enter(record, text, _STATED.get(kind), label=told.name, category=kind, confidence=0.0)
