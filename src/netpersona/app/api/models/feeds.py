"""Feeds, and what is pushed to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from netpersona.app.api.models.shape import Model, Named, Share, Version

Value = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x20,;#\x7f]+$")]
FeedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class FeedSpec(Model):
    """What the operator says of a feed."""

    confidence: Share
    family: str | None
    pushed: bool


class FeedStatus(Model):
    """How a feed stands."""

    indicators: int
    read: str | None
    well: bool
    says: str


class Feed(Model):
    """A list of indicators."""

    apiVersion: Version  # noqa: N815
    kind: Literal["Feed"]
    metadata: Named
    spec: FeedSpec
    status: FeedStatus


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
