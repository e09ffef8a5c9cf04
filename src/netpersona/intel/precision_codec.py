"""The precision ledger as bytes for a store: canonical JSON, so that equal ledgers are equal bytes."""

from __future__ import annotations

import msgspec

from netpersona.intel.precision import PrecisionLedger, Record

_VERSION = 1


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    feeds: dict[str, Record]


def to_bytes(ledger: PrecisionLedger) -> bytes:
    """The ledger as bytes."""
    return msgspec.json.encode(_Stored(_VERSION, dict(ledger.feeds)), order="sorted")


def of_bytes(content: bytes | None) -> PrecisionLedger:
    """The ledger that to_bytes() was given; an empty one for None.  Raises ValueError for anything else."""
    if content is None:
        return PrecisionLedger()
    try:
        stored = msgspec.json.decode(content, type=_Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"a stored ledger of feeds is damaged: {error}") from error
    if stored.version != _VERSION:
        raise ValueError(f"a stored ledger of feeds has version {stored.version}; this program reads {_VERSION}")
    return PrecisionLedger(stored.feeds)
