"""`netpersona status`: how the running controller and each of its parts is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import controlled
from netpersona.app.output import emit, listing, output_option

if TYPE_CHECKING:
    from netpersona.app.client import Controller


@click.command()
@controlled
@output_option
def status(controller: Controller, output: str) -> None:
    """Show how each part of the running controller is, since when, and why.

    Exit code 0: every part is well; 1: some part is not, or no controller answers.
    """
    told = controller.health()
    emit(told, output, _drawn)
    sys.exit(0 if told["well"] else 1)


def _drawn(told: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    ill = [part["name"] for part in told["parts"] if not part["well"]]
    head = f"not well: {', '.join(ill)}" if ill else "all is well"
    table = listing("part", "is", "since", "failures", "says")
    for part in told["parts"]:
        said = part["says"].splitlines()
        said += [f"{name} {_figure(value)}" for name, value in part["figures"].items() if value]
        table.add_row(
            part["name"],
            Text("well", "green") if part["well"] else Text("ill", "bold red"),
            part["since"][:19].replace("T", " "),
            str(part["failures"] or ""),
            "; ".join(said),
        )
    since = told["started"][:19].replace("T", " ")
    return Group(Text(f"{head}; up since {since} UTC", style="bold"), table)


def _figure(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
