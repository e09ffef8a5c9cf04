"""merge(): two observations of one VM and window as the one observation of both.

Counts add up, first and last instants widen, and of several texts the alphabetically first stays, as in observe().  So
observing two parts of a window's flows and merging them equals observing the whole, in any order and grouping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from netpersona.observation.model import (
    Conversation,
    FingerprintUse,
    NameUse,
    Observation,
    Probe,
    Sighting,
    conversation_order,
    name_order,
    sighting_order,
)

_Entry = TypeVar("_Entry", Conversation, Probe, NameUse, Sighting, FingerprintUse)


def merge(one: Observation, other: Observation) -> Observation:
    """The observation of what both hold.  Raises ValueError for two VMs or two windows."""
    if one.vm != other.vm:
        raise ValueError(f"observations of two VMs, {one.vm} and {other.vm}, cannot be merged")
    if one.window != other.window:
        raise ValueError(f"observations of two windows, {one.window} and {other.window}, cannot be merged")
    return Observation(
        vm=one.vm,
        window=one.window,
        conversations=_merged(one.conversations, other.conversations, conversation_order, _conversation),
        probes=_merged(one.probes, other.probes, lambda p: p.peer, _probe),
        names=_merged(one.names, other.names, name_order, _name),
        sightings=_merged(
            one.sightings, other.sightings, lambda s: (s.indicator, *sighting_order(s)[:5]), _sighting, sighting_order
        ),
        fingerprints=_merged(one.fingerprints, other.fingerprints, lambda f: (f.kind, f.value), _fingerprint),
        mac=_first(one.mac, other.mac),
    )


def _merged(
    one: Iterable[_Entry],
    other: Iterable[_Entry],
    key: Callable[[_Entry], Any],
    together: Callable[[_Entry, _Entry], _Entry],
    order: Callable[[_Entry], Any] | None = None,
) -> tuple[_Entry, ...]:
    """The entries of both, where those of one key are one; sorted by `order`, or else by the key."""
    found = {key(entry): entry for entry in one}
    for entry in other:
        same = found.get(key(entry))
        found[key(entry)] = entry if same is None else together(same, entry)
    return tuple(sorted(found.values(), key=order or key))


def _conversation(one: Conversation, other: Conversation) -> Conversation:
    return replace(
        one,
        flows=one.flows + other.flows,
        answered=one.answered + other.answered,
        refused=one.refused + other.refused,
        bytes_out=one.bytes_out + other.bytes_out,
        bytes_in=one.bytes_in + other.bytes_in,
        payload_out=one.payload_out + other.payload_out,
        payload_in=one.payload_in + other.payload_in,
        packets_out=one.packets_out + other.packets_out,
        packets_in=one.packets_in + other.packets_in,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        longest=max(one.longest, other.longest),
        starts=tuple(sorted(one.starts + other.starts)),
        logins_failed=one.logins_failed + other.logins_failed,
        logins_ok=one.logins_ok + other.logins_ok,
        application=_first(one.application, other.application),
        server_name=_first(one.server_name, other.server_name),
        tls_fingerprint=_first(one.tls_fingerprint, other.tls_fingerprint),
    )


def _probe(one: Probe, other: Probe) -> Probe:
    return Probe(
        peer=one.peer,
        vm_address=min(one.vm_address, other.vm_address),
        transport=min(one.transport, other.transport),
        ports=tuple(sorted({*one.ports, *other.ports})),
        flows=one.flows + other.flows,
        bytes_in=one.bytes_in + other.bytes_in,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
    )


def _name(one: NameUse, other: NameUse) -> NameUse:
    return replace(
        one,
        detail=_first(one.detail, other.detail),
        agent=_first(one.agent, other.agent),
        uses=one.uses + other.uses,
        failed=one.failed + other.failed,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        answers=tuple(sorted({*one.answers, *other.answers})),
    )


def _of_sighting(s: Sighting) -> tuple[object, ...]:
    return s.indicator, s.via, s.peer, s.direction, s.transport, s.port


def _sighting(one: Sighting, other: Sighting) -> Sighting:
    return replace(
        one,
        flows=one.flows + other.flows,
        answered=one.answered + other.answered,
        bytes_out=one.bytes_out + other.bytes_out,
        bytes_in=one.bytes_in + other.bytes_in,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
    )


def _fingerprint(one: FingerprintUse, other: FingerprintUse) -> FingerprintUse:
    return replace(one, flows=one.flows + other.flows)


def _first(one: str | None, other: str | None) -> str | None:
    """The alphabetically first of two texts, or the one that is there."""
    return min((text for text in (one, other) if text is not None), default=None)
