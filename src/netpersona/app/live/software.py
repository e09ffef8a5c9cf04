"""What software the running VMs are known to have: bills of material, read again when they change, and banners."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from netpersona.adapters.software import evidence
from netpersona.app import software
from netpersona.app.software import Evidence
from netpersona.errors import SourceError
from netpersona.flow.vm import Vm, VmId
from netpersona.pipeline import Fleet


@dataclass(slots=True)
class LiveSoftware:
    """The evidence by VM; `errors` says which bill of material cannot be read now, and why: its last reading stays."""

    known: Evidence = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    _read: dict[str, tuple[int, int]] = field(default_factory=dict)  # bill -> its time of change (ns) and size

    @classmethod
    def of_bytes(cls, content: bytes | None) -> LiveSoftware:
        """Go on with what a store kept.  Raises StoreError."""
        return cls(evidence.of_bytes(content))

    def to_bytes(self) -> bytes:
        """What the store keeps."""
        return evidence.to_bytes(self.known)

    def look(self, vms: Iterable[Vm]) -> bool:
        """Read the bills of material of these VMs that have changed; whether anything is known now that was not."""
        billed = [vm for vm in vms if vm.bill is not None]
        bills = {str(vm.bill) for vm in billed}
        self.errors = {path: why for path, why in self.errors.items() if path in bills}
        self._read = {path: state for path, state in self._read.items() if path in bills}
        return self._joined(*(self._bill(vm) for vm in billed))

    def hear(self, banners: pl.DataFrame, fleet: Fleet) -> bool:
        """Take what servers said (BANNER_SCHEMA); whether anything is known now that was not."""
        return bool(banners.height) and self._joined(software.heard(banners, fleet))

    def let_go(self, vms: Collection[VmId]) -> None:
        """Know nothing any more of these VMs, which are gone for long."""
        if not self.known.keys().isdisjoint(vms):
            self.known = {vm: found for vm, found in self.known.items() if vm not in vms}

    def _bill(self, vm: Vm) -> Evidence:
        path = str(vm.bill)
        try:
            found = Path(path).stat()
            state = (found.st_mtime_ns, found.st_size)
            if self._read.get(path) == state:
                return {}
            listed = software.billed([vm])
            self._read[path] = state
            self.errors.pop(path, None)
        except OSError as error:
            self.errors[path] = f"{path}: {error.strerror}; what it said last stays"
        except SourceError as error:
            self._read[path] = state  # until it changes
            self.errors[path] = f"{error}; what it said last stays"
        else:
            return listed
        return {}

    def _joined(self, *newer: Evidence) -> bool:
        known = software.joined(self.known, *(each for each in newer if each))
        if known == self.known:
            return False
        self.known = known
        return True
