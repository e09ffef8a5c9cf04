"""Rules of Suricata and Snort: what their headers name, and the hosts and fingerprints that their options look for.

    alert ip [203.0.113.7,198.51.100.0/24] any -> $HOME_NET any (msg:"..."; sid:1;)
    alert dns $HOME_NET any -> any any (dns.query; dotprefix; content:".evil.example"; endswith; sid:2;)

Every rule is a record, one that is commented out too.  The addresses of a header are taken, negated ones left out; of
a rule without any, what `rule_options` finds to stand for itself.  All others are refused with their reason.  A rule
may go over several lines that end with a backslash.
Sources: Suricata user guide, rules format; Snort users manual, rules headers.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from netpersona.intel.formats.entry import Entries, entries, found
from netpersona.intel.formats.lines import label, records
from netpersona.intel.formats.rule_options import MAYBE, listed

NAME = "suricata-rules"
_ACTION = r"(?:alert|drop|sdrop|reject(?:src|dst|both)?|pass|log|block|activate|dynamic|rewrite)"
_RULE = rf"^#*\s*{_ACTION}\s+(?:[\w-]+\s*\(|[\w-]+\s+\S.*(?:->|<>|<-)\s*\S.*\()"
_SIDE = r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]|\S+"
_HEADER = rf"^#*\s*(\w+)\s+([\w-]+)\s+({_SIDE})\s+(?:{_SIDE})\s+(?:->|<>|<-)\s+({_SIDE})\s+(?:{_SIDE})\s*\("
_LONGEST = 1 << 20  # characters of a rule


def recognised(lines: pl.DataFrame) -> bool:
    """Whether most of the first lines that are no comments are rules, or there are only rules commented out."""
    joined = _joined(lines.head(500))["text"]
    rules = joined.str.contains(_RULE)
    others = joined.filter(~rules & ~joined.str.starts_with("#"))
    return bool(rules.any()) and int(rules.sum()) >= len(others)


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the rules, with each rule's message as the label and its class as the category."""
    whole = _joined(lines)
    text = pl.col("text")
    rules = records(whole.filter(text.str.contains(_RULE) | ~text.str.starts_with("#")))
    told = rules.with_columns(
        label(text.str.extract(r'\bmsg\s*:\s*"((?:[^"\\]|\\.)*)"', 1).str.replace_all(r"\\(.)", "${1}")).alias("label"),
        label(text.str.extract(r"\bclasstype\s*:\s*([\w-]+)", 1)).alias("category"),
        _reason().alias("reason"),
    )
    good = told.filter(pl.col("reason").is_null())
    headers = _headers(good)
    rest = good.join(headers, on="record", how="anti")
    options, refused = _options(rest)
    gone = pl.concat([told.drop_nulls("reason").select("record", "line", "text", "reason"), refused])
    return found(
        NAME,
        pl.concat([entries(headers), entries(options)]),
        gone.rename({"text": "raw"}),
        records=rules.height,
        unique=rules["text"].n_unique(),
    )


def _joined(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines with those that end with a backslash joined to the next; comments do not go on."""
    text = pl.col("text")
    rule = ~text.str.starts_with("#") | text.str.contains(rf"^#+\s*{_ACTION}\s")
    on = lines.select((text.str.ends_with("\\") & rule).alias("on"))["on"].to_numpy()
    if not on.any():
        return lines
    group = np.concatenate([[0], np.cumsum(~on)[:-1]])
    bare = lines.with_columns(text.str.strip_chars_end("\\"), pl.Series("group", group))
    joined = bare.group_by("group", maintain_order=True).agg(pl.col("line").first(), text.str.join(" "))
    return joined.drop("group")


def _reason() -> pl.Expr:
    """Why a line gives nothing, without a look at what it names; null where that decides."""
    text = pl.col("text")
    return (
        pl.when(~text.str.contains(_RULE))
        .then(pl.lit("no rule"))
        .when(text.str.starts_with("#"))
        .then(pl.lit("commented out"))
        .when(text.str.contains(r"^pass\s"))
        .then(pl.lit("a pass rule lets through, and lists nothing"))
        .when(text.str.len_chars() > _LONGEST)
        .then(pl.lit(f"longer than {_LONGEST} characters"))
    )


def _headers(rules: pl.DataFrame) -> pl.DataFrame:
    """The addresses and networks that stand in headers."""
    text = pl.col("text")
    sides = pl.concat_str(text.str.extract(_HEADER, 3), pl.lit(","), text.str.extract(_HEADER, 4))
    positive = sides.str.replace_all(r"!\s*\[[^\]]*\]", "").str.replace_all(r"[\[\]]", "")
    parts = rules.with_columns(positive.str.split(",").alias("raw")).explode("raw")
    return parts.with_columns(pl.col("raw").str.strip_chars()).filter(
        pl.col("raw").str.contains(r"^[0-9A-Fa-f]*[0-9:.]")
    )


def _options(rules: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What stands for itself in the options, rule by rule; and the rules in which nothing does."""
    maybe = rules.filter(pl.col("text").str.contains(MAYBE))
    rows = [listed(text) for text in maybe["text"].to_list()]
    judged = maybe.with_columns(
        pl.Series("raw", [row.value for row in rows], dtype=pl.String),
        pl.Series("type", [row.type for row in rows], dtype=pl.String),
        pl.Series("reason", [row.reason for row in rows], dtype=pl.String),
    )
    nothing = pl.lit("it names no address, host or fingerprint").alias("reason")
    others = rules.filter(~pl.col("text").str.contains(MAYBE)).with_columns(nothing)
    gone = [frame.select("record", "line", "text", "reason") for frame in (judged.drop_nulls("reason"), others)]
    return judged.filter(pl.col("reason").is_null()).drop("reason"), pl.concat(gone)
