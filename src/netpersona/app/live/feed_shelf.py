"""Where the copies of feeds are: beside the store, and what the disk has no room for, in a folder of this run."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import weakref
from pathlib import Path

from netpersona.adapters.feeds.copies import FETCHED, GOOD, HELD, Copies


class Shelf:
    """The copies of all feeds.  Raises FeedError where the disk refuses."""

    def __init__(self, folder: Path | None) -> None:
        """None: no copy outlasts this run."""
        self.spare = _spare(self)
        self.lasting = self.spare if folder is None else Copies(folder)
        self._spared: set[tuple[str, str]] = set()  # which copies of which feeds are only in the spare folder

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
        for copies in (self.lasting, self.spare):
            copies.drop(feed, *which)
        self._spared -= {(feed, each) for each in which}

    def _move(self, feed: str, copies: Copies, which: str, to: str) -> None:
        copies.move(feed, which, to)
        if copies is self.lasting:
            self._spared.discard((feed, to))
        else:
            self._spared.add((feed, to))


def _spare(shelf: Shelf) -> Copies:
    """A folder that goes with the shelf.  The first copy makes it: who is killed and needed none leaves none behind."""
    folder = Path(tempfile.gettempdir()) / f"netpersona-feeds-{secrets.token_hex(8)}"
    weakref.finalize(shelf, shutil.rmtree, folder, ignore_errors=True)
    return Copies(folder)
