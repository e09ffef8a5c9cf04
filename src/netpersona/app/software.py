"""What software each VM runs, from all that tells of it: Zeek's logs among the sources, and bills of material."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import polars as pl

from netpersona.adapters.software.cyclonedx import read_bill
from netpersona.adapters.software.zeek_log import newest, read_software, software_logs
from netpersona.flow.table import latest_banners
from netpersona.flow.vm import Vm, VmId, vm_id_of_address
from netpersona.intel.software import Software, named_in
from netpersona.persona.resource import rfc3339
from netpersona.pipeline import Fleet

Evidence = Mapping[VmId, tuple[Software, ...]]


def seen(sources: Sequence[Path], fleet: Fleet) -> Evidence:
    """The servers' software that Zeek's logs among these sources tell of.  Raises SourceError."""
    told = newest(chain.from_iterable(read_software(log) for log in software_logs(sources)))
    found: dict[VmId, tuple[Software, ...]] = {}
    for address, software in sorted(told.items()):
        vm = fleet.owners.get(address) or (vm_id_of_address(address) if fleet.inferred else None)
        if vm is not None:
            found[vm] = (*found.get(vm, ()), *software)
    return found


def heard(banners: pl.DataFrame, fleet: Fleet) -> Evidence:
    """The software of which VMs' servers told in their banners (BANNER_SCHEMA)."""
    found: dict[VmId, tuple[Software, ...]] = {}
    for start, transport, address, port, text in latest_banners(banners).iter_rows():
        vm = fleet.owners.get(address) or (vm_id_of_address(address) if fleet.inferred else None)
        if vm is None:
            continue
        for product, version in named_in(text):
            said = Software(product, version, port, transport, said=text, source=f"its banner of {rfc3339(start)}")
            found[vm] = (*found.get(vm, ()), said)
    return found


def billed(vms: Iterable[Vm]) -> Evidence:
    """What the bills of material of these VMs list.  Raises SourceError."""
    return {vm.name: read_bill(Path(vm.bill)) for vm in vms if vm.bill is not None}


def joined(known: Evidence, *newer: Evidence) -> Evidence:
    """Evidence with newer evidence: of a product at a port, what was seen last; of a bill, the bill as it is now."""
    found = {vm: {(s.product, s.port): s for s in software} for vm, software in known.items()}
    for each in newer:
        for vm, software in each.items():
            sources = {s.source for s in software}
            kept = {key: s for key, s in found.get(vm, {}).items() if s.source not in sources}
            found[vm] = {**kept, **{(s.product, s.port): s for s in software}}
    return {vm: tuple(found[vm][key] for key in sorted(found[vm], key=_order)) for vm in sorted(found)}


def _order(key: tuple[str, int | None]) -> tuple[str, int]:
    return (key[0], key[1] or 0)
