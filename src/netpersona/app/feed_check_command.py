"""`netpersona feed check`: what a file would give as a feed, without a controller and without changing anything."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.clock import clock
from netpersona.app.output import emit, output_option
from netpersona.flow.words import counted

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from netpersona.intel.feed import FeedSnapshot

_SHOWN = 20  # refusals in the table


@click.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False))
@click.option("--column", metavar="NAME|NUMBER", help="Where a CSV has its values.  [default: by what it holds]")
@output_option
def check(file: Path, column: str | None, output: str) -> None:
    """Show what FILE would give as a feed: its format, what it lists, and what would be refused and why.

    The format is recognised by content; FILE may be packed (gzip, bzip2, xz, zstd, a zip of one file).  The gate
    judges by the warning lists, as it does without any VM known.  Nothing is changed, and no controller is asked.
    """
    from netpersona.adapters.feeds.file import FileFeed
    from netpersona.adapters.warning_lists import warning_lists
    from netpersona.intel.gate import Protected, refuse

    read = FileFeed(file, column=column).fetch()
    gated = refuse(read, Protected(lists=warning_lists()))
    emit(told(str(file), read, gated, time.time_ns() // 1000), output, _table)


def told(name: str, read: FeedSnapshot, gated: FeedSnapshot, at: int) -> dict[str, Any]:
    """What a feed gives at an instant (µs): `read` before the gate, `gated` after it."""
    from netpersona.intel.indicator import IndicatorType

    counts = dict(read.indicators.group_by("type").len().rows())
    said = {
        "file": name,
        "format": read.format,
        "records": read.records,
        "unique": read.unique,
        "duplicates": read.records - read.unique,
        "indicators": {kind.value: counts.get(kind.value, 0) for kind in IndicatorType},
        "refused": [{"line": r.line, "value": r.value, "reason": r.reason} for r in gated.refused],
    }
    if gated.refused_total > len(gated.refused):
        said["refused_total"] = gated.refused_total  # the list was cut
    return said | _expired(gated, at)


def _expired(gated: FeedSnapshot, at: int) -> dict[str, Any]:
    """Which of its indicators count no longer, where any do: they are read, and have an end that is over."""
    import polars as pl

    from netpersona.intel.values import KEPT

    over = gated.indicators.filter(pl.col("valid_until") <= at).sort("line", maintain_order=True)
    if over.is_empty():
        return {}
    rows = over.head(KEPT).select("line", "value", "valid_until").rows()
    expired = [
        {"line": line, "value": value, "reason": f"expired at {clock(until)} UTC"} for line, value, until in rows
    ]
    return {"expired": expired} | ({"expired_total": over.height} if over.height > len(expired) else {})


def _table(said: Mapping[str, Any]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    heading = f"{said['file']} is a feed of the format {said['format']}: {counted(said['records'], 'record')}"
    heading += f", {said['unique']:,} unique, {counted(said['duplicates'], 'duplicate')}."
    counts = Table(box=None, pad_edge=False, header_style="dim")
    counts.add_column("type")
    counts.add_column("indicators", justify="right")
    for kind, count in said["indicators"].items():
        if count:
            counts.add_row(kind, f"{count:,}")
    total = said.get("refused_total", len(said["refused"]))
    parts: list[RenderableType] = [Text(heading), counts]
    if "expired" in said:
        over = said.get("expired_total", len(said["expired"]))
        parts += _listing(
            f"{counted(over, 'indicator')} of these expired: nothing rests on {'it' if over == 1 else 'them'} now",
            over,
            said["expired"],
        )
    parts += _listing(f"{total:,} refused" if total else "Nothing is refused.", total, said["refused"])
    return Group(*parts)


def _listing(heading: str, total: int, lines: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """What is said of a feed's lines: the first of them, and how many there are."""
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(heading)]
    if lines:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("line", "value", "reason"):
            table.add_column(name, overflow="fold")
        for each in lines[:_SHOWN]:
            table.add_row(str(each["line"]), each["value"], each["reason"])
        parts.append(table)
    if total > _SHOWN:
        parts.append(Text(f"and {total - _SHOWN:,} more; -o json shows them"))
    return parts
