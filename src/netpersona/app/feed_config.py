"""How a feed is configured: where it comes from, how often, what it may send us and what it is worth.

    {name: drop,  url: "https://...", interval: 1h, confidence: 0.95, half_life: 7d, family: spamhaus}
    {name: ours,  file: bad.txt, allow: [documentation]}                 watched, read when it is written to
    {name: lists, folder: lists/}                                        one feed, whatever its files are
    {name: isac,  taxii: "https://.../taxii2/", collection: ID, basic_from: "file:isac.login"}
    {name: misp,  misp: "https://...", headers_from: {Authorization: "env:MISP_KEY"}, ca: misp.pem}
    {name: osint, misp_feed: "https://.../feed-osint/"}

The same keys serve the configuration file and the API.  Paths are relative to the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from netpersona.adapters.feeds.access import LARGEST, Access, Limits
from netpersona.adapters.feeds.file import FileFeed, feed_name
from netpersona.adapters.feeds.local import FileSource, FolderSource
from netpersona.adapters.feeds.packed import LARGEST as LARGEST_FILE
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import Source, SourcedFeed
from netpersona.app.gate_config import standard
from netpersona.app.span import duration
from netpersona.app.web_access import access_of
from netpersona.errors import ConfigError
from netpersona.flow.window import DAY, HOUR, SECOND
from netpersona.intel.feed import FeedSettings
from netpersona.intel.gate import GATES
from netpersona.intel.precision import Standard, Standards

LOCAL = ("file", "folder")
REMOTE = ("url", "taxii", "misp", "misp_feed")
_SHORTEST = 10 * SECOND
_LONGEST = 30 * DAY
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TOTAL = {"url": 300, "taxii": 900, "misp": 900, "misp_feed": 900}  # s


class FeedSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A feed as an operator writes it; exactly one of the first six says where it comes from."""

    file: str | None = None
    folder: str | None = None
    url: str | None = None
    taxii: str | None = None
    misp: str | None = None
    misp_feed: str | None = None
    collection: str | None = None  # of TAXII: its id, alias or title
    name: str | None = None
    interval: str | None = None
    confidence: float = 0.8
    half_life: str | None = None
    family: str | None = None
    category: str | None = None
    allow: tuple[str, ...] = ()
    column: str | int | None = None
    headers_from: dict[str, str] = {}
    basic_from: str | None = None
    ca: str | None = None
    verify: bool = True
    largest: str | None = None
    time_limit: str | None = None
    hold: bool = True
    floor: float | None = None
    least: float | None = None

    def __repr__(self) -> str:
        """Its name; its URL may hold a secret."""
        return f"FeedSpec(name={self.name!r})"


@dataclass(frozen=True, slots=True)
class FeedSource:
    """A feed as configured: its settings, and everything that is needed to read it."""

    settings: FeedSettings
    source: Source
    kind: str  # one of LOCAL, REMOTE
    interval: int | None  # µs; None: it is watched
    column: str | int | None = None
    hold: bool = True  # whether a person must look where it shrinks or grows much
    seconds: float = 60.0  # s: how long one reading may take
    spec: FeedSpec = field(default_factory=FeedSpec, repr=False)  # with absolute paths

    @classmethod
    def of_file_feed(cls, feed: FileFeed) -> FeedSource:
        """A file that is watched."""
        return cls(feed.settings, FileSource(feed.path), "file", None, feed.column)

    @property
    def name(self) -> str:
        """Its name, by which everything knows it."""
        return self.settings.name

    def held_to(self, usual: Standard) -> Standard:
        """The precision that it is held to; what is not said of it is as usual."""
        return standard(self.spec.floor, self.spec.least, usual, self.name)

    @property
    def local(self) -> bool:
        """Whether it is read from this host."""
        return self.kind in LOCAL

    @property
    def file(self) -> Path | None:
        """Where it is read, if it is on this host."""
        return self.source.path if isinstance(self.source, FileSource | FolderSource) else None

    @property
    def feed(self) -> SourcedFeed:
        """It as a Feed."""
        return SourcedFeed(self.settings, self.source, self.column)

    @property
    def adds(self) -> bool:
        """Whether what is downloaded is laid over what was there, and nothing is ever told to be gone."""
        return self.kind in ("taxii", "misp", "misp_feed")

    @property
    def touches_host(self) -> bool:
        """Whether it reads files or variables of this host: only who may read these himself may say so."""
        return self.local or bool(self.spec.headers_from or self.spec.basic_from or self.spec.ca)


def feed_source(spec: FeedSpec, here: Path | None, where: str) -> FeedSource:
    """The feed that this means; `here` is the folder that paths are relative to.  Raises ConfigError, with `where`."""
    given = [kind for kind in (*LOCAL, *REMOTE) if getattr(spec, kind) is not None]
    if len(given) != 1:
        found = "none" if not given else " and ".join(given)
        raise ConfigError(f"{where}: a feed has one of {', '.join((*LOCAL, *REMOTE))}; here is {found}")
    kind = given[0]
    text = str(getattr(spec, kind))
    name = _name(spec, kind, text, where)
    what = f"{where}: feed {name}"
    _check(spec, kind, what)
    standard(spec.floor, spec.least, Standard(), what)
    settings = _settings(spec, name, what)
    if kind in LOCAL:
        path = _path(text, here, what)
        size = _size(spec.largest, LARGEST_FILE, what)
        absolute = msgspec.structs.replace(spec, **{kind: str(path.absolute()), "name": name})
        source: Source = FileSource(path, size) if kind == "file" else FolderSource(path, size)
        return FeedSource(settings, source, kind, None, spec.column, spec.hold, spec=absolute)
    access = access_of(spec, None if spec.ca is None else _path(spec.ca, here, what), here, what)
    limits = Limits(_size(spec.largest, LARGEST, what), _seconds(spec, kind, what))
    interval = HOUR if spec.interval is None else duration(spec.interval, f"{what}: interval")
    if not _SHORTEST <= interval <= _LONGEST:
        raise ConfigError(f"{what}: interval: {spec.interval} is not between 10s and 30d")
    absolute = msgspec.structs.replace(
        spec,
        name=name,
        ca=None if access.ca is None else str(access.ca),
        headers_from={header: str(place) for header, place in access.credentials.headers.items()},
        basic_from=None if access.credentials.basic is None else str(access.credentials.basic),
    )
    source = _remote(kind, WebPlace.of(text, what), spec, access, limits)
    return FeedSource(settings, source, kind, interval, spec.column, spec.hold, limits.total, absolute)


def _remote(kind: str, place: WebPlace, spec: FeedSpec, access: Access, limits: Limits) -> Source:
    """What reads it; what speaks HTTP is imported only where it is needed."""
    from netpersona.adapters.feeds.http import HttpSource
    from netpersona.adapters.feeds.misp import MispFeedSource, MispSource
    from netpersona.adapters.feeds.taxii import TaxiiSource

    if kind == "taxii":
        return TaxiiSource(place, spec.collection, access, limits)
    made: dict[str, Callable[[WebPlace, Access, Limits], Source]] = {
        "url": HttpSource, "misp": MispSource, "misp_feed": MispFeedSource
    }  # fmt: skip
    return made[kind](place, access, limits)


def _name(spec: FeedSpec, kind: str, text: str, where: str) -> str:
    """Its name, in which a file's may stand."""
    if spec.name is None and kind not in LOCAL:
        raise ConfigError(f"{where}: a feed from {kind} needs a name")
    name = feed_name(Path(text)) if spec.name is None else spec.name
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ConfigError(f"{where}: {name[:64]!r} is no name of a feed: up to 64 letters, digits, '.', '_' and '-'")
    return name


def _check(spec: FeedSpec, kind: str, what: str) -> None:
    """Raises ConfigError for keys that mean nothing where the feed comes from."""
    web = {
        "headers_from": bool(spec.headers_from), "basic_from": spec.basic_from is not None, "ca": spec.ca is not None,
        "verify": not spec.verify, "interval": spec.interval is not None, "time_limit": spec.time_limit is not None,
    }  # fmt: skip
    strange = [key for key, said in web.items() if said and kind in LOCAL]
    if strange:
        raise ConfigError(f"{what}: {strange[0]}: means nothing for a {kind}, which is watched")
    if spec.collection is not None and kind != "taxii":
        raise ConfigError(f"{what}: collection: only TAXII has collections")


def _settings(spec: FeedSpec, name: str, what: str) -> FeedSettings:
    if not 0.0 <= spec.confidence <= 1.0:
        raise ConfigError(f"{what}: confidence {spec.confidence} is not between 0 and 1")
    for gate in spec.allow:
        if gate not in GATES:
            near = get_close_matches(gate, GATES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(GATES)}"
            raise ConfigError(f"{what}: allow: there is no gate {gate!r}; {hint}")
    fade = None if spec.half_life is None else duration(spec.half_life, f"{what}: half_life")
    return FeedSettings(name, spec.confidence, fade, spec.family, spec.category, spec.allow)


def _path(text: str, here: Path | None, what: str) -> Path:
    path = Path(text) if here is None else here / text
    if here is None and not path.is_absolute():
        raise ConfigError(f"{what}: {text[:100]!r} is no absolute path")
    if "\0" in text:
        raise ConfigError(f"{what}: that is no path")
    return path


def _seconds(spec: FeedSpec, kind: str, what: str) -> float:
    if spec.time_limit is None:
        return float(_TOTAL[kind])
    return duration(spec.time_limit, f"{what}: time_limit") / SECOND


def _size(text: str | None, default: int, what: str) -> int:
    if text is None:
        return default
    match = re.fullmatch(r"([0-9]{1,6})\s*(KiB|MiB|GiB)", text.strip())
    if match is None or not 0 < (size := int(match[1]) * _SIZES[match[2]]) <= 8 << 30:
        raise ConfigError(f"{what}: largest: {text[:32]!r} is no size; write 64MiB or 1GiB, at most 8GiB")
    return size


def spec_of(data: Any, where: str) -> FeedSpec:
    """The keys of a feed as plain data.  Raises ConfigError, which repeats no value."""
    try:
        return msgspec.convert(data, FeedSpec)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `([^`]*)`", str(error))
        near = get_close_matches(unknown[1], FeedSpec.__struct_fields__, n=1) if unknown else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{where}: {error}{hint}") from None


def standards(feeds: Iterable[FeedSource], usual: Standard) -> Standards:
    """What these feeds, and all others, are held to."""
    return Standards(usual, {feed.name: feed.held_to(usual) for feed in feeds})
