"""An IndicatorSet as bytes: one line with version and checksum, one of JSON with the allow-list, then Arrow IPC (zstd).

The checksum is read first, because damaged Arrow data can end the whole process instead of raising.
"""

from __future__ import annotations

import io
import json
from dataclasses import astuple
from hashlib import sha256

import polars as pl

from netpersona.intel.allow import AllowEntry, AllowList
from netpersona.intel.indicator import INDICATOR_SCHEMA

_HEAD = b"netpersona-indicators 1 "


def encode(table: pl.DataFrame, allow: AllowList) -> bytes:
    """The bytes of a table of indicators and its allow-list."""
    target = io.BytesIO()
    table.write_ipc(target, compression="zstd")
    body = allow_bytes(allow) + b"\n" + target.getvalue()
    return _HEAD + _checksum(body) + b"\n" + body


def decode(content: bytes) -> tuple[pl.DataFrame, AllowList]:
    """What encode() was given.  Raises ValueError for bytes of another kind or version."""
    head, _, body = content.partition(b"\n")
    if not head.startswith(_HEAD):
        raise ValueError(f"not a stored set of indicators: it opens with {head[:40]!r}, expected {_HEAD!r}")
    if head != _HEAD + _checksum(body):
        raise ValueError("a stored set of indicators is damaged: its checksum is another")
    allow, _, arrow = body.partition(b"\n")
    try:
        entries = tuple(AllowEntry(*entry) for entry in json.loads(allow))
        table = pl.read_ipc(io.BytesIO(arrow))
    except (ValueError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"a stored set of indicators is damaged: {error}") from error
    if dict(table.schema) != dict(pl.Schema(INDICATOR_SCHEMA)):
        raise ValueError(f"a stored set of indicators has other columns than this version: {table.columns}")
    return table, AllowList(entries)


def _checksum(body: bytes) -> bytes:
    return sha256(body).hexdigest().encode()


def allow_bytes(allow: AllowList) -> bytes:
    """An allow-list as one line of JSON, the same for equal lists in any order."""
    entries = sorted(allow.entries, key=lambda entry: json.dumps(astuple(entry)))
    return json.dumps([astuple(entry) for entry in entries], ensure_ascii=True).encode()
