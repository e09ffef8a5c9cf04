"""Feeds: what is read, and what is pushed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from netpersona.app.api import models
from netpersona.app.api.ask import Asked, Who
from netpersona.app.api.page import listed
from netpersona.app.api.resource import answer, resource
from netpersona.app.live.service import FeedState
from netpersona.persona.resource import rfc3339

router = APIRouter(tags=["feeds"])

_Name = Annotated[models.FeedName, Path(description="The feed's name.")]


@router.get("/feeds", summary="List the feeds", response_model=models.ListOf[models.Feed])
def list_(service: Asked) -> Response:
    """Every feed, how much it says, and whether it could be read."""
    return answer(listed("Feed", [_shown(feed) for feed in service.feeds()]))


@router.post("/feeds/{name}/indicators", summary="Push indicators to a feed", response_model=models.FeedChange)
def push(service: Asked, caller: Who, name: _Name, indicators: models.Indicators) -> Response:
    """Add addresses, networks or domains; a feed that nobody has is made.  All of them or none."""
    return _changed(name, service.indicators(name, indicators.values, caller))


@router.post("/feeds/{name}/removals", summary="Remove indicators from a feed", response_model=models.FeedChange)
def remove(service: Asked, caller: Who, name: _Name, indicators: models.Indicators) -> Response:
    """Take out what was pushed."""
    return _changed(name, service.indicators(name, indicators.values, caller, remove=True))


def _changed(name: str, count: int) -> Response:
    return answer(resource("FeedChange", name, None, {"changed": count}))


def _shown(feed: FeedState) -> dict[str, object]:
    spec = {"confidence": feed.confidence, "family": feed.family, "pushed": feed.pushed}
    status = {
        "indicators": feed.indicators,
        "read": None if feed.read is None else rfc3339(feed.read),
        "well": feed.well,
        "says": feed.says,
    }
    return resource("Feed", feed.name, spec, status)
