"""A feed that is a file, plain or gzip-compressed."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

from netpersona.errors import FeedError
from netpersona.intel.feed import FeedSettings, FeedSnapshot, parse
from netpersona.intel.formats import FormatError

LARGEST = 1 << 30  # bytes after decompression
_GZIP = b"\x1f\x8b"


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
                packed = source.peek(2).startswith(_GZIP)
                content = (gzip.GzipFile(fileobj=source) if packed else source).read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            wrong = getattr(error, "strerror", None) or error
            raise FeedError(f"{self.path}: {wrong}; expected a readable file, plain or gzip") from error
        if len(content) > LARGEST:
            raise FeedError(f"{self.path}: more than {LARGEST} bytes; expected a shorter list")
        return content


def feed_name(path: Path) -> str:
    """A feed's name from its file's: the stem, with anything unusual replaced by '-'."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name.removesuffix(".gz")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:64] or "feed"
