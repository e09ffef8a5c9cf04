"""The observation: what one window of event time says of one VM, already grouped.

Observations merge: observing two halves of a window and merging them equals observing the whole.  So
every field is a count, a smallest, a largest or a sorted collection.
"""

from __future__ import annotations

import msgspec

from netpersona.flow.vm import VmId
from netpersona.flow.window import Window
from netpersona.intel.indicator import Indicator

# Announcements and discovery: they are sent to nobody in particular, so that nobody answers says nothing.
CHATTER = frozenset({67, 68, 137, 138, 546, 547, 1900, 3702, 5353, 5355})


class Conversation(msgspec.Struct, frozen=True):
    """The flows of a window between the VM and one peer at one service: all that the VM opened, or that it answered."""

    direction: str  # outbound: the VM opened them | inbound
    transport: str
    port: int  # the responder's port; 0 where there is none
    peer: str  # canonical address
    vm_address: str
    flows: int  # that began in this window
    answered: int  # to which the responder sent at least one packet that was no refusal, also of those begun before
    refused: int  # flows that were rejected or reset before any payload
    bytes_out: int  # sent by the VM, with headers
    bytes_in: int
    payload_out: int
    payload_in: int
    packets_out: int
    packets_in: int
    first: int  # µs: the earliest start
    last: int  # µs: the latest end
    longest: int  # µs: the longest flow's duration
    starts: tuple[int, ...]  # µs, sorted: when each flow that began here started
    logins_failed: int
    logins_ok: int
    application: str | None
    server_name: str | None  # the alphabetically first, where there were several
    tls_fingerprint: str | None


def conversation_order(c: Conversation) -> tuple[str, str, int, str, str]:
    """By what it is sorted and told apart: its service, the peer, and the VM's address."""
    return c.direction, c.transport, c.port, c.peer, c.vm_address


class Probe(msgspec.Struct, frozen=True):
    """The flows of a window that one peer opened at the VM and the VM did not answer."""

    peer: str
    vm_address: str  # the alphabetically first, where there were several; so too the transport
    transport: str
    ports: tuple[int, ...]  # sorted, distinct: what was tried by TCP and UDP, but for CHATTER
    flows: int  # at these ports
    bytes_in: int  # of all the flows, with headers
    first: int  # µs: the earliest start
    last: int  # µs: the latest start


class NameUse(msgspec.Struct, frozen=True):
    """How often one name was used in a window: asked for in DNS, greeted in TLS, addressed in HTTP, or alerted."""

    kind: str  # dns | tls | http | alert
    name: str  # lower case; an alert's signature as it stands
    peer: str  # who was asked
    detail: str | None  # dns: query type; http: method and path; alert: category (alphabetically first)
    agent: str | None  # http: user agent (alphabetically first)
    uses: int
    failed: int  # NXDOMAIN answers
    first: int  # µs
    last: int  # µs
    answers: tuple[str, ...]  # dns: what was answered, sorted, distinct


def name_order(use: NameUse) -> tuple[str, str, str]:
    """By what it is sorted and told apart: how the name was used, the name, and who was asked."""
    return use.kind, use.name, use.peer


class Sighting(msgspec.Struct, frozen=True):
    """An indicator was seen here (STIX)."""

    indicator: Indicator
    via: str  # address | dns tls http: the name | url: requested | dns-host tls-host http-host: of a URL the host alone
    peer: str  # the address that the flow went to; for dns the resolver asked
    direction: str
    transport: str
    port: int
    flows: int
    answered: int
    bytes_out: int
    bytes_in: int
    first: int  # µs
    last: int  # µs


def sighting_order(sighting: Sighting) -> tuple[object, ...]:
    """By what it is sorted: how and where the thing was seen, then what lists it."""
    s, listed = sighting, sighting.indicator
    return (s.via, s.peer, s.direction, s.transport, s.port, listed.value, listed.feed, listed.line, repr(listed))


class FingerprintUse(msgspec.Struct, frozen=True):
    """One stack fingerprint that the VM itself showed."""

    kind: str  # tcp | tls
    value: str
    flows: int


class Observation(msgspec.Struct, frozen=True):
    """What one window says of one VM.  Every tuple is sorted, so that equal content is equal."""

    vm: VmId
    window: Window
    conversations: tuple[Conversation, ...]
    probes: tuple[Probe, ...] = ()
    names: tuple[NameUse, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    fingerprints: tuple[FingerprintUse, ...] = ()
    mac: str | None = None  # that the VM's own packets carried; the alphabetically first, where there were several
