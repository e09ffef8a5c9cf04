"""Many STIX patterns at once: those that differ only in their texts have one shape, and the grammar reads it once.

    [ipv4-addr:value = '198.51.100.7']      the shape [ipv4-addr:value = 0], whose text 0 suffices
    [ipv4-addr:value = '203.0.113.9']       the same shape

A shape is a pattern whose quoted texts are replaced by their numbers; texts that are part of a property's name
(file:hashes.'SHA-256') stay.  What suffices never depends on what the texts say, so a shape's answer is that of all its
patterns; the tests hold it against the grammar, pattern by pattern.
"""

from __future__ import annotations

import re

import polars as pl

from netpersona.intel.formats.stix_pattern import PatternError, parse_pattern
from netpersona.intel.formats.stix_values import Sufficient, sufficient

_QUOTED = r"([.:]\s*'(?:[^'\\]|\\(?s:.))*')|'(?:[^'\\]|\\(?s:.))*'"
_HOLE = "\x00"
_MARK = re.compile(r"'(\d+)\x01'")
_OTHERWISE = re.compile(r"[\"']|/[*/]")  # quotes and comments that a shape does not know
_FOUND = {
    "shape": pl.String,
    "value": pl.UInt32,
    "type": pl.String,
    "start": pl.UInt32,
    "stop": pl.UInt32,
}
_VALUES = {"record": pl.UInt32, "raw": pl.String, "type": pl.String, "start": pl.String, "stop": pl.String}
_REFUSED = {"record": pl.UInt32, "raw": pl.String, "reason": pl.String}


def sufficient_values(patterns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of (record, pattern): the values (record, raw, type, start, stop), and the refusals (record, raw, reason)."""
    shaped = patterns.with_columns(
        pl.col("pattern").str.replace_all(_QUOTED, "${1}" + _HOLE).alias("shape"),
        pl.col("pattern").str.extract_all(_QUOTED).alias("texts"),
    )
    known = {shape: _sufficient(shape) for shape in shaped["shape"].unique().to_list()}
    unknown = pl.col("shape").is_in([shape for shape, found in known.items() if found is None])
    alone = unknown | (pl.col("shape").str.count_matches(_HOLE, literal=True) != pl.col("texts").list.len())
    values, refused = _one_by_one(shaped.filter(alone))
    usual = shaped.filter(~alone)
    return pl.concat([_values(usual, known), values]), pl.concat([_refused(usual, known), refused])


def _sufficient(shape: str) -> Sufficient | None:
    """What suffices of a shape, its texts by number; None where its patterns have to be read one by one."""
    if "\x01" in shape:
        return None
    parts = shape.split(_HOLE)
    numbered = "".join(
        part if part.endswith("'") or number == len(parts) - 1 else f"{part}'{number}\x01'"
        for number, part in enumerate(parts)
    )
    if _OTHERWISE.search(re.sub(r"[.:]\s*'(?:[^'\\]|\\.)*'", "", _MARK.sub("", numbered))):
        return None
    try:
        found = sufficient(parse_pattern(numbered))
    except PatternError:
        return None
    return found if all(each.value.endswith("\x01") for each in found.found) else None  # a number stands in its pattern


def _values(usual: pl.DataFrame, known: dict[str, Sufficient | None]) -> pl.DataFrame:
    rows = [
        (shape, _number(each.value), each.type, _number(each.start), _number(each.stop))
        for shape, found in known.items()
        if found is not None
        for each in found.found
    ]
    joined = usual.join(pl.DataFrame(rows, schema=_FOUND, orient="row"), on="shape", maintain_order="left_right")
    return joined.select("record", _text("value").alias("raw"), "type", _text("start"), _text("stop"))


def _refused(usual: pl.DataFrame, known: dict[str, Sufficient | None]) -> pl.DataFrame:
    lacking = {shape: found.unmatched for shape, found in known.items() if found is not None and found.unmatched}
    told = usual.filter(pl.col("shape").is_in(list(lacking))).select("record", "shape", "texts")
    rows = [
        (record, _filled(each.text, texts), each.reason)
        for record, shape, texts in told.iter_rows()
        for each in lacking[shape]
    ]
    return pl.DataFrame(rows, schema=_REFUSED, orient="row")


def _one_by_one(patterns: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    values: list[tuple[object, ...]] = []
    refused: list[tuple[int, str, str]] = []
    for record, pattern in patterns.select("record", "pattern").iter_rows():
        try:
            found = sufficient(parse_pattern(pattern))
        except PatternError as error:
            refused.append((record, pattern, f"no STIX pattern: {error}"))
            continue
        values += [(record, each.value, each.type, each.start, each.stop) for each in found.found]
        refused += [(record, each.text, each.reason) for each in found.unmatched]
    return pl.DataFrame(values, schema=_VALUES, orient="row"), pl.DataFrame(refused, schema=_REFUSED, orient="row")


def _text(number: str) -> pl.Expr:
    """The text of that number, without its quotes and escapes."""
    quoted = pl.col("texts").list.get(pl.col(number), null_on_oob=True)
    return quoted.str.slice(1, quoted.str.len_chars() - 2).str.replace_all(r"\\(['\"\\])", "${1}").alias(number)


def _number(marked: str | None) -> int | None:
    return None if marked is None else int(marked.removesuffix("\x01"))


def _filled(text: str, texts: list[str]) -> str:
    """A part of a shape with the texts of one pattern."""
    return _MARK.sub(lambda mark: texts[int(mark[1])], text)
