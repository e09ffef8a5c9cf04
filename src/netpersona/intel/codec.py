"""An IndicatorSet as bytes: one line with the version, one line of JSON with the allow-list, then Arrow IPC (zstd)."""

from __future__ import annotations

import io
import json
from dataclasses import astuple

import polars as pl

from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.indicator import INDICATOR_SCHEMA

_HEAD = b"netpersona-indicators 1"


def encode(table: pl.DataFrame, allow: AllowList) -> bytes:
    """The bytes of a table of indicators and its allow-list."""
    target = io.BytesIO()
    table.write_ipc(target, compression="zstd")
    return b"\n".join([_HEAD, allow_bytes(allow), target.getvalue()])


def decode(content: bytes) -> tuple[pl.DataFrame, AllowList]:
    """What encode() was given.  Raises ValueError for bytes of another kind or version."""
    head, _, rest = content.partition(b"\n")
    if head != _HEAD:
        raise ValueError(f"not a stored set of indicators: it opens with {head[:40]!r}, expected {_HEAD!r}")
    allow, _, arrow = rest.partition(b"\n")
    try:
        entries = tuple(AllowEntry(*entry) for entry in json.loads(allow))
        table = pl.read_ipc(io.BytesIO(arrow))
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"a stored set of indicators is damaged: {error}") from error
    if dict(table.schema) != dict(pl.Schema(INDICATOR_SCHEMA)):
        raise ValueError(f"a stored set of indicators has other columns than this version: {table.columns}")
    return table, AllowList(entries)


def allow_bytes(allow: AllowList) -> bytes:
    """An allow-list as one line of JSON, the same for equal lists in any order."""
    entries = sorted(allow.entries, key=lambda entry: json.dumps(astuple(entry)))
    return json.dumps([astuple(entry) for entry in entries], ensure_ascii=True).encode()
