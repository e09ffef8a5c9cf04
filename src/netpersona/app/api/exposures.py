"""Exposures: what the VMs' software is exposed to, and who can reach it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from netpersona.app.answers.exposure import exposures
from netpersona.app.api import models
from netpersona.app.api.ask import Known
from netpersona.app.api.page import Paged, paged
from netpersona.app.api.resource import answer, resource

router = APIRouter(tags=["exposures"])


@router.get("/exposures", summary="List what the VMs are exposed to", response_model=models.ListOf[models.Exposure])
def list_(
    known: Known,
    page: Paged,
    vm: Annotated[str | None, Query(max_length=128, description="Of this VM only.")] = None,
) -> Response:
    """Each with its evidence, and who can reach it by the rules in force; by VM, the surest first."""
    return answer(paged("Exposure", list(enumerate(exposures(known, vm))), _key, _shown, page))


def _key(found: tuple[int, dict[str, Any]]) -> str:
    return f"{found[1]['vm']}.{found[0]:06d}"


def _shown(found: tuple[int, dict[str, Any]]) -> dict[str, object]:
    told = found[1]
    return resource("Exposure", f"{told['vm']}.{told['cve']}", None, told)
