"""One reading of one feed: download, parse, keep what came of it as a copy that nobody has decided on yet.

What comes over the network, and big files, is read in a process of its own: whatever a server does, it costs bounded
memory and time there, and the judge loop nothing.  Small files are read at once, in the thread that asks; and there it
is seen that a file was not written to, as a process of its own costs most of a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from netpersona import __version__
from netpersona.adapters.feeds.copies import FETCHED, Copies, label_of, of_settings
from netpersona.adapters.feeds.local import FileSource, FolderSource
from netpersona.adapters.feeds.source import Copy, downloaded, read
from netpersona.adapters.feeds.web import LaterError
from netpersona.app.feed_config import FeedSource, FeedSpec, feed_source
from netpersona.errors import FeedError, NetpersonaError

_SMALL = 1 << 20  # bytes: files up to this are read at once
TO_PARSE = 120.0  # s, beyond what downloading may take


class Job(msgspec.Struct, frozen=True):
    """What a process of its own is told; no secret but what the URL may hold, so it goes through a pipe."""

    spec: FeedSpec
    folder: str  # of the copies
    spare: str  # where a copy is put that the disk has no room for
    from_folder: str  # where the last copy is
    marks: dict[str, str] | None  # of the last copy; None: download it whole
    last: str | None  # which copy that is
    sha256: tuple[str, ...]  # contents that are known already
    reading: str | None  # as what the last copy was read
    at: int  # µs
    whole_at: int  # µs


class Read(msgspec.Struct, frozen=True):
    """What came of a reading: `fresh` where a copy was written, else nothing new, or an error."""

    fresh: bool = False
    unkept: str | None = None  # why the copy is only in the spare folder
    marks: dict[str, str] | None = None  # to go on from, where nothing is new
    whole: bool = False  # whether all of it was downloaded, and not only what was added
    same: str | None = None  # the checksum of what was downloaded, where that is known already
    error: str | None = None
    later: int | None = None  # s that the server asks to wait


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a feed before it is read."""

    marks: dict[str, str] | None = None
    last: str | None = None
    copies: Copies | None = None  # where that is
    sha256: tuple[str, ...] = ()
    reading: str | None = None
    whole_at: int = 0


def reading_of(source: FeedSource) -> str:
    """As what a feed is read now."""
    return of_settings(source.settings, source.column, __version__)


def job_of(source: FeedSource, folders: tuple[Copies, Copies], known: Known, at: int) -> Job:
    """What to read; its copy is kept in the first folder, or in the second where the first has no room."""
    folder, spare = (str(each.folder) for each in folders)
    last = str(known.copies.folder) if known.copies is not None else folder
    return Job(
        source.spec, folder, spare, last, known.marks, known.last, known.sha256, known.reading, at, known.whole_at
    )


def read_feed(source: FeedSource, job: Job) -> Read:
    """Read it where it is read best.  Never raises."""
    return read_here(source, job) if _is_small(source) or _is_as_it_was(source, job) else _read_beside(source, job)


def read_here(source: FeedSource, job: Job) -> Read:
    """Read it in this thread."""
    try:
        return _read(source, job)
    except LaterError as error:
        return Read(error=str(error), later=error.seconds)
    except NetpersonaError as error:
        return Read(error=str(error))
    except MemoryError:
        return Read(error=f"{source.source.shown}: it needs more memory than a feed may have")
    except Exception as error:  # noqa: BLE001 - whatever it says of itself may hold what a stranger sent
        return Read(error=f"{source.source.shown}: a fault of netpersona ({type(error).__name__})")


def read_job(job: Job) -> Read:
    """What the process of its own does."""
    return read_here(feed_source(job.spec, None, "feeds"), job)


def _read(source: FeedSource, job: Job) -> Read:
    same_reading = job.reading == reading_of(source)
    copy = downloaded(source.source, _last(source, job) if same_reading else None)
    if copy is None or (same_reading and copy.sha256 in job.sha256):
        return (
            Read(marks=job.marks)
            if copy is None
            else Read(marks=dict(copy.marks), whole=job.marks is None, same=copy.sha256)
        )
    snapshot = read(copy, source.settings, source.source.shown, source.column)
    whole_at = job.whole_at if job.marks is not None and source.adds else job.at
    label = label_of(source.name, source.source.shown, reading_of(source), job.at, whole_at, copy, snapshot)
    try:
        Copies(Path(job.folder)).write(FETCHED, label, copy, snapshot.indicators)
    except FeedError as error:  # a full disk keeps no feed from counting
        Copies(Path(job.spare)).write(FETCHED, label, copy, snapshot.indicators)
        return Read(fresh=True, unkept=str(error))
    return Read(fresh=True)


def _last(source: FeedSource, job: Job) -> Copy | None:
    """The last copy, as far as the source needs it to go on."""
    if job.marks is None or job.last is None:
        return None
    if source.adds:
        return Copies(Path(job.from_folder)).content(source.name, job.last)
    return Copy((), job.marks)


def _is_small(source: FeedSource) -> bool:
    if source.file is None:
        return False
    try:
        if source.kind == "file":
            return source.file.stat().st_size <= _SMALL
        with os.scandir(source.file) as found:
            return sum(each.stat().st_size for each in found) <= _SMALL
    except OSError:
        return True  # reading it will say what is wrong


def _is_as_it_was(source: FeedSource, job: Job) -> bool:
    """Whether nobody has written to what is read on this host since it was read, as it would be read now."""
    if not isinstance(source.source, FileSource | FolderSource) or job.marks is None:
        return False
    with suppress(FeedError):
        return job.reading == reading_of(source) and source.source.state() == job.marks.get("state")
    return False


def _read_beside(source: FeedSource, job: Job) -> Read:
    """Read it in a process of its own, which ends in time."""
    words = [sys.executable, "-P", "-m", "netpersona.app.live.feed_process"]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            words, input=msgspec.json.encode(job), capture_output=True, timeout=source.seconds + TO_PARSE,
            check=False, env=environment, cwd="/",
        )  # fmt: skip
        return msgspec.json.decode(done.stdout, type=Read)
    except subprocess.TimeoutExpired:
        return Read(error=f"{source.source.shown}: it was not done within {source.seconds + TO_PARSE:g} s")
    except (OSError, msgspec.DecodeError):
        return Read(error=f"{source.source.shown}: reading it took more memory or time than a feed may have")
