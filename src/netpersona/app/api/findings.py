"""Findings: what the detectors found, by VM, kind and instant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from netpersona.app.answers import findings
from netpersona.app.answers.ask import Wanted
from netpersona.app.api import models
from netpersona.app.api.ask import Known, Name
from netpersona.app.api.page import Paged, paged
from netpersona.app.api.resource import answer, resource
from netpersona.app.replay_command import parse_time
from netpersona.app.report import finding_object
from netpersona.risk.finding import Finding

router = APIRouter(tags=["findings"])


@router.get("/findings", summary="List the findings", response_model=models.ListOf[models.Finding])
def list_(
    known: Known,
    page: Paged,
    vm: Annotated[str | None, Query(max_length=128, description="Of this VM only.")] = None,
    kind: Annotated[str | None, Query(max_length=64, description="Of this kind only.", examples=["c2_beacon"])] = None,
    alerts: Annotated[bool, Query(description="Only alerts, not what is kept as context.")] = False,
    since: Annotated[str | None, Query(max_length=64, description="Seen then or later.")] = None,
) -> Response:
    """In the order in which they were judged."""
    instant = None if since is None else parse_time(since)
    wanted = Wanted(vm, kind, everything=not alerts, since=instant)
    return answer(paged("Finding", findings.findings(known, wanted), _key, _shown, page))


@router.get("/findings/{name}", summary="Show one finding", response_model=models.Finding)
def show(known: Known, name: Name) -> Response:
    """By its id."""
    return answer(resource("Finding", name, None, findings.finding(known, name)))


def _key(finding: Finding) -> str:
    return f"{finding.judged_at:020d}.{finding.id}"


def _shown(finding: Finding) -> dict[str, object]:
    return resource("Finding", finding.id, None, finding_object(finding))
