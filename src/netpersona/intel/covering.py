"""What stands under an address, a network or a domain, and who asks about something inside it: the narrowest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
Network = IPv4Network | IPv6Network


class Covering(Generic[T]):
    """Things by the value that they are about; a domain stands for itself and every name below it."""

    def __init__(self, things: Iterable[tuple[str, T]]) -> None:
        """Of things under one value the first given comes first."""
        self.networks: dict[Network, list[T]] = {}
        self.names: dict[str, list[T]] = {}
        for value, thing in things:
            network = as_network(value)
            if network is None:
                self.names.setdefault(value.lower().rstrip("."), []).append(thing)
            else:
                self.networks.setdefault(network, []).append(thing)
        self._lengths = sorted({network.prefixlen for network in self.networks}, reverse=True)

    def of(self, value: str) -> Iterator[T]:
        """What covers an address, a network, a name or a URL's host."""
        host = _host(value)
        network = as_network(host)
        return self.of_name(host) if network is None else self.of_network(network)

    def of_network(self, network: Network) -> Iterator[T]:
        """What covers a network whole, or an address."""
        for length in self._lengths:
            if length <= network.prefixlen:
                yield from self.networks.get(network.supernet(new_prefix=length), ())

    def of_name(self, name: str) -> Iterator[T]:
        """What stands under this name, or one above it."""
        rest = name.lower().rstrip(".")
        while rest:
            yield from self.names.get(rest, ())
            rest = rest.partition(".")[2]


def as_network(value: str) -> Network | None:
    """The value as a network, None where it is a name; IPv4-mapped IPv6 is IPv4."""
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ip_network((mapped, network.prefixlen - 96), strict=False)
    return network


def _host(value: str) -> str:
    """The host of a URL; any other value as it is."""
    try:
        return (urlsplit(value).hostname if "://" in value else None) or value
    except ValueError:
        return value
