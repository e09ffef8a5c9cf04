"""Allow-lists: peers and names that no feed can make suspicious.  They always win, end, and carry their reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from netpersona.flow.vm import canonical_address
from netpersona.intel.covering import Covering, Network, as_network


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One thing that is always allowed: an address, a network, or a domain with all names below it."""

    value: str  # canonical
    until: int | None  # µs, exclusive; None: no end
    comment: str
    author: str | None = None

    def in_force(self, at: int | None) -> bool:
        """Whether the entry holds at the instant `at` (µs); None asks for entries that hold always."""
        return self.until is None or (at is not None and at < self.until)


@dataclass(frozen=True)
class AllowList:
    """All allow-entries, from wherever they came, as one value; the order of the entries means nothing."""

    entries: tuple[AllowEntry, ...] = ()

    def covers_address(self, peer: str, at: int | None) -> bool:
        """Whether an entry in force at `at` (µs) holds this address.  Text that is no address is never covered."""
        return self.address_entry(peer, at) is not None

    def covers_name(self, name: str, at: int | None) -> bool:
        """Whether an entry in force at `at` (µs) names this domain or one above it."""
        return self.name_entry(name, at) is not None

    def address_entry(self, peer: str, at: int | None) -> AllowEntry | None:
        """The entry that covers this address at `at`, the narrowest first."""
        try:
            network = as_network(canonical_address(peer))
        except ValueError:
            return None
        assert network is not None
        return _first(self._covering.of_network(network), at)

    def name_entry(self, name: str, at: int | None) -> AllowEntry | None:
        """The entry that covers this name at `at`, the narrowest first."""
        return _first(self._covering.of_name(name), at)

    def covers(self, value: str, at: int | None) -> bool:
        """Whether an entry in force at `at` (µs) holds this address, network, name or URL's host."""
        return self.entry(value, at) is not None

    def entry(self, value: str, at: int | None) -> AllowEntry | None:
        """The entry that covers this address, network, name or URL's host at `at`, the narrowest first."""
        return _first(self._covering.of(value), at)

    def networks(self, at: int | None) -> tuple[Network, ...]:
        """The addresses and networks in force at `at`, in a fixed order."""
        held = [network for network, entries in self._covering.networks.items() if _first(entries, at) is not None]
        return tuple(sorted(held, key=lambda n: (n.version, int(n.network_address), n.prefixlen)))

    def names(self, at: int | None) -> tuple[str, ...]:
        """The domains in force at `at`, sorted."""
        return tuple(sorted(n for n, entries in self._covering.names.items() if _first(entries, at) is not None))

    def ends(self) -> tuple[int, ...]:
        """Every instant (µs) at which an entry ends, sorted."""
        return tuple(sorted({entry.until for entry in self.entries if entry.until is not None}))

    @cached_property
    def _covering(self) -> Covering[AllowEntry]:
        ordered = sorted(self.entries, key=lambda e: (e.value, e.until is not None, e.until or 0, e.comment))
        return Covering((entry.value, entry) for entry in ordered)


EMPTY = AllowList()


def _first(entries: Iterable[AllowEntry], at: int | None) -> AllowEntry | None:
    return next((entry for entry in entries if entry.in_force(at)), None)
