"""`netpersona persona ...`: what is known of each VM, and what people may change of it.

Asked of a store, "now" is event time: the instant at which the VM was last seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import answered, instant
from netpersona.app.confirm import confirm
from netpersona.app.group import Commands
from netpersona.app.output import emit, json_text, output_option, yaml_text
from netpersona.errors import ConfigError

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers

at_option = click.option("--at", metavar="TIME", help="The risk then: epoch seconds or RFC 3339.")


@click.group(cls=Commands)
def persona() -> None:
    """List, show, compare, label, freeze, reset and export personas.  A VM is given by its name or by an address."""


@persona.command("list", short_help="List every VM, its risk and how known it is.")
@at_option
@answered
@output_option
def list_(at: str | None, ask: Answers, output: str) -> None:
    """List every VM: how worried we are, and how much we know of it."""
    from netpersona.app.persona_tables import personas_table

    emit(ask.personas(at=instant(at)), output, personas_table)


@persona.command(short_help="Show one persona whole, and its risk.")
@click.argument("vm")
@at_option
@answered
@output_option
def show(vm: str, at: str | None, ask: Answers, output: str) -> None:
    """Show one persona: its network, its normal traffic, what was recognised, and its risk."""
    from netpersona.app.persona_tables import persona_table

    emit(ask.whole_personas([vm], instant(at))[0], output, persona_table)


@persona.command(short_help="List a persona's versions, and why each.")
@click.argument("vm")
@answered
@output_option
def history(vm: str, ask: Answers, output: str) -> None:
    """List the stored versions of a persona, each with what changed."""
    from netpersona.app.persona_tables import history_table

    emit(ask.history(vm), output, history_table)


@persona.command(short_help="Compare two versions, or two personas.")
@click.argument("one", metavar="A[@VERSION]")
@click.argument("other", metavar="[B[@VERSION]]", required=False)
@answered
@output_option
def diff(one: str, other: str | None, ask: Answers, output: str) -> None:
    """Say what differs between two versions of a persona, or between two personas.

    Without a version the persona as it stands is meant; without B, A as it stands.
    """
    from netpersona.app.persona_tables import changes_table

    emit(ask.differences(one, other), output, changes_table)


@persona.command(short_help="Let a persona learn nothing more.")
@click.argument("vm")
@answered
@output_option
def freeze(vm: str, ask: Answers, output: str) -> None:
    """Let a persona learn nothing more: what is normal now stays what is normal."""
    emit(ask.edit(vm, "freeze"), output, _said)


@persona.command()
@click.argument("vm")
@answered
@output_option
def unfreeze(vm: str, ask: Answers, output: str) -> None:
    """Let a frozen persona learn again."""
    emit(ask.edit(vm, "unfreeze"), output, _said)


@persona.command(short_help="Forget what was learned as normal.")
@click.argument("vm")
@click.option("--yes", is_flag=True, help="Do not ask.")
@answered
@output_option
def reset(vm: str, yes: bool, ask: Answers, output: str) -> None:
    """Forget what was learned as normal; risk, findings, labels, rules and the history stay."""
    from netpersona.flow.words import counted

    if not yes:
        known = ask.personas([vm])[0]
        flows = counted(known["completeness"]["flows"], "learned flow")
        confirm(f"Forget what is normal for {known['vm']} ({flows})?")
    emit(ask.edit(vm, "reset"), output, _said)


@persona.command(short_help="Set aside what spoke against a VM.")
@click.argument("vm")
@answered
@output_option
def acquit(vm: str, ask: Answers, output: str) -> None:
    """Set aside what spoke against a VM so far: its risk, its signatures and what they triggered.

    For a VM that was looked at and found clean, or cleaned.  Its findings and the history of its risk stay; what it
    does from now on counts.
    """
    emit(ask.edit(vm, "acquit"), output, _said)


@persona.command(short_help="Set labels, or take them away.")
@click.argument("vm")
@click.argument("labels", metavar="NAME=VALUE|NAME-...", nargs=-1, required=True)
@answered
@output_option
def label(vm: str, labels: tuple[str, ...], ask: Answers, output: str) -> None:
    """Set labels of a persona: role=web sets one, role- takes it away.  Policies select VMs by them."""
    changes: dict[str, str | None] = {}
    for text in labels:
        name, sign, value = text.partition("=")
        if not sign and not text.endswith("-"):
            raise ConfigError(f"{text!r} is no label; write NAME=VALUE to set one, NAME- to take it away")
        changes[name if sign else text.removesuffix("-")] = value if sign else None
    emit(ask.label(vm, changes), output, _said)


@persona.command(short_help="Print whole personas for machines.")
@click.argument("vms", metavar="[VM]...", nargs=-1)
@at_option
@answered
@click.option("-o", "--output", type=click.Choice(["yaml", "json", "table"]), default="yaml", show_default=True)
def export(vms: tuple[str, ...], at: str | None, ask: Answers, output: str) -> None:
    """Print whole personas, all or the named ones: a YAML document each, or one JSON list."""
    if output == "table":
        from netpersona.app.persona_tables import personas_table

        emit(ask.personas(vms, instant(at)), output, personas_table)
        return
    told = ask.whole_personas(vms, instant(at))
    if output == "json":
        click.echo(json_text({"apiVersion": "netpersona/v1", "kind": "PersonaList", "items": told}))
    else:
        click.echo("---\n".join(yaml_text(one) for one in told), nl=False)


def _said(told: dict[str, Any]) -> str:
    if told["changed"]:
        return f"{told['vm']} is now version {told['version']}, {told['what']}."
    return f"{told['vm']} is as asked already; nothing was changed."
