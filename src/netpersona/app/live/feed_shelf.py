"""Where the copies of feeds are: beside the store, and what the disk has no room for, in a folder of this run."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path

from netpersona.adapters.feeds.copies import FETCHED, GOOD, HELD, Copies


class Shelf:
    """The copies of all feeds.  Raises FeedError where the disk refuses."""

    def __init__(self, folder: Path | None) -> None:
        """None: no copy outlasts this run."""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.lasting = self.spare if folder is None else Copies(folder)
        self._spared: set[tuple[str, str]] = set()  # which copies of which feeds are only in the spare folder

    @cached_property
    def spare(self) -> Copies:
        """The folder of this run, made when it is first needed."""
        self._temporary = tempfile.TemporaryDirectory(prefix="netpersona-feeds-")
        return Copies(Path(self._temporary.name))

    def of(self, feed: str, which: str) -> Copies:
        """Where this copy is."""
        return self.spare if (feed, which) in self._spared else self.lasting

    def take(self, feed: str, to: str, *, spare: bool) -> None:
        """Let what was fetched be this copy; `spare`: the disk had no room for it."""
        self._move(feed, self.spare if spare else self.lasting, FETCHED, to)

    def accept(self, feed: str) -> None:
        """Let what is held be the good copy."""
        self._move(feed, self.of(feed, HELD), HELD, GOOD)
        self._spared.discard((feed, HELD))

    def drop(self, feed: str, *which: str) -> None:
        """Keep these copies no longer."""
        for copies in (self.lasting, *((self.spare,) if self._temporary is not None else ())):
            copies.drop(feed, *which)
        self._spared -= {(feed, each) for each in which}

    def _move(self, feed: str, copies: Copies, which: str, to: str) -> None:
        copies.move(feed, which, to)
        if copies is self.lasting:
            self._spared.discard((feed, to))
        else:
            self._spared.add((feed, to))
