"""`netpersona feed add | show | refresh | accept | refuse`: feeds that are read, and what is held of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.asking import controlled
from netpersona.app.output import emit, output_option
from netpersona.errors import ConfigError, FeedError
from netpersona.flow.words import counted

if TYPE_CHECKING:
    from netpersona.app.client import Controller

_PATIENCE = 60.0  # s: how long a command waits for a reading
_LOOK = 0.2  # s
_wait = click.option("--wait/--no-wait", default=True, help="Wait until it was read.  [default: wait]")
_why = click.option("--why", required=True, help="The reason, for the record.")


@click.command()
@click.argument("name")
@click.argument("unnamed", nargs=-1, metavar="")  # no way to say where it is read: it is told which is
@click.option("--url", help="A list at an http or https URL.")
@click.option("--file", help="A file; it is watched.")
@click.option("--folder", help="A folder; all its files are one feed, and are watched.")
@click.option("--taxii", metavar="URL", help="A TAXII 2.1 server, API root or collection.")
@click.option("--collection", help="Of TAXII: its id, alias or title.")
@click.option("--misp", metavar="URL", help="A MISP server.")
@click.option("--misp-feed", metavar="URL", help="Where a MISP server publishes a feed.")
@click.option("--interval", metavar="SPAN", help="How often it is read, from 10s to 30d.  [default: 1h]")
@click.option("--confidence", type=float, help="0 to 1, for entries that state none.  [default: 0.8]")
@click.option("--half-life", metavar="SPAN", help="How fast what it says fades.")
@click.option("--family", help="Feeds that copy each other share one, and count once.")
@click.option("--category", help="For entries that state none.")
@click.option("--allow", multiple=True, metavar="GATE", help="A gate that it may pass; repeat.")
@click.option("--column", help="The column of a CSV, by header or number.")
@click.option("--header-from", multiple=True, metavar="NAME=PLACE", help="A header, found at env:VAR or file:PATH.")
@click.option("--basic-from", metavar="PLACE", help="user:password, found at env:VAR or file:PATH.")
@click.option("--ca", metavar="FILE", help="The only authorities that are believed (PEM).")
@click.option("--no-verify", is_flag=True, help="Believe any certificate.")
@click.option("--largest", metavar="SIZE", help="How much it may hold, unpacked.  [default: 256MiB]")
@click.option("--time-limit", metavar="SPAN", help="How long one reading may take.")
@click.option("--floor", type=float, help="The precision below which it is log-only; 0: never.")
@click.option("--least", type=float, help="Judged sightings before it can be log-only.")
@click.option("--no-hold", is_flag=True, help="Let it count though it shrinks or grows much.")
@_wait
@controlled
@output_option
def add(name: str, unnamed: tuple[str, ...], wait: bool, controller: Controller, output: str, **said: Any) -> None:
    """Read feed NAME from now on, also after a restart.

    One of --url, --file, --folder, --taxii, --misp and --misp-feed says where.
    """
    if unnamed:
        raise click.UsageError(_how_to_say(name, unnamed[0]))
    told = controller.add_feed({"name": name, **_keys(said)})
    emit(_once_read(controller, told, wait=wait), output, _shown)


@click.command()
@click.argument("name")
@controlled
@output_option
def show(name: str, controller: Controller, output: str) -> None:
    """Show feed NAME: whether it earns its place, how reading it goes, what it holds, what was refused and why."""
    emit(controller.feed(name), output, _shown)


@click.command()
@click.argument("name")
@click.option("--whole", is_flag=True, help="Not only what was added to it since.")
@click.option("--accept", is_flag=True, help="Accept it though it shrank or grew much; needs --why.")
@click.option("--why", help="The reason, for the record.")
@_wait
@controlled
@output_option
def refresh(
    name: str, whole: bool, accept: bool, why: str | None, wait: bool, controller: Controller, output: str
) -> None:
    """Read feed NAME now."""
    if accept and (why is None or not wait):
        raise ConfigError("--accept needs --why REASON, and waits until the feed was read")
    told = _once_read(controller, controller.refresh_feed(name, whole=whole), wait=wait)
    if accept and why is not None and told["reading"]["held"]:
        told = _once_read(controller, controller.decide_feed(name, why, accept=True), wait=True)
    emit(told, output, _shown)
    if told["reading"]["error"]:
        raise FeedError(f"feed {name}: {told['reading']['error']}")


@click.command()
@click.argument("name")
@_why
@controlled
@output_option
def accept(name: str, why: str, controller: Controller, output: str) -> None:
    """Let count what is held of feed NAME, which shrank or grew much."""
    emit(_once_read(controller, controller.decide_feed(name, why, accept=True), wait=True), output, _shown)


@click.command()
@click.argument("name")
@_why
@controlled
@output_option
def refuse(name: str, why: str, controller: Controller, output: str) -> None:
    """Throw away what is held of feed NAME; what it said before stays."""
    emit(controller.decide_feed(name, why, accept=False), output, _shown)


def instant(text: str | None) -> str:
    """An instant of the API for people."""
    return "never" if text is None else text[:19].replace("T", " ")


def _how_to_say(name: str, place: str) -> str:
    """What to write instead of a place alone, which is not repeated: it may hold a secret."""
    if place.startswith(("http://", "https://")):
        option = "--url URL (or --taxii, --misp, --misp-feed)"
    else:
        option = "--folder FOLDER" if Path(place).is_dir() else "--file FILE"
    return f"an option says what is read: netpersona feed add {name} {option}"


def _keys(said: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the configuration that the options stand for; paths are those of who asks.  Raises ConfigError."""
    keys = {key: value for key, value in said.items() if value is not None and value is not False and value != ()}
    for key in ("file", "folder", "ca"):
        if key in keys:
            keys[key] = str(Path(keys[key]).absolute())
    headers = dict(_header(text) for text in keys.pop("header_from", ()))
    if headers:
        keys["headers_from"] = headers
    if "basic_from" in keys:
        keys["basic_from"] = _place(keys["basic_from"])
    if "allow" in keys:
        keys["allow"] = list(keys["allow"])
    for option, key in (("no_verify", "verify"), ("no_hold", "hold")):
        if keys.pop(option, False):
            keys[key] = False
    return keys


def _header(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not equals:
        raise ConfigError("--header-from: write NAME=env:VAR or NAME=file:PATH, and never the secret itself")
    return name, _place(place)


def _place(text: str) -> str:
    kind, colon, where = text.partition(":")
    return f"file:{Path(where).absolute()}" if colon and kind == "file" else text


def _once_read(controller: Controller, told: dict[str, Any], *, wait: bool) -> dict[str, Any]:
    """The feed once its reading is over.  Raises FeedError where that takes too long."""
    end = time.monotonic() + _PATIENCE
    while wait and (told["reading"]["running"] or told["reading"]["attempted"] is None):
        if time.monotonic() > end:
            raise FeedError(f"feed {told['name']} is still being read; see 'netpersona feed show {told['name']}'")
        time.sleep(_LOOK)
        told = controller.feed(told["name"])
    return told


def _shown(told: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in _rows(told):
        table.add_row(name, text)
    return table


def _rows(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is shown of a feed, line by line."""
    source, reading = told["source"], told["reading"]
    rows = [("feed", told["name"])]
    if source is None:
        rows.append(("from", "what is pushed to it"))
    else:
        rows.append(("from", f"{source['kind']}: {source['where']}" + (", added" if source["added"] else "")))
    by_type = ", ".join(f"{number} {kind}" for kind, number in told["counts"].items())
    rows.append(("holds", counted(told["indicators"], "indicator") + (f": {by_type}" if by_type else "")))
    rows.append(("confidence", f"{told['confidence']:g}" + (f", family {told['family']}" if told["family"] else "")))
    if told.get("worth"):
        rows += _of_worth(told["worth"])
    if reading is not None:
        rows += _of_reading(reading, source)
    rows.append(("refused", str(told["refused"])))
    rows += [("", f"line {each['line']}: {each['value']}: {each['reason']}") for each in told["refusals"]]
    return rows


def _of_worth(worth: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it is worth here: the sentence first, then what it rests on."""
    share = "nothing was judged"
    if worth["precision"] is not None:
        share = f"{worth['precision']:.2f}, between {worth['low']:.2f} and {worth['high']:.2f}"
    held = "never log-only" if worth["floor"] == 0 else f"floor {worth['floor']:g} from {worth['least']:g} judged on"
    met = f"{worth['listings_met']} of its listings, {worth['sightings']} times; last {instant(worth['last_met'])}"
    shared = ", ".join(f"{feed} ({number})" for feed, number in worth["shared_with"].items())
    fresh = "-" if worth["freshness"] is None else f"{worth['freshness']:.2f} of what is in force ({worth['in_force']})"
    copy = f"; a copy of {', '.join(worth['copy_of'])}" if worth["copy_of"] else ""
    return [
        ("worth", worth["says"]),
        ("precision", f"{share}; {held}"),
        ("met", met),
        ("judged", f"{worth['confirmed']:.3g} confirmed, {worth['refuted']:.3g} refuted"),
        ("unique", f"{worth['unique']:.0%} of it no other feed lists" + (f"; shared with {shared}" if shared else "")),
        ("family", (", ".join(worth["family"]) or "-") + copy),
        ("freshness", fresh),
    ]


def _of_reading(reading: Mapping[str, Any], source: Mapping[str, Any]) -> list[tuple[str, str]]:
    every = "watched" if source["interval"] is None else f"every {source['interval']:g} s"
    rows = [
        ("read", f"{every}; last tried {instant(reading['attempted'])}, well {instant(reading['succeeded'])}"),
        ("next", "at its next change" if reading["next"] is None else instant(reading["next"])),
    ]
    if reading["fetched"]:
        rows.append(("content", f"{reading['format']}, {reading['entries']} entries, of {instant(reading['fetched'])}"))
    if reading["running"]:
        rows.append(("now", "it is being read"))
    if reading["error"]:
        rows.append(("error", f"{reading['error']} (failures in a row: {reading['failures']})"))
    if reading["held"]:
        rows.append(("held", f"{reading['held']['why']}; 'netpersona feed accept' or 'refuse' decides"))
    rows += [("notice", each) for each in reading["notices"]]
    if reading["decision"]:
        decided = reading["decision"]
        rows.append(("decided", f"{decided['what']} by {decided['who']} at {instant(decided['at'])}: {decided['why']}"))
    return rows
