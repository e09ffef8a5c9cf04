"""Which listed URLs were asked for: whole, by host, port and path; else their host alone, which says little.

A URL that is listed without a query was asked for with any.  Sensors tell a request only up to a length, so what two
URLs differ in beyond KEY characters is not seen.  A request to a proxy names host and port itself.  The host of a
listed URL is no listed name: most such hosts are somebody's site with one bad page, or a host of files for everybody.
"""

from __future__ import annotations

import polars as pl

KEY = 190  # characters of path and query that are compared
_PARTS = r"^([a-z]+)://(\[[0-9a-f:]+\]|[^/:?#]+)(?::([0-9]+))?(/[^#]*)?"
_PORTS = {"http": 80, "https": 443, "ftp": 21}
REQUESTS = pl.DataFrame(schema={"name": pl.String, "port": pl.UInt16, "detail": pl.String, "indicator": pl.UInt32})
HOSTS = pl.DataFrame(schema={"name": pl.String, "indicator": pl.UInt32})


def url_table(table: pl.DataFrame) -> pl.DataFrame:
    """The URLs of a table of indicators: host, port, path (without query), request (path and query), indicator."""
    rows = table.select("value", "type").with_row_index("indicator").filter(pl.col("type") == "url")
    host, request = (pl.col("value").str.extract(_PARTS, part) for part in (2, 4))
    return rows.select(
        "indicator",
        host=host.str.strip_chars("[]"),
        port=_port(pl.col("value")),
        request=request.fill_null("/"),
    ).with_columns(path=_path("request"), query=pl.col("request").str.contains("?", literal=True))


def match_requests(requests: pl.DataFrame, urls: pl.DataFrame) -> pl.DataFrame:
    """(name, port, detail, indicator) for each unique request and each listed URL that it asks for.

    `requests`: name (the host asked), port, detail (method, path and query, as sensors tell HTTP).
    """
    if urls.is_empty():
        return REQUESTS
    asked = requests.select("name", pl.col("port").cast(pl.UInt16), "detail").drop_nulls().unique(maintain_order=True)
    target = pl.col("detail").str.splitn(" ", 2).struct.field("field_1")
    asked = asked.with_columns(
        host=_host("name"), at=_port(target, "port"), request=target.str.replace(r"^[a-z]+://[^/]*", "")
    )
    asked = asked.drop_nulls("request").with_columns(path=_path("request"))
    found = [REQUESTS]
    for key, listed in (("request", urls.filter("query")), ("path", urls.filter(~pl.col("query")))):
        left, right = (rows.with_columns(key=pl.col(key).str.head(KEY)) for rows in (asked, listed))
        met = left.join(right, left_on=["host", "at", "key"], right_on=["host", "port", "key"])
        found.append(met.select(REQUESTS.columns))
    return pl.concat(found).sort(REQUESTS.columns)


def match_hosts(names: pl.Series, urls: pl.DataFrame) -> pl.DataFrame:
    """(name, indicator) for each unique name and each listed URL whose host it is."""
    if urls.is_empty():
        return HOSTS
    asked = names.cast(pl.String).drop_nulls().unique(maintain_order=True).alias("name").to_frame()
    asked = asked.with_columns(host=_host("name"))
    return asked.join(urls.select("host", "indicator"), on="host").select(HOSTS.columns).sort(HOSTS.columns)


def _port(url: pl.Expr, otherwise: str | None = None) -> pl.Expr:
    """The port that a URL names, or that its scheme has; of what is no URL (a path) the one in this column."""
    usual = url.str.extract(_PARTS, 1).replace_strict(_PORTS, default=None, return_dtype=pl.UInt16)
    named = url.str.extract(_PARTS, 3).cast(pl.UInt16, strict=False).fill_null(usual)
    return named if otherwise is None else pl.coalesce(named, otherwise)


def _host(name: str) -> pl.Expr:
    return pl.col(name).str.to_lowercase().str.strip_chars_end(".").str.strip_chars("[]")


def _path(request: str) -> pl.Expr:
    return pl.col(request).str.splitn("?", 2).struct.field("field_0")
