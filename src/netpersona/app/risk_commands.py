"""`netpersona risk explain` and `netpersona findings`: what there is to worry about, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netpersona.app.asking import answered, instant
from netpersona.app.group import Commands

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers

_output = click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")


@click.group(cls=Commands)
def risk() -> None:
    """Explain a VM's risk."""


@risk.command()
@click.argument("vm")
@click.option("--at", metavar="TIME", help="Any past instant: epoch seconds or RFC 3339.")
@click.option("--without", "left_out", multiple=True, metavar="FEED|DETECTOR", help="Leave one out; repeat for more.")
@answered
@_output
def explain(vm: str, at: str | None, left_out: tuple[str, ...], ask: Answers, output: str) -> None:
    """Show what VM's risk is the sum of, at any instant, and what it would be without a feed or a detector."""
    from netpersona.app.output import emit
    from netpersona.app.risk_explanation import table

    emit(ask.risk(vm, instant(at), left_out), output, table)


@click.command()
@click.argument("vm", required=False)
@click.option("--all", "everything", is_flag=True, help="Also what is kept as context, not only alerts.")
@click.option("--kind", metavar="KIND", help="Of this kind only: c2_beacon, scan_vertical, ...")
@click.option("--since", metavar="TIME", help="Seen then or later: epoch seconds or RFC 3339.")
@answered
@_output
def findings(vm: str | None, everything: bool, kind: str | None, since: str | None, ask: Answers, output: str) -> None:
    """List what the detectors found."""
    from netpersona.app.answers.ask import Wanted
    from netpersona.app.finding_table import findings_table
    from netpersona.app.output import emit

    emit(ask.findings(Wanted(vm, kind, everything, instant(since))), output, findings_table)
