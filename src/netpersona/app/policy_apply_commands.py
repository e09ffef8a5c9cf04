"""`netpersona policy apply, confirm, rollback, stage, delete, history`: what changes the policies in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netpersona.app.asking import controlled
from netpersona.app.output import emit, output_option
from netpersona.app.policy_version_tables import applied_table, by_lines, version_text, versions_table

if TYPE_CHECKING:
    from netpersona.app.client import Controller

_within = click.option("--confirm-within", metavar="SPAN", help="It goes back unless confirmed in this time: 60s, 5m.")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@_within
@click.option("--stage", "staged", is_flag=True, help="Stage them all: they only say what they would do.")
@click.option("--replace", is_flag=True, help="In place of all others: a policy that is in none of FILES goes.")
@click.option("--why", default="", metavar="TEXT", help="For the record.")
@controlled
@output_option
def apply(
    files: tuple[Path, ...],
    confirm_within: str | None,
    staged: bool,
    replace: bool,
    why: str,
    controller: Controller,
    output: str,
) -> None:
    """Put the policies of FILES in force, each in place of the one of its name; others stay as they are.

    With --replace they are all that is in force.  'policy plan', with the same options, says what would change.
    With --confirm-within they go back by themselves, even if the controller is gone, unless 'policy confirm' keeps
    them.
    """
    from netpersona.app import policies as policy_files
    from netpersona.app.policy_texts import with_mode

    texts = policy_files.read(files)
    policy_files.parsed(texts)
    wanted = with_mode(texts, None, "stage") if staged else texts
    done = controller.apply(wanted, why, confirm_within, replace=replace)
    emit(done, output, applied_table)


@click.command()
@controlled
@output_option
def confirm(controller: Controller, output: str) -> None:
    """Keep the policies that wait to be confirmed."""
    emit(controller.confirm(), output, lambda told: f"Version {told['number']} of the policies stays.")


@click.command()
@click.argument("number", required=False, type=click.IntRange(1))
@controlled
@output_option
def rollback(number: int | None, controller: Controller, output: str) -> None:
    """Go back to the policies before, or to version NUMBER of them; that makes a new version."""
    emit(controller.roll_back(number), output, applied_table)


@click.command()
@click.argument("name")
@click.option("--mode", type=click.Choice(["stage", "enforce", "off"]), default="stage", show_default=True)
@_within
@controlled
@output_option
def stage(name: str, mode: str, confirm_within: str | None, controller: Controller, output: str) -> None:
    """Let a policy only say what it would do; with --mode, enforce it again or switch it off."""
    emit(controller.set_mode(name, mode, confirm_within), output, applied_table)


@click.command()
@click.argument("name")
@_within
@controlled
@output_option
def delete(name: str, confirm_within: str | None, controller: Controller, output: str) -> None:
    """Take a policy away; 'policy rollback' brings it back."""
    emit(controller.delete(name, confirm_within), output, applied_table)


@click.command()
@click.argument("number", required=False, type=click.IntRange(1))
@controlled
@output_option
def history(number: int | None, controller: Controller, output: str) -> None:
    """List the versions of the policies; or show one, with its files."""
    if number is None:
        emit(controller.versions(), output, versions_table)
    else:
        told = controller.version(number)
        emit(by_lines(told) if output == "table" else told, output, version_text)
