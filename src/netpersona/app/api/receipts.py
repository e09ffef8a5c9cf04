"""Receipts: the packets that rules met, as the kernel told of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from netpersona.app.answers.receipts import receipts
from netpersona.app.api import models
from netpersona.app.api.ask import Known
from netpersona.app.api.page import DEFAULT, MOST, listed
from netpersona.app.api.resource import answer, resource

router = APIRouter(tags=["firewall"])


@router.get("/receipts", summary="List the latest receipts", response_model=models.ListOf[models.Receipt])
def list_(
    known: Known,
    vm: Annotated[str | None, Query(max_length=128, description="Of this VM only.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST, description="The newest so many.")] = DEFAULT,
) -> Response:
    """Denied, logged and staged packets, the oldest first; a sample: the kernel tells of some packets a second."""
    told = receipts(known, vm, limit)
    return answer(listed("Receipt", [resource("Receipt", f"{each['at']:.6f}", None, each) for each in told]))
