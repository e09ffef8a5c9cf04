"""`netpersona replay`: recorded traffic in; personas, findings, risk and the rules that would be in force out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from netpersona.app.collector import no_collector
from netpersona.app.shard import start_for
from netpersona.app.stopwatch import Stopwatch
from netpersona.errors import ConfigError

_LATEST = 1 << 53  # µs: the year 2255, as far as sensors believe a clock
_PATH = click.Path(path_type=Path, readable=False)  # what cannot be read is told by who reads it


@click.command()
@click.argument("sources", nargs=-1, required=True, type=_PATH)
@click.option("--vm", "vms", multiple=True, metavar="[NAME=]ADDRESS", help="A VM to watch; repeat for more.")
@click.option("--inventory", type=_PATH, help="A YAML file that says which VMs there are.")
@click.option("--feed", "feeds", multiple=True, type=_PATH, help="A file of indicators; repeat.")
@click.option("--policy", "policies", multiple=True, type=_PATH, help="A policy file or folder.")
@click.option("--config", type=_PATH, help="The configuration file.")
@click.option(
    "--store", envvar="NETPERSONA_STORE", metavar="URL", help="Where personas are kept: FILE.db, sqlite:///..."
)
@click.option("--history", envvar="NETPERSONA_HISTORY", type=_PATH, help="Where the flows are kept for hunts.")
@click.option("--learn-until", metavar="TIME", help="Flows before TIME (epoch or RFC 3339) are the baseline.")
@click.option("--report", "report_path", type=_PATH, help="Write the whole report as JSON.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "none"]), default="text", help="What to print.")
def replay(
    sources: tuple[Path, ...],
    vms: tuple[str, ...],
    inventory: Path | None,
    feeds: tuple[Path, ...],
    policies: tuple[Path, ...],
    config: Path | None,
    store: str | None,
    history: Path | None,
    learn_until: str | None,
    report_path: Path | None,
    output: str,
) -> None:
    """Learn and judge recorded traffic; say what was found and which rules would be in force.

    SOURCES are files and folders of Zeek logs, Suricata EVE, pcap, pcapng, argus binetflow, nfdump, NetFlow, IPFIX or
    VPC flow logs; their format is recognised by content.  Without --vm or --inventory the VMs are the private
    addresses that open or answer flows.
    """
    watch = Stopwatch.started()
    started = start_for(sources)
    with no_collector():
        from netpersona.app.run import Request, run

    until = None if learn_until is None else parse_time(learn_until)
    request = Request(sources, vms, inventory, feeds, policies, config, store, until, history)
    done = run(request, watch, started)
    if report_path is not None:
        write_report(report_path, done.report)
    if output == "json":
        click.echo(json.dumps(done.report, sort_keys=True))
    elif output == "text":
        from netpersona.app.account import tell

        tell(done)


def parse_time(text: str) -> int:
    """Epoch seconds, or RFC 3339 (UTC where no offset is given), as µs.  Raises ConfigError."""
    try:
        instant = round(_seconds(text) * 1e6)
    except (ValueError, OverflowError):  # of infinity
        raise ConfigError(
            f"{text!r} is no time; give epoch seconds or RFC 3339, such as 2026-01-31T12:00:00Z"
        ) from None
    if not 0 <= instant < _LATEST:
        raise ConfigError(f"{text!r} is no time that traffic can have: a time from 1970 to 2255 is expected")
    return instant


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def write_report(path: Path, report: dict[str, Any]) -> None:
    """The report as one JSON object, written whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(report, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the report: {error.strerror}") from error
