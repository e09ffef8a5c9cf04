"""`netpersona policy`: validate, plan, list, show and test policies; and, with a controller, what changes them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app import policy_apply_commands as changes
from netpersona.app.asking import answered, controller_at, socket_option
from netpersona.app.group import Commands
from netpersona.app.lookup import opened, store_option
from netpersona.app.output import emit, output_option

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers

_FILES = click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False))


@click.group(cls=Commands)
def policy() -> None:
    """Validate, plan, test and show policies; apply, stage, confirm, roll back and delete them."""


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@store_option
@socket_option
@output_option
def validate(files: tuple[Path, ...], store: str | None, socket: str | None, output: str) -> None:
    """Say everything that is wrong or doubtful in policy FILES.

    With a store, or the socket of a running controller, they are held against its personas too.  Exit code 0: nothing
    is wrong (there may be warnings); 2: something is.
    """
    from netpersona.app import policies as policy_files
    from netpersona.app.answers.policies import remarks

    texts = policy_files.read(files)
    if store is None and socket is not None:
        told = controller_at(socket).remarks(texts)
    else:
        told = remarks(texts, () if store is None else tuple(opened(store).personas().values()))
    emit(told, output, _remarks)
    sys.exit(2 if any(each["kind"] == "error" for each in told) else 0)


@policy.command()
@_FILES
@click.option("--nft", is_flag=True, help="The nft text alone; beside the rest in JSON and YAML.")
@click.option("--replace", is_flag=True, help="In place of all others: a policy that is in none of FILES goes.")
@answered
@output_option
def plan(files: tuple[Path, ...], nft: bool, replace: bool, ask: Answers, output: str) -> None:
    """Say what 'policy apply FILES' would change: in rules, and for what the VMs normally do.

    Each policy stands in place of the one of its name, and others stay; with --replace they go.  Without FILES: the
    rules that the policies come to as they are.
    """
    from netpersona.app import policies as policy_files

    told = ask.plan(policy_files.read(files) if files else None, nft=nft, replace=replace)
    if nft and output == "table":
        click.echo(told["nft"], nl=False)
        return
    emit(told, output, _planned)


@policy.command("list")
@answered
@output_option
def list_(ask: Answers, output: str) -> None:
    """List the policies in their order, and the VMs that each concerns now."""
    emit(ask.policies(), output, _listed)


@policy.command()
@click.argument("name")
@answered
@output_option
def show(name: str, ask: Answers, output: str) -> None:
    """Show one policy as it was written, with its version and the VMs it concerns."""
    emit(ask.policy(name), output, _shown)


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@output_option
def test(files: tuple[Path, ...], output: str) -> None:
    """Run the given/expect cases in FILES.  Exit code 0: all hold; 1: some do not."""
    from netpersona.app.policies import read
    from netpersona.app.policy_tests import results

    told = [result for file, text in read(files).items() for result in results(text, Path(file))]
    emit(told, output, _tested)
    sys.exit(0 if all(result["passed"] for result in told) else 1)


for _command in (changes.apply, changes.confirm, changes.rollback, changes.stage, changes.delete, changes.history):
    policy.add_command(_command)


def _remarks(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.text import Text

    if not told:
        return Text("nothing is wrong")
    lines = [
        f"{t['file']}:{t['line']}:{t['column']}: {t['kind']}: {t['message']}" + (f"; {t['hint']}" if t["hint"] else "")
        for t in told
    ]
    return Text("\n".join(lines))


def _planned(told: Mapping[str, Any]) -> Any:
    from rich.text import Text

    lines = ["Changes", *(f"  {line}" for line in told["changes"] or ["none: this is what is in force"])]
    lines.append("What the VMs normally do and would be stopped")
    lines += [f"  {_stopped(each)}" for each in told["would_stop"]] or ["  nothing"]
    if told["exposure"]:
        lines.append("What is exposed, and who can reach it")
        lines += [f"  {_reached(each)}" for each in told["exposure"]]
    return Text("\n".join(lines))


def _reached(exposed: Mapping[str, Any]) -> str:
    """`web-1 port 80 (known_exploited): anyone outside -> nobody`."""
    before, after = exposed["before"], exposed["after"]
    change = before if before == after else f"{before} -> {after}"
    return f"{exposed['vm']} port {exposed['port']} ({', '.join(exposed['exposure'])}): {change}"


def _stopped(flows: Mapping[str, Any]) -> str:
    """`web-1 to 203.0.113.7 tcp/443 (12 flows): deny, it is listed`."""
    how_many = f"{flows['flows']:g} {'flow' if flows['flows'] == 1 else 'flows'}"
    return f"{flows['vm']} to {flows['peer']} {flows['service']} ({how_many}): {flows['verdict']}, {flows['why']}"


def _listed(told: Sequence[Mapping[str, Any]]) -> Any:
    from netpersona.app.output import listing

    table = listing("order", "policy", "version", "mode", "rules", "VMs")
    table.columns[1].no_wrap = True  # what other commands ask for
    for each in told:
        vms = ", ".join(each["vms"][:4]) + (f" and {len(each['vms']) - 4} more" if len(each["vms"]) > 4 else "")
        table.add_row(
            str(each["order"]),
            each["name"],
            str(each["version"]),
            each["mode"],
            ", ".join(each["rules"]),
            vms or "none",
        )
    return table


def _shown(told: Mapping[str, Any]) -> Any:
    from netpersona.app.output import yaml_text

    vms = ", ".join(told["vms"]) or "none"
    head = f"# version {told['version']}, {told['file']}:{told['line']}; concerns: {vms}"
    return f"{head}\n{yaml_text(told['resource']).rstrip()}"


def _tested(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.text import Text

    lines = []
    for result in told:
        lines.append(
            f"{'ok    ' if result['passed'] else 'FAILED'} {result['place']}: {result['case']}: {result['expected']}"
        )
        if not result["passed"]:
            lines.append(f"       {result['found']}: {result['why']}")
    failed = sum(not result["passed"] for result in told)
    held = len(told) - failed
    verbs = "holds" if held == 1 else "hold", "does not" if failed == 1 else "do not"
    return Text("\n".join([*lines, f"{held} {verbs[0]}, {failed} {verbs[1]}"]))
