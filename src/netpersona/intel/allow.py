"""Allow-lists: peers and names that no feed can make suspicious.  They always win, end, and carry their reason."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from netpersona.flow.vm import canonical_address


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
            network = ip_network(canonical_address(peer))
        except ValueError:
            return None
        return self._network_entry(network, at)

    def name_entry(self, name: str, at: int | None) -> AllowEntry | None:
        """The entry that covers this name at `at`, the narrowest first."""
        rest = name.lower().rstrip(".")
        while rest:
            for entry in self._names.get(rest, ()):
                if entry.in_force(at):
                    return entry
            rest = rest.partition(".")[2]
        return None

    def covers(self, value: str, at: int | None) -> bool:
        """Whether an entry in force at `at` (µs) holds this address, network, name or URL's host."""
        return self.entry(value, at) is not None

    def entry(self, value: str, at: int | None) -> AllowEntry | None:
        """The entry that covers this address, network, name or URL's host at `at`, the narrowest first."""
        host = _host(value)
        network = _network(host)
        return self.name_entry(host, at) if network is None else self._network_entry(network, at)

    def networks(self, at: int | None) -> tuple[IPv4Network | IPv6Network, ...]:
        """The addresses and networks in force at `at`, in a fixed order."""
        held = [network for network, entries in self._networks.items() if any(e.in_force(at) for e in entries)]
        return tuple(sorted(held, key=lambda n: (n.version, int(n.network_address), n.prefixlen)))

    def names(self, at: int | None) -> tuple[str, ...]:
        """The domains in force at `at`, sorted."""
        return tuple(sorted(name for name, entries in self._names.items() if any(e.in_force(at) for e in entries)))

    def ends(self) -> tuple[int, ...]:
        """Every instant (µs) at which an entry ends, sorted."""
        return tuple(sorted({entry.until for entry in self.entries if entry.until is not None}))

    def _network_entry(self, network: IPv4Network | IPv6Network, at: int | None) -> AllowEntry | None:
        for length in sorted({found.prefixlen for found in self._networks}, reverse=True):
            if length <= network.prefixlen:
                for entry in self._networks.get(network.supernet(new_prefix=length), ()):
                    if entry.in_force(at):
                        return entry
        return None

    @cached_property
    def _networks(self) -> dict[IPv4Network | IPv6Network, list[AllowEntry]]:
        found: dict[IPv4Network | IPv6Network, list[AllowEntry]] = {}
        for entry in self._ordered:
            network = _network(entry.value)
            if network is not None:
                found.setdefault(network, []).append(entry)
        return found

    @cached_property
    def _names(self) -> dict[str, list[AllowEntry]]:
        found: dict[str, list[AllowEntry]] = {}
        for entry in self._ordered:
            if _network(entry.value) is None:
                found.setdefault(entry.value.lower().rstrip("."), []).append(entry)
        return found

    @property
    def _ordered(self) -> list[AllowEntry]:
        return sorted(self.entries, key=lambda e: (e.value, e.until is not None, e.until or 0, e.comment))


EMPTY = AllowList()


def _host(value: str) -> str:
    """The host of a URL; any other value as it is."""
    try:
        return (urlsplit(value).hostname if "://" in value else None) or value
    except ValueError:
        return value


def _network(value: str) -> IPv4Network | IPv6Network | None:
    """The value as a network, None where it is a name; IPv4-mapped IPv6 is IPv4."""
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ip_network((mapped, network.prefixlen - 96), strict=False)
    return network
