"""What VMs are exposed to, who can reach it by the rules in force, and what other policies would change of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netpersona.app.answers.known import Known, the_vm
from netpersona.ruleset.reach import Reach, reach

if TYPE_CHECKING:
    from netpersona.app.standing import Standing
    from netpersona.flow.vm import VmId
    from netpersona.intel.exposure import Exposure
    from netpersona.persona.model import Persona
    from netpersona.ruleset.model import Ruleset


def exposures(known: Known, vm: str | None = None) -> list[dict[str, Any]]:
    """Every exposure of one VM, or of all, with who can reach it now; by VM, the surest first.  Raises UnknownError."""
    now = known.standing()
    chosen = sorted(now.personas) if vm is None else [the_vm(known, vm).vm]
    return exposed(now, known.ruleset(now), [now.personas[each] for each in chosen if each in now.personas])


def exposed(now: Standing, ruleset: Ruleset, vms: Sequence[Persona]) -> list[dict[str, Any]]:
    """Every exposure of these VMs with who can reach it by these rules, the surest first."""
    addresses = _addresses(now.personas.values())
    return [
        _shown(persona, each, [_reached(port, reach(ruleset, persona.vm, port, addresses)) for port in each.ports])
        for persona in vms
        for each in now.exposures.of(persona)
    ]


def changed(now: Standing, before: Ruleset, after: Ruleset) -> list[dict[str, Any]]:
    """The exposed ports, with who can reach them before and after a change of the rules."""
    addresses = _addresses(now.personas.values())
    found = []
    for vm, persona in sorted(now.personas.items()):
        for port in sorted({port for each in now.exposures.of(persona) for port in each.ports}):
            then, later = (reach(rules, vm, port, addresses) for rules in (before, after))
            kinds = sorted({each.kind for each in now.exposures.of(persona) if port in each.ports})
            found.append(
                {
                    "vm": vm,
                    "port": port,
                    "exposure": kinds,
                    "before": then.words,
                    "after": later.words,
                    "why": later.why,
                }
            )
    return found


def _shown(persona: Persona, found: Exposure, reached: list[dict[str, Any]]) -> dict[str, Any]:
    about, software = found.vulnerability, found.software
    return {
        "vm": persona.vm,
        "kind": found.kind,
        "cve": about.cve,
        "name": about.name,
        "known_exploited": about.exploited,
        "epss": about.likelihood,
        "certainty": found.certainty,
        "software": software.product,
        "version": software.version,
        "evidence": software.said,
        "source": software.source,
        "listed": [{"feed": feed, "line": line} for feed, line in about.listed],
        "reachable": reached,
        "why": found.sentence,
    }


def _reached(port: int, by: Reach) -> dict[str, Any]:
    return {"port": port, "outside": by.outside, "vms": list(by.vms), "words": by.words, "why": by.why}


def _addresses(personas: Iterable[Persona]) -> Mapping[VmId, tuple[str, ...]]:
    return {p.vm: tuple(address.partition("/")[0] for address in p.base.addresses) for p in personas}
