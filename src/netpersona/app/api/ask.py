"""What every operation asks of a request: the service, who asks, an instant, a span."""

from __future__ import annotations

from threading import Lock
from typing import Annotated

from fastapi import Depends, Path, Query, Request

from netpersona.app.answers.known import InService
from netpersona.app.api.access import who
from netpersona.app.live.service import Service
from netpersona.app.replay_command import parse_time
from netpersona.app.span import duration


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _alone(request: Request) -> Lock:
    alone: Lock = request.app.state.alone
    return alone


def _known(request: Request) -> InService:
    return InService(_service(request), who(request))


def _instant(
    at: Annotated[
        str | None, Query(max_length=64, description="An instant: epoch seconds or RFC 3339; else now.")
    ] = None,
) -> int | None:
    return None if at is None else parse_time(at)


def span(text: str | None) -> int | None:
    """A span such as 60s, in µs.  Raises ConfigError."""
    return None if text is None else duration(text, "confirm_within")


Asked = Annotated[Service, Depends(_service)]
Known = Annotated[InService, Depends(_known)]
At = Annotated[int | None, Depends(_instant)]
Alone = Annotated[Lock, Depends(_alone)]  # held from reading the policies to applying them changed
Who = Annotated[str, Depends(who)]
Vm = Annotated[str, Path(max_length=128, description="A VM's name, or an address of it.")]
Name = Annotated[str, Path(max_length=256)]
