"""STIX 2.0 and 2.1: bundles, what TAXII answers ({"objects": [...]}), arrays and lines of objects.

A record is an indicator, of any pattern type; a bundle without one is a list of its vulnerabilities.  What an indicator
gives are the values that suffice alone (`stix_values`).  What was only seen (sightings, observed data, addresses that
stand for themselves) is no indicator.  The objects are decoded one by one into a few typed fields, not into a model of
STIX, and put into columns by the thousand, where their patterns are read (`stix_shapes`).

Source: STIX 2.1, OASIS standard, parts 4.7 (indicator), 4.17 (vulnerability), 7.2 (markings); TLP 2.0 markings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec
import polars as pl

from netpersona.intel.formats.entry import Entries, typed
from netpersona.intel.formats.gathered import ENTERED, Gathered, Record
from netpersona.intel.formats.instants import instants
from netpersona.intel.formats.json_fields import Fields, shown
from netpersona.intel.formats.json_text import BadValueError, Document, Value, array, first, plain
from netpersona.intel.formats.stix_links import Links
from netpersona.intel.formats.stix_shapes import sufficient_values

NAME = "stix"
_PART = 10_000
_CVE = re.compile(r"CVE-\d{4}-\d{4,}", re.IGNORECASE)
_TLP = {
    "613f2e26-407d-48c7-9eca-b8e91df99dc9": "TLP:WHITE",
    "34098fce-860f-48ae-8e50-ebd3cc5e41da": "TLP:GREEN",
    "f88d31f6-486f-44da-b317-01333bde0b82": "TLP:AMBER",
    "5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "TLP:RED",
    "94868c89-83c2-464b-929b-a1a8aa3c8487": "TLP:CLEAR",
    "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "TLP:GREEN",
    "55d920b0-5e8b-4f79-9ee9-91f868d9b421": "TLP:AMBER",
    "939a9414-2ddd-4d32-a0cd-375ea402b003": "TLP:AMBER+STRICT",
    "e828b379-4e03-4974-9ac4-e53a884c97c1": "TLP:RED",
}


class _Object(msgspec.Struct, gc=False):
    """What of an object is looked at."""

    type: str | None = None
    id: str | None = None
    modified: str | None = None
    created: str | None = None
    revoked: bool | str | None = None
    name: str | None = None
    description: str | None = None
    pattern: str | None = None
    pattern_type: str | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    confidence: float | None = None
    labels: list[str] | None = None
    indicator_types: list[str] | None = None
    object_marking_refs: list[str] | None = None
    relationship_type: str | None = None
    source_ref: str | None = None
    target_ref: str | None = None
    external_references: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    objects: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_OBJECT = Fields(_Object)
_TYPES = {
    "anomalous-activity", "anonymization", "benign", "compromised", "malicious-activity", "attribution", "unknown",
}  # fmt: skip
_ROW: dict[str, pl.DataType | type[pl.DataType]] = {
    "at": pl.Int64,
    "id": pl.String,
    "modified": pl.Int64,
    "pattern": pl.String,
    "label": pl.String,
    "category": pl.String,
    "confidence": pl.Float64,
    "valid_from": pl.Int64,
    "valid_until": pl.Int64,
    "reason": pl.String,  # why it is refused as a whole
}


def recognised(head: dict[str, msgspec.Raw]) -> bool:
    """Whether these are the members of a bundle, of TAXII's envelope, or of one STIX object."""
    kind, identity = _scalar(head.get("type")), _scalar(head.get("id"))
    if kind == "bundle":
        return True
    inside = first(head.get("objects"))
    if ("objects" in head and (not inside or "type" in inside)) or (head and head.keys() <= {"more", "next"}):
        return True
    alone = isinstance(kind, str) and isinstance(identity, str) and identity.startswith(f"{kind}--")
    return alone or head.keys() >= {"pattern", "pattern_type"}


def read(document: Document) -> Entries:
    """The values of its indicators that suffice alone, and its vulnerabilities' names."""
    gathered, links = Gathered(), Links()
    objects = _objects(document)
    vulnerable: list[_Placed] = []
    versions = [_versions(_table([], 0))]
    records = passed = 0
    while batch := list(islice(objects, _PART)):
        vulnerable += [each for each in batch if each.object.type == "vulnerability"]
        links.add(each.object for each in batch if each.object.type != "indicator")
        listed = [each for each in batch if each.object.type == "indicator"]
        table = _table(listed, records)
        versions.append(_versions(table))
        gathered.add(*_values(table))
        records, passed = records + len(listed), passed + len(batch)
    for number, each in enumerate(vulnerable, records + 1):
        _vulnerability(Record(number, each.at), each.object, gathered)
    if not records:
        noted = ((1, NAME, f"its {passed} objects hold no indicator"),) if passed and not vulnerable else ()
        return gathered.found(NAME, document.content, noted=noted)
    every = pl.concat(versions)
    found = gathered.found(NAME, document.content, records=records, unique=every["pattern"].n_unique())
    return _newest(found._replace(table=links.labelled(found.table, every)), every)


class _Placed(NamedTuple):
    """An object, with the byte at which it begins; `wrong` says why it is none, and its pattern what it is."""

    at: int
    object: _Object
    wrong: str | None = None


def _objects(document: Document) -> Iterator[_Placed]:
    """Every object, those of bundles and envelopes included."""
    for value in document.values():
        placed = _object(value)
        inside = placed.object.objects
        if inside is msgspec.UNSET or placed.object.type not in {None, "bundle"}:
            yield placed
            continue
        try:
            yield from map(_object, array(document.content, value.at, inside))
        except BadValueError as error:
            yield _bad(value, error)


def _object(value: Value) -> _Placed:
    try:
        return _Placed(value.at, _OBJECT.read(value))
    except BadValueError as error:
        return _bad(value, error)


def _bad(value: Value, error: BadValueError) -> _Placed:
    return _Placed(value.at, _Object(type="indicator", pattern=shown(value)), f"no STIX object: {error}")


def _table(listed: list[_Placed], before: int) -> pl.DataFrame:
    """The indicators in columns, numbered after those before."""
    objects = [each.object for each in listed]
    percent = pl.Series([each.confidence for each in objects], dtype=pl.Float64)
    made = {
        "at": [each.at for each in listed],
        "id": [each.id for each in objects],
        "modified": instants([each.modified or each.created for each in objects]),
        "pattern": [each.pattern or "" for each in objects],
        "label": [_label(each) for each in objects],
        "category": [_category(each) for each in objects],
        "confidence": pl.select(pl.when(percent.is_between(0, 100)).then(percent / 100)).to_series(),
        "valid_from": instants([each.valid_from for each in objects]),
        "valid_until": instants([each.valid_until for each in objects]),
        "reason": [each.wrong or _objection(each.object) for each in listed],
    }
    return typed(pl.DataFrame(made), _ROW).with_row_index("record", offset=before + 1)


def _objection(each: _Object) -> str | None:
    """Why an indicator is refused as a whole."""
    if each.revoked is True or each.revoked == "true":
        return "revoked by its author"
    if "benign" in (each.indicator_types or each.labels or ()):
        return "its author calls it benign"
    if not each.pattern or each.pattern.isspace():
        return "an indicator without a pattern"
    if each.pattern_type is None or each.pattern_type.lower() == "stix":
        return None
    return f"a pattern in {each.pattern_type[:20]!r}; only STIX patterns are read"


def _label(each: _Object) -> str | None:
    """Its name, or what else says what it is; and how far it may be shared."""
    name = each.name or each.description or (", ".join(each.labels[:5]) if each.labels else None)
    if not each.object_marking_refs:
        return name
    for reference in each.object_marking_refs:
        if mark := _TLP.get(reference[-36:]):
            return f"{name[:180]} ({mark})" if name else mark
    return name


def _category(each: _Object) -> str | None:
    """Its first type; STIX 2.0 has the types among the labels."""
    if each.indicator_types:
        return each.indicator_types[0]
    return next((label for label in each.labels or () if label in _TYPES), None)


def _values(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The entries and the refusals of indicators in columns."""
    whole = table.filter(pl.col("reason").is_not_null()).select("record", "at", "reason", raw="pattern")
    good = table.filter(pl.col("reason").is_null())
    values, parts = sufficient_values(good.select("record", "pattern"))
    entered = values.join(good, on="record", maintain_order="left").with_columns(
        pl.max_horizontal("valid_from", instants(values["start"].to_list())).alias("valid_from"),
        pl.min_horizontal("valid_until", instants(values["stop"].to_list())).alias("valid_until"),
    )
    refused = parts.join(good.select("record", "at"), on="record", maintain_order="left")
    return entered.select(list(ENTERED)), pl.concat([whole, refused.select(whole.columns)])


def _vulnerability(record: Record, each: _Object, gathered: Gathered) -> None:
    """Enters the CVEs that a vulnerability names."""
    if each.revoked is True:
        gathered.refuse(record, each.name or "", "revoked by its author")
        return
    told = each.external_references
    try:
        references = [] if told is msgspec.UNSET else plain(told)
    except BadValueError:
        references = []
    names = [each.name, *(ref.get("external_id") for ref in _dicts(references))]
    found = dict.fromkeys(name.upper() for name in names if isinstance(name, str) and _CVE.fullmatch(name))
    for name in found:
        gathered.enter(record, name, "cve", label=each.description, category="vulnerability")
    if not found:
        gathered.refuse(record, each.name or each.id or "", "a vulnerability without a CVE")


def _versions(table: pl.DataFrame) -> pl.DataFrame:
    """What is kept of every indicator until the end: numbers only."""
    identity = pl.when(pl.col("id").is_not_null()).then(pl.col("id").hash()).alias("id")
    return table.select("record", identity, "modified", pl.col("pattern").hash())


def _newest(found: Entries, versions: pl.DataFrame) -> Entries:
    """Without the indicators of which a newer version stands in the same file."""
    newest = pl.col("modified").max().over("id")
    old = versions.filter(pl.col("id").is_not_null()).filter(pl.col("modified") < newest).select("record")
    if old.is_empty():
        return found
    why = pl.lit("a newer version of this indicator stands in the same file").alias("reason")
    gone = found.table.join(old, on="record", how="semi").select("record", "line", "raw", why)
    kept = found.table.join(old, on="record", how="anti", maintain_order="left")
    refused = pl.concat([found.refused, gone]).sort("record", maintain_order=True)
    return found._replace(table=kept, refused=refused)


def _scalar(raw: msgspec.Raw | None) -> object:
    try:
        return None if raw is None else plain(raw)
    except BadValueError:
        return None


def _dicts(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
