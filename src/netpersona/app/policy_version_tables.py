"""Versions of the policies on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def applied_table(told: Mapping[str, Any]) -> Any:
    """What a change of the policies came to."""
    from rich.text import Text

    lines = [f"Version {told['number']} of the policies is in force."]
    lines += [f"  {change}" for change in told.get("changes") or ["no rule changes"]]
    if told["confirm_by"] is not None:
        lines.append(f"It goes back at {_clock(told['confirm_by'])} UTC unless 'netpersona policy confirm' keeps it.")
    return Text("\n".join(lines))


def versions_table(told: Sequence[Mapping[str, Any]]) -> Any:
    """Every version, the oldest first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("version", "from", "by", "state", "files", "why"):
        table.add_column(name, overflow="fold")
    for each in told:
        files = ", ".join(each["files"][:3]) + (f" and {len(each['files']) - 3} more" if len(each["files"]) > 3 else "")
        table.add_row(str(each["number"]), _clock(each["at"]), each["who"], _state(each), files or "none", each["why"])
    return table


def by_lines(told: Mapping[str, Any]) -> dict[str, Any]:
    """A version with its files as lists of lines: what shows text harmless shows a line's end as an escape."""
    return {**told, "texts": {file: text.splitlines() for file, text in (told["texts"] or {}).items()}}


def version_text(told: Mapping[str, Any]) -> str:
    """One version with its files by lines, as they were written."""
    head = f"# version {told['number']}, {_clock(told['at'])} UTC, by {told['who']}: {told['why'] or 'no reason given'}"
    return "\n".join([head, *(line for file, lines in sorted(told["texts"].items()) for line in (f"# {file}", *lines))])


def _state(version: Mapping[str, Any]) -> str:
    if version["in_force"]:
        return "in force" if version["confirmed"] else "to be confirmed"
    return "" if version["confirmed"] else "never confirmed"


def _clock(text: str) -> str:
    return text[:19].replace("T", " ").rstrip("Z")
