"""`netpersona hunt`: new indicators are held against the flows of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.lookup import store_option
from netpersona.app.output import emit, listing, output_option
from netpersona.errors import ConfigError
from netpersona.flow.words import counted

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

    from netpersona.app.config import Config
    from netpersona.intel.allow import AllowList
    from netpersona.ports import Store

_PATH = click.Path(path_type=Path)
_ROWS = 50  # in the table
_FEW = 3  # ports, names in a line of the table


@click.command()
@click.argument("indicators", nargs=-1, metavar="[INDICATOR...]")
@click.option("--feed", "feeds", multiple=True, metavar="NAME", help="All that a configured or stored feed says now.")
@click.option("--from", "files", multiple=True, type=_PATH, help="A file in any format of a feed; repeat for more.")
@click.option("--days", type=click.IntRange(1), help="The last days only (UTC), counted from the last flow.")
@click.option(
    "--history", envvar="NETPERSONA_HISTORY", type=_PATH, help="Where flows were kept.  [default: as configured]"
)
@click.option("--config", type=_PATH, help="The configuration file: history, feeds, allow-lists.")
@store_option
@output_option
def hunt(
    indicators: tuple[str, ...],
    feeds: tuple[str, ...],
    files: tuple[Path, ...],
    days: int | None,
    history: Path | None,
    config: Path | None,
    store: str | None,
    output: str,
) -> None:
    """Look who met an INDICATOR in the past: an address, a network, a domain, a URL's host, or a JA3.

    A domain stands for all names below it; who talked to an address that DNS had answered for it is told too. The
    allow-lists of the configuration and of the store win.
    """
    from netpersona.app.config import read_config
    from netpersona.app.history_config import HistoryPlace
    from netpersona.app.hunting import hunted, told

    known = read_config(config)
    place = HistoryPlace(history) if history is not None else known.history
    if place is None:
        raise ConfigError(
            "no history was named: give --history DIR, or a --config FILE that has `history: {path: DIR}`"
        )
    if not place.path.is_dir():
        raise ConfigError(f"{place.path}: no flows were kept here; 'netpersona replay SOURCE --history DIR' keeps them")
    kept = _store(store, known)
    sought = _sought(indicators, feeds, files, known, kept)
    found = hunted(place.opened(), sought, _allowed(known, kept), days)
    emit(told(found, str(place.path)), output, _table)


def _store(url: str | None, config: Config) -> Store | None:
    """The store that the command or the configuration names; None where none is, or none was made yet."""
    from netpersona.app.lookup import opened

    if url is not None:
        return opened(url)
    return opened(config.store) if config.store is not None and Path(config.store).exists() else None


def _sought(
    values: Sequence[str], feeds: Sequence[str], files: Sequence[Path], config: Config, store: Store | None
) -> pl.DataFrame:
    """All that is hunted, in one table.  Raises ConfigError and FeedError."""
    import polars as pl

    from netpersona.adapters.feeds.file import FileFeed

    parts = [FileFeed(path).fetch().indicators for path in files]
    parts += [_of_feed(name, config, store) for name in feeds]
    if values:
        parts.append(_given(values))
    if not parts:
        raise ConfigError("nothing was named to hunt; give INDICATORs, --feed NAME or --from FILE")
    return pl.concat(parts)


def _given(values: Sequence[str]) -> pl.DataFrame:
    from netpersona.intel.feed import FeedSettings, parse
    from netpersona.intel.formats import FormatError

    try:
        found = parse("\n".join(values).encode(errors="replace"), FeedSettings("asked"))
    except FormatError as error:
        raise ConfigError(f"{error.wrong}; expected an address, a network, a domain, a URL or a JA3") from error
    if found.refused:
        refusal = found.refused[0]
        raise ConfigError(f"{refusal.value!r}: {refusal.reason}; nothing was hunted")
    return found.indicators


def _of_feed(name: str, config: Config, store: Store | None) -> pl.DataFrame:
    """What a feed says: read now where it is configured, else as the store has it.  Raises ConfigError, FeedError."""
    import polars as pl

    from netpersona.intel.gate import refuse
    from netpersona.intel.indicators import IndicatorSet

    source = next((source for source in config.feeds if source.name == name), None)
    if source is not None:
        return refuse(source.feed.fetch()).indicators
    content = store.context("indicators") if store is not None else None
    known = IndicatorSet.from_bytes(content).table if content is not None else None
    listed = None if known is None else known.filter(pl.col("feed") == name)
    if listed is None or listed.is_empty():
        names = {source.name for source in config.feeds} | set(() if known is None else known["feed"].unique())
        there = f"there are {', '.join(sorted(names))}" if names else "none is configured, and the store has none"
        raise ConfigError(f"there is no feed {name[:100]!r}; {there}")
    return listed


def _allowed(config: Config, store: Store | None) -> AllowList:
    """The AllowLists of the policies that are configured and stored."""
    from netpersona.app import policies
    from netpersona.app.run import allowed
    from netpersona.intel.allow import AllowList

    texts = policies.decode(store.context("policies"))[0] if store is not None else {}
    texts = {**texts, **(policies.read(config.policies) if config.policies else {})}
    return allowed(policies.parsed(texts)) if texts else AllowList()


def _table(told: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    table = listing("vm", "met", "by", "first (UTC)", "last (UTC)")
    for name in ("flows", "out", "in"):
        table.add_column(name, justify="right")
    for name in ("ports", "names"):
        table.add_column(name, overflow="fold")
    for met in told["met"][:_ROWS]:
        table.add_row(*_cells(met))
    parts: list[RenderableType] = [Text(_heading(told))]
    if told["met"]:
        parts += [table]
    if told["met_total"] > _ROWS:
        parts.append(Text(f"{told['met_total'] - _ROWS:,} more; -o json tells all."))
    for each in told["allowed"][:_ROWS]:
        parts.append(Text(f"{each['value']} was left out: {each['allowed_by']} is allowed ({each['comment']})."))
    if told["not_hunted_total"]:
        some = ", ".join(each["value"] for each in told["not_hunted"][:_FEW])
        noun = counted(told["not_hunted_total"], "indicator")
        parts.append(Text(f"{noun} could not be hunted, as flows say nothing of such: {some}."))
    return Group(*parts)


def _heading(told: Mapping[str, Any]) -> str:
    sought = counted(sum(told["indicators"].values()), "indicator")
    if told["since"] is None:
        return f"{sought}; the history is empty."
    vms = len({met["vm"] for met in told["met"]})
    met = len({(met["type"], met["indicator"]) for met in told["met"]})
    found = f"{met:,} met by {counted(vms, 'VM')}" if told["met"] else "none was met"
    span = f"{told['since'][:10]} to {told['until'][:10]}"
    return f"{sought}, {found}, in the flows of {span} ({told['history']['flows']:,} are kept)."


def _cells(met: Mapping[str, Any]) -> list[str]:
    from netpersona.risk.detectors.words import size

    first, last = (met[name][:19].replace("T", " ") for name in ("first", "last"))
    flows = f"{met['flows']:,}" if met["flows"] else f"said {met['said']:,}"
    return [
        met["vm"],
        met["indicator"],
        ", ".join(met["via"]),
        first,
        last,
        flows,
        size(met["bytes_out"]) if met["flows"] else "-",
        size(met["bytes_in"]) if met["flows"] else "-",
        _some(met, "ports"),
        _some(met, "names"),
    ]


def _some(met: Mapping[str, Any], what: str) -> str:
    more = met[f"{what}_total"] - _FEW
    return ", ".join(met[what][:_FEW]) + (f" and {more:,} more" if more > 0 else "")
