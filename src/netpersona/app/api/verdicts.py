"""Why traffic passes or not."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from netpersona.app.answers.ask import Traffic
from netpersona.app.answers.why import why
from netpersona.app.api import models
from netpersona.app.api.ask import At, Known
from netpersona.app.api.resource import answer, resource

router = APIRouter(tags=["why"])


@router.get("/verdict", summary="Explain what happens to traffic", response_model=models.Verdict)
def verdict(
    known: Known,
    at: At,
    vm: Annotated[str, Query(max_length=128)],
    peer: Annotated[str, Query(max_length=300, description="An address or a name.", examples=["203.0.113.7"])],
    port: Annotated[int | None, Query(ge=1, le=65535)] = None,
    protocol: Annotated[str, Query(max_length=32)] = "tcp",
    direction: Literal["outbound", "inbound"] = "outbound",
    established: Annotated[bool, Query(description="A flow that is established already.")] = False,
) -> Response:
    """The verdict, the rule, and everything they rest on; `peer` may carry its port, as 203.0.113.7:443."""
    traffic = Traffic(
        vm,
        peer if port is None else f"[{peer}]:{port}" if ":" in peer else f"{peer}:{port}",
        direction,
        protocol,
        established,
    )
    return answer(resource("Verdict", vm, traffic._asdict(), why(known, traffic, at)))
