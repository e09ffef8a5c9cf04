"""The types of what is answered and sent, as the API's documentation states them.

Instants are RFC 3339 (UTC) in resources, and seconds since the epoch in answers that say the same as a report.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

T = TypeVar("T")

Share = Annotated[float, Field(ge=0, le=1)]
Value = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x20,;#\x7f]+$")]
FeedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
Version = Literal["netpersona/v1"]


class Model(BaseModel):
    """A value whose fields are all known."""

    model_config = ConfigDict(extra="forbid")


# Every resource


class Named(Model):
    """Which one it is."""

    name: str


class Rest(Model):
    """Where a list goes on."""

    after: str | None = Field(alias="continue", description="Ask again with ?continue= this; null: it ends here.")
    remaining: int


class ListOf(Model, Generic[T]):
    """A list of resources, or a part of it."""

    apiVersion: Version  # noqa: N815 - as in the YAML
    kind: str
    metadata: Rest
    items: list[T]


class Problem(BaseModel):
    """What is wrong, and what to do (RFC 9457)."""

    type: str = Field(
        description="urn:netpersona:problem: and a word that stays.", examples=["urn:netpersona:problem:policy"]
    )
    title: str
    status: int
    detail: str = Field(description="What is wrong, in a sentence.")
    advice: str = Field(description="What to do.")
    errors: list[dict[str, str]] = Field(default=[], description="Where a request is not understood, and why.")


# Health


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


# Personas


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
    without: list[str] | None = None
    risk_with_all: Share | None = None


class RiskExplanation(Model):
    """A VM's risk at an instant, taken apart."""

    apiVersion: Version  # noqa: N815
    kind: Literal["RiskExplanation"]
    metadata: Named
    status: RiskStatus


# Findings


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


# Policies


class PolicyStatus(Model):
    """Where a policy is written, and whom it concerns now."""

    name: str
    version: int
    mode: str
    order: int
    rules: list[str]
    vms: list[str]
    file: str
    line: int


class Policy(BaseModel):
    """A policy as it was written."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Policy"]
    metadata: dict[str, Any]
    spec: dict[str, Any]
    status: PolicyStatus


class Mode(Model):
    """What a policy does: enforce, stage (only say what it would do), or off."""

    mode: Literal["enforce", "stage", "off"]
    confirm_within: str | None = Field(default=None, max_length=32, examples=["60s"])


class Texts(Model):
    """Policy files: name -> YAML text."""

    texts: Annotated[dict[FileName, str], Field(max_length=1000)]


class Bundle(Texts):
    """All policies that are to be in force, in place of all others."""

    why: str = Field(default="", max_length=1000, description="For the record.")
    confirm_within: str | None = Field(
        default=None, max_length=32, examples=["60s"], description="They go back unless they are confirmed in time."
    )


class Remark(Model):
    """Something wrong (error) or hardly meant (warning)."""

    kind: str
    file: str
    line: int
    column: int
    message: str
    hint: str | None


class CheckStatus(Model):
    """What is wrong or doubtful."""

    valid: bool
    remarks: list[Remark]


class PolicyCheck(Model):
    """Policies, read and held against the personas."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PolicyCheck"]
    metadata: Named
    status: CheckStatus


class PlanStatus(Model):
    """What would change."""

    at: float
    changes: list[str]
    would_stop: list[dict[str, Any]]
    vms: list[dict[str, Any]]
    nft: str | None = None


class PolicyPlan(Model):
    """What policies would come to."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PolicyPlan"]
    metadata: Named
    status: PlanStatus


class VersionSpec(Model):
    """The policies of a version; their texts where one version is asked for."""

    files: list[str]
    texts: dict[str, str] | None = None


class VersionStatus(Model):
    """Who brought a version, when, and whether it stays."""

    number: int
    at: str
    who: str
    why: str
    in_force: bool
    confirmed: bool
    confirm_by: str | None
    changes: list[str] | None = None


class PolicyVersion(Model):
    """All policies as they stood from an instant on; `changes` where it has just been put in force."""

    apiVersion: Version  # noqa: N815
    kind: Literal["PolicyVersion"]
    metadata: Named
    spec: VersionSpec
    status: VersionStatus


class Back(Model):
    """Which version to go back to; the one before, if none is named."""

    number: int | None = Field(default=None, ge=1)


# Feeds


class FeedSpec(Model):
    """What the operator says of a feed."""

    confidence: Share
    family: str | None
    pushed: bool


class FeedStatus(Model):
    """How a feed stands."""

    indicators: int
    read: str | None
    well: bool
    says: str


class Feed(Model):
    """A list of indicators."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Feed"]
    metadata: Named
    spec: FeedSpec
    status: FeedStatus


class Indicators(Model):
    """Addresses, networks or domains."""

    values: Annotated[list[Value], Field(min_length=1, max_length=10_000)]


class FeedChangeStatus(Model):
    """How many indicators came or went."""

    changed: int


class FeedChange(Model):
    """What came of a push or a removal."""

    apiVersion: Version  # noqa: N815
    kind: Literal["FeedChange"]
    metadata: Named
    status: FeedChangeStatus


# Firewall


class Count(Model):
    """What a rule met since it came into force."""

    vm: str
    policy: str
    rule: str
    version: int
    packets: int
    bytes: int


class DriftSaid(Model):
    """One difference between what was applied and what the kernel has."""

    where: str
    what: str


class FirewallStatus(Model):
    """What the kernel holds."""

    installed: bool
    vms: list[dict[str, Any]]
    counters: list[Count]
    drift: list[DriftSaid]
    healed: int
    nft: str | None = None


class Firewall(Model):
    """The rules in force."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Firewall"]
    metadata: Named
    status: FirewallStatus


class CheckedStatus(Model):
    """How the kernel compares with what was applied."""

    well: bool
    drift: list[DriftSaid]
    healed: int


class FirewallCheck(Model):
    """The kernel, read back."""

    apiVersion: Version  # noqa: N815
    kind: Literal["FirewallCheck"]
    metadata: Named
    status: CheckedStatus


class ReceiptStatus(Model):
    """A packet, and the rule that met it; without a policy: what is built in."""

    at: float
    vm: str | None
    direction: str
    source: str
    destination: str
    protocol: str
    source_port: int
    destination_port: int
    policy: str | None
    rule: str
    version: int | None
    staged: bool


class Receipt(Model):
    """One packet that a rule met."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Receipt"]
    metadata: Named
    status: ReceiptStatus


# Why


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
