"""Feeds on this host: a file, and a folder whose files are one feed.

A folder is one feed, as what is shown of it, held back and accepted is one list in several files; who wants a name, a
confidence and a record for each list configures each as a file.  Hidden files, editors' backups and folders inside it
are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from netpersona.adapters.feeds.gunzip import too_much
from netpersona.adapters.feeds.packed import LARGEST
from netpersona.adapters.feeds.source import Copy, Part, unpacked
from netpersona.errors import FeedError

_MOST_FILES = 1000
_BACKUPS = ("~", ".swp", ".tmp", ".part", ".bak", ".new")


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file, plain or packed."""

    path: Path
    largest: int = LARGEST  # bytes after decompression

    @property
    def shown(self) -> str:
        """Its path."""
        return str(self.path)

    def state(self) -> str:
        """What changes whenever it is written to.  Raises FeedError."""
        return _state(self.path)

    def download(self, last: Copy | None) -> Copy | None:
        """What it holds now; None where it was not written to since.  Raises FeedError."""
        state = self.state()
        if last is not None and last.marks.get("state") == state:
            return None
        return Copy.whole(_content(self.path, self.largest, self.largest), {"state": state})


@dataclass(frozen=True, slots=True)
class FolderSource:
    """All files of a folder, by their names; `largest` is of all of them together."""

    path: Path
    largest: int = LARGEST  # bytes after decompression

    @property
    def shown(self) -> str:
        """Its path."""
        return str(self.path)

    def state(self) -> str:
        """What changes whenever a file is written to, comes or goes.  Raises FeedError."""
        return _state_of_all(self._files())

    def download(self, last: Copy | None) -> Copy | None:
        """What its files hold now; None where none has changed, come or gone.  Raises FeedError."""
        files = self._files()
        state = _state_of_all(files)
        if last is not None and last.marks.get("state") == state:
            return None
        left, parts = self.largest, []
        for path in files:
            parts.append(Part(path.name, _content(path, left, self.largest)))
            left -= len(parts[-1].content)
        return Copy(tuple(parts), {"state": state})

    def _files(self) -> list[Path]:
        try:
            with os.scandir(self.path) as found:
                names = sorted(each.name for each in found if each.is_file())
        except OSError as error:
            raise FeedError(f"{error.strerror}; expected a readable folder") from error
        lists = [self.path / name for name in names if not name.startswith(".") and not name.endswith(_BACKUPS)]
        if len(lists) > _MOST_FILES:
            raise FeedError(f"more than {_MOST_FILES} files; expected a folder of lists and nothing else")
        return lists


def _state_of_all(files: Iterable[Path]) -> str:
    return sha256("\n".join(f"{path.name}\0{_state(path)}" for path in files).encode()).hexdigest()


def _state(path: Path) -> str:
    """What changes whenever the file is written to, or another is put in its place."""
    try:
        found = path.stat()
    except OSError as error:
        raise FeedError(f"{error.strerror}; expected a readable file, plain or packed") from error
    return f"{found.st_mtime_ns}:{found.st_size}:{found.st_ino}"


def _content(path: Path, left: int, largest: int) -> bytes:
    """The list in a file, of at most `left` bytes.  A pipe or a device, which may never end, is refused."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as source:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise FeedError("no plain file; expected a readable file, plain or packed")
            content = source.read(left + 1)
    except OSError as error:
        raise FeedError(f"{path.name}: {error.strerror}; expected a readable file, plain or packed") from error
    if len(content) > left:
        raise FeedError(too_much(largest))
    return unpacked(content, left)
