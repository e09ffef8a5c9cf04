"""A column of address text, made canonical: only its distinct values are looked at, and IPv4 not one by one."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from netpersona.flow.vm import canonical_address

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"^{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}$"


def canonical_addresses(column: pl.Series) -> pl.Series:
    """The column with each address in its one text (RFC 5952; IPv4-mapped becomes IPv4); null where it is none."""
    values = column.unique().drop_nulls()
    others = values.filter(~values.str.contains(_IPV4))
    if others.is_empty():
        return column
    known = others.to_list()
    meant = [_canonical(text) for text in known]
    if meant == known:
        return column
    return column.replace_strict(known, meant, default=column, return_dtype=pl.String)


@lru_cache(maxsize=65_536)
def _canonical(text: str) -> str | None:
    try:
        return None if "%" in text else canonical_address(text)
    except ValueError:
        return None
