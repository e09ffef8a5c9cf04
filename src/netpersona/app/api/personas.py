"""Personas: list, show, history, compare, freeze, unfreeze, reset, label; and the risk taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from netpersona.app.answers import findings, personas
from netpersona.app.answers.known import the_vm
from netpersona.app.answers.summary import as_resource
from netpersona.app.api import models
from netpersona.app.api.ask import At, Known, Vm
from netpersona.app.api.page import Paged, paged
from netpersona.app.api.resource import answer, resource

router = APIRouter(tags=["personas"])

_Compared = Annotated[str, Query(max_length=200, description="VM or VM@VERSION.", examples=["web-1@3"])]


@router.get(
    "/personas",
    summary="List the personas",
    response_model=models.ListOf[models.PersonaSummary] | models.ListOf[models.Persona],
)
def list_(known: Known, at: At, page: Paged, view: Literal["summary", "whole"] = "summary") -> Response:
    """Every VM in a line (PersonaSummary), or whole (Persona), in the order of their names."""
    known_now = sorted(known.personas().values(), key=lambda persona: persona.vm)
    if view == "whole":
        return answer(paged("Persona", known_now, lambda p: p.vm, lambda p: personas.shown(known, p, at), page))
    return answer(
        paged(
            "PersonaSummary",
            known_now,
            lambda p: p.vm,
            lambda p: as_resource(personas.summary(known, p, at)),
            page,
        )
    )


@router.get("/personas/{vm}", summary="Show one persona", response_model=models.Persona | models.PersonaSummary)
def show(known: Known, vm: Vm, at: At, view: Literal["summary", "whole"] = "whole") -> Response:
    """A persona as it stands, and its risk then."""
    persona = the_vm(known, vm)
    if view == "summary":
        return answer(as_resource(personas.summary(known, persona, at)))
    return answer(personas.shown(known, persona, at))


@router.get(
    "/personas/{vm}/history",
    summary="List the versions of a persona",
    response_model=models.ListOf[models.PersonaVersion],
)
def history(known: Known, vm: Vm, page: Paged) -> Response:
    """The stored versions, the oldest first, each with what changed."""
    name = the_vm(known, vm).vm
    versions = personas.history(known, vm)
    return answer(
        paged("PersonaVersion", versions, lambda v: f"{v['version']:012d}", lambda v: _version(name, v), page)
    )


@router.get("/persona-differences", summary="Compare two personas", response_model=models.PersonaDifference)
def differences(known: Known, one: _Compared, other: _Compared | None = None) -> Response:
    """What differs between two versions of a persona, or two personas; without `other`, `one` as it stands."""
    told = personas.differences(known, one, other)
    return answer(resource("PersonaDifference", f"{told['before']}...{told['after']}", None, told))


@router.post(
    "/personas/{vm}/{edit}", summary="Freeze, unfreeze, reset or acquit a persona", response_model=models.PersonaEdit
)
def change(
    known: Known,
    vm: Vm,
    edit: Annotated[Literal["freeze", "unfreeze", "reset", "acquit"], Path(description="What to do.")],
) -> Response:
    """Let it learn no more, learn again, or forget what was learned as normal.  Asking twice changes nothing."""
    return answer(_edited(personas.edited(known, vm, edit)))


@router.patch("/personas/{vm}/labels", summary="Set or take away labels", response_model=models.PersonaEdit)
def label(known: Known, vm: Vm, labels: models.Labels) -> Response:
    """Labels that are not named stay."""
    return answer(_edited(personas.labelled(known, vm, labels.labels)))


@router.get("/personas/{vm}/risk", summary="Explain a risk", response_model=models.RiskExplanation)
def risk(
    known: Known,
    vm: Vm,
    at: At,
    without: Annotated[list[str] | None, Query(max_length=50, description="Feeds or detectors to leave out.")] = None,
) -> Response:
    """What the risk is the sum of, at any instant, and what it would be without some feeds or detectors."""
    told = findings.risk(known, vm, at, [owner[:256] for owner in without or ()])
    return answer(resource("RiskExplanation", told["vm"], None, told))


def _version(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in told.items() if key != "version"}
    return resource("PersonaVersion", name, None, rest, version=told["version"])


def _edited(told: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: told[key] for key in ("learning", "changed", "what")}
    return resource("PersonaEdit", told["vm"], None, rest, version=told["version"])
