"""The replay report: one JSON object, a public and versioned format.

Times are seconds since the epoch (UTC) as numbers; what is absent is null or left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpersona.flow.account import SourceAccount
from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.persona.resource import report_object
from netpersona.risk.finding import Finding
from netpersona.risk.ledger import risk_score

API_VERSION = "netpersona/v1"


@dataclass(frozen=True, slots=True)
class Intake:
    """What was read: an account for each file, and the flows of all of them, each once."""

    accounts: Sequence[SourceAccount]
    flows: int
    duplicates: int  # flows that a second sensor saw too
    skipped: Mapping[str, int]
    first: int | None  # µs
    last: int | None
    inferred: bool  # no inventory named the VMs
    unread: Sequence[tuple[str, str]] = ()  # files in the folders named that could not be read, and why


def report(
    intake: Intake,
    personas: Mapping[VmId, Persona],
    findings: Iterable[Finding],
    plan: Mapping[str, Any],
    at: int,
    timing: Mapping[str, float | int],
) -> dict[str, Any]:
    """The whole report; `at` (µs) is the event time at which risk is stated."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ReplayReport",
        "input": _input(intake, personas),
        "timing": dict(timing),
        "personas": [_persona(personas[vm], at) for vm in sorted(personas)],
        "findings": [finding_object(finding) for finding in findings],
        "plan": dict(plan),
    }


def finding_object(finding: Finding) -> dict[str, Any]:
    """One finding as the report shows it."""
    return {
        "id": finding.id,
        "vm": finding.vm,
        "vm_address": finding.vm_address,
        "detector": finding.detector,
        "kind": finding.kind,
        "peer": finding.peer,
        "peers": list(finding.peers),
        "peers_total": finding.peers_total,
        "protocol": finding.protocol,
        "port": finding.port,
        "direction": finding.direction,
        "first_seen": seconds(finding.first_seen),
        "last_seen": seconds(finding.last_seen),
        "judged_at": seconds(finding.judged_at),
        "confidence": finding.confidence,
        "severity": finding.severity.value,
        "alert": finding.alert,
        "why": finding.why,
        "evidence": finding.evidence,
        "techniques": list(finding.techniques),
    }


def seconds(at: int | None) -> float | None:
    """Microseconds since the epoch as seconds."""
    return None if at is None else at / 1e6


def _input(intake: Intake, personas: Mapping[VmId, Persona]) -> dict[str, Any]:
    return {
        "sources": [_source(account) for account in intake.accounts],
        "flows": intake.flows,
        "duplicates": intake.duplicates,
        "first": seconds(intake.first),
        "last": seconds(intake.last),
        "vms": sorted(personas),
        "vms_inferred": intake.inferred,
        "skipped": dict(sorted(intake.skipped.items())),
        "unread": [{"path": path, "reason": reason} for path, reason in intake.unread],
    }


def _persona(persona: Persona, at: int) -> dict[str, Any]:
    return report_object(persona, at, risk_score(persona, at))


def _source(account: SourceAccount) -> dict[str, Any]:
    return {
        "path": account.path,
        "format": account.format,
        "flows": account.flows,
        "skipped": account.skipped,
        "first": seconds(account.first),
        "last": seconds(account.last),
    }
