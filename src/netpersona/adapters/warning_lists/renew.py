"""Newer warning lists, from the lists that MISP publishes (github.com/MISP/misp-warninglists, CC0-1.0).

Of a bundled list each part that MISP has too (PARTS) is replaced; what the project wrote itself stays.  What comes is
believed only if it is bounded, typed, and about the same thing as what it replaces: it must hold at least half of that.
So a truncated file, an error page or somebody else's list changes nothing, and the list that was in use stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from netpersona.adapters.feeds.access import Limits
from netpersona.adapters.feeds.http import HttpSource
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.warning_lists import bundled, loaded
from netpersona.errors import FeedError
from netpersona.intel.gate import RANGES, SHORTEST
from netpersona.intel.prefix import prefixes
from netpersona.intel.warning import LONGEST, SHARED_FROM, Effect, WarningList, WarningLists, is_entry, written

SOURCE = "https://raw.githubusercontent.com/MISP/misp-warninglists/main/lists"
LIMITS = Limits(largest=16 << 20, total=60.0, stall=20.0)
_READ_MOST = 1_000_000  # entries of a part, before neighbours are joined
_WRONG_MOST = 0.05  # share of a part's entries that may be none
_HELD_LEAST = 0.5  # share of what it replaces that a part must hold
_WIDTHS = {4: 32, 6: 128}
_SPECIAL = tuple(ip_network(text) for texts in RANGES.values() for text in texts)


class Part(NamedTuple):
    """What of a list comes from which folder of MISP's."""

    list: str
    owner: str  # "" for a list that names no owners
    folder: str


PARTS = (
    Part("cdn", "Cloudflare", "cloudflare"),
    Part("cdn", "Fastly", "fastly"),
    Part("cdn", "Imperva", "imperva"),
    Part("clouds", "AWS", "amazon-aws"),
    Part("clouds", "Azure", "microsoft-azure"),
    Part("clouds", "Google Cloud", "google-gcp"),
    Part("clouds", "DigitalOcean", "digitalocean"),
    Part("clouds", "Hetzner", "hetzner"),
    Part("clouds", "Linode", "linode"),
    Part("clouds", "Alibaba Cloud", "alibaba-cloud"),
    Part("top-sites", "", "tranco10k"),
)
"""Akamai's list holds the servers that it rents out too, and GitHub's the cloud that runs its users' jobs: left out."""


class Renewed(NamedTuple):
    """What became of one part."""

    part: Part
    entries: int  # that are in use now
    before: int
    wrong: str  # empty where it was renewed


class _Published(msgspec.Struct, kw_only=True):
    """A list as MISP publishes it; what else it says is not needed."""

    entries: list[str] = msgspec.field(name="list")
    version: int


def renew(source: str, folder: Path, today: str) -> list[Renewed]:
    """Fetch every part and write the lists that changed into the folder; `today` is their date, ISO 8601.

    `source` is a URL or a folder, below which each list is FOLDER/list.json.  Raises OSError where the folder cannot
    be written; what is wrong with a part is told of it.
    """
    fetched = _reader(source)
    in_use = {each.name: each for each in loaded(folder).lists.lists}
    done = []
    for name in dict.fromkeys(part.list for part in PARTS):
        now, outcomes = _renewed(in_use[name], [part for part in PARTS if part.list == name], fetched)
        done += outcomes
        if now is not None:
            _write(folder, replace(now, date=today, source=_sources(source, outcomes, name)))
    return done


def _renewed(
    before: WarningList, parts: Iterable[Part], fetched: Callable[[str], bytes]
) -> tuple[WarningList | None, list[Renewed]]:
    """The list with the parts that could be renewed; None where none could."""
    table, outcomes = before.entries, []
    for part in parts:
        own = pl.col("owner") == part.owner
        held = table.filter(own)
        try:
            values = _checked(_published(fetched(part.folder)), held["value"].to_list(), before.effect)
        except FeedError as error:
            outcomes.append(Renewed(part, held.height, held.height, str(error)))
            continue
        fresh = pl.DataFrame({"value": values}, schema={"value": pl.String}).with_columns(owner=pl.lit(part.owner))
        table = pl.concat([table.filter(~own), fresh.join(table.filter(~own), on="value", how="anti")])
        outcomes.append(Renewed(part, len(values), held.height, ""))
    renewed = any(not outcome.wrong for outcome in outcomes)
    return (replace(before, entries=table) if renewed else None), outcomes


def _reader(source: str) -> Callable[[str], bytes]:
    """What gives the text of a folder's list.  Raises FeedError."""
    if "://" not in source:
        return lambda folder: _of_file(Path(source) / folder / "list.json")
    return lambda folder: _of_web(f"{source.rstrip('/')}/{folder}/list.json")


def _of_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LIMITS.largest + 1)
    except OSError as error:
        raise FeedError(f"{path}: {error.strerror}") from error
    if len(content) > LIMITS.largest:
        raise FeedError(f"{path}: more than {LIMITS.largest} bytes")
    return content


def _of_web(url: str) -> bytes:
    copy = HttpSource(WebPlace.of(url, "warning lists"), limits=LIMITS).download(None)
    if copy is None:
        raise FeedError(f"{url}: nothing was sent")
    return copy.content


def _published(content: bytes) -> list[str]:
    """The values of a list.  Raises FeedError."""
    try:
        said = msgspec.json.decode(content, type=_Published)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise FeedError(f"no list of MISP's: {error}; expected JSON with list and version") from error
    if not 0 < len(said.entries) <= _READ_MOST:
        raise FeedError(f"{len(said.entries)} entries; expected 1 to {_READ_MOST}")
    return said.entries


def _checked(texts: list[str], before: list[str], effect: Effect) -> list[str]:
    """The entries, canonical, networks joined, sorted.  Raises FeedError where they are not about what was before.

    Of what is shared the small pieces are left out: they say little, and there are a hundred thousand of them.
    """
    canonical = [_canonical(text) for text in texts]
    wrong = canonical.count("")
    if wrong > len(texts) * _WRONG_MOST:
        raise FeedError(f"{wrong} of {len(texts)} entries are no addresses, networks or names, or far too wide")
    values = _joined({value for value in canonical if value}, SHARED_FROM if effect is Effect.SHARE else _WIDTHS)
    if len(values) > LONGEST:
        raise FeedError(f"{len(values)} entries, neighbours joined; expected {LONGEST} or fewer")
    held = _share_held(values, before)
    if held < _HELD_LEAST:
        raise FeedError(f"it holds {held:.0%} of what it would replace; expected {_HELD_LEAST:.0%} or more")
    return values


def _canonical(text: str) -> str:
    """The value as a warning list has it; empty for what none may hold."""
    value = text.strip().lower().rstrip(".")
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        return value if is_entry(value) else ""
    if network.prefixlen < SHORTEST[network.version] or any(
        network.version == special.version and network.overlaps(special) for special in _SPECIAL
    ):
        return ""
    return _text(network)


def _joined(values: Iterable[str], longest: Mapping[int, int]) -> list[str]:
    """The values, with networks that lie in or beside each other as one; prefixes up to the `longest` by IP version."""
    names: list[str] = []
    v4: list[IPv4Network] = []
    v6: list[IPv6Network] = []
    for value in values:
        try:
            network = ip_network(value)
        except ValueError:
            names.append(value)
            continue
        if isinstance(network, IPv4Network):
            v4.append(network)
        else:
            v6.append(network)
    joined = [_text(n) for n in collapse_addresses(v4) if n.prefixlen <= longest[4]]
    return sorted(names) + joined + [_text(n) for n in collapse_addresses(v6) if n.prefixlen <= longest[6]]


def _text(network: IPv4Network | IPv6Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _share_held(values: list[str], before: list[str]) -> float:
    """Which share of what was listed before is listed still: names themselves, addresses by what overlaps them."""
    if not before:
        return 1.0
    fresh = pl.DataFrame({"value": values, "owner": ""}, schema={"value": pl.String, "owner": pl.String})
    asked = pl.DataFrame({"value": before}).with_row_index("id")
    points = pl.concat([asked, prefixes(asked["value"])], how="horizontal").drop_nulls("version")
    numbers = set(points["value"])
    met = WarningLists((replace(bundled("root-servers"), entries=fresh),)).of_addresses(points)
    return (met["id"].n_unique() + len(set(values).intersection(before) - numbers)) / len(before)


def _sources(source: str, outcomes: Iterable[Renewed], name: str) -> str:
    renewed = ", ".join(outcome.part.folder for outcome in outcomes if not outcome.wrong)
    shown = str(WebPlace.of(source, "warning lists")) if "://" in source else source
    return f"{shown}: {renewed}; the rest as bundled: {bundled(name).source}"


def _write(folder: Path, each: WarningList) -> None:
    """Replace the list's file in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    path, beside = folder / f"{each.name}.txt", folder / f".{each.name}.new"
    beside.write_text(written(each), encoding="utf-8")
    beside.replace(path)
