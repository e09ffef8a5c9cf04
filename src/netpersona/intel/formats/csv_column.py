"""Separated values of which one column holds the indicators: abuse.ch's, CISA's, FIRST's and everybody's own.

What else the table says of a row is taken along where a column's name is known: a label, a category, a confidence, a
type.  Of a file with several hashes each is an entry.  A quoted field may go over several lines.  See `csv_layout` for
how the columns are found.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from netpersona.intel.formats import words
from netpersona.intel.formats.csv_layout import Layout, cells, layout
from netpersona.intel.formats.entry import Entries, FormatError, found
from netpersona.intel.formats.instants import instants
from netpersona.intel.formats.lines import data_lines, joined_quotes, label, records

NAME = "csv"
_HASH = r"^[0-9A-Fa-f]{32,128}$"
_LEVELS = {"low": 0.15, "medium": 0.5, "high": 0.85}  # STIX 2.1, appendix A


def recognised(lines: pl.DataFrame) -> bool:
    """Whether a column of values is found without being named."""
    return layout(lines) is not None


def read(lines: pl.DataFrame, column: str | int | None = None) -> Entries:
    """The entries of the column; a line that has no such column keeps its text, so that it is refused."""
    chosen = layout(lines, column)
    if chosen is None:
        raise FormatError(1, "no separated values", "a column of addresses, networks, domains, URLs or hashes")
    table = _table(lines, chosen)
    silent = words.unusable(pl.col("kind"))
    of_type = pl.when(silent).then(pl.format("of the type {}, which is no indicator here", "kind"))
    judged = table.with_columns(pl.coalesce("objection", of_type).alias("reason"))
    return found(
        chosen.dialect or NAME,
        judged.filter(pl.col("reason").is_null()),
        judged.drop_nulls("reason"),
        noted=tuple((chosen.header or 1, name, "this column was not read: name it to read it") for name in chosen.also),
    )


def _table(lines: pl.DataFrame, chosen: Layout) -> pl.DataFrame:
    """One row for each value, and `kind`: the type in the feed's own word."""
    rows = joined_quotes(data_lines(lines))
    if chosen.header is not None:
        rows = rows.filter(pl.col("line") != chosen.header)
    quoted = bool(rows["text"].str.contains('"', literal=True).any())

    def cell(index: int | None) -> pl.Expr:
        return pl.lit(None, dtype=pl.String) if index is None else cells(chosen.separator, index, quoted=quoted)

    columns = {
        "raw": pl.coalesce(_whole(cell, chosen), cell(chosen.value), pl.col("text")),
        "label": _label(chosen, cell),
        "category": label(cell(chosen.column(words.CATEGORIES))),
        "confidence": cell(chosen.column(words.CONFIDENCES)),
        "kind": pl.coalesce(pl.lit(chosen.unusable, dtype=pl.String), cell(chosen.column(words.TYPES))),
        "objection": _objection(chosen, cell),
        "valid_until": cell(chosen.column(words.ENDS)),
    }
    rows = records(rows)
    others = (rows.select("record", "line", **{**columns, "raw": cell(other)}) for other in chosen.beside)
    hashes = [other.filter(pl.col("raw").str.contains(_HASH)) for other in others]
    table = pl.concat([rows.select("record", "line", **columns), *hashes])
    if table["valid_until"].null_count() < table.height:
        table = table.with_columns(instants(table["valid_until"].to_list()).alias("valid_until"))
    stated = pl.coalesce(words.stated_type(pl.col("kind")), pl.lit(chosen.stated, dtype=pl.String))
    return _split(table.with_columns(share(table["confidence"]))).with_columns(stated.alias("type"))


def _whole(cell: Callable[[int | None], pl.Expr], chosen: Layout) -> pl.Expr:
    """The range between two cells, or the network of an address and its mask; null where there is no second cell."""
    start, end, mask = cell(chosen.value), cell(chosen.until), cell(chosen.mask)
    bare = (mask != "") & ~start.str.contains("/", literal=True)
    return (
        pl.when(end != "")
        .then(pl.concat_str(start, pl.lit("-"), end))
        .when(bare)
        .then(pl.concat_str(start, pl.lit("/"), mask))
    )


def _label(chosen: Layout, cell: Callable[[int | None], pl.Expr]) -> pl.Expr:
    if chosen.dialect == words.KEV:
        parts = [cell(chosen.column((name,))) for name in words.EXPLOITED]
        return label(pl.concat_str(parts, separator=": ", ignore_nulls=True))
    return label(cell(chosen.column(words.LABELS))) if chosen.names else _beside(cell(chosen.value + 1))


def _objection(chosen: Layout, cell: Callable[[int | None], pl.Expr]) -> pl.Expr:
    """Why the feed itself does not mean a row; null where it does."""
    told = [
        pl.when(cell(chosen.column((name,))).str.to_lowercase().is_in(list(values))).then(pl.lit(reason))
        for name, (values, reason) in words.OBJECTIONS.items()
    ]
    return pl.coalesce(*told, pl.lit(None, dtype=pl.String))


def share(stated: pl.Series) -> pl.Series:
    """A column of confidences as shares of 1: percents where one is beyond 1, and words."""
    words_ = stated.str.to_lowercase().replace_strict(_LEVELS, default=None, return_dtype=pl.Float64)
    numbers = stated.cast(pl.Float64, strict=False)
    numbers = numbers.set(~numbers.is_finite(), None)
    most = numbers.max()
    percent = isinstance(most, float) and most > 1
    return (numbers / 100 if percent else numbers).clip(0.0, 1.0).fill_null(words_)


def _split(table: pl.DataFrame) -> pl.DataFrame:
    """MISP writes two things into one field (`domain|ip`): each becomes an entry of its own."""
    pair = pl.col("kind").str.contains("|", literal=True) & pl.col("raw").str.contains("|", literal=True)
    two = table.filter(pair)
    if two.is_empty():
        return table
    halves = [
        two.with_columns(
            pl.col(name).str.splitn("|", 2).struct.field(f"field_{n}").alias(name) for name in ("kind", "raw")
        )
        for n in (0, 1)
    ]
    told = [half.filter(~words.unusable(pl.col("kind"))) for half in halves]
    return pl.concat([table.filter(~pair.fill_null(value=False)), *told])


def _beside(after: pl.Expr) -> pl.Expr:
    """What stands after the value in a table without a header, if it is text: who it is, more often than not."""
    return pl.when(~after.str.contains(r"^[0-9:./ T-]*$")).then(label(after))
