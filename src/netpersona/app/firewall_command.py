"""`netpersona firewall ...`: the rules that the kernel holds, and how to get rid of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import SOCKET, controlled, controller_or_none, socket_option
from netpersona.app.clock import clock
from netpersona.app.confirm import confirm
from netpersona.app.group import Commands
from netpersona.app.output import emit, listing, output_option
from netpersona.app.policy_version_tables import applied_table

if TYPE_CHECKING:
    from netpersona.app.client import Controller


@click.group(cls=Commands)
def firewall() -> None:
    """Show, verify, roll back and uninstall the rules in the kernel."""


@firewall.command()
@click.argument("vm", required=False)
@click.option("--nft", is_flag=True, help="As nft writes it; beside the rest in JSON and YAML.")
@controlled
@output_option
def show(vm: str | None, nft: bool, controller: Controller, output: str) -> None:
    """Show the rules in force, of one VM or of all, with what each of them met."""
    told = controller.firewall(nft=nft)
    if nft and output == "table":
        click.echo(told["nft"], nl=False)
        return
    if vm is not None:
        name = controller.personas([vm])[0]["vm"]
        told = {**told, **{part: [each for each in told[part] if each["vm"] == name] for part in ("vms", "counters")}}
    emit(told, output, _drawn)


@firewall.command()
@controlled
@output_option
def verify(controller: Controller, output: str) -> None:
    """Read the kernel back and name every difference to what was applied; the controller heals them.

    Exit code 0: there is none; 1: there is.
    """
    told = controller.verify()
    emit(told, output, _verified)
    sys.exit(0 if told["well"] else 1)


@firewall.command()
@click.argument("vm", required=False)
@click.option("--newest", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@controlled
@output_option
def receipts(vm: str | None, newest: int, controller: Controller, output: str) -> None:
    """List the latest packets that were denied, logged or staged, of one VM or of all, and by which rule.

    They are a sample: the kernel tells of some packets a second.  'firewall show' counts all.
    """
    emit(controller.receipts(vm, newest), output, _received)


@firewall.command()
@controlled
@output_option
def rollback(controller: Controller, output: str) -> None:
    """Go back to the policies before, and so to the rules that they come to."""
    emit(controller.roll_back(None), output, applied_table)


@firewall.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--direct", is_flag=True, help="Ask the kernel, not the controller: it may hang, or be dead.")
@socket_option
def uninstall(yes: bool, direct: bool, socket: str | None) -> None:
    """Take every rule of netpersona out of the kernel; nothing else is touched.

    A controller that runs puts none there until policies are applied or it is started again.  Where none runs, the
    kernel is asked directly, which needs CAP_NET_ADMIN.
    """
    if not yes:
        confirm("Take every rule of netpersona out of the kernel?")
    if not direct and _uninstalled(socket):
        click.echo("Every rule is out of the kernel; 'netpersona policy apply' puts rules there again.")
        return
    from netpersona.adapters import dns_relay
    from netpersona.adapters.enforcers.nftables import nftables

    with nftables() as enforcer:
        enforcer.uninstall()
    dns_relay.uninstall()
    beside = "" if direct else f" No controller answers at {socket or SOCKET}."
    click.echo(f"Every rule is out of the kernel.{beside}")


def _uninstalled(socket: str | None) -> bool:
    """Whether a controller was there to do it."""
    from netpersona.app.client import UnreachedError

    controller = controller_or_none(socket)
    if controller is None:
        return False
    try:
        controller.uninstall()
    except UnreachedError:
        return False
    return True


def _received(told: Sequence[Mapping[str, Any]]) -> Any:
    if not told:
        return "No receipts."
    table = listing("when (UTC)", "VM", "packet", "met by")
    for each in told:
        rule = f"{each['policy']}/{each['rule']}@{each['version']}" if each["policy"] else each["rule"]
        table.add_row(
            clock(round(each["at"] * 1e6)),
            each["vm"] or "-",
            f"{each['protocol']} {_end(each, 'source')} to {_end(each, 'destination')}",
            f"{rule} (staged)" if each["staged"] else rule,
        )
    return table


def _end(receipt: Mapping[str, Any], which: str) -> str:
    address, port = receipt[which], receipt[f"{which}_port"]
    if not port:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _drawn(told: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    lines = [] if told["installed"] else [Text("Nothing is installed in the kernel.", style="bold")]
    counters = {(c["vm"], c["policy"], c["rule"], c["version"]): c for c in told["counters"]}
    for vm in told["vms"]:
        lines += _vm_lines(vm, counters)
    lines += [Text(f"drift: {each['where']}: {each['what']}", style="bold red") for each in told["drift"]]
    return Group(*lines) if lines else Text("No rules.")


def _vm_lines(vm: Mapping[str, Any], counters: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> Iterator[Any]:
    from rich.padding import Padding
    from rich.text import Text

    yield Text(f"{vm['vm']} ({vm['interface'] or ', '.join(vm['addresses']) or 'no address known'})", style="bold")
    if not vm["rules"]:
        yield Text("  no rule concerns it" if vm["known"] else "  no persona")
    for rule in vm["rules"]:
        met = counters.get((vm["vm"], rule["policy"], rule["rule"], rule["version"]))
        name = f"{rule['policy']}/{rule['rule']}@{rule['version']}"
        yield Text.assemble(f"  {_sentence(rule)}  ", (name, "dim"), f"  {_met(met)}" if met else "")
        yield Padding(Text(rule["why"], style="dim"), (0, 0, 0, 6))


def _sentence(rule: Mapping[str, Any]) -> str:
    """`outbound deny of every peer, tcp 443`."""
    from netpersona.ruleset.words import peers_said

    services = " ".join([*rule["protocols"], *map(str, rule["ports"])])
    parts = [f"{rule['direction']} {rule['action']} of {peers_said(rule['peers'])}", *([services] if services else [])]
    parts += [f"at most {rule['rate']}"] if "rate" in rule else []
    parts += [f"to {rule['to']}"] if "to" in rule else []
    parts += ["cuts established flows"] if rule["existing"] == "cut" else []
    return ("would " if rule["mode"] == "stage" else "") + ", ".join(parts)


def _met(count: Mapping[str, Any]) -> str:
    packets = f"{count['packets']} {'packet' if count['packets'] == 1 else 'packets'}"
    return f"{packets}, {count['bytes']} bytes"


def _verified(told: Mapping[str, Any]) -> Any:
    from rich.text import Text

    healed = f"; {told['healed']} healed since the start" if told["healed"] else ""
    lines = [f"{each['where']}: {each['what']}" for each in told["drift"]]
    head = (
        "the kernel holds what was applied" if told["well"] else "the kernel holds something else; it is being healed"
    )
    return Text("\n".join([head + healed, *lines]))
