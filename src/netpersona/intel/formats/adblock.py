"""Filter lists for browsers and DNS (Adblock Plus, uBlock Origin, AdGuard): `||evil.example^$third-party`.

Only what names a host, or one URL, gives an indicator.  Exceptions (@@), what hides parts of a page (##), patterns of
addresses, and rules that hold on some sites only, or change a page instead of blocking, are refused with their reason.
Comments begin with `!`, in lists for DNS also with `#`.  A bare name counts where the list is made of bare names.
Sources: Adblock Plus filter cheatsheet, AdGuard DNS filtering syntax, uBlock Origin static filter syntax.
"""

from __future__ import annotations

import polars as pl

from netpersona.intel.formats.entry import Entries, found
from netpersona.intel.formats.lines import records

NAME = "adblock"
_HEAD = r"(?i)^\[(?:adblock|ublock|adguard|ubol)"
_COMMENT = r"^(?:!|\[[^\]]*\]$|#{4,}|#[^#@?$%]|#$)"
_ANCHORED = r"^(?:@@)?\|\|"
_BARE = r"^(?:\*\.)?(?:[A-Za-z0-9_\x{80}-\x{10ffff}][\w\x{80}-\x{10ffff}-]*\.)+[A-Za-z\x{80}-\x{10ffff}][\w-]*$"
_SENT = r"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+(\S+)"
_PATTERN = r"^\|?\|?([^$]*?)[\^|*]*(?:\$.*)?$"
_OPTIONS = r"^[^$]*\$(.+)$"
_SITES = r"(?i)(?:^|,)(?:(?:domain|from|to)=(?:~[^|,]*\|)*[^~,|]|ctag=|client=|method=|denyallow=|app=)"
_CHANGES = (
    r"(?i)(?:^|,)(?:removeparam|queryprune|csp|permissions|redirect|redirect-rule|rewrite|replace|cookie|removeheader|"
    r"header|generichide|ghide|elemhide|ehide|specifichide|shide|urltransform|uritransform|jsonprune|hls|stealth|"
    r"dnsrewrite|urlskip|inline-script|inline-font|genericblock|webrtc)(?:=|,|$)"
)


def recognised(lines: pl.DataFrame) -> bool:
    """Whether the list says so in its first lines, or its rules begin with `||`, or are names below `!` comments."""
    head = lines.head(500)["text"]
    if head.str.contains(_HEAD).any():
        return True
    rules = head.filter(~head.str.contains(_COMMENT))
    remarks = int(head.str.contains("^!").sum())
    anchored = int(rules.str.contains(_ANCHORED).sum())
    named = int(rules.str.contains(f"{_BARE}|{_SENT}").sum()) if remarks else 0
    return anchored * 2 > len(rules) or (remarks > 0 and (anchored + named) * 2 >= len(rules))


def read(lines: pl.DataFrame) -> Entries:
    """The entries of the list; every rule is a record."""
    rows = records(lines.filter(~pl.col("text").str.contains(_COMMENT)))
    names = int(rows["text"].str.contains(_BARE).sum()) > int(rows["text"].str.contains(_ANCHORED).sum())
    text = pl.col("text")
    pattern = pl.coalesce(text.str.extract(_SENT, 1), text.str.extract(_PATTERN, 1)).str.strip_chars_end("/")
    named = rows.with_columns(
        pattern.alias("pattern"),
        text.str.extract(_OPTIONS, 1).alias("options"),
        text.str.contains(r"^\|?(?:https?|wss?)://").alias("whole"),
    )
    table = named.with_columns(_reason(names=names).alias("reason"))
    path = pl.col("whole") | pl.col("pattern").str.contains("/", literal=True)
    kept = table.filter(pl.col("reason").is_null()).with_columns(
        pl.col("pattern").str.strip_prefix("*.").alias("raw"), pl.when(path).then(pl.lit("url")).alias("type")
    )
    refused = table.drop_nulls("reason").rename({"text": "raw"})
    return found(NAME, kept, refused, unique=rows["text"].n_unique())


def _reason(*, names: bool) -> pl.Expr:
    """Why a rule gives no indicator, the first that holds; null where it gives one."""
    text, pattern, options = pl.col("text"), pl.col("pattern"), pl.col("options")
    anchored = text.str.contains(r"^\|\|?[^|]") | pl.col("whole") | text.str.contains(_SENT)
    return (
        pl.when(text.str.starts_with("@@"))
        .then(pl.lit("an exception: it lets through, and lists nothing"))
        .when(text.str.contains(r"#@?[?$%]?@?#|\$\$|^[^/|]*#@#"))
        .then(pl.lit("it hides part of a page, and blocks no host"))
        .when(text.str.contains(r"^/.+/(?:\$[^/]*)?$"))
        .then(pl.lit("a regular expression, which names no host"))
        .when(options.str.contains(r"(?:^|,)badfilter(?:,|$)"))
        .then(pl.lit("it takes another rule back, and lists nothing"))
        .when(options.str.contains(_CHANGES))
        .then(pl.lit("it changes pages, and blocks no host"))
        .when(options.str.contains(_SITES))
        .then(pl.lit("it holds on some sites or for some programs only"))
        .when(~anchored & ~(pl.lit(names) & text.str.contains(_BARE)))
        .then(pl.lit("a pattern of addresses, which names no host"))
        .when(pattern.str.strip_prefix("*.").str.contains(r"[*^|]"))
        .then(pl.lit("a pattern with wildcards, which names no single host"))
    )
