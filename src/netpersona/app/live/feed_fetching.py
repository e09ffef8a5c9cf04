"""Feeds that are read by themselves: each at its time, in threads of their own, judged by nobody but the person asked.

    look(at) --> due ones to the threads --> read_feed() --> copy --> good:  changed() tells it
                                                                 '--> held:  waits for decide()

`look` only hands out work and never waits.  What a feed said last stays while it cannot be read, and while what it says
now is held.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from netpersona.adapters.feeds.copies import FETCHED, GOOD, HELD, Label, label_of
from netpersona.adapters.feeds.source import read
from netpersona.app.feed_config import FeedSource, FeedSpec, feed_source
from netpersona.app.live.feed_followed import Followed
from netpersona.app.live.feed_reading import Job, Known, Read, job_of, read_feed, reading_of
from netpersona.app.live.feed_schedule import WHOLE, first_run, next_run
from netpersona.app.live.feed_shelf import Shelf
from netpersona.app.live.feed_state import Decision, Fetching, Held
from netpersona.errors import ConfigError, FeedError, NetpersonaError, StoreError
from netpersona.intel.feed import FeedSnapshot
from netpersona.intel.held import reason_to_hold

_AT_ONCE = 3  # feeds that are fetched over the network at one time
_MOST = 500  # feeds
_DECISIONS_KEPT = 200
Reading = Callable[[FeedSource, Job], Read]
_journal = logging.getLogger("netpersona.feeds")


class _Kept(msgspec.Struct, frozen=True):
    """What the store keeps."""

    added: dict[str, FeedSpec] = {}
    refused: dict[str, str] = {}
    decisions: tuple[Decision, ...] = ()


class LiveFeeds:
    """All feeds that are read.  Every method may be called from any thread; only `start` takes long."""

    def __init__(
        self, sources: Sequence[FeedSource] = (), folder: Path | None = None, reads: Reading = read_feed
    ) -> None:
        """`folder` is where copies are kept, None: nowhere that lasts; `reads` is how one feed is read."""
        self._shelf = Shelf(folder)
        self._reads = reads
        self._lock = threading.RLock()
        self._feeds = {source.name: Followed(source, added=False) for source in sources}
        self._decisions: list[Decision] = []
        self._changed: set[str] = set()
        self._ill: dict[str, str] = {}  # what the journal was told
        self._unusable: dict[str, FeedSpec] = {}  # what the store kept, and this version cannot mean
        self._now = 0
        self._near: queue.SimpleQueue[Followed | None] = queue.SimpleQueue()
        self._far: queue.SimpleQueue[Followed | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    # The life of it

    def resume(self, content: bytes | None) -> None:
        """Take back what the store kept: feeds that were added, and what people decided."""
        if content is None:
            return
        try:
            kept = msgspec.json.decode(content, type=_Kept)
        except msgspec.DecodeError as error:
            raise StoreError(f"the stored feeds cannot be read: {error}; is the store of a newer version?") from error
        with self._lock:
            for name in kept.added.keys() - self._feeds.keys():  # the configuration may have one of that name by now
                try:
                    self._feeds[name] = Followed(feed_source(kept.added[name], None, "the store"), added=True)
                except ConfigError as error:
                    self._unusable[name] = kept.added[name]
                    _journal.warning("%s; it is kept, and not read", error)
            for name, checksum in kept.refused.items():
                if name in self._feeds:
                    self._feeds[name].refused = checksum
            self._decisions = list(kept.decisions)

    def context(self) -> bytes:
        """What the store keeps."""
        with self._lock:
            added = {name: feed.source.spec for name, feed in self._feeds.items() if feed.added} | self._unusable
            refused = {name: feed.refused for name, feed in self._feeds.items() if feed.refused is not None}
            return msgspec.json.encode(_Kept(added, refused, tuple(self._decisions)))

    def start(self, at: int) -> None:
        """Take the last good copies, and read what is on this host: then everything is there, network or not."""
        self._now = at
        for feed in list(self._feeds.values()):
            self._take_copies(feed)
            feed.due = first_run(feed.source.name, feed.source.interval, at, feed.succeeded)
            if feed.source.local:
                feed.running = True
                self._read(feed)
        with self._lock:
            self._changed.clear()

    def look(self, at: int) -> set[str]:
        """The feeds that say something else than at the last look, or are gone; those that are due are handed out."""
        with self._lock:
            self._now = at
            for feed in self._feeds.values():
                if not feed.running and feed.due <= at:
                    feed.running = True
                    self._hand_out(feed)
            changed, self._changed = self._changed, set()
            return changed

    def close(self) -> None:
        """Hand out nothing any more; what is being read is left to itself."""
        with self._lock:
            for each in self._threads:
                (self._near if each.name == "feeds-near" else self._far).put(None)
            for feed in self._feeds.values():
                feed.gone = True

    # What feeds say

    @property
    def names(self) -> list[str]:
        """Every feed, in order."""
        with self._lock:
            return sorted(self._feeds)

    def said(self, name: str) -> FeedSnapshot | None:
        """What a feed says, before the gate; None where it never said anything, or its copy cannot be read."""
        with self._lock:
            feed = self._feeds.get(name)
        if feed is None:
            return None
        kept = self._shelf.of(name, GOOD).read(name, GOOD)
        return None if kept is None else kept.snapshot(feed.source.settings)

    def source(self, name: str) -> FeedSource | None:
        """How a feed is configured."""
        with self._lock:
            return self._feeds[name].source if name in self._feeds else None

    def wrong(self, name: str) -> str | None:
        """Why a feed is not in order; None where it is."""
        with self._lock:
            return self._feeds[name].wrong

    def fresh(self, name: str) -> bool:
        """Whether it says something that no look has told yet."""
        with self._lock:
            return name in self._changed

    def fetching(self, name: str) -> Fetching:
        """How reading a feed goes."""
        with self._lock:
            feed = self._feeds[name]
            decided = [each for each in self._decisions if each.feed == name]
            return feed.fetching(decided[-1] if decided else None)

    # What people ask

    def add(self, source: FeedSource, who: str) -> None:
        """Follow a feed from now on.  Raises ConfigError."""
        with self._lock:
            if source.name in self._feeds:
                raise ConfigError(f"there is a feed {source.name} already; remove it first, or take another name")
            if len(self._feeds) >= _MOST:
                raise ConfigError(f"there are {_MOST} feeds, and no more can be")
            self._shelf.drop(source.name, FETCHED, GOOD, HELD)
            self._feeds[source.name] = Followed(source, added=True, due=self._now)
            self._decided(source.name, "added", who, source.source.shown)

    def remove(self, name: str, who: str, why: str) -> None:
        """Follow a feed no longer, and forget what it said.  Raises ConfigError."""
        feed = self._known(name)
        if not feed.added:
            raise ConfigError(f"feed {name} is in the configuration; take it out there, and start again")
        with feed.files, self._lock:
            feed.gone = True
            self._feeds.pop(name, None)
            self._shelf.drop(name, FETCHED, GOOD, HELD)
            self._ill.pop(name, None)
            self._decided(name, "removed", who, why)
            self._changed.add(name)

    def refresh(self, name: str, *, whole: bool = False) -> None:
        """Read a feed as soon as may be.  Raises ConfigError."""
        feed = self._known(name)
        with self._lock:
            feed.whole = feed.whole or whole
            feed.again = feed.running
            if not feed.running:
                feed.running = True
                self._hand_out(feed)

    def decide(self, name: str, who: str, why: str, *, accept: bool) -> None:
        """Let count what is held, or throw it away.  Raises ConfigError where nothing is held."""
        feed = self._known(name)
        with feed.files:
            if feed.held_label is None:
                raise ConfigError(f"nothing of feed {name} is held")
            if accept:
                self._shelf.accept(name)
            else:
                self._shelf.drop(name, HELD)
            with self._lock:
                if accept:
                    feed.good, feed.refused, feed.marks = feed.held_label, None, None
                    self._changed.add(name)
                else:
                    feed.refused, feed.marks = feed.held_label.sha256, None
                feed.held = feed.held_label = None
                self._decided(name, "accepted" if accept else "refused", who, why)

    # Reading

    def _hand_out(self, feed: Followed) -> None:
        near = feed.source.local
        name, most = ("feeds-near", 1) if near else ("feeds-far", _AT_ONCE)
        jobs = self._near if near else self._far
        jobs.put(feed)
        if sum(each.name == name for each in self._threads) < most:
            self._threads.append(threading.Thread(target=self._work, args=(jobs,), name=name, daemon=True))
            self._threads[-1].start()

    def _work(self, jobs: queue.SimpleQueue[Followed | None]) -> None:
        while (feed := jobs.get()) is not None:
            try:
                self._read(feed)
            except Exception:  # noqa: BLE001 - no feed takes the thread, and so the others, with it
                _journal.exception("feed %s: a fault of netpersona; please report it", feed.source.name)

    def _read(self, feed: Followed) -> None:
        """Read it, and take what came of it."""
        came = self._reads(feed.source, self._job(feed))
        with feed.files:
            try:
                self._take(feed, came)
            except Exception as error:  # noqa: BLE001 - it is told as how the feed is
                said = str(error) if isinstance(error, NetpersonaError) else f"a fault of netpersona: {error!r}"
                self._take(feed, Read(error=said))
            finally:
                self._done(feed)

    def _done(self, feed: Followed) -> None:
        """It is read, and may be again."""
        with self._lock:
            feed.running = False
            if feed.again and not feed.gone:
                feed.again, feed.running = False, True
                self._hand_out(feed)

    def _job(self, feed: Followed) -> Job:
        folders = (self._shelf.lasting, self._shelf.spare)
        with self._lock:
            last = feed.held_label or feed.good
            whole = feed.whole or (
                last is not None and feed.source.adds and self._now - (feed.whole_at or last.whole_at) >= WHOLE
            )
            feed.whole, feed.attempted = False, self._now
            if last is None or last.shown != feed.source.source.shown:
                return job_of(feed.source, folders, Known(), self._now)
            checksums = [label.sha256 for label in (feed.good, feed.held_label) if label is not None]
            known = Known(
                marks=None if whole else (feed.marks or last.marks),
                last=(which := HELD if feed.held_label is not None else GOOD),
                copies=self._shelf.of(feed.source.name, which),
                sha256=tuple(checksums + ([feed.refused] if feed.refused is not None else [])),
                reading=last.reading,
                whole_at=last.whole_at,
            )
            return job_of(feed.source, folders, known, self._now)

    def _take(self, feed: Followed, came: Read) -> None:
        """What came of reading it: good, held, nothing new, or an error."""
        name = feed.source.name
        copies = self._shelf.lasting if came.unkept is None else self._shelf.spare
        fresh = copies.label(name, FETCHED) if came.fresh else None
        if feed.gone:
            copies.drop(name, FETCHED)
            return
        if came.fresh and fresh is None:
            came = Read(error=f"{feed.source.source.shown}: its copy is damaged; is the disk full?")
        why = None if fresh is None else self._reason_to_hold(feed, fresh)
        if fresh is not None:
            self._shelf.take(name, GOOD if why is None else HELD, spare=came.unkept is not None)
        returned = feed.good is not None and came.same == feed.good.sha256 and feed.held is not None
        if (fresh is not None and why is None) or returned:
            self._shelf.drop(name, HELD)
        with self._lock:
            feed.unkept = came.unkept if fresh is not None else feed.unkept
            feed.failures = feed.failures + 1 if came.error is not None else 0
            feed.error = came.error
            feed.due = next_run(name, feed.source.interval, self._now, feed.failures, came.later)
            if came.error is None:
                feed.succeeded = self._now
            if returned:
                feed.held = feed.held_label = None
            if fresh is None:
                known = {label.sha256 for label in (feed.good, feed.held_label) if label is not None}
                if came.same in known or (came.same is not None and not feed.source.adds):
                    feed.marks = came.marks  # what is added to does not go on from what was refused
                feed.whole_at = self._now if came.same in known and came.whole else feed.whole_at
            elif why is None:
                feed.good, feed.held, feed.held_label, feed.marks = fresh, None, None, None
                self._changed.add(name)
            else:
                feed.held, feed.held_label, feed.marks = Held(self._now, why, fresh.entries), fresh, None
            self._tell(name)

    def _reason_to_hold(self, feed: Followed, fresh: Label) -> str | None:
        before = feed.good
        if before is None or not feed.source.hold or before.shown != fresh.shown:
            return None
        return reason_to_hold(before.entries, fresh.entries)

    def _take_copies(self, feed: Followed) -> None:
        """What is kept of it on disk; read again where it would be read otherwise now."""
        name = feed.source.name
        kept = self._shelf.lasting
        good, held = kept.label(name, GOOD), kept.label(name, HELD)
        if good is not None and good.reading != reading_of(feed.source):
            good = self._read_copy_again(feed, good)
        feed.good, feed.succeeded = good, None if good is None else good.at
        kept.drop(name, FETCHED)  # of a reading that ended after the run that asked for it
        if not feed.source.hold:
            return
        if held is not None and good is not None and (why := reason_to_hold(good.entries, held.entries)) is not None:
            feed.held, feed.held_label = Held(held.at, why, held.entries), held

    def _read_copy_again(self, feed: Followed, label: Label) -> Label | None:
        source = feed.source
        copy = self._shelf.lasting.content(source.name, GOOD)
        try:
            assert copy is not None
            snapshot = read(copy, source.settings, source.source.shown, source.column)
            fresh = label_of(source.name, label.shown, reading_of(source), label.at, label.whole_at, copy, snapshot)
            self._shelf.lasting.write(GOOD, fresh, copy, snapshot.indicators)
        except FeedError as error:
            feed.error = str(error)
            return None
        return fresh

    def _known(self, name: str) -> Followed:
        with self._lock:
            if name not in self._feeds:
                raise ConfigError(f"there is no feed {name[:64]} that is read; 'netpersona feed list' names the feeds")
            return self._feeds[name]

    def _decided(self, name: str, what: str, who: str, why: str) -> None:
        self._decisions = [*self._decisions, Decision(self._now, name, what, who, why)][-_DECISIONS_KEPT:]
        _journal.warning("feed %s: %s by %s: %s", name, what, who, why)

    def _tell(self, name: str) -> None:
        """Tell the journal when a feed falls ill, differently ill, or well: never the same twice."""
        wrong = self.wrong(name)
        if wrong is not None and self._ill.get(name) != wrong:
            self._ill[name] = wrong
            _journal.warning("feed %s: %s; what it said last stays", name, wrong)
        elif wrong is None and self._ill.pop(name, None) is not None:
            _journal.warning("feed %s: it is well again", name)
