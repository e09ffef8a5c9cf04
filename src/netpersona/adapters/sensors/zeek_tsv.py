"""Zeek's tab-separated logs: the header lines that rule what follows, and the rows in columns.

A block is read at once with the types its header promises.  Only where that fails, or the number of
separators is not what it must be, are its lines looked at one by one, and the bad ones counted.

Zeek's filter option `tsv` writes one line of names without #fields; `zeek-cut -u` writes times as ISO 8601.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
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
from netpersona.errors import SourceError

_DIRECTIVES = (b"#separator", b"#set_separator", b"#empty_field", b"#unset_field", b"#path", b"#fields")
_NAMES = re.compile(rb"(?:[\w.]+\t)*ts\t(?:[\w.]+\t)*id[._]orig_h\t")  # of the fields, alone on the first line
_JUNK = 5  # lines before the first header line
_TYPES: dict[str, type[pl.DataType]] = {TIME: pl.Float64, SPAN: pl.Float64, PORT: pl.UInt16, COUNT: pl.Int64}
_ABSENT: dict[str, pl.DataType | type[pl.DataType]] = {
    **_TYPES,
    FLAG: pl.Boolean,
    TEXTS: pl.List(pl.String),
    SPANS: pl.List(pl.Float64),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the lines that begin with # have said so far."""

    separator: bytes = b"\t"
    set_separator: str = ","
    empty: str = "(empty)"
    unset: str = "-"
    path: str | None = None
    fields: tuple[str, ...] = ()

    @property
    def kind(self) -> str | None:
        """The kind of log, one of FIELDS; None for another."""
        return kind_of(self.path, self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names without `id.`."""
        return tuple(plain_name(name) for name in self.fields)


def looks_like_tsv(head: bytes) -> bool:
    """Whether the text begins as a Zeek TSV log does: with one of its header lines, perhaps after some junk."""
    begins = head.lstrip().split(b"\n", _JUNK)[:_JUNK]
    return _NAMES.match(head) is not None or any(line.lstrip().startswith(_DIRECTIVES) for line in begins)


def looks_headerless(head: bytes) -> bool:
    """Whether these are a Zeek log's rows that lost their header: a time, then a connection's uid."""
    fields = head.split(b"\n", 1)[0].split(b"\t")
    seconds, _, fraction = fields[0].partition(b".")
    is_time = seconds.isdigit() and fraction.isdigit() and len(fraction) == 6
    return is_time and len(fields) > 5 and fields[1][:1] in b"C-" and fields[3].isdigit()


def headerless(path: Path, line: int) -> SourceError:
    """The error for rows that no #fields line explains."""
    return SourceError(
        f"{path}:{line}: rows of a Zeek log without their header; expected a '#fields' line before them "
        "(keep the header when rotating or cutting logs)"
    )


def kinds_of_tsv(head: bytes) -> set[str | None]:
    """The kinds of rows whose headers the text shows; None for a log that says nothing of flows."""
    text = _with_directive(head.replace(b"\r\n", b"\n"))
    kinds = {header.kind for header, _ in _segments(Header(), text) if header.fields}
    return kinds or {None}


def read_tsv(path: Path, stream: BinaryIO, skipped: dict[str, int]) -> Iterator[Rows]:
    """The log's rows, block by block.  Raises SourceError for rows that come before the first #fields line."""
    header, explained, is_first = Header(), False, True
    for block in blocks(path, stream, skipped):
        text = block.replace(b"\r\n", b"\n") if b"\r\n" in block[:4096] else block
        text, is_first = _with_directive(text) if is_first else text, False
        parts: dict[Header, list[bytes]] = {}
        for ruled_by, data in _segments(header, text):
            header = ruled_by
            if data and not data.isspace():
                parts.setdefault(header, []).append(data)
        for ruled_by, pieces in parts.items():
            rows = b"".join(pieces)
            if ruled_by.kind is not None:
                yield _rows(ruled_by, rows, cut=not block.endswith(b"\n"))
            elif not ruled_by.fields:
                if not explained and looks_headerless(rows.lstrip()):
                    raise headerless(path, text[: text.find(rows)].count(b"\n") + 1)
                lost = sum(1 for line in rows.split(b"\n") if line.strip())
                skipped["no header"] = skipped.get("no header", 0) + lost
            explained = True


def _with_directive(text: bytes) -> bytes:
    """The beginning of a log, whose names alone on the first line become its #fields."""
    return b"#fields\t" + text if _NAMES.match(text) else text


def _segments(header: Header, text: bytes) -> Iterator[tuple[Header, bytes]]:
    """The text in runs of rows, each with the header that rules it; the last pair carries the last header."""
    start, at = 0, _next_header_line(text, 0)
    while at >= 0:
        if at > start:
            yield header, text[start:at]
        start = text.find(b"\n", at) + 1 or len(text)
        header = _told(header, text[at:start].strip())
        at = _next_header_line(text, start)
    yield header, text[start:] if start else text


def _next_header_line(text: bytes, start: int) -> int:
    """Where the next line that begins with # begins, from the beginning of a line on; -1 if there is none."""
    if text.startswith((b"#", b"\t#"), start):
        return start
    if text.find(b"#", start) < 0:  # much faster than looking for two bytes, and nearly always so
        return -1
    return text.find(b"\n#", start) + 1 or -1


def _told(header: Header, line: bytes) -> Header:
    """The header after one more of its lines; an unknown line (#open, #close, #types) changes nothing."""
    if not line.startswith(_DIRECTIVES):
        return header
    if line.startswith(b"#separator"):
        separator = line[10:].strip(b" ").decode("utf-8", "replace").encode("latin-1", "replace")
        return replace(Header(), separator=_unescaped(separator) or b"\t")
    word, _, value = line.partition(header.separator)
    text = value.decode("utf-8", "replace")
    match word:
        case b"#set_separator":
            return replace(header, set_separator=text or ",")
        case b"#empty_field":
            return replace(header, empty=text)
        case b"#unset_field":
            return replace(header, unset=text)
        case b"#path":
            return replace(header, path=text)
        case _:
            return replace(header, fields=tuple(text.split(header.separator.decode("latin-1"))))


def _unescaped(separator: bytes) -> bytes:
    if separator.startswith(b"\\x") and len(separator) >= 4:
        try:
            return bytes([int(separator[2:4], 16)])
        except ValueError:
            return b""
    return separator[:1]


def _rows(header: Header, data: bytes, *, cut: bool) -> Rows:
    kind = header.kind
    assert kind is not None
    wanted = _columns(header, kind)
    frame = _at_once(header, data, wanted, kind)
    skipped: dict[str, int] = {}
    if frame is None:
        frame, skipped = _line_by_line(header, data, wanted, kind, cut=cut)
    return Rows(kind, _finished(header, frame, kind), skipped)


def _columns(header: Header, kind: str) -> dict[str, int]:
    """Where each column that we want stands in the file; a name that comes twice is its first."""
    names = header.names
    found = {name: names.index(name) for name in FIELDS[kind] if name in names}
    node = next((header.fields.index(name) for name in SENSORS if name in header.fields), None)
    return found if node is None else found | {"node": node}


def _at_once(header: Header, data: bytes, wanted: dict[str, int], kind: str) -> pl.DataFrame | None:
    """The rows as their header types them; None if anything in them is not as it must be."""
    last = len(header.fields) - 1
    types = {place: _TYPES.get(FIELDS[kind].get(name, ""), pl.String) for name, place in wanted.items()}
    types[last] = pl.String  # with no null of its own: where it is null, the row was too short
    try:
        frame = _csv(header, data, types, {f"{place}": header.unset for place in types if place != last})
    except pl.exceptions.PolarsError:
        return None
    if _count(data, header.separator) != frame.height * last or frame[f"{last}"].null_count():
        return None
    named = frame.select(pl.col(f"{place}").alias(name) for name, place in wanted.items())
    late = next((name for name, place in wanted.items() if place == last), None)
    if late is None:
        return named
    cast, skipped = _typed(header, named, [late], kind)
    return None if skipped else cast


def _count(data: bytes, byte: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == byte[0]))


def _csv(header: Header, data: bytes, types: dict[int, type[pl.DataType]], nulls: dict[str, str] | str) -> pl.DataFrame:
    places = sorted(types)
    return pl.read_csv(
        data,
        separator=header.separator.decode("latin-1"),
        has_header=False,
        quote_char=None,
        schema={f"{place}": types.get(place, pl.String) for place in range(len(header.fields))},
        columns=places,
        null_values=nulls,
        encoding="utf8-lossy" if isinstance(nulls, str) else "utf8",
    )


def _line_by_line(
    header: Header, data: bytes, wanted: dict[str, int], kind: str, *, cut: bool
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that have the right number of fields and numbers where they must be; the others counted."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    due = len(header.fields) - 1
    good = [line for line in lines if line.count(header.separator) == due]
    skipped = {"wrong number of fields": len(lines) - len(good)}
    if cut and lines and lines[-1].count(header.separator) != due:
        skipped = {"wrong number of fields": len(lines) - len(good) - 1, "cut short": 1}
    types: dict[int, type[pl.DataType]] = dict.fromkeys(wanted.values(), pl.String)
    text = _csv(header, b"\n".join(good) + b"\n", types, header.unset) if good else pl.DataFrame()
    named = text.select(
        pl.col(f"{place}").alias(name) if good else pl.lit(None, pl.String).alias(name)
        for name, place in wanted.items()
    ).head(len(good))
    frame, wrong = _typed(header, named, list(wanted), kind)
    return frame, {reason: count for reason, count in (skipped | wrong).items() if count}


def _typed(header: Header, frame: pl.DataFrame, names: list[str], kind: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """The text columns `names` in the types of the kind; rows with text where a number must be are dropped, counted."""
    numbers = {name: _TYPES[FIELDS[kind][name]] for name in names if FIELDS[kind].get(name) in _TYPES}
    unset = [pl.when(pl.col(name) != header.unset).then(pl.col(name)).alias(name) for name in names]
    text = frame.with_columns(unset)
    cast = {name: pl.col(name).cast(dtype, strict=False) for name, dtype in numbers.items()}
    timeless = pl.lit(value=False)
    if "ts" in cast:
        cast["ts"] = pl.coalesce(cast["ts"], iso_seconds(pl.col("ts")))
        timeless = cast["ts"].is_null() & pl.col("ts").is_not_null()
    broken = [cast[name].is_null() & pl.col(name).is_not_null() for name in numbers]
    marked = text.with_columns(timeless.alias(" timeless"), pl.any_horizontal(timeless, *broken).alias(" broken"))
    sound = marked.filter(~pl.col(" broken")).select(text.columns)
    kept = sound.with_columns(expr.alias(name) for name, expr in cast.items())
    without = int(marked[" timeless"].sum())
    skipped = {"not a time": without, "not a number": text.height - kept.height - without}
    return kept, {reason: count for reason, count in skipped.items() if count}


def _finished(header: Header, frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """All columns of the kind and `node`: empty text is null, sets are lists, flags are booleans."""
    columns = [_column(header, frame, name, what) for name, what in FIELDS[kind].items()]
    return frame.select(*columns, pl.col("node") if "node" in frame.columns else pl.lit(None, pl.String).alias("node"))


def _column(header: Header, frame: pl.DataFrame, name: str, what: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, _ABSENT.get(what, pl.String)).alias(name)
    value = pl.col(name)
    if what in _TYPES:
        return value
    if what == FLAG:
        return pl.when(value == "T").then(statement=True).when(value == "F").then(statement=False).alias(name)
    filled = pl.when(value != header.empty).then(value)
    if what == TEXTS:
        return filled.str.split(header.set_separator).alias(name)
    if what == SPANS:
        return filled.str.split(header.set_separator).cast(_ABSENT[SPANS], strict=False).alias(name)
    return filled.alias(name) if name in {"service", "query", "host", "uri", "user_agent", "server_name"} else value
