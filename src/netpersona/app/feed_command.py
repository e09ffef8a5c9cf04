"""`netpersona feed ...`: which feeds there are, and what is pushed to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import controlled
from netpersona.app.feed_check_command import check
from netpersona.app.feed_precision_command import precision
from netpersona.app.feed_source_command import accept, add, instant, refresh, refuse, show
from netpersona.app.group import Commands
from netpersona.app.output import emit, output_option
from netpersona.app.warning_list_command import warning_lists
from netpersona.errors import ConfigError
from netpersona.flow.words import counted

if TYPE_CHECKING:
    from netpersona.app.client import Controller

_AT_ONCE = 10_000  # indicators in one request
_values = click.argument("values", nargs=-1)
_file = click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with one on each line; - for input.",
)


@click.group(cls=Commands)
def feed() -> None:
    """Add feeds, see how they stand, decide on what is held; push indicators, and take them back."""


for command in (add, show, refresh, accept, refuse):
    feed.add_command(command)
feed.add_command(check)
feed.add_command(precision)
feed.add_command(warning_lists)


@feed.command("list")
@controlled
@output_option
def list_(controller: Controller, output: str) -> None:
    """List every feed: how much it says, and whether it could be read."""
    emit(controller.feeds(), output, _listed)


@feed.command()
@click.argument("name")
@_values
@_file
@controlled
@output_option
def push(name: str, values: tuple[str, ...], file: Path | None, controller: Controller, output: str) -> None:
    """Push addresses, networks or domains to feed NAME; they count at once, and a feed that nobody has is made."""
    asked = _given(values, file)
    changed = sum(controller.push(name, part) for part in _parts(asked))
    emit({"feed": name, "given": len(asked), "added": changed}, output, _pushed)


@feed.command()
@click.argument("name")
@_values
@_file
@click.option("--why", default="no reason was given", help="For the record, where the whole feed goes.")
@controlled
@output_option
def remove(
    name: str, values: tuple[str, ...], file: Path | None, why: str, controller: Controller, output: str
) -> None:
    """Take back what was pushed to feed NAME; without values, forget the whole feed, added or pushed to."""
    if not values and file is None:
        emit({"feed": name, "removed": controller.remove_feed(name, why)}, output, _forgotten)
        return
    asked = _given(values, file)
    changed = sum(controller.remove(name, part) for part in _parts(asked))
    emit({"feed": name, "given": len(asked), "removed": changed}, output, _removed)


def _given(values: Sequence[str], file: Path | None) -> list[str]:
    """The values of the command line and of the file, without empty lines and comments.  Raises ConfigError."""
    lines: list[str] = []
    if file is not None:
        try:
            with click.open_file(str(file), encoding="utf-8") as read:
                lines = [line.partition("#")[0].strip() for line in read]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found = [*values, *(line for line in lines if line)]
    if not found:
        raise ConfigError("no indicator was given; name addresses, networks or domains, or a file --from")
    return found


def _parts(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[begin : begin + _AT_ONCE] for begin in range(0, len(values), _AT_ONCE)]


def _listed(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    if not told:
        return "No feeds."
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("feed", "from", "indicators", "confidence", "is", "read", "next", "says"):
        table.add_column(name, overflow="fold")
    for each in told:
        reading = each["reading"] or {}
        table.add_row(
            each["name"],
            "pushed" if each["source"] is None else each["source"]["kind"],
            str(each["indicators"]),
            f"{each['confidence']:g}",
            _state(each, reading),
            instant(each["read"]),
            instant(reading.get("next")) if reading.get("next") else "-",
            each["says"],
        )
    return table


def _state(told: Mapping[str, Any], reading: Mapping[str, Any]) -> str:
    if reading.get("held"):
        return "held"
    if (told.get("worth") or {}).get("log_only_since"):
        return "log-only"
    return "well" if told["well"] else "ill"


def _forgotten(told: Mapping[str, Any]) -> str:
    return f"Feed {told['feed']} is forgotten, with {counted(told['removed'], 'indicator')}."


def _pushed(told: Mapping[str, Any]) -> str:
    known = told["given"] - told["added"]
    beside = f"; {known} {'was' if known == 1 else 'were'} in it already" if known else ""
    return f"{counted(told['added'], 'indicator')} added to {told['feed']}{beside}."


def _removed(told: Mapping[str, Any]) -> str:
    unknown = told["given"] - told["removed"]
    beside = f"; {unknown} {'was' if unknown == 1 else 'were'} not in it" if unknown else ""
    return f"{counted(told['removed'], 'indicator')} removed from {told['feed']}{beside}."
