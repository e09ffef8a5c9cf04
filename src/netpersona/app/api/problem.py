"""How errors are answered: one shape for all (RFC 9457), which says what is wrong and what to do.

Nothing of a request is echoed but what an error's own sentence quotes, and no traceback ever leaves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from netpersona.app.api.models.feeds import FEED_NAME
from netpersona.app.api.problem_words import TYPE, kind_of
from netpersona.errors import NetpersonaError

MEDIA_TYPE = "application/problem+json"


_HTTP = {
    403: ("access", "You may not ask", "Ask as root, as the user of the controller, or as a member of its group."),
    404: ("path", "There is no such resource", "See /api/v1/openapi.json for what there is."),
    405: ("method", "That cannot be done with this resource", "See /api/v1/openapi.json for what can."),
    413: ("size", "The request is too big", "Send it in smaller parts."),
}
_SAID = {404: "no resource has this path", 405: "this resource does not know this method"}


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
    assert isinstance(error, NetpersonaError)
    kind = kind_of(error)
    return problem(kind.status, kind.word, kind.title, str(error), kind.advice)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [{"where": _where(each["loc"]), "message": _message(each)} for each in error.errors()[:20]]
    detail = "; ".join(f"{each['where']}: {each['message']}" for each in wrong)
    advice = "See /api/v1/openapi.json for what is expected; nothing was changed."
    return problem(422, "request", "The request is not understood", detail, advice, errors=wrong)


def _message(wrong: Mapping[str, Any]) -> str:
    """What is wrong with one value, for people, who read no regular expressions."""
    if wrong.get("ctx", {}).get("pattern") == FEED_NAME:
        return "a feed's name has letters, digits, '.', '_' and '-', and at most 64 of them"
    return str(wrong["msg"])


def _where(place: Sequence[str | int]) -> str:
    """`body.spec.values.3`; what stands there may be a name of the sender's, so it is cut."""
    return ".".join(str(part)[:64] for part in place)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = http_problem(error.status_code, _SAID.get(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer


async def _unexpected(_: Request, error: Exception) -> Response:
    detail = f"{type(error).__name__}: a defect of netpersona; its journal has the details"
    return problem(500, "defect", "Something went wrong inside", detail, "Report it; the rules in force stay.")
