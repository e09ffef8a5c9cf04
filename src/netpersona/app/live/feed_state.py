"""How a feed stands, as people see it: where it comes from, how reading it went, what it holds, what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpersona.intel.feed import Refusal
from netpersona.intel.worth import Worth

REFUSALS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Held:
    """What a feed says now, which does not count before a person accepts it."""

    since: int  # µs
    why: str
    entries: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided of a feed."""

    at: int  # µs
    feed: str
    what: str  # added | removed | accepted | refused
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Fetching:
    """Where a feed is read, and how that goes."""

    kind: str  # file, folder, url, taxii, misp, misp_feed
    where: str  # without any secret
    added: bool  # through the API; else it is in the configuration
    interval: int | None  # µs; None: it is watched
    attempted: int | None  # µs
    succeeded: int | None  # µs: when it was last found as it should be, changed or not
    next: int | None  # µs
    running: bool
    failures: int  # in a row
    error: str | None
    fetched: int | None = None  # µs: when what counts now was fetched
    sha256: str | None = None
    entries: int = 0  # of what counts now, before the gate
    format: str | None = None
    held: Held | None = None
    notices: tuple[str, ...] = ()
    decision: Decision | None = None  # the last one


@dataclass(frozen=True, slots=True)
class FeedState:
    """A feed as it stands: how much it says, and whether it could be read last."""

    name: str
    indicators: int
    confidence: float  # 0 to 1
    pushed: bool = False  # True: it holds what is pushed to it; nothing is fetched
    family: str | None = None
    read: int | None = None  # µs: when it was last read, or pushed to
    well: bool = True
    says: str = ""  # the error, or what was refused
    half_life: int | None = None  # µs
    category: str | None = None
    allow: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)  # type of indicator -> how many
    refused: int = 0
    refusals: tuple[Refusal, ...] = ()  # the first
    fetching: Fetching | None = None  # None: pushed
    worth: Worth | None = None  # None: it says nothing, and never did
