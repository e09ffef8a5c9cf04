"""What is known of each VM, and what people may change of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from netpersona.app.answers.known import Known, UnknownError, now, the_vm
from netpersona.app.exempted import ACQUITTED, terms_of
from netpersona.errors import ConfigError
from netpersona.flow.vm import VmId
from netpersona.persona.difference import difference
from netpersona.persona.model import Completeness, Persona, TrafficProfile
from netpersona.persona.resource import resource, rfc3339
from netpersona.ports import PersonaVersion
from netpersona.risk.ledger import risk_score, score

EDITS: Mapping[str, tuple[Mapping[str, Any], str]] = {  # what a person asks for -> the fields it sets, and its words
    "freeze": ({"learning": "frozen"}, "frozen: it learns nothing more"),
    "unfreeze": ({"learning": "learning"}, "unfrozen: it learns again"),
    "reset": (
        {"profile": TrafficProfile(), "completeness": Completeness()},
        "reset: what was learned as normal is forgotten",
    ),
    "acquit": (
        {"risk_ledger": (), "signatures": (), "mitigations": ()},
        ACQUITTED,
    ),
}
LABELS_MOST = 64
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,62}")  # as in an inventory


def summary(known: Known, persona: Persona, at: int | None) -> dict[str, Any]:
    """One VM in a line: how worried we are, and how much we know of it."""
    instants = {"first_seen": persona.first_seen, "last_seen": persona.last_seen}
    return {
        "vm": persona.vm,
        "addresses": list(persona.base.addresses),
        "labels": dict(sorted(persona.labels.items())),
        "version": persona.version,
        "learning": persona.learning,
        "risk_score": _risk(known, persona, at),
        "risk_at": rfc3339(now(known, persona) if at is None else at),
        "completeness": {"seen": round(persona.completeness.seen, 6), "flows": persona.profile.flows},
        "signatures": sorted({signature.name for signature in persona.signatures}),
        **{name: rfc3339(instant) for name, instant in instants.items() if instant is not None},
    }


def shown(known: Known, persona: Persona, at: int | None) -> dict[str, Any]:
    """One persona whole, as a resource."""
    return resource(persona, now(known, persona) if at is None else at, _risk(known, persona, at))


def history(known: Known, vm: str) -> list[dict[str, Any]]:
    """The stored versions of a persona, the oldest first."""
    return [
        {
            "version": v.persona.version,
            "at": rfc3339(v.at),
            "why": v.why,
            "risk_score": risk_score(v.persona, v.at),
            "completeness": round(v.persona.completeness.seen, 6),
            "learning": v.persona.learning,
        }
        for v in known.store.history(the_vm(known, vm).vm)
    ]


def differences(known: Known, one: str, other: str | None) -> dict[str, Any]:
    """What differs between A[@VERSION] and B[@VERSION]; without B, between A and A as it stands."""
    before = _version(known, one)
    after = _version(known, other if other is not None else one.rpartition("@")[0] or one)
    changes = difference(_resource(before), _resource(after))
    return {
        "before": f"{before.persona.vm}@{before.persona.version}",
        "after": f"{after.persona.vm}@{after.persona.version}",
        "changes": [change._asdict() for change in changes],
    }


def edited(known: Known, vm: str, edit: str) -> dict[str, Any]:
    """Freeze, unfreeze, reset or acquit a persona, unless it is so already."""
    fields, why = EDITS[edit]
    return _change(known, the_vm(known, vm), fields, why)


def labelled(known: Known, vm: str, changes: Mapping[str, str | None]) -> dict[str, Any]:
    """Set labels; None takes one away.  Raises ConfigError for what cannot be a label."""
    persona = the_vm(known, vm)
    for name, value in changes.items():
        if not _LABEL.fullmatch(name) or (value is not None and not (len(value) <= 63 and value.isprintable())):
            raise ConfigError(
                f"{name[:63]!r}={str(value)[:63]!r} is no label: a name is 1 to 63 letters, digits, _ . / -,"
                " and a value at most 63 printable characters"
            )
    labels = {name: value for name, value in {**persona.labels, **changes}.items() if value is not None}
    if len(labels) > LABELS_MOST:
        raise ConfigError(f"{persona.vm} would have {len(labels)} labels; at most {LABELS_MOST} are kept")
    said = ", ".join(
        f"{name}={value}" if value is not None else f"no {name}" for name, value in sorted(changes.items())
    )
    return _change(known, persona, {"labels": labels}, f"labelled: {said}")


def _risk(known: Known, persona: Persona, at: int | None) -> float:
    """The risk now, or at another instant; for that all terms ever raised are asked for, not only those it carries."""
    if at is None:
        return risk_score(persona, now(known, persona))
    return score(persona.risk_prior, terms_of(known.store, persona.vm, at), at)


def _version(known: Known, text: str) -> PersonaVersion:
    """The version that NAME@NUMBER names, or the persona as it stands.  Raises UnknownError."""
    name, sign, number = text.rpartition("@")
    if not sign:
        persona = the_vm(known, text)
        return PersonaVersion(persona, now(known, persona), "as it stands")
    persona = the_vm(known, name)
    versions = {str(v.persona.version): v for v in known.store.history(persona.vm)}
    if number == str(persona.version):
        return PersonaVersion(persona, now(known, persona), "as it stands")
    if number not in versions:
        raise UnknownError(f"{persona.vm} has no stored version {number[:100]!r}; {_numbers(persona.vm, [*versions])}")
    return versions[number]


def _numbers(vm: VmId, numbers: Sequence[str]) -> str:
    if not numbers:
        return f"none is stored; compare {vm} as it stands, without @"
    listed = ", ".join(numbers) if len(numbers) <= 6 else f"{', '.join(numbers[:3])}, ... {numbers[-1]}"
    return f"stored are {listed} ('netpersona persona history {vm}' lists them)"


def _resource(version: PersonaVersion) -> dict[str, Any]:
    return resource(version.persona, version.at, risk_score(version.persona, version.at))


def _change(known: Known, persona: Persona, fields: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Store what a person changed, unless it is so already, and say it."""
    changed = any(getattr(persona, name) != value for name, value in fields.items())
    new = replace(persona, version=persona.version + 1, **fields) if changed else persona
    if changed:
        known.edit(new, why)
    return {"vm": new.vm, "version": new.version, "learning": new.learning, "changed": changed, "what": why}
