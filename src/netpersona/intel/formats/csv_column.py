"""Separated values of which one column holds the indicators.

The column is the one the operator names (by header, or by number from 1); else the first whose header is a
known word; else, without a header, the one in which most of the first lines hold an address or a name.
A header may stand in a comment (`# id,dateadded,url`), lines may be commented, fields quoted.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import polars as pl

from netpersona.intel.formats.entry import Entries, FormatError, found
from netpersona.intel.formats.lines import COMMENT, data_lines, label, records
from netpersona.intel.prefix import IPV4

NAME = "csv"
GENERAL = ("indicator", "indicator_value", "ioc", "ioc_value", "value", "observable")
SPECIAL = (
    "ip", "ip_address", "ipaddress", "ip_addr", "address", "addr", "dst_ip", "dest_ip", "destination_ip", "dstip",
    "src_ip", "source_ip", "srcip", "ipv4", "ipv6", "network", "cidr", "subnet", "prefix", "netblock",
    "domain", "domain_name", "host", "hostname", "fqdn", "url", "sha256_hash", "sha256", "sha1", "md5",
)  # fmt: skip
LABELS = ("malware", "malware_printable", "label", "threat", "description", "comment", "comments", "signature")
CATEGORIES = ("category", "threat_type")
_SEPARATORS = (",", "\t", ";", "|")
_TELLING = (
    rf"^(?:{IPV4}(?:/[0-9]{{1,2}})?|[0-9A-Fa-f:]*::?[0-9A-Fa-f:]+(?:/[0-9]{{1,3}})?|(?:[\w-]+\.)+[A-Za-z]{{2,}})$"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the values are separated, and which column (from 0) means what."""

    separator: str
    value: int
    label: int | None = None
    category: int | None = None
    header: int | None = None  # the line of the header, if it is no comment
    also: tuple[str, ...] = ()  # other columns that could have been meant


def layout(lines: pl.DataFrame, column: str | int | None = None) -> Layout | None:
    """The layout of separated values, None where they are none.  Raises FormatError for a column that is not there."""
    rows = data_lines(lines.head(1000)).head(200)
    if rows.is_empty():
        return None
    named = _by_header(lines, rows, column)
    if named is not None:
        return named
    if column is None:
        return _by_values(rows)
    return _by_number(rows, column)


def recognised(lines: pl.DataFrame) -> bool:
    """Whether a column of values is found without being named."""
    return layout(lines) is not None


def read(lines: pl.DataFrame, column: str | int | None = None) -> Entries:
    """The entries of the column; a line that has no such column keeps its text, so that it is refused."""
    chosen = layout(lines, column)
    if chosen is None:
        raise FormatError(1, "no separated values", "a column of addresses, networks, domains, URLs or hashes")
    rows = data_lines(lines)
    if chosen.header is not None:
        rows = rows.filter(pl.col("line") != chosen.header)
    value = _field(chosen.separator, chosen.value)
    columns = {"raw": pl.coalesce(value, pl.col("text"))}
    if chosen.label is not None:
        columns["label"] = label(_field(chosen.separator, chosen.label))
    if chosen.category is not None:
        columns["category"] = label(_field(chosen.separator, chosen.category))
    also = tuple((chosen.header or 1, name, "this column was not read: name it to read it") for name in chosen.also)
    return found(NAME, records(rows).select("record", "line", **columns), noted=also)


def _by_header(lines: pl.DataFrame, rows: pl.DataFrame, column: str | int | None) -> Layout | None:
    first = int(rows["line"][0])
    above = lines.filter((pl.col("line") < first) & pl.col("text").str.contains(COMMENT)).tail(1)["text"].to_list()
    commented = re.sub(r"^(?:[#;/\s]+)(?:fields\s+|format:\s*)?", "", above[0]) if above else ""
    wanted = () if column is None or _number(column) is not None else (str(column).strip().lower(),)
    for text, line in ((str(rows["text"][0]), first), (commented, None)):
        for separator in _SEPARATORS:
            names = _names(text, separator)
            known = [name for name in (*wanted, *GENERAL, *SPECIAL) if name in names]
            if known and (line is not None or len(names) > 1):
                return _named(names, separator, line, column)
    return None


def _named(names: list[str], separator: str, line: int | None, column: str | int | None) -> Layout:
    """The layout that a header gives."""
    known = [*(name for name in GENERAL if name in names), *(name for name in names if name in SPECIAL)]
    number = None if column is None else _number(column)
    value: int | None = None
    if column is None:
        value = names.index(known[0])
    elif number is not None:
        value = number - 1
    elif str(column).strip().lower() in names:
        value = names.index(str(column).strip().lower())
    if value is None or not 0 <= value < len(names):
        raise FormatError(line or 1, f"there is no column {column!r}", f"one of {', '.join(names)}")
    also = tuple(name for name in known if names.index(name) != value)
    return Layout(separator, value, _index(names, LABELS), _index(names, CATEGORIES), line, also)


def _by_values(rows: pl.DataFrame) -> Layout | None:
    """The first column in which at least four fifths of the lines hold something telling."""
    for separator in (",", "|", ";"):
        closely = rows.filter(pl.col("text").str.contains(rf"\S{re.escape(separator)}\S"))
        if closely.height * 5 < rows.height * 4:
            continue
        width = len(_names(str(closely["text"][0]), separator))
        for index in range(width):
            if _telling(closely, separator, index) * 5 >= rows.height * 4:
                return Layout(separator, index)
    return None


def _by_number(rows: pl.DataFrame, column: str | int) -> Layout:
    number = _number(column)
    if number is None:
        raise FormatError(
            int(rows["line"][0]), f"no header names a column {column!r}", "a header, or a column's number"
        )
    counts = [(len(_names(str(rows["text"][0]), separator)), -index) for index, separator in enumerate(_SEPARATORS)]
    width, best = max(counts)
    if not 1 <= number <= width:
        raise FormatError(int(rows["line"][0]), f"there is no column {number}", f"1 to {width}")
    return Layout(_SEPARATORS[-best], number - 1)


def _telling(rows: pl.DataFrame, separator: str, index: int) -> int:
    return int(rows.select(_field(separator, index).alias("value"))["value"].str.contains(_TELLING).sum())


def _field(separator: str, index: int) -> pl.Expr:
    """The field of each line, without its quotes; null where the line has fewer."""
    mark = re.escape(separator)
    one = rf'(?:\s*"(?:[^"]|"")*"\s*|[^{mark}]*)'
    field = pl.col("text").str.extract(rf"^(?:{one}{mark}){{{index}}}({one})(?:{mark}|$)", 1).str.strip_chars()
    return field.str.replace(r'^"(.*)"$', "${1}").str.replace_all('""', '"', literal=True).str.strip_chars()


def _names(text: str, separator: str) -> list[str]:
    if len(text) > 4096:
        return []
    row = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    return [name.strip().strip('"').lower().replace(" ", "_") for name in row]


def _index(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _number(column: str | int) -> int | None:
    """A column's number, if it is one."""
    if isinstance(column, int):
        return column
    return int(column) if column.strip().isdigit() else None
