"""The replay report: one JSON object, a public and versioned format.

Times are seconds since the epoch (UTC) as numbers; what is absent is null or left out.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netpersona.flow.account import SourceAccount
from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.persona.resource import report_object
from netpersona.risk.finding import Finding
from netpersona.risk.ledger import risk_score

API_VERSION = "netpersona/v1"


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """When a run began, by the wall and by the processor."""

    wall: float
    cpu: float

    @classmethod
    def started(cls) -> Stopwatch:
        """A stopwatch that runs from now."""
        return cls(time.perf_counter(), time.process_time())

    def timing(self, beside: int = 0) -> dict[str, float | int]:
        """What the run has cost so far, in all its processes; `beside` is the sum of the other processes' peaks, bytes.

        The peak is the sum of all peaks: together the processes never held more.
        """
        others = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "wall_s": round(time.perf_counter() - self.wall, 3),
            "cpu_s": round(time.process_time() - self.cpu + others.ru_utime + others.ru_stime, 3),
            "peak_rss_bytes": peak_memory() + beside,
        }


def peak_memory() -> int:
    """The most memory that this process ever held, in bytes.

    The kernel's own figure for a process counts from before it became this program, so it is read from /proc if there.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
