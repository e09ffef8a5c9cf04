"""Findings, and verdicts on traffic."""

from __future__ import annotations

from typing import Any, Literal

from netpersona.app.api.models.shape import Model, Named, Share, Version


class FindingStatus(Model):
    """What a detector found, as the replay report says it."""

    id: str
    vm: str
    vm_address: str
    detector: str
    kind: str
    peer: str | None
    peers: list[str]
    peers_total: int
    protocol: str | None
    port: int | None
    direction: str
    first_seen: float
    last_seen: float
    judged_at: float
    confidence: Share
    severity: str
    alert: bool
    why: str
    evidence: dict[str, Any]
    techniques: list[str]


class Finding(Model):
    """One reason to worry about one VM."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Finding"]
    metadata: Named
    status: FindingStatus


class TrafficSpec(Model):
    """The traffic that was asked about."""

    vm: str
    peer: str
    direction: str
    protocol: str
    established: bool


class VerdictStatus(Model):
    """What happens to it, and why."""

    vm: str
    peer: str | None
    name: str | None = None
    known_by_name: dict[str, Any] | None = None
    port: int | None
    protocol: str
    direction: str
    established: bool
    at: float
    verdict: str
    why: str
    rule: dict[str, Any] | None
    staged: list[str]
    receipts: dict[str, Any] | None = None
    persona: dict[str, Any]
    indicators: dict[str, Any]
    otherwise: list[str]


class Verdict(Model):
    """What happens to traffic between a VM and a peer, and everything it rests on."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Verdict"]
    metadata: Named
    spec: TrafficSpec
    status: VerdictStatus
