"""Writes the reference pages that the code itself can say.

    docs/commands.md, docs/detectors.md, docs/persona-fields.md, docs/openapi.json

    .venv/bin/python docs/generate.py

A test compares the pages with what this would write, so they cannot go stale.
"""  # noqa: INP001  # a script beside the pages it writes

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click

from netpersona.app.api.application import document
from netpersona.app.cli import cli
from netpersona.policy.facts import FIELDS
from netpersona.risk.detectors import DETECTORS
from netpersona.risk.finding import KINDS

HERE = Path(__file__).resolve().parent
_WIDTH = 100  # characters of a line of help
_NOTE = "<!-- Written by docs/generate.py; change the code, then run it. -->\n"
_COMMANDS = """\
# Commands

{note}
Exit codes: 0 done; 1 failed, or a test case does not hold; 2 what the operator wrote is refused (a value, the
configuration, the inventory, a policy); 3 a source or a feed cannot be read; 130 interrupted; 141 the reader of the
output went away (`| head`). Errors go to standard error, one line each. `NETPERSONA_STORE` stands in for `--store`,
`NETPERSONA_SOCKET` for `--socket`.
"""
_DETECTORS = """\
# Detectors

{note}
Each is one file in `src/netpersona/risk/detectors`: a pure function of one window, the persona before it, and the
memory. What follows is how each file opens: what it finds, how it is fooled, what it costs, and where its method comes
from. All findings are kept; an *alert* is a finding that is put before a person.
"""
_KINDS = """\
## Kinds of findings

With the ATT&CK techniques that each usually is. A kind that no detector raises yet keeps its place in the format.

| kind | techniques |
|---|---|
"""
_FIELDS = """\
# What conditions can ask of a persona

{note}
`selector`, `when`, `until`, `peers: {{vms: ...}}` and `ports` may be CEL expressions over these fields. A field or
label that is missing makes the condition false; nothing raises when rules are resolved.

| field | type | what it says |
|---|---|---|
"""


def pages() -> dict[str, str]:
    """Each generated page's file name and text."""
    return {
        "commands.md": _commands(),
        "detectors.md": _detectors(),
        "persona-fields.md": _fields(),
        "openapi.json": json.dumps(document(), indent=1, sort_keys=True) + "\n",
    }


def _commands() -> str:
    helps = (f"\n## {name}\n\n```text\n{text.rstrip()}\n```\n" for name, text in _helps(cli, "netpersona", None))
    return _COMMANDS.format(note=_NOTE) + "".join(helps)


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """The name and the help of a command and of all below it."""
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _helps(found, below, context)


def _detectors() -> str:
    parts = [_DETECTORS.format(note=_NOTE)]
    for detector in DETECTORS:
        module = importlib.import_module(detector.judge.__module__)
        parts.append(f"\n## {detector.name}\n\n{_opening(inspect.getdoc(module) or '')}\n")
    rows = (f"| `{kind}` | {', '.join(techniques) or '-'} |\n" for kind, techniques in KINDS.items())
    return "".join([*parts, "\n", _KINDS, *rows])


def _opening(docstring: str) -> str:
    """A detector's docstring with its labelled lines as paragraphs of their own, each on one line."""
    apart = re.sub(r"^(How it is fooled|Cost|Method):", r"\n**\1:**", docstring, flags=re.MULTILINE)
    paragraphs = re.sub(r"^Finds:", "**Finds:**", apart).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _fields() -> str:
    rows = (f"| `persona.{name}` | {field.type} | {field.says} |\n" for name, field in FIELDS.items())
    return "".join([_FIELDS.format(note=_NOTE), *rows])


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
