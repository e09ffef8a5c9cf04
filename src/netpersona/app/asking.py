"""Whom a command asks: the store it was given, or the running controller."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from netpersona.app.lookup import opened, store_option
from netpersona.errors import ConfigError, NetpersonaError

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers
    from netpersona.app.client import Controller

SOCKET = "/run/netpersona/api.sock"

socket_option = click.option(
    "--socket",
    envvar="NETPERSONA_SOCKET",
    metavar="PATH",
    help=f"The running controller's socket, asked where no store is named.  [default: {SOCKET}]",
)


def answered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the command `ask`: the Answers of the store that --store names, else of the controller at --socket."""

    @store_option
    @socket_option
    @functools.wraps(command)
    def asks(*args: Any, store: str | None, socket: str | None, **named: Any) -> Any:
        return command(*args, ask=_answers(store, socket), **named)

    return asks


def controlled(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the command `controller`: the running one, at --socket."""

    @socket_option
    @functools.wraps(command)
    def asks(*args: Any, socket: str | None, **named: Any) -> Any:
        return command(*args, controller=controller_at(socket), **named)

    return asks


def _answers(store: str | None, socket: str | None) -> Answers:
    from netpersona.app.answers.ask import Answered
    from netpersona.app.answers.known import InStore

    if store is not None and _said("store") and socket is not None and _said("socket"):
        raise ConfigError("--store and --socket both say whom to ask; give one of them")
    if store is not None and not (socket is not None and _said("socket")):
        return Answered(InStore(lambda: opened(store)))
    if socket is None and not Path(SOCKET).exists():
        raise ConfigError(
            "no store was named: give --store FILE.db or set NETPERSONA_STORE;"
            f" 'netpersona replay SOURCE --store FILE.db' makes one; and no controller runs here ({SOCKET})"
        )
    return controller_at(socket)


def instant(text: str | None) -> int | None:
    """The instant (µs) that --at or --since names; None where it was not given.  Raises ConfigError."""
    if text is None:
        return None
    from netpersona.app.replay_command import parse_time

    return parse_time(text)


def controller_or_none(socket: str | None) -> Controller | None:
    """What asks the controller; None where there is no socket."""
    from netpersona.app.client import Controller

    path = Path(SOCKET if socket is None else socket)
    return Controller(path) if path.exists() else None


def controller_at(socket: str | None) -> Controller:
    """What asks the controller.  Raises NetpersonaError where there is no socket."""
    found = controller_or_none(socket)
    if found is None:
        path = SOCKET if socket is None else socket
        raise NetpersonaError(f"{path}: no controller runs here; start it with 'netpersona up', or name its --socket")
    return found


def _said(option: str) -> bool:
    """Whether the option stands on the command line, and not only in the environment."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE
