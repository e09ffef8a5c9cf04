"""Feeds: what is read and what is pushed; adding, removing, reading now, and deciding on what is held."""

from __future__ import annotations

import os
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from netpersona.app.answers.known import UnknownError
from netpersona.app.api import models
from netpersona.app.api.access import STATE, Caller
from netpersona.app.api.ask import Asked, Who
from netpersona.app.api.page import listed
from netpersona.app.api.resource import answer, resource
from netpersona.app.feed_config import feed_source, spec_of
from netpersona.app.live.feed_state import Fetching
from netpersona.app.live.service import FeedState, Service
from netpersona.errors import ConfigError
from netpersona.flow.window import SECOND
from netpersona.intel.worth import Worth
from netpersona.persona.resource import rfc3339

router = APIRouter(tags=["feeds"])

_Name = Annotated[models.FeedName, Path(description="The feed's name.")]
_Why = Annotated[models.Why, Query(description="For the record.")]


@router.get("/feeds", summary="List the feeds", response_model=models.ListOf[models.Feed])
def list_(service: Asked) -> Response:
    """Every feed, how much it says, and whether it could be read."""
    return answer(listed("Feed", [_shown(feed) for feed in service.feeds()]))


@router.post("/feeds", summary="Read a feed from now on", response_model=models.Feed)
def add(service: Asked, caller: Who, request: Request, feed: models.FeedKeys) -> Response:
    """Read a feed from now on, also after a restart; it is read at once, and what came of it shown when asked again.

    What reads files or variables of the controller's host may be added by root and by its own user only.
    """
    source = feed_source(spec_of(feed.model_dump(exclude_none=True), "the feed"), None, "the feed")
    if source.touches_host and not _owns_host(request):
        raise ConfigError(
            "a feed that reads files or variables of this host (file, folder, ca, credentials) is for root and the "
            "controller's user to add; or put it into the configuration"
        )
    service.add_feed(source, caller)
    return _one(service, source.name)


@router.get("/feeds/{name}", summary="Show a feed", response_model=models.Feed)
def show(service: Asked, name: _Name) -> Response:
    """One feed: how reading it goes, what it holds by type, what was refused, what is held."""
    return _one(service, name)


@router.delete("/feeds/{name}", summary="Forget a feed", response_model=models.FeedChange)
def delete(service: Asked, caller: Who, name: _Name, why: _Why = "no reason was given") -> Response:
    """Forget a feed that was added or pushed to, and all that it said."""
    gone = _state(service, name).indicators
    service.remove_feed(name, caller, why)
    return _changed(name, gone)


@router.post("/feeds/{name}/refresh", summary="Read a feed now", response_model=models.Feed)
def refresh(service: Asked, name: _Name, how: models.FeedRefresh) -> Response:
    """Read a feed now; this answers at once, and `status.reading.running` tells when it is done."""
    service.refresh_feed(_state(service, name).name, whole=how.whole)
    return _one(service, name)


@router.post("/feeds/{name}/accept", summary="Accept what is held of a feed", response_model=models.Feed)
def accept(service: Asked, caller: Who, name: _Name, word: models.FeedWord) -> Response:
    """Let count what is held of a feed that shrank or grew much."""
    service.decide_feed(_state(service, name).name, caller, word.why, accept=True)
    return _one(service, name)


@router.post("/feeds/{name}/refuse", summary="Refuse what is held of a feed", response_model=models.Feed)
def refuse(service: Asked, caller: Who, name: _Name, word: models.FeedWord) -> Response:
    """Throw away what is held of a feed; what it said before stays, until it says something else."""
    service.decide_feed(_state(service, name).name, caller, word.why, accept=False)
    return _one(service, name)


@router.post("/feeds/{name}/indicators", summary="Push indicators to a feed", response_model=models.FeedChange)
def push(service: Asked, caller: Who, name: _Name, indicators: models.Indicators) -> Response:
    """Add addresses, networks or domains; a feed that nobody has is made.  All of them or none."""
    return _changed(name, service.indicators(name, indicators.values, caller))


@router.post("/feeds/{name}/removals", summary="Remove indicators from a feed", response_model=models.FeedChange)
def remove(service: Asked, caller: Who, name: _Name, indicators: models.Indicators) -> Response:
    """Take out what was pushed."""
    return _changed(name, service.indicators(name, indicators.values, caller, remove=True))


def _owns_host(request: Request) -> bool:
    """Whether who asks could read those files himself."""
    caller: Caller | None = getattr(request.state, STATE, None)
    return caller is not None and caller.uid in {0, os.geteuid()}


def _state(service: Service, name: str) -> FeedState:
    found = next((feed for feed in service.feeds() if feed.name == name), None)
    if found is None:
        raise UnknownError(f"there is no feed {name}; 'netpersona feed list' names the feeds")
    return found


def _one(service: Service, name: str) -> Response:
    return answer(_shown(_state(service, name)))


def _changed(name: str, count: int) -> Response:
    return answer(resource("FeedChange", name, None, {"changed": count}))


def _shown(feed: FeedState) -> dict[str, object]:
    spec = {
        "confidence": feed.confidence,
        "half_life": None if feed.half_life is None else feed.half_life / SECOND,
        "family": feed.family,
        "category": feed.category,
        "allow": list(feed.allow),
        "pushed": feed.pushed,
        "source": None if feed.fetching is None else _source(feed.fetching),
    }
    status = {
        "indicators": feed.indicators,
        "counts": dict(feed.counts),
        "read": _time(feed.read),
        "well": feed.well,
        "says": feed.says,
        "refused": feed.refused,
        "refusals": [each._asdict() for each in feed.refusals],
        "reading": None if feed.fetching is None else _reading(feed.fetching),
        "worth": None if feed.worth is None else _worth(feed.worth),
    }
    return resource("Feed", feed.name, spec, status)


def _worth(worth: Worth) -> dict[str, Any]:
    told = worth._asdict()
    rounded = {
        name: None if told[name] is None else round(told[name], 4)
        for name in ("precision", "low", "high", "confirmed", "refuted", "freshness", "unique")
    }
    instants = {name: _time(told[name]) for name in ("log_only_since", "last_met")}
    lists = {name: list(told[name]) for name in ("copy_of", "family")}
    beside = {name: value for name, value in told.items() if name not in {"feed", "indicators"}}
    return {**beside, **rounded, **instants, **lists, "shared_with": dict(worth.shared_with)}


def _source(fetching: Fetching) -> dict[str, Any]:
    every = None if fetching.interval is None else fetching.interval / SECOND
    return {"kind": fetching.kind, "where": fetching.where, "added": fetching.added, "interval": every}


def _reading(fetching: Fetching) -> dict[str, Any]:
    held, decided = fetching.held, fetching.decision
    return {
        "attempted": _time(fetching.attempted),
        "succeeded": _time(fetching.succeeded),
        "next": _time(fetching.next),
        "running": fetching.running,
        "failures": fetching.failures,
        "error": fetching.error,
        "fetched": _time(fetching.fetched),
        "sha256": fetching.sha256,
        "entries": fetching.entries,
        "format": fetching.format,
        "held": None if held is None else {"since": rfc3339(held.since), "why": held.why, "entries": held.entries},
        "notices": list(fetching.notices),
        "decision": None
        if decided is None
        else {"at": rfc3339(decided.at), "what": decided.what, "who": decided.who, "why": decided.why},
    }


def _time(at: int | None) -> str | None:
    return None if at is None else rfc3339(at)
