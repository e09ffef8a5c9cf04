"""Versions of the policies: apply, confirm, roll back, history; and what texts are worth before: check, plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from netpersona.app import policy_texts
from netpersona.app.answers import policies
from netpersona.app.answers.known import UnknownError
from netpersona.app.api import models
from netpersona.app.api.ask import Alone, Asked, Known, Who, span
from netpersona.app.api.page import Paged, paged
from netpersona.app.api.resource import answer, resource
from netpersona.app.live.service import Applied, PolicyVersion
from netpersona.persona.resource import rfc3339
from netpersona.ruleset.diff import words

router = APIRouter(tags=["policies"])


@router.post("/policy-checks", summary="Validate policies", response_model=models.PolicyCheck)
def check(known: Known, texts: models.Texts) -> Response:
    """Everything that is wrong in these files; where nothing is, what is hardly meant, held against the personas."""
    told = policies.remarks(texts.texts, tuple(known.personas().values()))
    status = {"valid": not any(each["kind"] == "error" for each in told), "remarks": told}
    return answer(resource("PolicyCheck", "policies", None, status))


@router.post("/policy-plans", summary="Plan policies", response_model=models.PolicyPlan)
def plan(
    known: Known,
    texts: models.Texts,
    nft: Annotated[bool, Query(description="The nft text too.")] = False,
    replace: Annotated[bool, Query(description="They are all policies; else only those of the same names go.")] = True,
) -> Response:
    """What would change if these were the policies, and what the VMs normally do that would be stopped."""
    return _planned(policies.plan(known, texts.texts, nft=nft, replace=replace))


@router.get("/policy-plans/current", summary="Show what the policies come to", response_model=models.PolicyPlan)
def current(known: Known, nft: Annotated[bool, Query(description="The nft text too.")] = False) -> Response:
    """The rules as they are; nothing would change."""
    return _planned(policies.plan(known, None, nft=nft))


@router.post("/policy-versions", summary="Apply policies", response_model=models.PolicyVersion, status_code=201)
def apply(service: Asked, known: Known, caller: Who, alone: Alone, bundle: models.Bundle) -> Response:
    """Put these files in force: in place of all others, or where `replace` is false, of those of the same names.

    With `confirm_within` they go back unless confirmed.
    """
    with alone:
        texts = bundle.texts if bundle.replace else policy_texts.merged(known.standing().texts, bundle.texts)
        return applied(service.apply(texts, caller, bundle.why, span(bundle.confirm_within)))


@router.get("/policy-versions", summary="List the versions", response_model=models.ListOf[models.PolicyVersion])
def list_(service: Asked, page: Paged) -> Response:
    """The oldest first, without their texts; the last one is in force."""
    versions = service.policies()
    newest = versions[-1].number if versions else None
    return answer(
        paged("PolicyVersion", versions, lambda v: f"{v.number:012d}", lambda v: _shown(v, newest, whole=False), page)
    )


@router.get("/policy-versions/{number}", summary="Show one version", response_model=models.PolicyVersion)
def show(service: Asked, number: Annotated[int, Path(ge=1, le=10**9)]) -> Response:
    """With the texts of its files."""
    versions = service.policies()
    found = next((version for version in versions if version.number == number), None)
    if found is None:
        raise UnknownError(f"the policies have no version {number}; 'netpersona policy history' lists them")
    return answer(_shown(found, versions[-1].number, whole=True))


@router.post("/policy-versions/confirm", summary="Confirm the policies", response_model=models.PolicyVersion)
def confirm(service: Asked, caller: Who) -> Response:
    """Keep what waits to be confirmed."""
    version = service.confirm(caller)
    return answer(_shown(version, version.number, whole=False))


@router.post(
    "/policy-versions/rollback",
    summary="Go back to other policies",
    response_model=models.PolicyVersion,
    status_code=201,
)
def roll_back(service: Asked, caller: Who, alone: Alone, back: models.Back | None = None) -> Response:
    """To the version before, or the one named; that makes a new version."""
    with alone:
        return applied(service.roll_back(caller, None if back is None else back.number))


def applied(done: Applied) -> Response:
    """What a change of the policies came to."""
    told = _shown(done.version, done.version.number, whole=False)
    told["status"]["changes"] = words(done.changes)
    if done.confirm_by is not None:
        told["status"]["confirm_by"] = rfc3339(done.confirm_by)
    return answer(told, 201)


def _planned(told: Mapping[str, Any]) -> Response:
    return answer(resource("PolicyPlan", "policies", None, told))


def _shown(version: PolicyVersion, newest: int | None, *, whole: bool) -> dict[str, Any]:
    status = {
        "number": version.number,
        "at": rfc3339(version.at),
        "who": version.who,
        "why": version.why,
        "in_force": version.number == newest,
        "confirmed": version.confirmed,
        "confirm_by": None if version.confirm_by is None else rfc3339(version.confirm_by),
    }
    spec: dict[str, Any] = {"files": sorted(version.texts)}
    return resource(
        "PolicyVersion", str(version.number), {**spec, "texts": dict(version.texts)} if whole else spec, status
    )
