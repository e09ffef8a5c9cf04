"""`netpersona feed ...`: what feeds say, and what is pushed to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import controlled
from netpersona.app.feed_check_command import check
from netpersona.app.feed_precision_command import precision
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


@click.group()
def feed() -> None:
    """List feeds; push indicators to the running controller, and take them back."""


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
@controlled
@output_option
def remove(name: str, values: tuple[str, ...], file: Path | None, controller: Controller, output: str) -> None:
    """Take back what was pushed to feed NAME."""
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
    for name in ("feed", "indicators", "confidence", "is", "read", "says"):
        table.add_column(name, overflow="fold")
    for each in told:
        table.add_row(
            each["name"],
            str(each["indicators"]),
            f"{each['confidence']:g}",
            ("pushed" if each["pushed"] else "read") if each["well"] else "ill",
            (each["read"] or "never")[:19].replace("T", " "),
            each["says"],
        )
    return table


def _pushed(told: Mapping[str, Any]) -> str:
    known = told["given"] - told["added"]
    beside = f"; {known} {'was' if known == 1 else 'were'} in it already" if known else ""
    return f"{counted(told['added'], 'indicator')} added to {told['feed']}{beside}."


def _removed(told: Mapping[str, Any]) -> str:
    unknown = told["given"] - told["removed"]
    beside = f"; {unknown} {'was' if unknown == 1 else 'were'} not in it" if unknown else ""
    return f"{counted(told['removed'], 'indicator')} removed from {told['feed']}{beside}."
