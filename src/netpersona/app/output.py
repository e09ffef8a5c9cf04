"""What a command prints: a table for people, JSON or YAML for machines, from one and the same value.

JSON and YAML say exactly the same.  In a table text from outside is made harmless: what would steer the terminal is
shown as its escape, and nothing in it is taken for markup.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

T = TypeVar("T")
_F = TypeVar("_F", bound=Callable[..., Any])
_WIDTH = 160  # columns, where the output is no terminal and COLUMNS does not say

output_option: Callable[[_F], _F] = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="A table for people; JSON or YAML for machines.",
)


def emit(value: T, output: str, table: Callable[[T], RenderableType]) -> None:
    """Print the value as `output` says: "json", "yaml", or "table", which `table` draws of it; a str is not wrapped."""
    if output == "json":
        click.echo(json_text(value))
    elif output == "yaml":
        click.echo(yaml_text(value), nl=False)
    else:
        _print(table(harmless(value)))


def json_text(value: object) -> str:
    """The value as indented JSON in ASCII.  Raises ValueError for numbers that JSON does not have."""
    return json.dumps(value, indent=2, allow_nan=False)


def yaml_text(value: object) -> str:
    """The value as one YAML document in ASCII, with the same content as its JSON."""
    import yaml

    same = json.loads(json.dumps(value, allow_nan=False))
    return str(yaml.dump(same, Dumper=_dumper(yaml), sort_keys=False, width=120, default_flow_style=None))


def harmless(value: T) -> T:
    """The value with every character that would steer a terminal shown as its escape."""
    if isinstance(value, str):
        return _harmless_text(value)  # type: ignore[return-value]
    if isinstance(value, Mapping):
        return {harmless(key): harmless(part) for key, part in value.items()}  # type: ignore[return-value]
    if isinstance(value, Sequence):
        return [harmless(part) for part in value]  # type: ignore[return-value]
    return value


def _harmless_text(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def listing(*columns: str) -> Table:
    """A table without lines, to which rows are added; what is too long for a column goes on below."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def terminal(width: int | None = None) -> Console:
    """What draws on standard output; a reader that went away is told as BrokenPipeError, not as a failure."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Terminal(width=width, markup=False, highlight=False, emoji=False)


def _print(drawn: RenderableType) -> None:
    if isinstance(drawn, str):  # a document, whose lines are as long as they are
        click.echo(drawn)
        return
    fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH
    terminal(fixed).print(drawn)


def _dumper(yaml: Any) -> Any:
    """A dumper that writes a value again where it stands again, instead of an alias."""

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
            return True

    return Dumper
