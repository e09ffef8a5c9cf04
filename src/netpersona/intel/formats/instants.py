"""Times as feeds write them, to whole microseconds since the epoch: ISO 8601 in its variants, or a number.

Without a zone a time is UTC.  A number is seconds, milliseconds or microseconds, by its size.  What is no time is null:
a listing is not lost for its date.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

_LONGEST = 64  # characters
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_USUAL = r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:Z|\+00:?00| ?UTC)?$"
_EXACT = "%Y-%m-%dT%H:%M:%S%.fZ"
_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))  # numbers below the first are seconds, ...


def instants(stated: Sequence[object]) -> pl.Series:
    """The instants (Int64, µs) of what stands in a feed: text, numbers, or anything else."""
    texts = _texts(stated)
    exact = texts.str.to_datetime(_EXACT, time_unit="us", strict=False).dt.epoch("us")
    if exact.null_count() == texts.null_count():
        return exact
    usual = pl.concat_str(pl.col("").str.extract(_USUAL, 1), pl.lit("T"), pl.col("").str.extract(_USUAL, 2))
    read = texts.to_frame("").select(
        pl.col("").alias("text"),
        usual.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False).dt.epoch("us").alias("instant"),
    )
    odd = read.filter(pl.col("instant").is_null() & pl.col("text").is_not_null())["text"].unique().to_list()
    if not odd:
        return read["instant"]
    known = pl.col("text").replace_strict(odd, [instant(text) for text in odd], default=None, return_dtype=pl.Int64)
    return read.select(pl.coalesce("instant", known))["instant"]


def instant(text: str) -> int | None:
    """One time that is written less usually; None where it is none."""
    stripped = text.strip()
    try:
        return _of_number(float(stripped))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(stripped.removesuffix("UTC").strip())
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).__sub__(_EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        return None


def _texts(stated: Sequence[object]) -> pl.Series:
    try:
        return pl.Series(stated, dtype=pl.String).str.slice(0, _LONGEST)
    except TypeError:  # not only text
        return pl.Series([_text(each) for each in stated], dtype=pl.String)


def _text(stated: object) -> str | None:
    if isinstance(stated, str):
        return stated[:_LONGEST]
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        return repr(stated)
    return None


def _of_number(number: float) -> int | None:
    for below, unit in _UNITS:
        if 0 < number < below:
            return int(number * unit)
    return None
