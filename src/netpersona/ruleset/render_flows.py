"""Established flows where the kernel tracks none: bridged taps, on a kernel without connection tracking for bridges.

The table then remembers flows itself, in sets that its rules fill with every packet that was let through:

    opened.4  opened.6      flows that a VM opened          both with the VM's side first:
    answered.4 ...          those of them that were answered    interface . VM . port . peer . port . protocol
    received.4 ...          flows opened to a VM
    served.4 ...            those of them that the VM answered

So a packet is new, established or a reply as connection tracking would say, with these differences, all told in
docs/enforcement.md: protocols without ports (but echo) are always new; ICMP errors to a VM pass where only what
concerns established flows stops them, and those that a VM sends are new; a flow older than the table is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netpersona.ruleset.endings import NOT_IP, SPOOFED
from netpersona.ruleset.model import PORTED, VmRules
from netpersona.ruleset.nft_text import address, comment, protocols
from netpersona.ruleset.peers import version_of
from netpersona.ruleset.tables import Filled

_SETS = ("opened", "answered", "received", "served")
_SIZE = 1 << 18  # flows that a set holds; beyond it a flow stays new, and is asked every rule
OPENING = "tcp flags & (syn | ack) == syn"  # it belongs to no established flow, whatever was remembered
ONLY_IP = f"meta protocol != {{ ip, ip6, arp }} counter goto {NOT_IP} {comment('not IP')}"
ADDRESS_RESOLUTION = "meta protocol arp return"

_PORTS = protocols(PORTED)
_OTHERS = protocols(name for name in PORTED if name != "tcp")
_TCP_LASTS, _OTHERS_LAST, _UNANSWERED_LAST = 86_400, 180, 120  # seconds
_ERRORS = {4: "icmp type { 3, 11, 12 }", 6: "icmpv6 type { 1, 2, 3, 4 }"}
_ECHO = {4: ("icmp type { 0, 8 }", "icmp id"), 6: ("icmpv6 type { 128, 129 }", "icmpv6 id")}
_IP = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True)
class Way:
    """Packets that a VM sends, or that it is sent: where its end stands in them, and what their flows are called."""

    interface: str  # iif | oif
    own: tuple[str, str]  # saddr, sport
    peer: tuple[str, str]
    asked: tuple[str, str]  # sets of flows in which these packets go with the flow: all, answered ones
    replied: tuple[str, str]  # those in which they answer

    def replies(self, version: int) -> tuple[str, ...]:
        """Appended to a condition on ports: the packet answers a flow."""
        return (f" {_PORTS} {self._key(version)} @{self.replied[0]}.{version}",)

    def lines(self, reply: str, going: str) -> Iterator[str]:
        """Lead replies and established flows to their verdicts."""
        for version in _IP:
            for condition, key in self._keys(version):
                yield f"{condition} {key} @{self.replied[0]}.{version} {reply}"
                yield f"{condition} {key} @{self.asked[1]}.{version} {going}"
        if self.interface == "oif":
            for errors in _ERRORS.values():
                yield f"{errors} {going}"

    def track(self) -> Iterator[str]:
        """Remember the flow of a packet that was let through."""
        for version in _IP:
            for condition, key, lasting in self._lasting(version):
                renewed = f"{key} timeout {lasting}s }}"
                every, answered = (f"@{name}.{version}" for name in self.asked)
                asked, served = (f"@{name}.{version}" for name in self.replied)
                yield f"{condition} {key} {asked} update {asked} {{ {renewed} update {served} {{ {renewed} return"
                yield f"{condition} {key} {answered} update {every} {{ {renewed} update {answered} {{ {renewed} return"
                yield f"{condition} update {every} {{ {key} timeout {_UNANSWERED_LAST}s }} return"

    def _keys(self, version: int) -> Iterator[tuple[str, str]]:
        yield _PORTS, self._key(version)
        yield _ECHO[version][0], self._echo_key(version)

    def _lasting(self, version: int) -> Iterator[tuple[str, str, int]]:
        yield "meta l4proto 6", self._key(version), _TCP_LASTS
        yield _OTHERS, self._key(version), _OTHERS_LAST
        yield _ECHO[version][0], self._echo_key(version), _OTHERS_LAST

    def _key(self, version: int) -> str:
        ip = _IP[version]
        own, peer = (f"{ip} {host} . th {port}" for host, port in (self.own, self.peer))
        return f"{self.interface} . {own} . {peer} . meta l4proto"

    def _echo_key(self, version: int) -> str:
        ip, number = _IP[version], _ECHO[version][1]
        own, peer = (f"{ip} {host} . {number}" for host in (self.own[0], self.peer[0]))
        return f"{self.interface} . {own} . {peer} . meta l4proto"


_ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
FLOW_SETS = {
    f"{name}.{version}": Filled(
        ("iface_index", address_type, "inet_service", address_type, "inet_service", "inet_proto"), _SIZE, forgets=True
    )
    for name in _SETS
    for version, address_type in _ADDRESS.items()
}

FROM_VM = Way("iif", ("saddr", "sport"), ("daddr", "dport"), ("opened", "answered"), ("received", "served"))
TO_VM = Way("oif", ("daddr", "dport"), ("saddr", "sport"), ("received", "served"), ("opened", "answered"))


def link_anti_spoof(rules: VmRules) -> Iterator[str]:
    """What a VM may say below IP: its own hardware address, and of its own addresses only."""
    said = comment("anti-spoof")
    yield ONLY_IP
    for tiny in ("ip frag-off & 0x1fff == 1", "frag frag-off 1"):  # RFC 3128: hides the flags of TCP
        yield f"meta l4proto 6 {tiny} counter goto {SPOOFED} {said}"
    if rules.mac is not None:
        yield f"ether saddr != {rules.mac} counter goto {SPOOFED} {said}"
        yield f"arp saddr ether != {rules.mac} counter goto {SPOOFED} {said}"
    if rules.own:
        own4 = [address(value) for value in rules.own if version_of(value) == 4]
        own6 = [address(value) for value in rules.own if version_of(value) == 6]
        own4.append("0.0.0.0")  # noqa: S104 (a probe: the address is not taken yet, RFC 5227)
        yield f"{' '.join(f'arp saddr ip != {each}' for each in own4)} counter goto {SPOOFED} {said}"
        targets = [f"icmpv6 taddr != {each}" for each in (*own6, "fe80::/10")]
        yield f"icmpv6 type 136 {' '.join(targets)} counter goto {SPOOFED} {said}"
    yield ADDRESS_RESOLUTION
