"""learn(): one calm window into the profile.

A window that was learned is not learned again.  What only reached the VM unasked (probes that it did not answer) is
not its behaviour and is not learned.  Decay is applied when an entry is touched, so a window costs what it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from netpersona.flow.window import DAY, HOUR
from netpersona.observation.model import Conversation, NameUse, Observation, Probe
from netpersona.persona.model import BaseNetworkConfig, Kind, Persona, TrafficProfile, Usage
from netpersona.persona.profile import (
    BINS,
    FINGERPRINTS_KEPT,
    HALF_LIFE,
    KINDS_KEPT,
    NAMES_KEPT,
    SLACK,
    kind_of,
    volume_bin,
)

_K = TypeVar("_K", Kind, str)
_N = TypeVar("_N", int, float)
_WEEK = 7 * DAY


class _Heavy(NamedTuple, Generic[_K]):
    """A table of heavy hitters after an update, and what had to go."""

    table: dict[_K, Usage]
    dropped: int
    dropped_flows: float


def learn(persona: Persona, observation: Observation, but: Collection[str] = ()) -> TrafficProfile:
    """The profile after one calm window; `but` names peers whose conversations are not learned.

    Learning a window twice, or one before it, changes nothing.
    """
    window = observation.window
    if persona.learned_until is not None and window.end <= persona.learned_until:
        return persona.profile
    talks = observation.conversations
    own = [c for c in talks if c.peer not in but] if but else talks
    return persona.profile if not own else _grown(_faded(persona, window.start), observation, own, but)


def span(persona: Persona, observation: Observation) -> tuple[int, int]:
    """The VM's first and last activity (µs) with this window's; windows come in order."""
    seen: list[Conversation | Probe | NameUse] = [
        *observation.conversations, *observation.probes, *observation.names
    ]  # fmt: skip
    last = max([each.last for each in seen])
    if persona.first_seen is None or persona.last_seen is None:
        return min([each.first for each in seen]), last
    return persona.first_seen, max(persona.last_seen, last)


def inferred_base(base: BaseNetworkConfig, observation: Observation) -> BaseNetworkConfig:
    """What the traffic shows of the VM's place in the network: addresses it used, its MAC, resolvers that answered."""
    if not base.inferred:
        return base
    own = {c.vm_address for c in observation.conversations}
    asked = {c.peer for c in observation.conversations if c.port == 53 and c.direction == "outbound" and c.answered}
    mac = base.mac if base.mac is not None else observation.mac
    if own.issubset(base.addresses) and asked.issubset(base.resolvers) and mac == base.mac:
        return base
    addresses, resolvers = sorted(own.union(base.addresses))[:8], sorted(asked.union(base.resolvers))[:4]
    inferred = replace(base, addresses=tuple(addresses), resolvers=tuple(resolvers), mac=mac)
    return base if inferred == base else inferred


def _faded(persona: Persona, at: int) -> TrafficProfile:
    """Hours and volumes halved when a new week begins; kinds fade when touched."""
    profile, until = persona.profile, persona.learned_until
    if until is None or (until - 1) // _WEEK == at // _WEEK:  # `until` is the end of a window: not of it
        return profile
    return replace(
        profile,
        hours=tuple(n / 2 for n in profile.hours),
        volumes_out=tuple(n // 2 for n in profile.volumes_out),
        volumes_in=tuple(n // 2 for n in profile.volumes_in),
    )


def _grown(
    profile: TrafficProfile, observation: Observation, own: Sequence[Conversation], but: Collection[str]
) -> TrafficProfile:
    at = observation.window.end
    kinds, singletons = dict(profile.kinds), profile.singletons
    flows = bytes_out = bytes_in = 0
    for c in own:
        kind = kind_of(c)
        before = kinds.get(kind)
        if before is None:
            singletons += c.flows == 1
        elif before.flows == 1.0:
            singletons = max(0, singletons - 1)  # a count that faded for years is 1 again when touched
        kinds[kind] = _touched(before, c.flows, c.bytes_out, c.bytes_in, c.first, c.last)
        flows += c.flows
        bytes_out += c.bytes_out
        bytes_in += c.bytes_in
    kept = _heaviest(kinds, KINDS_KEPT, at)
    return TrafficProfile(
        kinds=kept.table,
        names=_names(profile, observation, own, but),
        fingerprints=_fingerprints(profile, observation),
        hours=_at(profile.hours, 24, observation.window.start // HOUR % 24, float(flows)),
        volumes_out=_at(profile.volumes_out, BINS, volume_bin(bytes_out), 1),
        volumes_in=_at(profile.volumes_in, BINS, volume_bin(bytes_in), 1),
        windows=profile.windows + 1,
        flows=profile.flows + flows,
        singletons=singletons,
        dropped_kinds=profile.dropped_kinds + kept.dropped,
        dropped_flows=profile.dropped_flows + kept.dropped_flows,
    )


def _touched(before: Usage | None, flows: int, bytes_out: int, bytes_in: int, first: int, last: int) -> Usage:
    if before is None:
        return Usage(float(flows), float(bytes_out), float(bytes_in), first, last)
    later = last > before.last
    fade = 2.0 ** ((before.last - last) / HALF_LIFE) if later else 1.0
    return Usage(
        before.flows * fade + flows,
        before.bytes_out * fade + bytes_out,
        before.bytes_in * fade + bytes_in,
        first if first < before.first else before.first,  # noqa: FURB136 - hot
        last if later else before.last,
    )


def _names(
    profile: TrafficProfile, observation: Observation, own: Sequence[Conversation], but: Collection[str]
) -> dict[str, Usage]:
    """Names that the VM addressed, by what it called them in DNS, TLS and HTTP; not what its callers call it."""
    spoken = [c for c in own if c.server_name is not None and c.direction == "outbound"]
    if not observation.names and not spoken:
        return profile.names
    called = {c.peer for c in observation.conversations if c.direction == "outbound"}
    callers = {c.peer for c in observation.conversations}.union(p.peer for p in observation.probes) - called
    used = [n for n in observation.names if n.kind != "alert" and n.peer not in callers and n.peer not in but]
    table = dict(profile.names)
    for n in used:
        name = n.name[:64]
        table[name] = _touched(table.get(name), n.uses, 0, 0, n.first, n.last)
    for c in spoken:
        name = str(c.server_name)[:64]
        table[name] = _touched(table.get(name), c.flows, c.bytes_out, c.bytes_in, c.first, c.last)
    return _heaviest(table, NAMES_KEPT, observation.window.end).table


def _fingerprints(profile: TrafficProfile, observation: Observation) -> dict[str, Usage]:
    if not observation.fingerprints:
        return profile.fingerprints
    table = dict(profile.fingerprints)
    start, end = observation.window
    for use in observation.fingerprints:
        key = f"{use.kind}:{use.value[:80]}"
        table[key] = _touched(table.get(key), use.flows, 0, 0, start, end)
    return _heaviest(table, FINGERPRINTS_KEPT, end).table


def _heaviest(table: dict[_K, Usage], keep: int, at: int) -> _Heavy[_K]:
    """The table cut down to its `keep` heaviest at the instant `at`, once it is over by SLACK."""
    if len(table) <= keep + SLACK:
        return _Heavy(table, 0, 0.0)
    order = sorted([(-usage.flows * 2.0 ** ((usage.last - at) / HALF_LIFE), key) for key, usage in table.items()])
    kept, gone = order[:keep], order[keep:]
    return _Heavy({key: table[key] for _, key in kept}, len(gone), sum([table[key].flows for _, key in gone]))


def _at(counts: tuple[_N, ...], size: int, index: int, more: _N) -> tuple[_N, ...]:
    """The counts, `size` of them, with one raised."""
    grown = list(counts) if counts else [more - more] * size
    grown[index] += more
    return tuple(grown)
