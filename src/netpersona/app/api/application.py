"""The API as one ASGI application."""

from __future__ import annotations

from threading import Lock
from typing import Any

from fastapi import APIRouter, FastAPI

from netpersona import __version__
from netpersona.app.api import (
    exposures,
    feeds,
    findings,
    firewall,
    health,
    models,
    personas,
    policies,
    policy_versions,
    receipts,
    verdicts,
)
from netpersona.app.api.problem import MEDIA_TYPE, tell_problems
from netpersona.app.live.service import Service

PREFIX = "/api/v1"
_PARTS = (health, personas, findings, exposures, policies, policy_versions, feeds, firewall, receipts, verdicts)
_SAYS = """\
What the running controller knows and does. It is served on a unix socket, and the kernel says who asks: root, the user
of the controller, and the members of its group may.

Resources have the shape of the YAML: `apiVersion`, `kind`, `metadata`, `spec`, `status`. Long lists come in pages
(`limit`, `continue`). Errors are problems (RFC 9457): `detail` says what is wrong, `advice` what to do. A change that
is refused changed nothing.
"""
_PROBLEMS = {
    400: "A value is refused.",
    403: "The caller may not ask.",
    404: "There is nothing of this name.",
    409: "That cannot be done now.",
    413: "The request is too big.",
    422: "The request is not understood, or what it brings is refused.",
    503: "A part of the controller does not answer; the rules in force stay.",
}


def application(service: Service) -> FastAPI:
    """The API over a service.  It asks nobody who they are: that is for whoever serves it (see access.py)."""
    app = _application()
    app.state.service = service
    app.state.alone = Lock()
    return app


def document() -> dict[str, Any]:
    """The API's own description, OpenAPI 3.1."""
    return _application().openapi()


class _Described(FastAPI):
    """An application that describes problems once, and not at each operation."""

    def openapi(self) -> dict[str, Any]:
        """The description."""
        described = super().openapi()
        described["components"]["schemas"].setdefault("Problem", models.Problem.model_json_schema())
        return described


def _application() -> FastAPI:
    app = _Described(
        title="netpersona",
        version=__version__,
        description=_SAYS,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        responses=_responses(),
    )
    api = APIRouter(prefix=PREFIX)
    for part in _PARTS:
        api.include_router(part.router)
    app.include_router(api)
    tell_problems(app)
    return app


def _responses() -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": said, "content": content} for status, said in _PROBLEMS.items()}
