"""How each part of the controller is."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from netpersona.app.api import models
from netpersona.app.api.ask import Asked
from netpersona.app.api.resource import answer, resource
from netpersona.persona.resource import rfc3339

router = APIRouter(tags=["health"])


@router.get("/health", summary="How each part of the controller is", response_model=models.Health)
def health(service: Asked) -> Response:
    """Every part, since when it is well or not, and what it says.  The answer is 200 also where a part is ill."""
    now = service.health()
    parts = [
        {
            "name": part.name,
            "well": part.well,
            "since": rfc3339(part.since),
            "says": part.says,
            "failures": part.failures,
            "figures": dict(part.figures),
        }
        for part in now.parts
    ]
    status = {"well": now.well, "at": rfc3339(now.at), "started": rfc3339(now.started), "parts": parts}
    return answer(resource("Health", "controller", None, status))
