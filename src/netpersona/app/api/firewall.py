"""The firewall: what the kernel holds, whether it is what was applied, and how to get rid of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from netpersona.app.api import models
from netpersona.app.api.ask import Alone, Asked, Who
from netpersona.app.api.policy_versions import applied
from netpersona.app.api.resource import answer, resource
from netpersona.ports import Count, Drift
from netpersona.ruleset.render import render

router = APIRouter(tags=["firewall"])


@router.get("/firewall", summary="Show the rules in force", response_model=models.Firewall)
def show(service: Asked, nft: Annotated[bool, Query(description="The nft text too.")] = False) -> Response:
    """In words, with the counters of each rule; `nft`: as nft writes them."""
    return answer(resource("Firewall", "netpersona", None, _held(service, nft=nft)))


@router.post("/firewall/verify", summary="Read the kernel back", response_model=models.FirewallCheck)
def verify(service: Asked) -> Response:
    """Name every difference between what was applied and what the kernel has; the controller heals it."""
    found = service.verify()
    drift = _drift(found.get("drift", ()))
    status = {"well": bool(found.get("well", not drift)), "drift": drift, "healed": int(found.get("healed", 0))}
    return answer(resource("FirewallCheck", "netpersona", None, status))


@router.post(
    "/firewall/rollback", summary="Go back to the rules before", response_model=models.PolicyVersion, status_code=201
)
def rollback(service: Asked, caller: Who, alone: Alone) -> Response:
    """The same as going back to the policies before: the rules follow from them."""
    with alone:
        return applied(service.roll_back(caller))


@router.post("/firewall/uninstall", summary="Take every rule out of the kernel", response_model=models.Firewall)
def uninstall(service: Asked, caller: Who) -> Response:
    """None comes back until policies are applied or the controller is started again."""
    service.uninstall(caller)
    return answer(resource("Firewall", "netpersona", None, _held(service, nft=False)))


def _held(service: Asked, *, nft: bool) -> dict[str, Any]:
    held = service.firewall()
    status = {
        "installed": bool(held.get("installed", True)),
        "vms": held.get("vms", ()),
        "counters": [_count(count) for count in held.get("counters", ())],
        "drift": _drift(held.get("drift", ())),
        "healed": int(held.get("healed", 0)),
    }
    if nft:
        status["nft"] = held["nft"] if "nft" in held else render(service.ruleset())
    return status


def _count(count: Count) -> dict[str, Any]:
    return {
        "vm": count.vm,
        "policy": count.policy,
        "rule": count.rule,
        "version": count.version,
        "packets": count.packets,
        "bytes": count.octets,
    }


def _drift(found: Iterable[Drift]) -> list[dict[str, str]]:
    return [{"where": each.where, "what": each.what} for each in found]
