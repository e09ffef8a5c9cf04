"""`netpersona why VM PEER[:PORT]`: the verdict on traffic between a VM and a peer, and everything it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netpersona.app.asking import answered, instant
from netpersona.app.output import emit, output_option
from netpersona.app.why_table import drawn

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers


@click.command()
@click.argument("vm")
@click.argument("peer", metavar="PEER[:PORT]")
@click.option("--direction", type=click.Choice(["outbound", "inbound"]), default="outbound", show_default=True)
@click.option("--protocol", default="tcp", show_default=True, help="tcp, udp, icmp, ..., or its number.")
@click.option("--established", is_flag=True, help="A flow that is established already, not a new one.")
@click.option("--at", metavar="TIME", help="The instant: epoch seconds or RFC 3339; else now, or when last judged.")
@answered
@output_option
def why(
    vm: str, peer: str, direction: str, protocol: str, established: bool, at: str | None, ask: Answers, output: str
) -> None:
    """Explain what happens to traffic between VM and PEER: the verdict, the rule, and what it rests on.

    PEER is an address or a name; an IPv6 address with a port stands in brackets.  Of a name the addresses are judged
    that the VM addressed by it, the newest first; if none is known, what is known of the name is told.
    """
    from netpersona.app.answers.ask import Traffic

    traffic = Traffic(vm, peer, direction, protocol, established)
    emit(ask.why(traffic, instant(at)), output, drawn)
