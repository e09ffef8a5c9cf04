"""`netpersona feed warninglists ...`: what feeds list by mistake, which lists say so, and newer ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from netpersona.app.group import Commands
from netpersona.app.output import emit, listing, output_option
from netpersona.errors import ConfigError, FeedError
from netpersona.flow.words import counted

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where renewed lists lie.  [default: /var/lib/netpersona/warning-lists]",
)


@click.group("warninglists", cls=Commands)
def warning_lists() -> None:
    """Show the warning lists that the gate refuses by, ask them of a value, and renew them."""


@warning_lists.command("list")
@_folder
@output_option
def list_(folder: Path | None, output: str) -> None:
    """List every warning list: how much it holds, what it does, whence it is and as of when."""
    from netpersona.adapters.warning_lists import FOLDER, loaded

    lists, problems = loaded(folder or FOLDER)
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    keys = ("name", "what", "effect", "date", "licence", "source")
    said = [{**{key: str(getattr(each, key)) for key in keys}, "entries": len(each)} for each in lists.lists]
    emit(said, output, _listed)


@warning_lists.command()
@click.argument("values", nargs=-1, required=True)
@_folder
@output_option
def about(values: tuple[str, ...], folder: Path | None, output: str) -> None:
    """Say what the lists hold against VALUES: addresses, networks, names, or the hosts of URLs."""
    from netpersona.adapters.warning_lists import FOLDER
    from netpersona.adapters.warning_lists import warning_lists as in_use
    from netpersona.intel.odd_value import odd_value

    lists, told = in_use(folder or FOLDER), []
    for value in values:
        try:
            found = [lists.about(urlsplit(each.value).hostname or each.value) for each in odd_value(value)]
        except ValueError as error:
            raise ConfigError(f"{value}: {error}; name an address, a network or a name") from error
        told.append({"value": value, "says": [sentence for each in found for sentence in each]})
    emit(told, output, _told)


@warning_lists.command()
@click.option("--from", "source", metavar="URL|FOLDER", help="A copy of MISP's lists.  [default: MISP's on GitHub]")
@_folder
@output_option
def refresh(source: str | None, folder: Path | None, output: str) -> None:
    """Renew the lists from those that MISP publishes; a part that cannot be renewed stays as it is."""
    import time

    from netpersona.adapters.warning_lists import FOLDER
    from netpersona.adapters.warning_lists.renew import SOURCE, renew

    today = datetime.fromtimestamp(time.time_ns() // 10**9, UTC).date().isoformat()
    try:
        done = renew(source or SOURCE, folder or FOLDER, today)
    except OSError as error:
        raise ConfigError(f"{folder or FOLDER}: {error.strerror}; name a --folder that can be written") from error
    told = [
        {"list": part.list, "part": part.folder, "entries": now, "before": before, "wrong": wrong}
        for part, now, before, wrong in done
    ]
    emit(told, output, _renewed)
    if all(each.wrong for each in done):
        raise FeedError("no list was renewed; those in use stay")


def _listed(said: Sequence[Mapping[str, Any]]) -> Any:
    table = listing("list", "entries", "what feeds list of it is", "as of", "licence", "source")
    done = {"refuse": "refused", "share": "noted; wide networks refused", "suffix": "refused"}
    for each in said:
        row = (each["name"], str(each["entries"]), done[each["effect"]], each["date"], each["licence"], each["source"])
        table.add_row(*row)
    return table


def _told(said: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(f"{each['value']}: {'; '.join(each['says']) or 'on no warning list'}" for each in said)


def _renewed(said: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(
        f"{each['list']}, {each['part']}: "
        + (each["wrong"] + "; stays as it is" if each["wrong"] else counted(each["entries"], "entry", "entries"))
        for each in said
    )
