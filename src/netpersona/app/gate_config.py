"""`gate` and `precision` in the configuration: what feeds may not have blocked, and when one is not believed any more.

    gate:
      time_servers: [192.0.2.123]                     # of the fleet: no feed may list them
      admit:                                          # one value that a gate refuses, on somebody's word
        - {value: 9.9.9.9, gate: public-resolvers, feed: ours, reason: "not for our VMs, ticket 4711", author: lena}
    precision: {floor: 0.5, least: 5}                 # of every feed that has no `floor` and `least` of its own

The fleet's management peers are those of always_allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import msgspec

from netpersona.errors import ConfigError
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.gate import GATES, Admission
from netpersona.intel.precision import LEAST_MOST, Standard
from netpersona.policy.values import UnreadableError, network

Place = Callable[..., str]
"""`file:line` of a key, by those that lead to it."""


class AdmissionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value that somebody lets through."""

    value: str
    gate: str
    reason: str
    author: str
    feed: str | None = None


class GateSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under `gate`."""

    time_servers: tuple[str, ...] = ()
    admit: tuple[AdmissionSpec, ...] = ()


class PrecisionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands under `precision`."""

    floor: float = Standard().floor
    least: float = Standard().least


@dataclass(frozen=True, slots=True)
class GateKeys:
    """What the configuration says to the gate, beside the fleet and each feed's `allow`."""

    time_servers: tuple[str, ...] = ()
    admitted: tuple[Admission, ...] = ()


def gate_keys(spec: GateSpec, place: Place) -> GateKeys:
    """What was configured.  Raises ConfigError."""
    servers = [_server(text, f"{place('gate', 'time_servers', i)}: gate") for i, text in enumerate(spec.time_servers)]
    admitted = [_admission(each, f"{place('gate', 'admit', i)}: gate") for i, each in enumerate(spec.admit)]
    return GateKeys(tuple(servers), tuple(admitted))


def standard(floor: float | None, least: float | None, usual: Standard, what: str) -> Standard:
    """The standard that a feed is held to; what it does not say is as usual.  Raises ConfigError."""
    if floor is not None and not 0.0 <= floor <= 1.0:
        raise ConfigError(f"{what}: floor: {floor} is not between 0 (log-only never) and 1")
    if least is not None and not 1.0 <= least <= LEAST_MOST:
        raise ConfigError(f"{what}: least: {least:g} judged sightings are not between 1 and {LEAST_MOST:g}")
    return Standard(usual.floor if floor is None else floor, usual.least if least is None else least)


def _server(text: str, what: str) -> str:
    try:
        return network(text)
    except UnreadableError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise ConfigError(f"{what}: time_servers: {text[:100]!r} is {error}{hint}") from error


def _admission(spec: AdmissionSpec, what: str) -> Admission:
    what = f"{what}: admit"
    if spec.gate not in GATES:
        near = get_close_matches(spec.gate, GATES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(GATES)}"
        raise ConfigError(f"{what}: there is no gate {spec.gate[:100]!r}; {hint}")
    for name, said in (("reason", spec.reason), ("author", spec.author)):
        if not said.strip() or not said.isprintable():
            raise ConfigError(f"{what}: {name}: a line of text is expected: who lets {spec.value[:100]!r} through, why")
    return Admission(spec.gate, _canonical(spec.value, what), spec.reason, spec.author, spec.feed)


def _canonical(text: str, what: str) -> str:
    """The value as a feed would list it."""
    try:
        found = parse(text.encode(), FeedSettings("admitted")).indicators["value"].to_list()
    except FormatError:
        found = []
    if len(found) != 1:
        raise ConfigError(f"{what}: value: {text[:100]!r} is not one address, network, name or URL")
    return str(found[0])
