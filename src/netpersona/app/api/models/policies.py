"""Policies, their versions, checks and plans."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from netpersona.app.api.models.shape import Model, Named, Version

FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]


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
    """Policies that are to be in force."""

    replace: bool = Field(
        default=True, description="In place of all others; else each in place of the one of its name, and others stay."
    )
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
    exposure: list[dict[str, Any]]
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
