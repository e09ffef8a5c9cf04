"""Personas, and the risk taken apart."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from netpersona.app.api.models.shape import Model, Named, Share, Version


class PersonaName(Model):
    """A VM, and the version of its persona."""

    name: str
    labels: dict[str, str]
    version: int


class PersonaSpec(Model):
    """What people set of a persona."""

    base_network_config: dict[str, Any]
    learning: dict[str, str]
    mitigation_rules: list[dict[str, Any]]


class PersonaStatus(Model):
    """What was learned of a VM."""

    traffic_profile: dict[str, Any]
    behavioral_signatures: list[dict[str, Any]]
    behavioral_signatures_more: int = 0
    risk_score: Share
    risk_ledger: list[dict[str, Any]]
    risk_ledger_more: int = 0
    completeness: dict[str, float]
    exposure: dict[str, Any]
    mitigations: list[dict[str, Any]]
    mitigations_more: int = 0


class Persona(Model):
    """A VM's network persona, at most 8 KiB."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Persona"]
    metadata: PersonaName
    spec: PersonaSpec
    status: PersonaStatus


class SummarySpec(Model):
    """Where the VM is, and whether it learns."""

    addresses: list[str]
    learning: str


class Seen(Model):
    """How much is known of a VM."""

    seen: Share
    flows: int


class SummaryStatus(Model):
    """How worried we are."""

    risk_score: Share
    risk_at: str
    completeness: Seen
    signatures: list[str]
    first_seen: str | None = None
    last_seen: str | None = None


class PersonaSummary(Model):
    """A persona in a line."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PersonaSummary"]
    metadata: PersonaName
    spec: SummarySpec
    status: SummaryStatus


class VersionName(Model):
    """A VM, and a version of its persona."""

    name: str
    version: int


class PersonaVersionStatus(Model):
    """What made the version."""

    at: str
    why: str
    risk_score: Share
    completeness: Share
    learning: str


class PersonaVersion(Model):
    """A persona as it was when something about it changed."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PersonaVersion"]
    metadata: VersionName
    status: PersonaVersionStatus


class Change(Model):
    """One thing that differs; null: it is absent."""

    path: str
    before: Any
    after: Any


class DifferenceStatus(Model):
    """What differs."""

    before: str
    after: str
    changes: list[Change]


class PersonaDifference(Model):
    """What differs between two versions of a persona, or two personas."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PersonaDifference"]
    metadata: Named
    status: DifferenceStatus


class EditStatus(Model):
    """What came of an edit."""

    learning: str
    changed: bool
    what: str


class PersonaEdit(Model):
    """What a person changed of a persona."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PersonaEdit"]
    metadata: VersionName
    status: EditStatus


class Labels(Model):
    """Labels to set; null takes one away, and those not named stay (RFC 7396)."""

    labels: Annotated[dict[str, str | None], Field(max_length=64)]


class RiskStatus(Model):
    """What a risk is the sum of."""

    vm: str
    at: float
    risk: Share
    prior: Share
    contributions: list[dict[str, Any]]
    exempt: list[dict[str, Any]] = Field(description="Terms that do not count then, since when and why.")
    without: list[str] | None = None
    risk_with_all: Share | None = None


class RiskExplanation(Model):
    """A VM's risk at an instant, taken apart."""

    apiVersion: Version  # noqa: N815
    kind: Literal["RiskExplanation"]
    metadata: Named
    status: RiskStatus
