"""What of the risk does not count now: allow-entries come and go, feeds are demoted, people refute listings."""

from __future__ import annotations

from netpersona.app.exempted import CONTEXT, of_store, present, to_bytes
from netpersona.intel.allow import AllowList
from netpersona.intel.precision import PrecisionLedger
from netpersona.ports import Store


class LiveExemptions:
    """The exemptions as they are, and were: from a store, and kept in it."""

    def __init__(self, store: Store, window: int) -> None:
        """`window`: µs.  Raises StoreError."""
        self._window = window
        self.present = of_store(store)
        self._bytes = to_bytes(self.present)
        self._basis: tuple[AllowList, PrecisionLedger] | None = None

    def follow(self, allow: AllowList, precision: PrecisionLedger, now: int) -> bool:
        """Take over what is allowed and refuted now (µs); whether anything is exempt since then, or no more."""
        if self._basis is not None and self._basis[0] is allow and self._basis[1] is precision:
            return False
        self._basis = allow, precision
        found = self.present.followed(present(allow, precision, now, self._window), now)
        if found is self.present:
            return False
        self.present, self._bytes = found, to_bytes(found)
        return True

    def context(self) -> dict[str, bytes]:
        """What the store keeps."""
        return {CONTEXT: self._bytes}
