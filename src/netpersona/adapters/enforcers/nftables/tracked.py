"""The flows that the kernel tracks: those of some addresses, asked for in whatever way costs least, and forgotten.

To answer, the kernel walks through its whole table, which all namespaces share: with the usual 262,144 buckets 9 ms
though nothing is in it (Linux 6.18).  It can be asked for one IPv4 address at one end of the flows (since 5.8; before,
it tells all of them, and they are looked through here).  That is a walk for each address and end, where a single walk
that tells everything costs 4 us for each flow of the namespace.  Of IPv6 flows all are told: asked for one address,
6.18 leaves out that very one.  Where no flow is tracked at all, nothing is asked.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from netpersona.adapters.enforcers.nftables import attributes as a
from netpersona.adapters.enforcers.nftables import wire

_SUBSYSTEM, _GET, _DELETE, _STATISTICS = 1, 1, 2, 5
_ORIGINAL, _STATUS, _ID, _ZONE, _FILTER = 1, 3, 12, 18, 25
_TRANSLATED = 1 << 5  # IPS_DST_NAT
_BOTH = 0  # families
_IPV4, _IPV6 = 2, 10
_LENGTH4 = 4  # bytes of an address
_SOURCE, _DESTINATION = 1, 2  # attributes of an IPv4 tuple, and the flags that ask for them
# A flow is told with its original tuple first, and in it the addresses: the first one's type, and where they stand.
_ENDS = {1: (_IPV4, slice(12, 16), slice(20, 24)), 3: (_IPV6, slice(12, 28), slice(32, 48))}

_WALK, _PASSED, _TOLD = 9_000, 0.3, 4  # us: through an empty table, by a flow, and for telling it
_SOUGHT = 16  # so many addresses are sought in the kernel's answer before it is taken apart


@dataclass(frozen=True, slots=True)
class Tracked:
    """A flow that the kernel tracks, as its originator sees it; `entry` names it to the kernel."""

    family: int
    source: str
    destination: str
    protocol: int
    ports: tuple[int, int]  # the originator's and the responder's; 0 where there are none
    translated: bool
    entry: bytes


def flows(to: wire.Wire, originators: Collection[bytes], responders: Collection[bytes]) -> Iterator[Tracked]:
    """Each tracked flow that one of these addresses opened, or that was opened to one of those, once."""
    sought = {*originators, *responders}
    number = _count(to) if sought else 0
    about = sought if len(sought) <= _SOUGHT else ()
    known: set[bytes] = set()
    for question in _questions(originators, responders, number):
        for found in to.ask_raw(question, about=about):
            body = found.body
            family, source, destination = _ENDS[int.from_bytes(body[10:12], "little")]
            if body[source] in originators or body[destination] in responders:
                flow = _tracked(family, found.attributes())
                if flow.entry not in known:
                    known.add(flow.entry)
                    yield flow


def forget(to: wire.Wire, flow: Tracked) -> bool:
    """Forget a flow; whether it was there still."""
    asked = wire.message(_DELETE, flow.family, flow.entry, wire.ACK, _SUBSYSTEM)
    try:
        for _ in to.ask_raw(asked):
            pass
    except wire.AbsentError:
        return False
    return True


def _count(to: wire.Wire) -> int:
    """How many flows are tracked in this namespace."""
    told = to.ask_raw(wire.message(_STATISTICS, _BOTH, b"", 0, _SUBSYSTEM), dump=False)
    return sum(a.number(each.attributes()[1]) for each in told)


def _questions(originators: Collection[bytes], responders: Collection[bytes], number: int) -> list[bytes]:
    """What to ask, where so many flows are tracked."""
    if not number:
        return []
    found = [
        _of_end(each, end)
        for of, end in ((originators, _SOURCE), (responders, _DESTINATION))
        for each in of
        if len(each) == _LENGTH4
    ]
    if any(len(each) > _LENGTH4 for each in (*originators, *responders)):
        found.append(_every(_IPV6))
    cheap = len(found) * (_WALK + _PASSED * number) < _WALK + _TOLD * number
    return found if cheap else [_every(_BOTH)]


def _every(family: int) -> bytes:
    return wire.message(_GET, family, b"", wire.DUMP, _SUBSYSTEM)


def _of_end(address: bytes, end: int) -> bytes:
    """Ask for the flows that have this IPv4 address at one end, as their originator sees them."""
    named = a.nest(_ORIGINAL, a.nest(1, a.attribute(end, address)))
    asked = named + a.nest(_FILTER, a.attribute(1, struct.pack("=I", end)))
    return wire.message(_GET, _IPV4, asked, wire.DUMP, _SUBSYSTEM)


def _tracked(family: int, entry: dict[int, bytes]) -> Tracked:
    tuple_ = a.read(entry[_ORIGINAL])
    ends, protocol = a.read(tuple_[1]), a.read(tuple_[2])
    first = 1 if family == _IPV4 else 3
    named = [a.nest(_ORIGINAL, entry[_ORIGINAL])]
    named += [a.attribute(kind, entry[kind]) for kind in (_ID, _ZONE) if kind in entry]
    return Tracked(
        family=family,
        source=str(ip_address(ends[first])),
        destination=str(ip_address(ends[first + 1])),
        protocol=a.number(protocol[1]),
        ports=(a.number(protocol.get(2, b"\0")), a.number(protocol.get(3, b"\0"))),
        translated=bool(a.number(entry.get(_STATUS, b"\0")) & _TRANSLATED),
        entry=b"".join(named),
    )
