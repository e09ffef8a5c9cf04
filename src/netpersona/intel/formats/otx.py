"""AlienVault OTX: one pulse, pages of pulses ({"results": [...]}), and the export of indicators.

A record is an indicator of a pulse.  Source: https://otx.alienvault.com/api, the indicator types of OTX-Python-SDK.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import msgspec

from netpersona.intel.formats.entry import Entries
from netpersona.intel.formats.gathered import Gathered, Record
from netpersona.intel.formats.json_fields import Fields, shown
from netpersona.intel.formats.json_text import BadValueError, Document, Value, array, first
from netpersona.intel.formats.row import meaning
from netpersona.intel.formats.stix_values import NO_MATCH

NAME = "otx"

_TYPES = {
    "ipv4": "address",
    "ipv6": "address",
    "cidr": "network",
    "domain": "domain",
    "hostname": "domain",
    "url": "url",
    "uri": "url",
    "filehash-md5": "hash",
    "filehash-sha1": "hash",
    "filehash-sha256": "hash",
    "sslcertfingerprint": "hash",
    "ja3": "ja3",
    "cve": "cve",
}
_DEEPEST = 3
_OVER = (False, 0, "0", "false", "False")


class _Listed(msgspec.Struct, gc=False):
    """A pulse, a page of pulses, or an indicator."""

    name: str | None = None
    adversary: str | None = None
    tlp: str | None = msgspec.field(default=None, name="TLP")
    indicator: str | None = None
    type: str | None = None
    title: str | None = None
    role: str | None = None
    created: str | int | float | None = None
    expiration: str | int | float | None = None
    is_active: bool | int | str | None = None
    indicators: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    results: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_LISTED = Fields(_Listed)


def recognised(head: dict[str, msgspec.Raw]) -> bool:
    """Whether these are the members of a pulse, of a page of them, or of an indicator."""
    if head.keys() >= {"indicator", "type"} and (head.keys() & {"pulse_key", "is_active", "content", "role", "title"}):
        return True
    if "indicators" in head and head.keys() & {"adversary", "pulse_source", "TLP", "author_name", "targeted_countries"}:
        return True
    if "results" not in head:
        return False
    inside = first(head["results"])
    return bool(inside.keys() & {"indicator", "indicators"}) or (not inside and "count" in head)


def read(document: Document) -> Entries:
    """The indicators of all pulses."""
    gathered = Gathered()
    numbers = count(1)
    for value in document.values():
        for each, told, label in _indicators(document.content, value, None, 0):
            _enter(Record(next(numbers), each.at), each, told, label, gathered)
    return gathered.found(NAME, document.content)


def _indicators(
    content: bytes, value: Value, label: str | None, depth: int
) -> Iterator[tuple[Value, _Listed | str, str | None]]:
    """Every indicator in a value, or why it is none, with the label of its pulse."""
    try:
        told = _LISTED.read(value)
        inside = told.indicators if told.indicators is not msgspec.UNSET else told.results
        if inside is msgspec.UNSET or told.indicator is not None or depth == _DEEPEST:
            yield value, told, label
            return
        within = _label(told) or label
        for item in array(content, value.at, inside):
            yield from _indicators(content, item, within, depth + 1)
    except BadValueError as error:
        yield value, f"no indicator of a pulse: {error}", None


def _label(pulse: _Listed) -> str | None:
    more = [text for text in (pulse.adversary, f"TLP:{pulse.tlp.upper()}" if pulse.tlp else None) if text]
    return f"{pulse.name[:150]} ({', '.join(more)})" if pulse.name and more else pulse.name


def _enter(record: Record, value: Value, told: _Listed | str, label: str | None, gathered: Gathered) -> None:
    if isinstance(told, str):
        gathered.refuse(record, shown(value), told)
        return
    kind = (told.type or "").lower()
    if not told.indicator:
        gathered.refuse(record, shown(value), "no indicator of a pulse: it has no `indicator`")
    elif told.is_active in _OVER and told.is_active is not None:
        gathered.refuse(record, told.indicator, "no longer active, says the feed")
    elif kind and kind not in _TYPES and meaning(kind[:80])[0] is None:
        gathered.refuse(record, told.indicator, f"{kind[:40]}: {NO_MATCH}")
    else:
        gathered.enter(
            record,
            told.indicator,
            _TYPES.get(kind) or meaning(kind[:80])[0],
            label=label or told.title,
            category=told.role,
            start=told.created,
            stop=told.expiration,
        )
