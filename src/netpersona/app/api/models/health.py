"""How the controller is."""

from __future__ import annotations

from typing import Literal

from netpersona.app.api.models.shape import Model, Named, Version


class PartHealth(Model):
    """One part of the controller."""

    name: str
    well: bool
    since: str
    says: str
    failures: int
    figures: dict[str, float | int | str]


class HealthStatus(Model):
    """All parts."""

    well: bool
    at: str
    started: str
    parts: list[PartHealth]


class Health(Model):
    """How each part of the controller is."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Health"]
    metadata: Named
    status: HealthStatus
