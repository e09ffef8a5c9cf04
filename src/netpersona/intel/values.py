"""What the values of a feed are: typed and canonical, in columns; unusual spellings go to `odd_value` one by one."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from netpersona.intel.formats import ENTRY_SCHEMA
from netpersona.intel.indicator import INDICATOR_TYPES
from netpersona.intel.odd_value import DOMAIN, LONGEST, Value, odd_value
from netpersona.intel.prefix import IPV4, masked_by, prefixes

KEPT = 10_000  # refusals and notes that are kept with their text
_PART = 200_000  # entries
_ODD = 2_000_000  # values that are made of unusual ones, of which each costs some 10 µs
_ODD_PART = 20_000  # texts read one by one at a time
_READ: dict[str, pl.DataType | type[pl.DataType]] = {
    "text": pl.String,
    "value": pl.List(pl.String),
    "type": pl.List(INDICATOR_TYPES),
    "reason": pl.String,
    "note": pl.String,
}
_GIVEN = {**{n: t for n, t in ENTRY_SCHEMA.items() if n != "type"}, "stated": INDICATOR_TYPES, "text": pl.String}
_TYPED = {**_GIVEN, "value": pl.String, "type": INDICATOR_TYPES}
_VALUED = {**ENTRY_SCHEMA, "value": pl.String}
_TO_65535 = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_URL = rf"^((?i:https?|ftp)://(?:{IPV4}|(?i:{DOMAIN}))(?::{_TO_65535})?)((?:/[!-\"$-Z\\^-z~|]*)?)(?:#[!-~]*)?$"
_PORT = r":[0-9]{1,5}$"
_GROUP = r"(?:0|[1-9a-f][0-9a-f]{0,3})"
_WHOLE6 = rf"^{_GROUP}(?::{_GROUP}){{7}}$"
_SHORT6 = (
    r"^(?:[1-9a-f][0-9a-f]{0,3}(?::[1-9a-f][0-9a-f]{0,3})*)?::(?:[1-9a-f][0-9a-f]{0,3}(?::[1-9a-f][0-9a-f]{0,3})*)?$"
)


class Values(NamedTuple):
    """What became of a feed's entries."""

    table: pl.DataFrame  # the entries with `value` and `type`, in the order of the lines; duplicates are still in
    refused: list[tuple[int, str, str]]  # (line, text, reason), the first KEPT
    refused_total: int
    noted: list[tuple[int, str, str]]
    made: int = 0  # of unusual values


def values(entries: pl.DataFrame) -> Values:
    """The values of a table of entries; a part at a time, so that a long feed needs little memory."""
    parts: list[Values] = []
    for part in entries.iter_slices(_PART):
        parts.append(_values(part, _ODD - sum(before.made for before in parts)))
    parts = parts or [_values(entries, 0)]
    return Values(
        pl.concat([part.table for part in parts]),
        [refusal for part in parts for refusal in part.refused][:KEPT],
        sum(part.refused_total for part in parts),
        [note for part in parts for note in part.noted][:KEPT],
    )


def _values(entries: pl.DataFrame, most: int) -> Values:
    """The values of a part of the entries, held against the types that the format states."""
    given = entries.rename({"type": "stated"})
    if given["stated"].null_count() == given.height:
        read = _shaped(given.with_columns(pl.col("raw").alias("text")), most)
        return read._replace(table=read.table.select(list(_VALUED)))
    read = _shaped(given.with_columns(_hinted().alias("text")), most)
    table = read.table.with_columns(_agreed().alias("agreed"))
    other = table.filter(pl.col("agreed").is_null())
    reason = pl.format("it is of the type {}, and the feed says {}", "type", "stated")
    refused = _told(other.with_columns(reason.alias("reason")), "reason")
    kept = table.drop_nulls("agreed").with_columns(pl.col("agreed").alias("type")).select(list(_VALUED))
    total = read.refused_total + other.height
    return read._replace(table=kept, refused=read.refused + refused, refused_total=total)


def _hinted() -> pl.Expr:
    """The raw value, completed by what its stated type implies: a URL's scheme, an AS's letters."""
    raw, stated = pl.col("raw"), pl.col("stated")
    return (
        pl.when((stated == "url") & ~raw.str.contains("://", literal=True))
        .then(pl.concat_str(pl.lit("http://"), raw))
        .when((stated == "asn") & raw.str.contains(r"^[0-9]+$"))
        .then(pl.concat_str(pl.lit("AS"), raw))
        .otherwise(raw)
    )


def _agreed() -> pl.Expr:
    """The type of a value where what it is can be what the feed states; null where it cannot."""
    stated, shape = pl.col("stated"), pl.col("type")
    places = ["address", "network"]
    agree = (
        stated.is_null()
        | (stated == shape)
        | (stated.is_in(places) & shape.is_in(places))
        | ((stated == "domain") & shape.is_in([*places, "url"]))
    )
    ja3 = (stated == "ja3") & (shape == "hash") & (pl.col("value").str.len_bytes() == 32)
    return pl.when(agree).then(shape).when(ja3).then(pl.lit("ja3", dtype=INDICATOR_TYPES))


def _shaped(given: pl.DataFrame, most: int) -> Values:
    """The values by the shape of `text` alone; most are IPv4 addresses, and cost one look."""
    plain = pl.Series("plain", given["text"].str.contains(rf"^{IPV4}$"))
    kind = pl.lit("address", dtype=INDICATOR_TYPES).alias("type")
    easy = given.filter(plain).with_columns(pl.col("text").alias("value"), kind).select(list(_TYPED))
    if easy.height == given.height:
        return Values(easy, [], 0, [])
    text = pl.col("text").str.to_lowercase().str.strip_chars_end(".")
    shaped = given.filter(~plain).with_columns(text.alias("value")).with_columns(_shape().alias("shape"))
    usual = pl.concat([easy, *(_taken(shaped, shape, kind) for shape, kind in _SHAPES)])
    networks = _networks(shaped.filter(pl.col("shape") == "net"))
    left = shaped.filter(pl.col("shape") == "odd").select(list(_GIVEN))
    left = pl.concat([left, networks.filter(pl.col("type").is_null()).select(list(_GIVEN))]).sort("line")
    odd = _odd(left, most)
    table = pl.concat([usual, networks.drop_nulls("type").select(list(_TYPED)), odd.table]).sort("line", "value")
    return odd._replace(table=table)


_SHAPES = (
    ("url", "url"),
    ("ipv4", "address"),
    ("ipv6", "address"),
    ("domain", "domain"),
    ("hash", "hash"),
    ("asn", "asn"),
    ("cve", "cve"),
)


def _shape() -> pl.Expr:
    """Which usual spelling a value has; `odd` where it has none."""
    value = pl.col("value")
    compressed = value.str.contains(_SHORT6) & (value.str.count_matches(":", literal=True) <= 7)
    whole = value.str.contains(_WHOLE6) & ~value.str.contains(r"(?:^|:)0:0(?::|$)")
    return (
        pl.when(value.str.contains(rf"^{IPV4}(?:{_PORT[:-1]})?$"))
        .then(pl.lit("ipv4"))
        .when(value.str.contains(rf"^{DOMAIN}$") & (value.str.len_bytes() <= 253))
        .then(pl.lit("domain"))
        .when(value.str.contains(rf"^(?:{IPV4}|[0-9a-f:]+)/[0-9]{{1,3}}$"))
        .then(pl.lit("net"))
        .when(pl.col("text").str.contains(_URL))
        .then(pl.lit("url"))
        .when((compressed | whole) & ~value.str.starts_with("::"))
        .then(pl.lit("ipv6"))
        .when(value.str.contains(r"^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})$"))
        .then(pl.lit("hash"))
        .when(value.str.contains(r"^as[1-9][0-9]{0,9}$"))
        .then(pl.lit("asn"))
        .when(value.str.contains(r"^cve-[0-9]{4}-[0-9]{4,}$"))
        .then(pl.lit("cve"))
        .otherwise(pl.lit("odd"))
    )


def _taken(shaped: pl.DataFrame, shape: str, kind: str) -> pl.DataFrame:
    """The rows of one usual shape, typed."""
    rows = shaped.filter(pl.col("shape") == shape)
    value = pl.col("value").str.to_uppercase() if kind in {"asn", "cve"} else pl.col("value")
    value = value.str.replace(_PORT, "") if shape == "ipv4" else value
    value = _url() if shape == "url" else value
    return rows.with_columns(value.alias("value"), pl.lit(kind, dtype=INDICATOR_TYPES).alias("type")).select(
        list(_TYPED)
    )


def _url() -> pl.Expr:
    """A usual URL: its place in lower case, its path as it stands, without the fragment."""
    place = pl.col("text").str.extract(_URL, 1).str.to_lowercase()
    path = pl.col("text").str.extract(_URL, 2)
    return pl.concat_str(place, pl.when(path == "").then(pl.lit("/")).otherwise(path))


def _networks(rows: pl.DataFrame) -> pl.DataFrame:
    """Networks that are written canonically, typed; the others have no type, and are read one by one."""
    table = pl.concat([rows, prefixes(rows["value"])], how="horizontal")
    base = pl.col("value").str.replace(r"/.*$", "")
    canonical6 = base.str.contains(_SHORT6) & ~base.str.starts_with("::")
    canonical = (
        (pl.col("version") == 4) | canonical6 | (base.str.contains(_WHOLE6) & ~base.str.contains(r"(?:^|:)0:0(?::|$)"))
    )
    width = pl.when(pl.col("version") == 4).then(32).otherwise(128)
    usual = canonical & (pl.col("length") < width) & pl.col("exact") & ~pl.col("value").str.contains(r"/0[0-9]")
    kind = pl.when(usual).then(pl.lit("network", dtype=INDICATOR_TYPES))
    return table.with_columns(masked_by(table)).with_columns(kind.alias("type"))


def _odd(rows: pl.DataFrame, most: int) -> Values:
    """What the general reading makes of unusual values: each text once, until `most` values were made."""
    known, texts = [pl.DataFrame(schema=_READ)], rows["text"].unique(maintain_order=True)
    made = 0
    for part in texts.to_frame().iter_slices(_ODD_PART):
        if made >= most:
            break
        known.append(_known(part["text"]))
        made += int(known[-1]["value"].list.len().clip(1).sum())
    joined = rows.join(pl.concat(known), on="text", how="left", maintain_order="left")
    much = pl.lit("the feed has too many unusual values before it")
    joined = joined.with_columns(pl.when(pl.col("value").is_null()).then(much).otherwise("reason").alias("reason"))
    refused = joined.drop_nulls("reason")
    good = joined.filter(pl.col("reason").is_null())
    table = good.explode("value", "type").select(list(_TYPED))
    notes = _told(good.drop_nulls("note"), "note")
    return Values(table, _told(refused, "reason"), refused.height, notes, made)


def _known(texts: pl.Series) -> pl.DataFrame:
    """What each text stands for: its values and a note, or the reason why there is none."""
    read = [_read(text) for text in texts.to_list()]
    columns = {
        "text": texts,
        "value": [[each.value for each in found] for found, _ in read],
        "type": [[each.type.value for each in found] for found, _ in read],
        "reason": [reason for _, reason in read],
        "note": [found[0].note if found else None for found, _ in read],
    }
    return pl.DataFrame(columns, schema=_READ)


def _read(text: str) -> tuple[list[Value], str | None]:
    """What a text stands for; or nothing, and why."""
    try:
        return odd_value(text[: LONGEST * 2]), None
    except ValueError as error:
        return [], str(error)


def _told(rows: pl.DataFrame, why: str) -> list[tuple[int, str, str]]:
    return [(line, shown(raw), words) for line, raw, words in rows.head(KEPT).select("line", "raw", why).rows()]


def shown(raw: str) -> str:
    """A value from outside, fit to be shown: printable and short."""
    clean = "".join(char if char.isprintable() else "�" for char in raw[:121])
    return clean if len(clean) <= 120 else clean[:119] + "…"
