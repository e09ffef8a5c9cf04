"""`netpersona export`: findings in the words of others, STIX 2.1 or OCSF."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import answered, instant
from netpersona.errors import ConfigError
from netpersona.flow.words import counted

if TYPE_CHECKING:
    from netpersona.app.answers.ask import Answers
    from netpersona.risk.finding import Finding


@click.command()
@click.argument("vm", required=False)
@click.option("--format", "form", type=click.Choice(["stix", "ocsf"]), required=True, help="STIX 2.1, or OCSF lines.")
@click.option("--all", "everything", is_flag=True, help="Also what is kept as context, not only alerts.")
@click.option("--kind", metavar="KIND", help="Of this kind only: c2_beacon, scan_vertical, ...")
@click.option("--since", metavar="TIME", help="Seen then or later: epoch seconds or RFC 3339.")
@click.option("--to", "file", type=click.Path(path_type=Path), help="The file to write.  [default: standard output]")
@click.option("--producer", default="netpersona", show_default=True, help="Who tells, in STIX.")
@click.option(
    "--tlp", type=click.Choice(["white", "green", "amber", "red"]), default="amber", help="How far STIX may go."
)
@click.option("--vms", is_flag=True, help="STIX names the VMs and addresses that are not public, too.")
@answered
def export(
    vm: str | None,
    form: str,
    everything: bool,
    kind: str | None,
    since: str | None,
    file: Path | None,
    producer: str,
    tlp: str,
    vms: bool,
    ask: Answers,
) -> None:
    """Write what the detectors found, of all VMs or of VM, as STIX 2.1 or OCSF.

    STIX is for others: a bundle of sightings and indicators, in which nothing of ours is named unless --vms is given.
    OCSF is for a SIEM of one's own: a Detection Finding (class 2004) in each line.
    """
    from netpersona.app.answers.ask import Wanted

    found = [_finding(told) for told in ask.findings(Wanted(vm, kind, everything, instant(since)))]
    content = _ocsf(found) if form == "ocsf" else _stix(found, producer, tlp, vms=vms)
    if file is None:
        click.echo(content, nl=False)
        return
    _write(file, content)
    click.echo(f"{counted(len(found), 'finding')} written to {file}", err=True)


def _ocsf(found: list[Finding]) -> bytes:
    from netpersona.adapters.sinks.ocsf import lines
    from netpersona.ports import News

    return lines([News(each, again=False) for each in found])


def _stix(found: list[Finding], producer: str, tlp: str, *, vms: bool) -> bytes:
    import msgspec

    from netpersona.adapters.sinks.stix_objects import Teller, bundle, objects

    teller = Teller(producer, tlp, vms)
    those = {each["id"]: each for finding in found for each in objects(finding, teller)}
    return msgspec.json.format(msgspec.json.encode(bundle(those.values())), indent=1) + b"\n"


def _finding(told: Mapping[str, Any]) -> Finding:
    """The finding of which `told` is what a report and the API say (report.finding_object)."""
    from netpersona.flow.vm import VmId
    from netpersona.risk.finding import Finding, Severity

    same = ("id", "vm_address", "detector", "kind", "peer", "peers_total", "protocol", "port", "direction")
    feeds = told["evidence"].get("feeds", [])
    return Finding(
        **{name: told[name] for name in same},
        **{name: round(told[name] * 1e6) for name in ("first_seen", "last_seen", "judged_at")},
        vm=VmId(told["vm"]),
        peers=tuple(told["peers"]),
        confidence=told["confidence"],
        severity=Severity(told["severity"]),
        alert=told["alert"],
        why=told["why"],
        evidence=told["evidence"],
        techniques=tuple(told["techniques"]),
        feeds=tuple(feeds) if isinstance(feeds, list) else (),
    )


def _write(file: Path, content: bytes) -> None:
    """Write the file whole or not at all.  Raises ConfigError."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
