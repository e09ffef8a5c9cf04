"""A feed that is followed: what is known of it between two readings."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from netpersona.adapters.feeds.copies import Label
from netpersona.app.feed_config import FeedSource
from netpersona.app.live.feed_state import Decision, Fetching, Held


@dataclass(slots=True, eq=False)
class Followed:
    """A feed and how it stands; changed only under the lock of LiveFeeds (feed_fetching.py)."""

    source: FeedSource
    added: bool
    good: Label | None = None
    marks: dict[str, str] | None = None  # newer ones than the copy's, where the server said nothing else
    held: Held | None = None
    held_label: Label | None = None
    refused: str | None = None  # the checksum of what a person refused
    unkept: str | None = None  # why its copy is not on the disk
    attempted: int | None = None
    succeeded: int | None = None
    due: int = 0
    failures: int = 0
    error: str | None = None
    running: bool = False
    again: bool = False  # asked for while it was being read
    whole: bool = False  # asked for whole
    whole_at: int | None = None  # when it was downloaded whole and was the same, µs
    gone: bool = False
    files: threading.Lock = field(default_factory=threading.Lock)  # one at a time changes its copies

    @property
    def wrong(self) -> str | None:
        """Why it is not in order; None where it is."""
        if self.held is None:
            return self.error
        return f"held: {self.held.why}; see 'netpersona feed show {self.source.name}'"

    def fetching(self, decision: Decision | None) -> Fetching:
        """How reading it goes, for people."""
        source, good = self.source, self.good
        notices = () if self.unkept is None else (self.unkept,)
        return Fetching(
            kind=source.kind,
            where=source.source.shown,
            added=self.added,
            interval=source.interval,
            attempted=self.attempted,
            succeeded=self.succeeded,
            next=self.due if source.interval is not None else None,
            running=self.running,
            failures=self.failures,
            error=self.error,
            fetched=None if good is None else good.at,
            sha256=None if good is None else good.sha256,
            entries=0 if good is None else good.entries,
            format=None if good is None else good.said.format,
            held=self.held,
            notices=notices if good is None else (*notices, *good.notices),
            decision=decision,
        )
