"""The command line: one entry, commands imported when they are called."""

from __future__ import annotations

import importlib
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from netpersona import __version__
from netpersona.app.collector import no_collector
from netpersona.app.group import Commands
from netpersona.errors import (
    ConfigError,
    FeedError,
    InventoryError,
    NetpersonaError,
    PolicyError,
    SourceError,
    StoppedError,
)

_COMMANDS = {  # name -> where it lives, what it does (read here, so that --help imports nothing else)
    "replay": ("netpersona.app.replay_command:replay", "Learn and judge recorded traffic; report what was found."),
    "up": ("netpersona.app.up_command:up", "Watch the VMs live and keep the rules in force in the kernel."),
    "status": ("netpersona.app.status_command:status", "Show how the running controller and each of its parts is."),
    "persona": ("netpersona.app.persona_commands:persona", "List, show, compare, label, freeze and export personas."),
    "policy": ("netpersona.app.policy_commands:policy", "Validate, plan, test, apply and roll back policies."),
    "firewall": (
        "netpersona.app.firewall_command:firewall",
        "Show, verify, roll back and uninstall the kernel's rules.",
    ),
    "feed": ("netpersona.app.feed_command:feed", "List feeds, push indicators, and take them back."),
    "risk": ("netpersona.app.risk_commands:risk", "Explain a VM's risk, at any instant, without any feed or detector."),
    "findings": ("netpersona.app.risk_commands:findings", "List what the detectors found, with their reasons."),
    "exposure": (
        "netpersona.app.exposure_command:exposure",
        "List what the VMs' software is exposed to, and who can reach it.",
    ),
    "hunt": ("netpersona.app.hunt_command:hunt", "Look who met an indicator in the past, in the flows that were kept."),
    "export": ("netpersona.app.export_command:export", "Write findings for others: STIX 2.1, or OCSF for a SIEM."),
    "why": ("netpersona.app.why_command:why", "Explain what happens to traffic between a VM and a peer, and why."),
    "demo": ("netpersona.app.demo_command:demo", "Generate sample traffic and tell its story."),
    "lab": ("netpersona.app.lab_command:lab", "Machines of network namespaces, with traffic and attacks."),
}
# What an operator wrote is refused: 2.  What comes from elsewhere cannot be read: 3.  Interrupted: 130.  Any other: 1.
_EXIT = {SourceError: 3, FeedError: 3, PolicyError: 2, ConfigError: 2, InventoryError: 2, StoppedError: 130}
_READER_GONE = 141  # what a shell says of a program that SIGPIPE ended


class _ReaderGoneError(Exception):
    """Nobody reads our output any more, as with `| head`."""


@contextmanager
def _reader_watched() -> Iterator[None]:
    """Tell a reader that went away before click sees it: click would call it a failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _reader_gone():  # a pipe between our own processes broke: that is no quiet end
            raise RuntimeError("a process of this run ended early") from error
        raise _ReaderGoneError from error


def _reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), select.POLLOUT)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in asked.poll(0))


class _Commands(Commands):
    """A group that imports a command when it is called, not before."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_watched():  # --help is printed here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_watched():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        with no_collector():
            command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="netpersona")
def cli() -> None:
    """A network persona for each virtual machine, and firewall rules that can explain themselves."""


def main(argv: list[str] | None = None) -> Any:
    """Run one command; errors become one clear line and an exit code.

    Exit codes: 0 done; 1 failed; 2 a value, the configuration, the inventory or a policy is refused; 3 a source or a
    feed cannot be read; 130 interrupted; 141 the reader of the output went away.
    """
    if sys.stdout is None:  # the caller closed it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    try:
        return cli.main(args=argv, prog_name="netpersona", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except NetpersonaError as error:
        click.echo(f"netpersona: {error}", err=True)
        sys.exit(next((code for kind, code in _EXIT.items() if isinstance(error, kind)), 1))
    except _ReaderGoneError:
        _hush()
        sys.exit(_READER_GONE)


def _hush() -> None:
    """Let what is still buffered go nowhere, or the interpreter complains of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
