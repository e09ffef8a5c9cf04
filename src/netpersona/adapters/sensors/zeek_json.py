"""Zeek's JSON logs, one object a line: `id.orig_h`, `id_orig_h` and `{"id": {"orig_h": ..}}`; epoch or ISO times.

A block is decoded at once with the types of the first line's kind.  Where that fails, or a row lacks
what its kind must have, the block's lines are decoded one by one, each by its own fields, and the bad
ones counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import polars as pl

from netpersona.adapters.sensors.source import blocks
from netpersona.adapters.sensors.zeek_fields import (
    COUNT,
    FIELDS,
    FLAG,
    PORT,
    SENSORS,
    SPAN,
    SPANS,
    TEXTS,
    TIME,
    Rows,
    iso_seconds,
    kind_of,
    plain_name,
)

_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    TIME: pl.Float64,
    SPAN: pl.Float64,
    PORT: pl.Int64,
    COUNT: pl.Int64,
    FLAG: pl.Boolean,
    TEXTS: pl.List(pl.String),
    SPANS: pl.List(pl.Float64),
}
_ENDPOINTS = ("orig_h", "orig_p", "resp_h", "resp_p")
_PATHS = ("_path", "@stream")  # what Zeek's packages for streaming JSON call the log
_MARKS = {"conn": "conn_state", "dns": "trans_id", "http": "trans_depth", "ssl": "established", "ssh": "auth_attempts"}
_ANY_MARK = tuple(f'"{mark}"'.encode() for mark in (*_MARKS.values(), *_PATHS))
_SKEWED = 1 << 53
_MILLIS = 1e11  # a time from here on is in milliseconds (JSON::TS_MILLIS): as seconds it is the year 5138
_JUNK = 5  # lines before the first object
# Beside `ts`, a log of Zeek's has one of these, or a record's field (id.orig_h, certificate.version, ...).
_TELLING = frozenset({"uid", "uids", "fuid", "host", "id_orig_h", "orig_h", "note", "peer", "client_addr"}) | {
    *("fingerprint", "node", "level", "ty", "name", "machine", "indicator"),
}
_RECORDS = ("id.", "id_", "certificate.", "seen.", "version.", "san.")


def looks_like_json(head: bytes) -> bool:
    """Whether the first object is one with Zeek's time `ts`, another of its fields, and no `event_type`.

    Some junk may come before it; a line of which only the beginning is there is judged by its beginning.
    """
    lines = head.split(b"\n", _JUNK)[:_JUNK]
    found = next((found for found in map(_object, lines) if found is not None), None)
    if found is None:
        marks = (b'"uid":', b'"id.orig_h":', b'"id_orig_h":', b'"_path":')
        return head.lstrip().startswith(b'{"') and b'"ts":' in lines[0] and any(mark in lines[0] for mark in marks)
    if "event_type" in found or "ts" not in found:
        return False
    return _path(found) is not None or any(name in _TELLING or name.startswith(_RECORDS) for name in found)


def kinds_of_json(head: bytes) -> set[str | None]:
    """The kinds of the whole lines in the text; None for a log that says nothing of flows."""
    objects = (_object(line) for line in head.split(b"\n") if line.strip())
    return {_kind(found) for found in objects if found is not None} or {None}


def read_json(path: Path, stream: BinaryIO, skipped: dict[str, int]) -> Iterator[Rows]:
    """The log's rows, block by block."""
    for block in blocks(path, stream, skipped):
        first = _object(block[: block.find(b"\n") + 1 or len(block)])
        if first is not None and _kind(first) is None and not any(name in first for name in _PATHS):
            if any(mark in block for mark in _ANY_MARK):
                yield from _line_by_line(block)
            continue
        tables = None if first is None else _at_once(block, first)
        yield from _line_by_line(block) if tables is None else tables


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _path(found: dict[str, Any]) -> str | None:
    return next((found[name] for name in _PATHS if isinstance(found.get(name), str)), None)


def _kind(found: dict[str, Any]) -> str | None:
    return kind_of(_path(found), [plain_name(name) for name in found])


def _at_once(block: bytes, first: dict[str, Any]) -> list[Rows] | None:
    """The block's rows, decoded with the types that its first line suggests; None if a row is not as it must be."""
    path_column = next((name for name in _PATHS if name in first), None)
    kind = _kind(first)
    kinds = list(FIELDS) if path_column else [kind] if kind else []
    nested, iso = isinstance(first.get("id"), dict), isinstance(first.get("ts"), str)
    schema = _schema(kinds, path_column, first, nested=nested, iso=iso)
    try:
        frame = pl.read_ndjson(block, schema=schema)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != _lines(block):
        return None
    tables = [(kind, frame)] if path_column is None else _parted(frame, path_column)
    done = [Rows(which, _plain(table, which, nested=nested, iso=iso)) for which, table in tables if which is not None]
    if any(rows.frame.select(pl.col("ts", "orig_h", "resp_h").has_nulls()).row(0) != (False,) * 3 for rows in done):
        return None
    if path_column is None and kind is not None and frame[_MARKS[kind]].null_count():
        return None
    return done


def _lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _schema(
    kinds: list[str], path_column: str | None, first: dict[str, Any], *, nested: bool, iso: bool
) -> dict[str, pl.DataType | type[pl.DataType]]:
    schema: dict[str, pl.DataType | type[pl.DataType]] = {}
    for name, what in chain.from_iterable(FIELDS[kind].items() for kind in kinds):
        if name not in _ENDPOINTS:
            schema[name] = _TYPES.get(what, pl.String)
        elif not nested:
            style = f"id_{name}" if f"id_{name}" in first else f"id.{name}"
            schema[style] = _TYPES.get(what, pl.String)
    if nested:
        schema["id"] = pl.Struct({name: _TYPES.get(FIELDS["conn"][name], pl.String) for name in _ENDPOINTS})
    if iso:
        schema["ts"] = pl.String
    marks = {_MARKS[kind]: pl.String for kind in kinds if _MARKS[kind] not in schema}
    told = {name: pl.String for name in (*SENSORS, path_column) if name is not None and name in first}
    return schema | marks | told


def _parted(frame: pl.DataFrame, path_column: str) -> list[tuple[str | None, pl.DataFrame]]:
    parts = frame.partition_by(path_column, as_dict=True)
    return [(kind_of(str(path), ()), part) for (path,), part in parts.items()]


def _plain(frame: pl.DataFrame, kind: str, *, nested: bool, iso: bool) -> pl.DataFrame:
    """The kind's columns under their plain names, and `node`."""
    node = [pl.col(name) for name in SENSORS if name in frame.columns] or [pl.lit(None, pl.String)]
    flat = frame.with_columns(pl.coalesce(node).alias("node"))
    flat = flat.unnest("id") if nested else flat.rename({name: plain_name(name) for name in flat.columns})
    at = iso_seconds(pl.col("ts")) if iso else pl.col("ts")
    flat = flat.with_columns(pl.when(at < _MILLIS).then(at).otherwise(at / 1000).alias("ts"))
    return flat.select(*FIELDS[kind], "node")


def _line_by_line(block: bytes) -> list[Rows]:
    """Every line by itself: its kind by its own fields, its values in their types, the bad ones counted."""
    records: dict[str, list[dict[str, Any]]] = {}
    skipped: dict[str, int] = {}
    *lines, last = block.split(b"\n")  # `last` is empty but where the file ends without a newline
    for line in (*lines, last):
        found = _object(line) if line.strip() else {}
        kind = None if found is None else _kind(found)
        if found is None:
            reason = "cut short" if line is last else "not a JSON object"
        elif kind is None:
            continue
        elif isinstance(record := _record(found, kind), str):
            reason = record
        else:
            records.setdefault(kind, []).append(record)
            continue
        skipped[reason] = skipped.get(reason, 0) + 1
    tables = [Rows(kind, _table(kind, rows)) for kind, rows in records.items()]
    return [*tables, Rows(None, pl.DataFrame(), skipped)] if skipped else tables


def _table(kind: str, records: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {name: _TYPES.get(what, pl.String) for name, what in FIELDS[kind].items()} | {"node": pl.String}
    return pl.DataFrame(records, schema=schema, orient="row")


def _record(found: dict[str, Any], kind: str) -> dict[str, Any] | str:
    """The line's fields in their types, or why it is no record."""
    ends = found.get("id")
    flat = {plain_name(name): value for name, value in found.items()} | (ends if isinstance(ends, dict) else {})
    record: dict[str, Any] = {"node": next((flat[n] for n in SENSORS if isinstance(flat.get(n), str)), None)}
    for name, what in FIELDS[kind].items():
        value = flat.get(name)
        if value is None:
            continue
        typed = _READ.get(what, _text)(value)
        if typed is None:
            return "not a time" if what == TIME else "not a number" if what in {SPAN, PORT, COUNT} else "not text"
        record[name] = typed
    return record


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int | float) else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    seconds = _span(value)
    return seconds if seconds is None or seconds < _MILLIS else seconds / 1000


def _span(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < _SKEWED else None


def _whole(value: Any) -> int | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 62
    return int(value) if usable and value == int(value) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> list[str] | None:
    return [str(one) for one in value] if isinstance(value, list) else None


def _spans(value: Any) -> list[float]:
    found = [_span(one) for one in value] if isinstance(value, list) else []
    return [one for one in found if one is not None]


_READ = {TIME: _seconds, SPAN: _span, PORT: _whole, COUNT: _whole, FLAG: _flag, TEXTS: _texts, SPANS: _spans}
