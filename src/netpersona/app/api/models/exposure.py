"""What VMs are exposed to."""

from __future__ import annotations

from typing import Any, Literal

from netpersona.app.api.models.shape import Model, Named, Share, Version


class ExposureStatus(Model):
    """One vulnerability of one service, how sure it is, and who can reach it now."""

    vm: str
    kind: str
    cve: str
    name: str
    known_exploited: bool
    epss: Share | None
    certainty: str
    software: str
    version: str | None
    evidence: str
    source: str
    listed: list[dict[str, Any]]
    reachable: list[dict[str, Any]]
    why: str


class Exposure(Model):
    """One reason why a VM's service should be shielded."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Exposure"]
    metadata: Named
    status: ExposureStatus
