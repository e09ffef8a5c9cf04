"""The fields of a packet that our rules ask for: where they stand, what they rest on, how their values are written.

`needs` says for each table family what must hold so that the field is there at all: `ip saddr` is one only of an
IPv4 packet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as member_of
from ipaddress import ip_network

from netpersona.adapters.enforcers.nftables import expressions as x

Needs = Mapping[str, tuple[tuple[str, bytes], ...]]
Load = Callable[[int], bytes]
_NOTHING: Needs = {"inet": (), "bridge": ()}
_WORDS = {"reply": 1, "original": 0, "ipv4": 2, "ipv6": 10, "ip": 0x0800, "ip6": 0x86DD, "arp": 0x0806, "syn": 2,
          "ack": 16, "rst": 4}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A field: how it is loaded into a register, the number nft gives its type, its length in bytes."""

    name: str
    load: Load
    kind: int
    length: int
    needs: Needs = member_of(default_factory=lambda: _NOTHING)
    flags: Mapping[str, int] | None = None  # a field of bits of which one must be set
    shift: int = 0  # bits below it in its bytes

    def bits(self, word: str) -> int:
        """One value as a number."""
        return _WORDS[word] if word in _WORDS else int(word, 0)

    def span(self, word: str) -> tuple[bytes, bytes]:
        """The first and the last value that the word means, equal for a single value."""
        if self.kind in {_IPV4, _IPV6}:
            network = ip_network(word)
            return network.network_address.packed, network.broadcast_address.packed
        if self.kind == _ETHER:
            return (bytes.fromhex(word.replace(":", "")),) * 2
        low, _, high = word.partition("-")
        first, last = self.bits(low), self.bits(high or low)
        first, last = first << self.shift, last << self.shift
        return first.to_bytes(self.length, "big"), last.to_bytes(self.length, "big")


_IPV4, _IPV6, _ETHER = 7, 8, 9


def _meta(key: int) -> Load:
    return lambda register: x.meta(key, register)


def _payload(base: x.Base, offset: int, length: int) -> Load:
    return lambda register: x.payload(base, offset, length, register)


def _fragment(register: int) -> bytes:
    return x.extension(44, 2, 2, register) + x.masked(b"\xff\xf8", register)


def _of(name: str, load: Load, kind: int, length: int, **needs: tuple[tuple[str, bytes], ...]) -> Field:
    return Field(name, load, kind, length, {**_NOTHING, **needs})


_L4 = "meta l4proto"
_IS4 = {"inet": (("meta nfproto", b"\x02"),), "bridge": (("meta protocol", b"\x08\x00"),)}
_IS6 = {"inet": (("meta nfproto", b"\x0a"),), "bridge": (("meta protocol", b"\x86\xdd"),)}
_ARP = {"inet": (), "bridge": (("meta protocol", b"\x08\x06"),)}
_STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}


def _needs(base: Mapping[str, tuple[tuple[str, bytes], ...]], protocol: int | None = None) -> dict[str, tuple]:  # type: ignore[type-arg]
    more = () if protocol is None else ((_L4, bytes([protocol])),)
    return {family: (*found, *more) for family, found in base.items()}


def _all() -> list[Field]:
    net, link, tran = x.Base.NETWORK, x.Base.LINK, x.Base.TRANSPORT
    tcp, udp = _needs(_NOTHING, 6), _needs(_NOTHING, 17)
    return [
        _of("ip saddr", _payload(net, 12, 4), _IPV4, 4, **_IS4),
        _of("ip daddr", _payload(net, 16, 4), _IPV4, 4, **_IS4),
        _of("ip frag-off", _payload(net, 6, 2), 4, 2, **_IS4),
        _of("ip6 saddr", _payload(net, 8, 16), _IPV6, 16, **_IS6),
        _of("ip6 daddr", _payload(net, 24, 16), _IPV6, 16, **_IS6),
        _of("ip6 hoplimit", _payload(net, 7, 1), 4, 1, **_IS6),
        Field("frag frag-off", _fragment, 4, 2, _IS6, shift=3),
        _of("meta nfproto", _meta(15), 2, 1),
        _of("meta l4proto", _meta(16), 12, 1),
        _of("meta protocol", _meta(1), 10, 2),
        _of("th sport", _payload(tran, 0, 2), 13, 2),
        _of("th dport", _payload(tran, 2, 2), 13, 2),
        _of("tcp sport", _payload(tran, 0, 2), 13, 2, **tcp),
        _of("tcp dport", _payload(tran, 2, 2), 13, 2, **tcp),
        _of("tcp flags", _payload(tran, 13, 1), 15, 1, **tcp),
        _of("udp sport", _payload(tran, 0, 2), 13, 2, **udp),
        _of("udp dport", _payload(tran, 2, 2), 13, 2, **udp),
        _of("icmp type", _payload(tran, 0, 1), 14, 1, **_needs(_NOTHING, 1)),
        _of("icmp id", _payload(tran, 4, 2), 13, 2, **_needs(_NOTHING, 1)),
        _of("icmpv6 type", _payload(tran, 0, 1), 29, 1, **_needs(_NOTHING, 58)),
        _of("icmpv6 id", _payload(tran, 4, 2), 13, 2, **_needs(_NOTHING, 58)),
        _of("icmpv6 taddr", _payload(tran, 8, 16), _IPV6, 16, **_needs(_NOTHING, 58)),
        _of("ether saddr", _payload(link, 6, 6), _ETHER, 6),
        _of("arp saddr ether", _payload(net, 8, 6), _ETHER, 6, **_ARP),
        _of("arp saddr ip", _payload(net, 14, 4), _IPV4, 4, **_ARP),
        _of("iif", _meta(4), 20, 4),
        _of("oif", _meta(5), 20, 4),
        _of("iifname", _meta(6), 41, 16),
        _of("oifname", _meta(7), 41, 16),
        _of("ct direction", lambda register: x.tracked(1, register), 27, 1),
        Field("ct state", lambda register: x.tracked(0, register), 26, 4, flags=_STATES),
        Field("ct status", lambda register: x.tracked(2, register), 28, 4, flags={"dnat": 32}),
    ]


FIELDS: dict[str, Field] = {field.name: field for field in _all()}
