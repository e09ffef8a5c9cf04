"""What of the risk does not count, kept from run to run: the exemptions as a store has them, and as they are now."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.intel.allow import AllowList
from netpersona.intel.precision import PrecisionLedger
from netpersona.persona.model import Exempt, RiskTerm
from netpersona.ports import Store
from netpersona.risk.exemptions import Exemption, Exemptions, of_allow_entry, of_ledger

CONTEXT = "exemptions"  # the key under which a store keeps them
ACQUITTED = "acquitted: what spoke against it so far is set aside"  # begins the words of a version that acquits
_VERSION = 1


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    held: tuple[Exemption, ...]


def present(allow: AllowList, precision: PrecisionLedger, at: int, window: int) -> list[Exemption]:
    """What exempts terms at `at` (µs): allow-entries from now on, feeds and listings since the word on them."""
    return [
        *(of_allow_entry(entry, at) for entry in allow.entries if entry.in_force(at)),
        *of_ledger(precision, window),
    ]


def of_store(store: Store) -> Exemptions:
    """The exemptions that the store keeps.  Raises StoreError for damaged ones."""
    return of_bytes(store.context(CONTEXT))


def terms_of(store: Store, vm: VmId, at: int) -> tuple[RiskTerm, ...]:
    """All risk terms of a VM, each marked with what exempts it at `at` (µs).  Raises StoreError.

    A person's acquittal exempts what was raised before it, for good.
    """
    said = [version for version in store.history(vm) if version.why.startswith(ACQUITTED) and version.at <= at]
    terms = of_store(store).on(store.terms(vm), at)
    if not said:
        return terms
    last = max(said, key=lambda version: version.at)
    exempt = Exempt(last.at, None, f"the VM was {last.why}")
    return tuple(replace(term, exempt=exempt) if term.at <= last.at else term for term in terms)


def to_bytes(exemptions: Exemptions) -> bytes:
    """The exemptions as canonical JSON."""
    return msgspec.json.encode(_Stored(_VERSION, exemptions.held))


def of_bytes(content: bytes | None) -> Exemptions:
    """What to_bytes() was given; none for None.  Raises StoreError for anything else."""
    if content is None:
        return Exemptions()
    try:
        stored = msgspec.json.decode(content, type=_Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"the stored exemptions are damaged: {error}; restore a copy of the store") from error
    if stored.version != _VERSION:
        raise StoreError(f"the stored exemptions have version {stored.version}; this program reads {_VERSION}")
    return Exemptions(stored.held)
