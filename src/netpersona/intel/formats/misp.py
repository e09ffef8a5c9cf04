"""MISP: events, alone, wrapped or in a row, and what its REST interface answers for events and attributes.

A record is an attribute, those of objects included.  It is an indicator where its author says so (`to_ids`) and it is
not deleted; a composite type (domain|ip, filename|sha256) gives the parts that can be matched.  Proposals
(ShadowAttribute) are nobody's word yet, and are passed over.

Source: the MISP core format (datatracker.ietf.org/doc/draft-dulaunoy-misp-core-format), its describeTypes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import msgspec

from netpersona.intel.formats.entry import Entries
from netpersona.intel.formats.gathered import Gathered, Record
from netpersona.intel.formats.json_fields import Fields, shown
from netpersona.intel.formats.json_text import BadValueError, Document, Value, array, first, members, placed
from netpersona.intel.formats.stix_values import NO_MATCH

NAME = "misp"

_HASHES = ("md5", "sha1", "sha256", "sha512")
_TYPES: dict[str, tuple[str | None, ...]] = {
    "ip-src": ("address",),
    "ip-dst": ("address",),
    "ip-src|port": ("address", None),
    "ip-dst|port": ("address", None),
    "domain": ("domain",),
    "hostname": ("domain",),
    "hostname|port": ("domain", None),
    "domain|ip": ("domain", "address"),
    "url": ("url",),
    "uri": ("url",),
    "AS": ("asn",),
    "vulnerability": ("cve",),
    "ja3-fingerprint-md5": ("ja3",),
    "malware-sample": (None, "hash"),
    **dict.fromkeys(_HASHES, ("hash",)),
    **{f"filename|{name}": (None, "hash") for name in _HASHES},
    **{f"x509-fingerprint-{name}": ("hash",) for name in _HASHES},
}
"""What the parts of a value are; None: a part that is no indicator."""

_THREAT_LEVELS = {"1": "threat level high", "2": "threat level medium", "3": "threat level low"}
_TRUE = (True, "1", "true", "True")
_ENVELOPES = ("response", "Event", "Attribute", "Object")
_DEEPEST = 8  # envelopes


class _Tag(msgspec.Struct, gc=False):
    name: str = ""


class _Event(msgspec.Struct, gc=False):
    info: str | None = None
    name: str | None = None  # an object's
    comment: str | None = None
    deleted: bool | int | str | None = None
    threat_level_id: str | int | None = None
    tags: list[_Tag] | None = msgspec.field(default=None, name="Tag")


class _Attribute(msgspec.Struct, gc=False):
    type: str | None = None
    value: str | int | float | None = None
    to_ids: bool | int | str | None = None
    deleted: bool | int | str | None = None
    category: str | None = None
    comment: str | None = None
    first_seen: str | int | float | None = None
    timestamp: str | int | float | None = None
    tags: list[_Tag] | None = msgspec.field(default=None, name="Tag")
    event: _Event | None = msgspec.field(default=None, name="Event")  # of what it is part, where it stands alone


_ATTRIBUTE = Fields(_Attribute)
_EVENT = Fields(_Event)


class _Around(NamedTuple):
    """What an attribute's event and object say of it."""

    label: str | None = None
    marks: tuple[str, ...] = ()  # TLP, threat level
    deleted: bool = False
    depth: int = 0


def recognised(head: dict[str, msgspec.Raw]) -> bool:
    """Whether these are the members of an event, of an attribute, or of what MISP wraps them into."""
    if head.keys() >= {"type", "value", "category", "to_ids"}:
        return True
    if head.keys() >= {"info", "Orgc", "uuid"} or first(head.get("Event")).keys() & {"info", "uuid", "Attribute"}:
        return True
    if "Attribute" in head:
        inside = first(head["Attribute"])
        return not inside or inside.keys() >= {"type", "value"}
    inside = first(head.get("response"))
    return "response" in head and (not inside or bool(inside.keys() & {"Event", "Attribute", "to_ids", "Orgc"}))


def read(document: Document) -> Entries:
    """The indicators among the attributes."""
    gathered = Gathered()
    numbers = count(1)
    texts: set[int] = set()
    for value in document.values():
        for attribute, around in _attributes(document.content, value, _Around()):
            texts.add(hash(_enter(Record(next(numbers), attribute.at), attribute, around, gathered)))
    return gathered.found(NAME, document.content, unique=len(texts))


def _attributes(content: bytes, value: Value, around: _Around) -> Iterator[tuple[Value, _Around]]:
    """Every attribute in a value, whatever is around it."""
    try:
        told = members(value.raw)
    except BadValueError:
        yield value, around
        return
    if "value" in told and "type" in told:
        yield value, around
        return
    if around.depth == _DEEPEST:
        return
    around = around._replace(depth=around.depth + 1)
    if "Event" not in told and "response" not in told:
        around = _within(value, around)
    for name, inner in placed(content, max(value.at, 0), told):
        if name in _ENVELOPES:
            yield from _each(content, inner, around)


def _each(content: bytes, value: Value, around: _Around) -> Iterator[tuple[Value, _Around]]:
    """Every attribute in one value or in an array of them."""
    if bytes(memoryview(value.raw)[:1]) != b"[":
        yield from _attributes(content, value, around)
        return
    for item in array(content, value.at, value.raw):
        yield from _attributes(content, item, around)


def _within(value: Value, around: _Around) -> _Around:
    """What is known of the attributes inside an event or an object."""
    told = _EVENT.read(value)
    level = _THREAT_LEVELS.get(str(told.threat_level_id))
    marks = (*_marks(told.tags), *((level,) if level else ()))
    label = told.info or told.comment or around.label or told.name
    return _Around(label, marks or around.marks, around.deleted or told.deleted in _TRUE, around.depth)


def _enter(record: Record, value: Value, around: _Around, gathered: Gathered) -> str:
    """Takes an attribute or refuses it, and returns its value as it stands: `a|b` is another than `a`."""
    try:
        told = _ATTRIBUTE.read(value)
    except BadValueError as error:
        gathered.refuse(record, shown(value), f"no attribute: {error}")
        return shown(value)
    text = "" if told.value is None else str(told.value)
    objection = _objection(told, around)
    if objection is not None:
        gathered.refuse(record, text, objection)
        return text
    marks = ", ".join(dict.fromkeys((*_marks(told.tags), *around.marks)))
    about = around.label or (told.event.info if told.event is not None else None)
    label = (told.comment or about or "")[:150]
    for part, kind in _parts(text, told.type or ""):
        gathered.enter(
            record,
            part,
            kind,
            label=f"{label} ({marks})" if label and marks else label or marks,
            category=told.category,
            start=told.first_seen or told.timestamp,
        )
    return text


def _objection(told: _Attribute, around: _Around) -> str | None:
    """Why an attribute is refused as a whole."""
    if told.deleted in _TRUE or around.deleted:
        return "deleted by its author"
    if told.to_ids is not None and told.to_ids not in _TRUE:
        return "its to_ids is false: its author does not call it an indicator"
    if told.value is None or told.type is None:
        return "an attribute without a type or a value"
    kinds = _TYPES.get(told.type)
    if kinds is None:
        return f"{told.type[:40]}: {NO_MATCH}"
    if len(kinds) > 1 and "|" not in str(told.value):
        return f"of the type {told.type}, but without its two parts"
    return None


def _parts(text: str, kind: str) -> Iterator[tuple[str, str]]:
    """The parts of a value that can be matched, with their types."""
    kinds = _TYPES[kind]
    parts = text.rsplit("|", 1) if len(kinds) > 1 else [text]
    for part, known in zip(parts, kinds, strict=True):
        if known is not None:
            yield part.strip(), known


def _marks(tags: list[_Tag] | None) -> tuple[str, ...]:
    """How far it may be shared."""
    return tuple(tag.name for tag in tags or () if tag.name.lower().startswith("tlp:"))
