"""How the evidence of VMs' software is kept in a store: as JSON, by VM, in the order of their names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.intel.software import Software

MOST = 2_000  # pieces of evidence of one VM
_KIND = dict[str, list[Software]]


def to_bytes(software: Mapping[VmId, tuple[Software, ...]]) -> bytes:
    """The evidence of every VM."""
    return msgspec.json.encode({str(vm): list(each[:MOST]) for vm, each in sorted(software.items()) if each})


def of_bytes(content: bytes | None) -> dict[VmId, tuple[Software, ...]]:
    """What was kept; nothing for a store that was never told.  Raises StoreError."""
    if content is None:
        return {}
    try:
        found = msgspec.json.decode(content, type=_KIND)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the stored evidence of software cannot be read: {error}; replay again") from error
    return {VmId(vm): tuple(each) for vm, each in found.items()}
