"""Sets of peers as the kernel will hold them: single addresses apart from prefixes, IPv4 apart from IPv6.

The split is the kernel's: an address goes into a hash set at once, a prefix into an interval set that
is rebuilt for each change.  So prefixes are aggregated and few, and addresses stay addresses.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from netpersona.flow.vm import canonical_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_WIDE = tuple(f"/{length}" for length in range(16))
# Addresses of which is kept what was worked out, as VMs of one host have many peers in common.  Resolving 1,000 VMs
# places 3,700 and asks of 1,100 whether they are any; answers bring new ones for ever, so more than that only grows.
_PLACED, _KEPT = 1 << 12, 1 << 11


@dataclass(frozen=True)
class PeerSet:
    """Peers that some rule concerns, and why they are together.

    `addresses` and `networks` are canonical text, IPv4 before IPv6, in numerical order; networks are disjoint
    and never as long as an address.  `notes` says of single members (address or prefix) why they are in.
    `shared` is False for a set that only one VM's rules use.  `spared` are addresses that were looked at and are left
    out, and why; empty text: there is nothing to tell.
    """

    addresses: tuple[str, ...]
    networks: tuple[str, ...]
    why: str
    notes: tuple[tuple[str, str], ...] = ()
    shared: bool = True
    spared: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.addresses) + len(self.networks)

    def holds(self, peer: str) -> bool:
        """Whether this address (canonical text) is a member or lies in a member prefix."""
        return peer in self._known or self._covered(peer)

    def note(self, peer: str) -> str | None:
        """What is noted of the narrowest member that covers this address; None: nothing."""
        address = ip_address(peer)
        best: tuple[int, str] | None = None
        for value, text in self.notes:
            network = ip_network(value)
            if (
                network.version == address.version
                and address in network
                and (best is None or network.prefixlen > best[0])
            ):
                best = (network.prefixlen, text)
        return None if best is None else best[1]

    def why_spared(self, peer: str) -> str:
        """Why this address is left out though something speaks for it; empty text where nothing does."""
        return dict(self.spared).get(peer, "") if self.spared else ""

    @cached_property
    def near(self) -> tuple[str, ...]:
        """The first addresses of the /16 networks of IPv4 in which the networks lie, in order."""
        v4 = self.networks[: bisect_left(self.networks, True, key=lambda text: ":" in text)]  # noqa: FBT003
        blocks = {tuple(map(int, each.split("."))) for each in {text.rsplit(".", 2)[0] for text in v4}}
        for wide in (ip_network(text) for text in v4 if text.endswith(_WIDE)):
            first = int(wide.network_address) >> 16
            blocks.update(divmod(block, 256) for block in range(first, first + (1 << 16 - wide.prefixlen)))
        return tuple([f"{high}.{low}.0.0" for high, low in sorted(blocks)])

    def of_family(self, version: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The addresses and the networks of IP version 4 or 6."""
        return self._families[version]

    def _covered(self, peer: str) -> bool:
        version, packed = _packed(peer)
        starts, ends = self._spans[version]
        at = bisect_right(starts, packed) - 1
        return at >= 0 and packed <= ends[at]

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.addresses)

    @cached_property
    def _spans(self) -> dict[int, tuple[list[bytes], list[bytes]]]:
        spans: dict[int, tuple[list[bytes], list[bytes]]] = {4: ([], []), 6: ([], [])}
        for text in self.networks:
            network = ip_network(text)
            starts, ends = spans[network.version]
            starts.append(network.network_address.packed)
            ends.append(network.broadcast_address.packed)
        return spans

    @cached_property
    def _families(self) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
        return {
            version: (
                tuple(a for a in self.addresses if (":" in a) == (version == 6)),
                tuple(n for n in self.networks if (":" in n) == (version == 6)),
            )
            for version in (4, 6)
        }


def peer_set(values: Iterable[str], why: str, notes: Iterable[tuple[str, str]] = (), *, shared: bool = True) -> PeerSet:
    """A PeerSet of these addresses and prefixes, in any order; overlapping prefixes are aggregated.

    Raises ValueError for text that is neither an address nor a prefix.
    """
    addresses: set[str] = set()
    networks: dict[int, set[Network]] = {4: set(), 6: set()}
    for value in values:
        if "/" not in value:
            addresses.add(value)
            continue
        network = ip_network(value)
        if network.prefixlen == network.max_prefixlen:
            addresses.add(str(network.network_address))
        else:
            networks[network.version].add(network)
    return PeerSet(numerically(addresses), aggregated(networks[4], networks[6]), why, tuple(sorted(set(notes))), shared)


def numerically(values: Iterable[str]) -> tuple[str, ...]:
    """Addresses, or disjoint prefixes, in canonical text: IPv4 first, in numerical order.

    Raises ValueError for other text.
    """
    return tuple(sorted(values, key=_place))


def aggregated(v4: Iterable[Network], v6: Iterable[Network]) -> tuple[str, ...]:
    """The fewest prefixes that cover exactly these, in order."""
    return tuple(str(network) for family in (v4, v6) for network in collapse_addresses(family))  # type: ignore[type-var]


def is_peer(text: str) -> bool:
    """Whether the text is an address or a prefix, and no name."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=_KEPT)
def is_address(text: str) -> bool:
    """Whether the text is an address."""
    try:
        _packed(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=_KEPT)
def canonical(address: str) -> str:
    """The one text for an address, as flow.vm.canonical_address says it, sooner.  Raises ValueError for other text."""
    try:
        if ":" not in address:
            inet_pton(AF_INET, address)  # it knows one text for each IPv4 address
            return address
        text = inet_ntop(AF_INET6, inet_pton(AF_INET6, address))
    except OSError:
        return canonical_address(address)
    return text if "." not in text else canonical_address(text)


def version_of(address: str) -> int:
    """4 or 6, for canonical address text."""
    return 6 if ":" in address else 4


@lru_cache(maxsize=_PLACED)
def _place(value: str) -> tuple[int, bytes]:
    """What orders addresses and prefixes by their numbers."""
    return _packed(value.partition("/")[0])


def _packed(address: str) -> tuple[int, bytes]:
    try:
        return (6, inet_pton(AF_INET6, address)) if ":" in address else (4, inet_pton(AF_INET, address))
    except (OSError, ValueError) as error:
        raise ValueError(f"{address!r} is no address") from error
