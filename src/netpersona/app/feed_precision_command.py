"""`netpersona feed precision`: which feed earns its place here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from netpersona.app.clock import clock
from netpersona.app.lookup import opened, store_option
from netpersona.app.output import emit, output_option
from netpersona.errors import ConfigError, StoreError


@click.command()
@click.argument("feeds", nargs=-1)
@store_option
@output_option
def precision(feeds: tuple[str, ...], store: str | None, output: str) -> None:
    """Say of FEEDS, or of all, how often each was right here, how fresh it is and what only it lists."""
    from netpersona.app.feed_precision import of_store
    from netpersona.app.standing import standing
    from netpersona.intel.worth import worths

    stood = standing(opened(store))
    try:
        ledger = of_store(stood.store, stood.intel, stood.at)
    except ValueError as error:
        raise StoreError(f"{error}; a replay into a new store makes one again") from error
    told = [each._asdict() for each in worths(ledger, stood.intel, stood.at) if not feeds or each.feed in feeds]
    unknown = sorted(set(feeds) - {each["feed"] for each in told})
    if unknown:
        raise ConfigError(f"no feed {unknown[0]} is known to the store; without a name all are told")
    emit(told, output, _table)


def _table(told: Sequence[dict[str, Any]]) -> Any:
    from rich.table import Table

    if not told:
        return "No feeds."
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("feed", "indicators", "met", "right", "wrong", "precision", "last met", "is"):
        table.add_column(name, overflow="fold")
    for each in told:
        met = f"{each['listings_met']} ({each['sightings']} times)"
        share = "-" if each["precision"] is None else f"{each['precision']:.2f} ({each['low']:.2f}-{each['high']:.2f})"
        numbers = (str(each["indicators"]), met, f"{each['confirmed']:.3g}", f"{each['refuted']:.3g}", share)
        table.add_row(each["feed"], *numbers, clock(each["last_met"]), each["says"])
    return table
