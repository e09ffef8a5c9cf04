"""What a reader of documents finds, record by record, kept in columns: few Python objects live at one time."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from netpersona.intel.formats.entry import ENTRY_SCHEMA, REFUSED_SCHEMA, Entries, found, typed
from netpersona.intel.formats.instants import instants
from netpersona.intel.formats.json_text import lines_of
from netpersona.intel.formats.lines import label as as_label

_PART = 50_000
_LONGEST = 4096  # characters of a value
_UNCLEAN = r"[^\x20-\x7e]|  |^ | $|^$|^.{200}"  # what a label would not be left as it stands for
ENTERED = {"at": pl.Int64, **{name: kind for name, kind in ENTRY_SCHEMA.items() if name != "line"}}
"""Entries that have the byte at which their record begins (`at`, -1: not known) in place of the line."""
GONE = {"at": pl.Int64, **{name: kind for name, kind in REFUSED_SCHEMA.items() if name != "line"}}
"""Refusals, likewise."""


class Record(NamedTuple):
    """One record of a file: its number from 1, and the byte at which it begins (-1: not known)."""

    number: int
    at: int


class Gathered:
    """Entries and refusals of one document, in the order in which they were found."""

    def __init__(self) -> None:
        self._rows: list[tuple[object, ...]] = []
        self._gone: list[tuple[int, int, str, str]] = []
        self._entered: list[pl.DataFrame] = []
        self._refused: list[pl.DataFrame] = []

    def enter(
        self,
        record: Record,
        raw: str,
        kind: str | None = None,
        *,
        label: str | None = None,
        category: str | None = None,
        confidence: float | None = None,
        start: object = None,
        stop: object = None,
    ) -> None:
        """Takes a value; `kind` is its IndicatorType if the format states it; `start`, `stop`: times as written."""
        self._rows.append((*record, raw[:_LONGEST], kind, label, category, confidence, start, stop))
        if len(self._rows) >= _PART:
            self._flush()

    def refuse(self, record: Record, raw: str, reason: str) -> None:
        """Takes a record, or a part of one, that gives no value."""
        self._gone.append((*record, raw[:_LONGEST], reason))
        if len(self._gone) >= _PART:
            self._flush()

    def add(self, entered: pl.DataFrame, refused: pl.DataFrame) -> None:
        """Takes tables with the columns ENTERED and GONE."""
        table = typed(entered, ENTERED)
        unclean = [name for name in ("label", "category") if table[name].str.contains(_UNCLEAN).any()]
        clean = (as_label(pl.col(name).str.slice(0, _LONGEST)).alias(name) for name in unclean)
        self._entered.append(table.with_columns(clean))
        self._refused.append(typed(refused, GONE))

    def found(
        self,
        name: str,
        content: bytes,
        *,
        records: int | None = None,
        unique: int | None = None,
        noted: tuple[tuple[int, str, str], ...] = (),
    ) -> Entries:
        """Everything taken, as what the format `name` found."""
        self._flush()
        entered = _lined(pl.concat(self._entered), content)
        refused = _lined(pl.concat(self._refused), content)
        return found(name, entered, refused, records=records, unique=unique, noted=noted)

    def _flush(self) -> None:
        names = ("record", "at", "raw", "type", "label", "category", "confidence", "valid_from", "valid_until")
        columns = dict(zip(names, zip(*self._rows, strict=True), strict=True)) if self._rows else {}
        times = {name: instants(columns.pop(name)) for name in ("valid_from", "valid_until") if columns}
        entered = pl.DataFrame({**columns, **times}, strict=False)
        gone = pl.DataFrame(self._gone, schema=["record", "at", "raw", "reason"], orient="row")
        self.add(entered, gone)
        self._rows, self._gone = [], []


def _lined(table: pl.DataFrame, content: bytes) -> pl.DataFrame:
    return table.with_columns(lines_of(content, table["at"]))
