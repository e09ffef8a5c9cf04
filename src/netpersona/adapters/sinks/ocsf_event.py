"""A finding as an OCSF 1.4 Detection Finding (class 2004): what a SIEM of our own reads, so the VM is named."""

from __future__ import annotations

from typing import Any

from netpersona import __version__
from netpersona.adapters.sinks.techniques import ATTACK, named
from netpersona.flow.vm import is_address
from netpersona.risk.finding import Finding, Severity

VERSION = "1.4.0"  # of OCSF: the first with is_alert
_SEVERITY = {
    Severity.INFORMATIONAL: (1, "Informational"),
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
_CREATED, _UPDATED = (1, "Create"), (2, "Update")
_INBOUND, _OUTBOUND = (1, "Inbound"), (2, "Outbound")
_IP_ADDRESS, _HOST_NAME = (2, "IP Address"), (1, "Hostname")
_PEERS_MOST = 100  # observables; peers_total in `unmapped` says how many there were


def event(finding: Finding, *, again: bool) -> dict[str, Any]:
    """The event; `again`: the finding was told before, and goes on.  Times are ms since the epoch."""
    activity_id, activity = _UPDATED if again else _CREATED
    severity_id, severity = _SEVERITY[finding.severity]
    confidence_id, confidence = _confidence(finding.confidence)
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_400 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "time": _ms(finding.judged_at),
        "start_time": _ms(finding.first_seen),
        "end_time": _ms(finding.last_seen),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 1,
        "status": "New",
        "is_alert": finding.alert,
        "confidence_id": confidence_id,
        "confidence": confidence,
        "confidence_score": round(finding.confidence * 100),
        "message": finding.why,
        "metadata": {
            "version": VERSION,
            "uid": finding.id,
            "product": {"name": "netpersona", "vendor_name": "netpersona", "version": __version__},
        },
        "finding_info": _finding_info(finding),
        "resources": [{"uid": finding.vm, "name": finding.vm, "type": "Virtual Machine"}],
        "evidences": _evidences(finding),
        "observables": _observables(finding),
        "unmapped": {**finding.evidence, "peers_total": finding.peers_total},
    }


def _finding_info(finding: Finding) -> dict[str, Any]:
    info = {
        "uid": finding.id,
        "title": f"{finding.kind.replace('_', ' ')} on {finding.vm}",
        "desc": finding.why,
        "types": [finding.kind],
        "created_time": _ms(finding.judged_at),
        "first_seen_time": _ms(finding.first_seen),
        "last_seen_time": _ms(finding.last_seen),
        "analytic": {"uid": finding.detector, "name": finding.detector, "type_id": 2, "type": "Behavioral"},
    }
    if finding.detector in {"intel_match", "retro_hunt"}:
        info["analytic"] = {"uid": finding.detector, "name": finding.detector, "type_id": 1, "type": "Rule"}
    if finding.feeds:
        info["data_sources"] = list(finding.feeds)
    if finding.techniques:
        info["attacks"] = [_attack(technique) for technique in finding.techniques]
    return info


def _attack(technique: str) -> dict[str, Any]:
    whole = technique.partition(".")[0]
    attack: dict[str, Any] = {"version": ATTACK, "technique": {"uid": whole, "name": named(whole)}}
    if whole != technique:
        attack["sub_technique"] = {"uid": technique, "name": named(technique)}
    return attack


def _evidences(finding: Finding) -> list[dict[str, Any]]:
    """One connection for each peer, as far as they are told; without one, the VM alone."""
    ours = {"ip": finding.vm_address} if is_address(finding.vm_address) else {"name": finding.vm}
    outbound = finding.direction == "outbound"
    direction_id, direction = _OUTBOUND if outbound else _INBOUND
    connection: dict[str, Any] = {"direction_id": direction_id, "direction": direction}
    if finding.protocol is not None:
        connection["protocol_name"] = finding.protocol
    port = {"port": finding.port} if finding.port else {}
    mine, theirs = ("src_endpoint", "dst_endpoint") if outbound else ("dst_endpoint", "src_endpoint")
    if not finding.peers:
        return [{"connection_info": connection, mine: {**ours, **({} if outbound else port)}}]
    return [
        {
            "connection_info": connection,
            mine: {**ours, **({} if outbound else port)},
            theirs: {"ip": peer, **(port if outbound else {})},
        }
        for peer in finding.peers[:_PEERS_MOST]
    ]


def _observables(finding: Finding) -> list[dict[str, Any]]:
    theirs = "dst_endpoint" if finding.direction == "outbound" else "src_endpoint"
    found = [("resources.name", str(finding.vm), _HOST_NAME)]
    found += [(f"evidences.{theirs}.ip", peer, _IP_ADDRESS) for peer in finding.peers[:_PEERS_MOST]]
    return [{"name": name, "value": value, "type_id": type_id, "type": kind} for name, value, (type_id, kind) in found]


def _confidence(value: float) -> tuple[int, str]:
    """OCSF's word for a confidence."""
    if value >= 0.8:
        return 3, "High"
    return (2, "Medium") if value >= 0.5 else (1, "Low")


def _ms(at: int) -> int:
    return at // 1000
