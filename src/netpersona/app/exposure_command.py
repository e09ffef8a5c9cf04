"""`netpersona exposure`: what the VMs' software is exposed to, and who can reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import answered
from netpersona.app.output import emit, output_option

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers


@click.command()
@click.argument("vm", required=False)
@answered
@output_option
def exposure(vm: str | None, ask: Answers, output: str) -> None:
    """List what VM, or every VM, is exposed to: the vulnerability, how sure that is, and who can reach it now.

    Software is known from Zeek's software and ssh logs among the sources and from bills of material (`sbom` in the
    inventory); vulnerabilities from the feeds (CISA KEV, EPSS).
    """
    emit(ask.exposures(vm), output, _table)


def _table(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.console import Group
    from rich.text import Text

    if not told:
        return Text("nothing is exposed, by the software that is known and the vulnerabilities that the feeds list")
    return Group(*(Text("\n".join(_lines(each)), overflow="fold") for each in told))


def _lines(each: Mapping[str, Any]) -> list[str]:
    reached = [f"  port {r['port']}: {r['words']} ({r['why']})" for r in each["reachable"]]
    return [f"{each['vm']}  {each['kind']}", f"  {each['why']}", *(reached or ["  it answers at no port"])]
