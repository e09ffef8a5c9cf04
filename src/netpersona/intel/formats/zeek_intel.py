r"""The files of Zeek's Intel framework: columns by tabs, named by `#fields indicator indicator_type meta.source ...`.

Addresses, networks, domains, URLs (without scheme, as Zeek logs them), hashes of files and certificates, and JA3 are
taken; the software, users, mail addresses and file names that Zeek also knows are refused, as are items that the
file itself allow-lists (`meta.whitelist` is T).  `meta.desc`, or `meta.source` where there is none, is the label, and
`meta.confidence` the confidence.  `-` is nothing, and `\x09` stands for its byte.
Source: Zeek, base/frameworks/intel and policy/frameworks/intel.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats import words
from netpersona.intel.formats.csv_column import share
from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import data_lines, label, records

NAME = "zeek-intel"
_FIELDS = r"^#\s*fields\s(?:.*\s)?(?:indicator\s(?:.*\s)?indicator_type|indicator_type\s(?:.*\s)?indicator)(?:\s|$)"
_ROW = r"^[^\t]+\tIntel::[A-Z0-9_]+(?:\t|$)"
_USUAL = ["indicator", "indicator_type", "meta.source", "meta.desc", "meta.url"]


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the fields are named so, or most of the first rows state a type of Intel."""
    head = lines.head(200)["text"]
    rows = data_lines(lines.head(500))["text"].head(50)
    return bool(head.str.contains(_FIELDS).any()) or (
        len(rows) > 0 and bool(rows.str.contains(_ROW).sum() * 5 >= len(rows) * 4)
    )


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the file."""
    names = _names(lines)

    def cell(name: str) -> pl.Expr:
        if name not in names:
            return pl.lit(None, dtype=pl.String)
        text = pl.col("text").str.split("\t").list.get(names.index(name), null_on_oob=True).str.strip_chars()
        return pl.when(~text.is_in(["-", "(empty)", ""])).then(text)

    table = records(data_lines(lines)).select(
        "record",
        "line",
        raw=pl.coalesce(_unescaped(cell("indicator")), pl.col("text")),
        kind=cell("indicator_type"),
        label=label(pl.coalesce(_unescaped(cell("meta.desc")), cell("meta.source"))),
        confidence=cell("meta.confidence"),
        allowed=cell("meta.whitelist") == "T",
    )
    table = table.with_columns(
        share(table["confidence"]), words.stated_type(pl.col("kind")).alias("type"), _reason().alias("reason")
    )
    return found(NAME, table.filter(pl.col("reason").is_null()), table.drop_nulls("reason"))


def _names(lines: pl.DataFrame) -> list[str]:
    named = lines["text"].filter(lines["text"].str.contains(_FIELDS)).head(1).to_list()
    return named[0].lstrip("# ").split()[1:] if named else _USUAL


def _unescaped(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r"\x09", "\t", literal=True).str.replace_all(r"\x20", " ", literal=True)


def _reason() -> pl.Expr:
    """Why a row gives no indicator; null where it gives one."""
    kind = pl.col("kind")
    return (
        pl.when(kind.is_null())
        .then(pl.lit("no indicator type; the columns are separated by tabs"))
        .when(pl.col("allowed").fill_null(value=False))
        .then(pl.lit("the feed itself allow-lists it"))
        .when(words.unusable(kind) | words.stated_type(kind).is_null())
        .then(pl.format("of the type {}, which is no indicator here", kind))
    )
