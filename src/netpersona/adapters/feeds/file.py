"""A feed that is a file, plain or packed."""

from __future__ import annotations

import re
from pathlib import Path

from netpersona.adapters.feeds import packed
from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.formats import FormatError

_PACKED = re.compile(r"\.(?:gz|bz2|xz|zst|zip)$", re.IGNORECASE)


class FileFeed:
    """Everything that a file lists now.

    Without settings the feed bears the file's name, and the defaults; `column` says where a CSV has its values.
    """

    __slots__ = ("column", "path", "settings")

    def __init__(self, path: Path, settings: FeedSettings | None = None, column: str | int | None = None) -> None:
        self.path = Path(path)
        self.settings = settings if settings is not None else FeedSettings(feed_name(self.path))
        self.column = column

    def fetch(self) -> FeedSnapshot:
        """Read the file anew.  Raises FeedError, with the line where there is one, and what was expected."""
        try:
            return parse(self._content(), self.settings, self.column)
        except FormatError as error:
            raise FeedError(f"{self.path}:{error.line}: {error.wrong}; expected {error.expected}") from error

    def _content(self) -> bytes:
        try:
            with self.path.open("rb") as source:
                content = source.read(packed.LARGEST + 1)
            return packed.unpacked(content)
        except OSError as error:
            raise FeedError(f"{self.path}: {error.strerror or error}; expected a readable file") from error
        except packed.PackedError as error:
            raise FeedError(f"{self.path}: {error}; expected a list, plain or packed by gzip and the like") from error


def feed_name(path: Path) -> str:
    """A feed's name from its file's: the stem, with anything unusual replaced by '-'."""
    name = _PACKED.sub("", path.name) or path.name
    stem = name.rpartition(".")[0] or name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:64] or "feed"
