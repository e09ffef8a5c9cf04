"""What the detectors found, and what a VM's risk is the sum of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netpersona.app.answers.ask import Wanted
from netpersona.app.answers.known import Known, UnknownError, the_vm
from netpersona.app.exempted import terms_of
from netpersona.app.report import finding_object
from netpersona.app.risk_explanation import explanation, last_of
from netpersona.errors import ConfigError
from netpersona.risk.finding import KINDS, Finding


def findings(known: Known, wanted: Wanted) -> list[Finding]:
    """The findings that are wanted, in the order (judged_at, id).  Raises ConfigError for an unknown kind or VM."""
    if wanted.kind is not None and wanted.kind not in KINDS:
        raise ConfigError(f"{wanted.kind[:100]!r} is no kind of finding; there are {', '.join(KINDS)}")
    vm = the_vm(known, wanted.vm).vm if wanted.vm is not None else None
    return [
        f
        for f in known.store.findings(vm)
        if (wanted.everything or f.alert)
        and wanted.kind in {None, f.kind}
        and (wanted.since is None or f.last_seen >= wanted.since)
    ]


def finding(known: Known, name: str) -> dict[str, Any]:
    """The finding of this id.  Raises UnknownError."""
    found = next((f for f in known.store.findings() if f.id == name), None)
    if found is None:
        raise UnknownError(f"{known.whose} has no finding {name[:100]!r}; 'netpersona findings --all' lists them")
    return finding_object(found)


def risk(known: Known, vm: str, at: int | None, left_out: Sequence[str]) -> dict[str, Any]:
    """What the risk of a VM is the sum of, at an instant (µs), without the named feeds and detectors."""
    persona = the_vm(known, vm)
    present = {f.id: f for f in known.store.findings(persona.vm)}
    instant = known.clock() if at is None else at
    instant = last_of(persona, known.store.terms(persona.vm)) if instant is None else instant
    return explanation(persona, terms_of(known.store, persona.vm, instant), instant, left_out, present)
