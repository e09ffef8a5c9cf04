"""What conditions can ask of a persona: the one table of fields, and a persona's values for them.

    persona.risk_score > 0.7 && persona.labels.role == 'web' && 'c2_beacon' in persona.signatures.map(s, s.name)

The table is read by the evaluator, by the checks that suggest the word meant, and by the reference pages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from netpersona.persona.model import Persona
from netpersona.risk.ledger import risk_score

HOUR = 3_600_000_000  # µs
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Field(NamedTuple):
    """One thing that a condition may ask for: its CEL type, what it says, and how it is read at an instant (µs).

    `parts`: the names below it, for mappings and for the members of lists; None: any name (labels) or none.
    """

    type: str
    says: str
    read: Callable[[Persona, int], object]
    sample: object  # of the right type, for trial runs
    parts: tuple[str, ...] | None = None


@dataclass(slots=True)
class Facts:
    """One persona at one instant, as CEL sees it; fields are read when they are first asked for."""

    persona: Persona
    at: int  # µs
    values: dict[str, object] = field(default_factory=dict)
    # Kept by policy.conditions: what was asked of this persona, and the cel.Context for some fields.
    answers: dict[str, object] = field(default_factory=dict)
    contexts: dict[frozenset[str], Any] = field(default_factory=dict)

    def value(self, name: str) -> object:
        """The value of one field of FIELDS.  Raises KeyError for any other name."""
        if name not in self.values:
            self.values[name] = FIELDS[name].read(self.persona, self.at)
        return self.values[name]


def facts(persona: Persona, at: int) -> Facts:
    """The view of this persona at this instant (µs) that conditions are evaluated over."""
    return Facts(persona, at)


def likeness(value: Any) -> Hashable:
    """What is equal for two values of one field only if these are."""
    if isinstance(value, list):
        return tuple(map(likeness, value))
    if isinstance(value, dict):
        return tuple(sorted([(name, likeness(each)) for name, each in value.items()]))
    plain: Hashable = value
    return plain


def _time(at: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at)


def _signatures(persona: Persona, _: int) -> object:
    return [
        {
            "name": s.name,
            "peer": s.peer or "",
            "confidence": s.confidence,
            "since": _time(s.since),
            "last": _time(s.last),
        }
        for s in persona.signatures
    ]


def _age_hours(persona: Persona, at: int) -> float:
    return 0.0 if persona.first_seen is None else max(0, at - persona.first_seen) / HOUR


def _mitigations(persona: Persona, at: int) -> object:
    in_force = (m for m in persona.mitigations if m.until is None or m.until > at)
    return [{"policy": m.policy, "rule": m.rule} for m in in_force]


_SAMPLE_SIGNATURE = {"name": "c2_beacon", "peer": "203.0.113.7", "confidence": 0.9, "since": _EPOCH, "last": _EPOCH}

FIELDS: dict[str, Field] = {
    "name": Field("string", "the VM's name", lambda p, _: str(p.vm), "web-1"),
    "labels": Field("map", "the labels given to it: persona.labels.role", lambda p, _: dict(p.labels), {}),
    "addresses": Field("list", "its addresses, without prefix", lambda p, _: _hosts(p), ["192.0.2.1"]),
    "risk_score": Field("number", "how worried we are, 0 to 1, at this instant", risk_score, 0.5),
    "completeness": Field(
        "number", "the share of its traffic whose kind is known, 0 to 1", lambda p, _: p.completeness.seen, 0.5
    ),
    "signatures": Field(
        "list",
        "behaviours recognised: name, peer ('' if none), confidence (0 to 1), since and last (timestamps)",
        _signatures,
        [_SAMPLE_SIGNATURE],
        ("name", "peer", "confidence", "since", "last"),
    ),
    "exposure": Field("list", "what it is exposed to: 'known_exploited', ...", lambda p, _: list(p.exposure), ["x"]),
    "exposed_ports": Field("list", "the ports of what is exposed", lambda p, _: list(p.exposed_ports), [443]),
    "learning": Field("string", "'learning' or 'frozen'", lambda p, _: p.learning, "learning"),
    "version": Field("number", "the persona's version, from 1", lambda p, _: p.version, 1),
    "age_hours": Field("number", "hours since it was first seen; 0 if it never was", _age_hours, 1.0),
    "mitigations": Field(
        "list",
        "mitigations in force: policy and rule",
        _mitigations,
        [{"policy": "p", "rule": "r"}],
        ("policy", "rule"),
    ),
    "profile": Field(
        "map",
        "how much was learned: windows and flows",
        lambda p, _: {"windows": p.profile.windows, "flows": p.profile.flows},
        {"windows": 1, "flows": 1},
        ("windows", "flows"),
    ),
    "at": Field("timestamp", "the instant for which this is asked", lambda _, at: _time(at), _EPOCH),
}


def _hosts(persona: Persona) -> list[str]:
    return [address.partition("/")[0] for address in persona.base.addresses]
