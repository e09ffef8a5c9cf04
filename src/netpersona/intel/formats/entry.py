"""What a format makes of a feed: its entries, what of it the format itself must refuse, and how many records it holds.

A record is what the file counts as one: a line, a row, a rule, an object.  It may give one entry, several, or none;
one that gives none is refused with its reason, so that no record vanishes.  A format finds where the values stand;
what a value is, `values` decides for all formats alike, and takes the type that the format states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from netpersona.intel.indicator import INDICATOR_TYPES

ENTRY_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "record": pl.UInt32,  # the number of the file's own record, from 1
    "line": pl.UInt32,  # where it stands, from 1; the record's number where the format has no lines
    "raw": pl.String,  # the value as it stands in the feed
    "type": INDICATOR_TYPES,  # as the format states it; null: by the value's shape
    "label": pl.String,
    "category": pl.String,
    "confidence": pl.Float64,  # 0 to 1; null: as the feed's settings say
    "valid_from": pl.Int64,  # µs
    "valid_until": pl.Int64,  # µs, exclusive
}
REFUSED_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "record": pl.UInt32,
    "line": pl.UInt32,
    "raw": pl.String,
    "reason": pl.String,
}


class FormatError(ValueError):
    """The content is no feed that this version reads; says at which line and what was expected."""

    def __init__(self, line: int, wrong: str, expected: str) -> None:
        super().__init__(f"line {line}: {wrong}; expected {expected}")
        self.line = line
        self.wrong = wrong
        self.expected = expected


class Entries(NamedTuple):
    """What a format found, and what it was; made by found()."""

    format: str
    table: pl.DataFrame  # ENTRY_SCHEMA, by record
    refused: pl.DataFrame  # REFUSED_SCHEMA, by record
    records: int  # before duplicates are removed, refused ones included
    unique: int  # distinct records, by the value as it stands
    noted: tuple[tuple[int, str, str], ...] = ()  # (line, text, what to know)


def found(
    name: str,
    table: pl.DataFrame,
    refused: pl.DataFrame | None = None,
    *,
    records: int | None = None,
    unique: int | None = None,
    noted: tuple[tuple[int, str, str], ...] = (),
) -> Entries:
    """The entries of the format `name`; columns that `table` and `refused` lack are null, and they need no order.

    `records` and `unique` are counted where they are not given: a record's identity is all its raw values.
    """
    entered = _ordered(entries(table))
    gone = _ordered(typed(pl.DataFrame() if refused is None else refused, REFUSED_SCHEMA))
    if records is None or unique is None:
        counted, distinct = _counted(entered, gone)
        records = counted if records is None else records
        unique = distinct if unique is None else unique
    return Entries(name, entered, gone, records, unique, noted)


def entries(table: pl.DataFrame) -> pl.DataFrame:
    """A table with the columns of ENTRY_SCHEMA; absent ones are null."""
    return typed(table, ENTRY_SCHEMA)


def entry_rows(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Entries that a format made one by one, each with the columns that it knows."""
    return pl.DataFrame([{name: row.get(name) for name in ENTRY_SCHEMA} for row in rows], schema=ENTRY_SCHEMA)


def refused_rows(rows: Iterable[tuple[int, int, str, str]]) -> pl.DataFrame:
    """Refusals (record, line, raw, reason) that a format made one by one."""
    return pl.DataFrame(list(rows), schema=REFUSED_SCHEMA, orient="row")


def typed(table: pl.DataFrame, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    """The table with the columns of the schema and no others; absent ones are null."""
    if not table.width:
        return pl.DataFrame(schema=schema)
    absent = {name: pl.lit(None) for name in schema if name not in table.columns}
    return table.with_columns(**absent).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    return table if table["record"].is_sorted() else table.sort("record", maintain_order=True)


def _counted(entered: pl.DataFrame, refused: pl.DataFrame) -> tuple[int, int]:
    """How many records there are, and how many distinct ones."""
    both = pl.concat([entered.select("record", "raw"), refused.select("record", "raw")])
    records = both["record"].n_unique()
    if records == both.height:
        return records, both["raw"].n_unique()
    whole = both.group_by("record").agg(pl.col("raw").sort().str.join("\x1f"))
    return records, whole["raw"].n_unique()
