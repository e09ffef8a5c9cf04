"""Feeds: how they are configured, how they stand, and what is pushed to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from netpersona.app.api.models.shape import Model, Named, Share, Version

Value = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x20,;#\x7f]+$")]
FEED_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
FeedName = Annotated[str, StringConstraints(pattern=FEED_NAME)]
Why = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
_Short = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class FeedKeys(Model):
    """A feed to read, with the keys of the configuration file; one of the first six says where it comes from."""

    name: FeedName
    file: _Text | None = Field(None, description="An absolute path; it is watched.")
    folder: _Text | None = Field(None, description="An absolute path; all its files are one feed, and are watched.")
    url: _Text | None = Field(None, description="http or https, without user and password.")
    taxii: _Text | None = Field(None, description="A TAXII 2.1 server, API root or collection.")
    misp: _Text | None = Field(None, description="A MISP server.")
    misp_feed: _Text | None = Field(None, description="Where a MISP server publishes a feed (manifest.json).")
    collection: _Text | None = Field(None, description="Of TAXII: its id, alias or title.")
    interval: _Short | None = Field(None, description="10s to 30d; else 1h.")
    confidence: Share = 0.8
    half_life: _Short | None = None
    family: _Short | None = None
    category: _Short | None = None
    allow: Annotated[list[_Short], Field(max_length=50)] = Field([], description="Gates that it may pass, by name.")
    column: _Text | int | None = None
    headers_from: Annotated[dict[_Short, _Text], Field(max_length=10)] = Field(
        {}, description="Header -> env:NAME or file:PATH, where its value is read; never the value itself."
    )
    basic_from: _Text | None = Field(None, description="env:NAME or file:PATH, which holds user:password.")
    ca: _Text | None = Field(None, description="A file of authorities (PEM), the only ones believed.")
    verify: bool = Field(default=True, description="false: any certificate is believed.")
    largest: _Short | None = Field(None, description="How much it may hold, unpacked: 64MiB, 1GiB.")
    time_limit: _Short | None = Field(None, description="How long one reading may take: 5m.")
    hold: bool = Field(default=True, description="Whether a person must look where it shrinks or grows much.")
    floor: Share | None = Field(None, description="The precision below which it is log-only; 0: never.  Else as usual.")
    least: float | None = Field(None, ge=1, le=1000, description="Judged sightings before it can be.  Else as usual.")


class FeedSourceSpec(Model):
    """Where a feed is read."""

    kind: str
    where: str = Field(description="Without any secret.")
    added: bool = Field(description="Through this API; else it is in the configuration.")
    interval: float | None = Field(description="Seconds; null: it is watched.")


class FeedSpec(Model):
    """What the operator says of a feed."""

    confidence: Share
    half_life: float | None = Field(description="Seconds.")
    family: str | None
    category: str | None
    allow: list[str]
    pushed: bool
    source: FeedSourceSpec | None = Field(description="null: it is pushed to.")


class FeedRefusal(Model):
    """A line, or one value of it, that was not imported."""

    line: int
    value: str
    reason: str


class FeedHeld(Model):
    """What a feed says now, which does not count before a person accepts it."""

    since: str
    why: str
    entries: int


class FeedDecision(Model):
    """What a person decided last."""

    at: str
    what: str
    who: str
    why: str


class FeedReading(Model):
    """How reading a feed goes."""

    attempted: str | None
    succeeded: str | None
    next: str | None
    running: bool
    failures: int = Field(description="In a row.")
    error: str | None
    fetched: str | None = Field(description="When what counts now was fetched.")
    sha256: str | None
    entries: int = Field(description="Of what counts now, before the gate.")
    format: str | None
    held: FeedHeld | None
    notices: list[str]
    decision: FeedDecision | None


class FeedWorth(Model):
    """Whether a feed earns its place."""

    says: str = Field(description="In a sentence.")
    precision: Share | None = Field(description="The share of its judged listings that were right; null: none was.")
    low: Share = Field(description="Where the precision lies, with 90 %.")
    high: Share
    floor: Share = Field(description="Below it the feed is log-only; 0: never.")
    least: float = Field(description="Judged sightings before it can be.")
    log_only_since: str | None
    sightings: int = Field(description="How often a listing was met here, ever.")
    listings_met: int = Field(description="Distinct, of those that are remembered.")
    last_met: str | None
    confirmed: float = Field(description="Listings that were right, by the weight of who said so, faded.")
    refuted: float
    in_force: int
    freshness: Share | None = Field(description="The mean of what is in force; null: nothing is.")
    unique: Share = Field(description="The share of what it lists that no other feed lists.")
    shared_with: dict[str, int] = Field(description="Feeds that list the same, and how much, the most first.")
    copy_of: list[str]
    family: list[str] = Field(description="To which its entries count.")


class FeedStatus(Model):
    """How a feed stands."""

    indicators: int
    counts: dict[str, int] = Field(description="Type of indicator -> how many passed the gate.")
    read: str | None
    well: bool
    says: str
    refused: int
    refusals: list[FeedRefusal] = Field(description="The first.")
    reading: FeedReading | None = Field(description="null: it is pushed to.")
    worth: FeedWorth | None = Field(description="null: it lists nothing, and never was met.")


class Feed(Model):
    """A list of indicators."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Feed"]
    metadata: Named
    spec: FeedSpec
    status: FeedStatus


class FeedRefresh(Model):
    """How to read it."""

    whole: bool = Field(default=False, description="Not only what was added since.")


class FeedWord(Model):
    """Why a person decides so."""

    why: Why


class Indicators(Model):
    """Addresses, networks or domains."""

    values: Annotated[list[Value], Field(min_length=1, max_length=10_000)]


class FeedChangeStatus(Model):
    """How many indicators came or went."""

    changed: int


class FeedChange(Model):
    """What came of a push or a removal."""

    apiVersion: Version  # noqa: N815
    kind: Literal["FeedChange"]
    metadata: Named
    status: FeedChangeStatus
