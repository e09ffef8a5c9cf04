"""`netpersona risk explain` and `netpersona findings`: what the store knows of worry, and why."""

from __future__ import annotations

from typing import Any

import click

from netpersona.app.lookup import opened, store_option, the_vm
from netpersona.app.replay_command import parse_time

_output = click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")


@click.group()
def risk() -> None:
    """Explain a VM's risk."""


@risk.command()
@click.argument("vm")
@click.option("--at", metavar="TIME", help="Any past instant: epoch seconds or RFC 3339.")
@click.option("--without", "left_out", multiple=True, metavar="FEED|DETECTOR", help="Leave one out; repeat for more.")
@store_option
@_output
def explain(vm: str, at: str | None, left_out: tuple[str, ...], store: str | None, output: str) -> None:
    """Show what VM's risk is the sum of, at any instant, and what it would be without a feed or a detector."""
    from netpersona.app.output import emit
    from netpersona.app.risk_explanation import explanation, table

    kept = opened(store)
    persona = the_vm(kept, vm)
    instant = parse_time(at) if at is not None else None
    present = {f.id: f for f in kept.findings(persona.vm)}
    told = explanation(persona, kept.terms(persona.vm), instant, left_out, present)
    emit(told, output, table)


@click.command()
@click.argument("vm", required=False)
@click.option("--all", "everything", is_flag=True, help="Also what is kept as context, not only alerts.")
@store_option
@_output
def findings(vm: str | None, everything: bool, store: str | None, output: str) -> None:
    """List what the detectors found."""
    from netpersona.app.finding_table import findings_table
    from netpersona.app.output import emit
    from netpersona.app.report import finding_object

    kept = opened(store)
    name = the_vm(kept, vm).vm if vm is not None else None
    shown: list[dict[str, Any]] = [finding_object(f) for f in kept.findings(name) if everything or f.alert]
    emit(shown, output, findings_table)
