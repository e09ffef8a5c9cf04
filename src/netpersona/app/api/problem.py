"""How errors are answered: one shape for all (RFC 9457), which says what is wrong and what to do.

Nothing of a request is echoed but what an error's own sentence quotes, and no traceback ever leaves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from netpersona.app.answers.known import UnknownError
from netpersona.errors import (
    ConfigError,
    EnforcerError,
    FeedError,
    InventoryError,
    NetpersonaError,
    PolicyError,
    SourceError,
    StoreError,
)

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:netpersona:problem:"


class _Kind(NamedTuple):
    """How an error of ours is answered; `advice` stands beside what its message says."""

    error: type[NetpersonaError]
    status: int
    word: str  # in the type
    title: str
    advice: str


_KINDS = (  # the first that fits counts
    _Kind(UnknownError, 404, "unknown", "There is nothing of this name", "List what there is, and ask again."),
    _Kind(PolicyError, 422, "policy", "The policies are refused", "Mend them at the place named; nothing was changed."),
    _Kind(ConfigError, 400, "value", "A value is refused", "Correct the value and ask again; nothing was changed."),
    _Kind(FeedError, 422, "feed", "The indicators are refused", "Correct them and push again; nothing was changed."),
    _Kind(
        InventoryError, 503, "inventory", "The list of VMs cannot be read", "Mend the inventory; see /api/v1/health."
    ),
    _Kind(StoreError, 503, "store", "The store does not answer", "See /api/v1/health; the rules in force stay."),
    _Kind(
        EnforcerError, 503, "enforcer", "The kernel refused", "The rules before are still in force; see /api/v1/health."
    ),
    _Kind(SourceError, 503, "source", "A sensor cannot read", "See /api/v1/health."),
    _Kind(NetpersonaError, 409, "state", "That cannot be done now", "See /api/v1/health, then ask again."),
)
_HTTP = {
    403: ("access", "You may not ask", "Ask as root, as the user of the controller, or as a member of its group."),
    404: ("path", "There is no such resource", "See /api/v1/openapi.json for what there is."),
    405: ("method", "That cannot be done with this resource", "See /api/v1/openapi.json for what can."),
    413: ("size", "The request is too big", "Send it in smaller parts."),
}


def problem(status: int, word: str, title: str, detail: str, advice: str, **more: Any) -> Response:
    """The answer that tells of an error."""
    told = {"type": TYPE + word, "title": title, "status": status, "detail": detail, "advice": advice, **more}
    return Response(json.dumps(told), status, media_type=MEDIA_TYPE)


def http_problem(status: int, detail: str) -> Response:
    """The answer for what HTTP itself refuses."""
    word, title, advice = _HTTP.get(status, ("request", "The request is refused", "See /api/v1/openapi.json."))
    return problem(status, word, title, detail, advice)


def tell_problems(app: FastAPI) -> None:
    """Let the application answer every error as a problem."""
    app.add_exception_handler(NetpersonaError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(_: Request, error: Exception) -> Response:
    kind = next(kind for kind in _KINDS if isinstance(error, kind.error))
    return problem(kind.status, kind.word, kind.title, str(error), kind.advice)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [{"where": _where(each["loc"]), "message": str(each["msg"])} for each in error.errors()[:20]]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in wrong)
    advice = "See /api/v1/openapi.json for what is expected; nothing was changed."
    return problem(422, "request", "The request is not understood", detail, advice, errors=wrong)


def _where(place: Sequence[str | int]) -> str:
    """`body.spec.values.3`; what stands there may be a name of the sender's, so it is cut."""
    return ".".join(str(part)[:64] for part in place)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = http_problem(error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unexpected(_: Request, error: Exception) -> Response:
    detail = f"{type(error).__name__}: a defect of netpersona; its journal has the details"
    return problem(500, "defect", "Something went wrong inside", detail, "Report it; the rules in force stay.")


def error_of(told: Mapping[str, Any]) -> NetpersonaError:
    """The error that a problem tells of, for those who asked."""
    word = str(told.get("type", "")).removeprefix(TYPE)
    known = {kind.word: kind.error for kind in _KINDS} | {"request": ConfigError, "size": ConfigError}
    detail = str(told.get("detail") or told.get("title") or "the controller refused, and did not say why")
    said = f"{detail}; {told['advice']}" if word == "access" and told.get("advice") else detail
    return known.get(word, NetpersonaError)(said)
