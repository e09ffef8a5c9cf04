"""Policies one by one: list, show, define, set their mode, delete.  Each change is a version of all policies."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from netpersona.app import policies as policy_files
from netpersona.app import policy_texts
from netpersona.app.answers import policies
from netpersona.app.api import models
from netpersona.app.api.ask import Alone, Asked, Known, Name, Who, span
from netpersona.app.api.page import listed
from netpersona.app.api.policy_versions import applied
from netpersona.app.api.resource import answer
from netpersona.errors import ConfigError
from netpersona.persona.resource import API_VERSION

router = APIRouter(tags=["policies"])

_Confirm = Annotated[str | None, Query(max_length=32, description="It goes back unless confirmed in this time: 60s.")]


async def _text(request: Request) -> str:
    """The policy that was sent: YAML text, of which JSON is a part."""
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the policy is not UTF-8 text at byte {error.start}; send YAML or JSON") from error


_Text = Annotated[str, Depends(_text)]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


@router.get("/policies", summary="List the policies", response_model=models.ListOf[models.Policy])
def list_(known: Known) -> Response:
    """In the order in which they are asked, each as it was written, with the VMs that it concerns now."""
    now = known.standing()
    return answer(
        listed("Policy", [_shown(policies.shown(known, now, each["name"])) for each in policies.summaries(now)])
    )


@router.get("/policies/{name}", summary="Show one policy", response_model=models.Policy)
def show(known: Known, name: Name) -> Response:
    """As it was written."""
    return answer(_shown(policies.shown(known, known.standing(), name)))


@router.put(
    "/policies/{name}",
    summary="Define a policy",
    response_model=models.PolicyVersion,
    status_code=201,
    openapi_extra=_BODY,
)
def define(
    service: Asked, known: Known, caller: Who, alone: Alone, name: Name, text: _Text, confirm_within: _Confirm = None
) -> Response:
    """Put one policy, as YAML or JSON, in the place of the one of its name, or beside the others."""
    said = policy_files.parsed({f"{name}.yaml": text})
    if [policy.name for policy in said.policies] != [name] or policy_texts.count(text) != 1:
        raise ConfigError(f"the body must be one Policy whose metadata.name is {name!r}")
    with alone:
        texts = policy_texts.with_policy(known.standing().texts, name, text)
        return applied(service.apply(texts, caller, f"defined {name}", span(confirm_within)))


@router.put(
    "/policies/{name}/mode",
    summary="Stage, enforce or switch off a policy",
    response_model=models.PolicyVersion,
    status_code=201,
)
def mode(service: Asked, known: Known, caller: Who, alone: Alone, name: Name, wanted: models.Mode) -> Response:
    """A staged policy only says what it would do; its text is else left as it was written."""
    with alone:
        now = known.standing()
        policies.named(known, now.policies, name)
        texts = policy_texts.with_mode(now.texts, name, wanted.mode)
        return applied(service.apply(texts, caller, f"{name}: {wanted.mode}", span(wanted.confirm_within)))


@router.delete("/policies/{name}", summary="Delete a policy", response_model=models.PolicyVersion, status_code=201)
def delete(
    service: Asked, known: Known, caller: Who, alone: Alone, name: Name, confirm_within: _Confirm = None
) -> Response:
    """The others stay as they are."""
    with alone:
        now = known.standing()
        policies.named(known, now.policies, name)
        texts = policy_texts.without_policy(now.texts, name)
        return applied(service.apply(texts, caller, f"deleted {name}", span(confirm_within)))


def _shown(told: dict[str, Any]) -> dict[str, Any]:
    written = told["resource"]
    status = {key: value for key, value in told.items() if key != "resource"}
    return {"apiVersion": API_VERSION, "kind": "Policy", **written, "status": status}
