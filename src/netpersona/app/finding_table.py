"""Findings on a terminal: a line that says what, whose and when, and below it the sentence, over the whole width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from netpersona.app.clock import clock

_URGENT = {"high", "critical"}
_INDENT = 9  # columns: the longest severity that alerts have, and a space


def findings_table(findings: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Findings as the report shows them (`report.finding_object`), each with its id."""
    if not findings:
        return Text("No findings.")
    return Group(*(part for f in findings for part in finding_lines(f, f["id"])))


def finding_lines(finding: Mapping[str, Any], name: str | None = None) -> Iterator[RenderableType]:
    """What one finding says; `name` is put behind its sentence."""
    severity = finding["severity"]
    yield Text.assemble(
        (f"{severity:{_INDENT - 1}} ", "bold red" if severity in _URGENT else "yellow"),
        f"{finding['kind']}  {finding['vm']}  ",
        (f"{_span(finding)}, confidence {finding['confidence']:.2f}", "dim"),
    )
    why = Text(finding["why"])
    if name is not None:
        why.append(f"  [{name}]", "dim")
    yield Padding(why, (0, 0, 0, _INDENT))


def _span(finding: Mapping[str, Any]) -> str:
    """When it was seen: a date and two times, or two dates."""
    first, last = (clock(round(finding[which] * 1e6))[:16] for which in ("first_seen", "last_seen"))
    return f"{first} to {last[11:]}" if first[:10] == last[:10] and len(last) == 16 else f"{first} to {last}"
