"""The events of a MISP server: asked over its REST interface, or read where it publishes them as a feed.

REST: events/restSearch, page by page, since the newest timestamp seen.  Feed: manifest.json says which events there are
and when each was changed; only those that are new or changed are fetched.  Either way the newest version of an event
replaces the earlier one whole.  The copy is one document that MISP itself would give: {"response": [{"Event": ...}]}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import Copy, marks_of
from netpersona.adapters.feeds.web import Web
from netpersona.errors import FeedError

_PAGE = 50  # events asked for at once
_MOST_PAGES = 10_000
_MOST_EVENTS = 100_000
_JSON = {"Accept": "application/json", "Content-Type": "application/json"}
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class _Event(msgspec.Struct):
    """What is looked at of an event, to know which version it is."""

    uuid: str
    timestamp: int | str = 0


class _Wrapped(msgspec.Struct):
    Event: msgspec.Raw


class _Response(msgspec.Struct):
    response: tuple[_Wrapped, ...] = ()


class _Listed(msgspec.Struct):
    timestamp: int | str = 0


@dataclass(frozen=True, slots=True)
class MispSource:
    """The published events of a MISP server, with the key that its user sends in a header."""

    place: WebPlace
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)

    @property
    def shown(self) -> str:
        """The server's address."""
        return str(self.place)

    def download(self, last: Copy | None) -> Copy | None:
        """All events; None where none was changed since.  Raises FeedError."""
        marks = marks_of(last)
        since = _number(marks.get("timestamp", "0"))
        events = _Events.of(last.content if last is not None and since else b"")
        changed = False
        with Web(self.place, self.access, self.limits, marks) as web:
            for number in range(1, _MOST_PAGES):
                page = self._page(web, number, since)
                changed = events.put(page) or changed
                if len(page) < _PAGE:
                    break
            told = {"timestamp": str(events.newest), **web.marks}
        return None if last is not None and since and not changed else Copy.whole(events.document(), told)

    def _page(self, web: Web, number: int, since: int) -> tuple[_Wrapped, ...]:
        asked = {"returnFormat": "json", "published": True, "limit": _PAGE, "page": number}
        if since:
            asked["timestamp"] = str(since)  # changed at that second or later
        answer = web.post(self.place.below("events/restSearch"), msgspec.json.encode(asked), _JSON)
        try:
            return msgspec.json.decode(answer.content, type=_Response).response
        except (msgspec.DecodeError, RecursionError) as error:
            raise FeedError("its answer holds no events of MISP; is this the address of a MISP server?") from error


@dataclass(frozen=True, slots=True)
class MispFeedSource:
    """The folder on the Web in which a MISP server publishes a feed: manifest.json, and a file for each event."""

    place: WebPlace
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)

    @property
    def shown(self) -> str:
        """The folder's address."""
        return str(self.place)

    def download(self, last: Copy | None) -> Copy | None:
        """All events of the manifest; None where none was changed, added or withdrawn.  Raises FeedError."""
        before = _Events.of(b"" if last is None else last.content)
        events = _Events()
        with Web(self.place, self.access, self.limits, marks_of(last)) as web:
            manifest = self._manifest(web)
            for uuid in sorted(manifest):
                stamp = _number(manifest[uuid].timestamp)
                if before.has(uuid, stamp):
                    events.keep(before, uuid)
                else:
                    events.put((self._event(web, uuid),), as_uuid=uuid, stamp=stamp)
            told = web.marks
        return None if last is not None and events.same(before) else Copy.whole(events.document(), told)

    def _manifest(self, web: Web) -> Mapping[str, _Listed]:
        answer = web.get(self.place.below("manifest.json"), {"Accept": "application/json"})
        try:
            found = msgspec.json.decode(answer.content, type=dict[str, _Listed])
        except (msgspec.DecodeError, RecursionError) as error:
            raise FeedError("manifest.json is no manifest of a MISP feed") from error
        strange = [uuid for uuid in found if not _UUID.fullmatch(uuid)]
        if strange:
            raise FeedError(f"manifest.json names {strange[0][:64]!r}; expected the UUIDs of events")
        if len(found) > _MOST_EVENTS:
            raise FeedError(f"manifest.json names more than {_MOST_EVENTS} events")
        return found

    def _event(self, web: Web, uuid: str) -> _Wrapped:
        answer = web.get(self.place.below(f"{uuid}.json"), {"Accept": "application/json"})
        try:
            return msgspec.json.decode(answer.content, type=_Wrapped)
        except (msgspec.DecodeError, RecursionError) as error:
            raise FeedError(f"{uuid}.json is no event of MISP") from error


class _Events:
    """Events by their UUIDs, the newest version of each."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, msgspec.Raw]] = {}

    @classmethod
    def of(cls, content: bytes) -> _Events:
        """The events of a document() of ours."""
        events = cls()
        if content:
            events.put(msgspec.json.decode(content, type=_Response).response)
        return events

    @property
    def newest(self) -> int:
        """The latest timestamp (s) of all."""
        return max((stamp for stamp, _ in self._known.values()), default=0)

    def put(self, page: tuple[_Wrapped, ...], as_uuid: str | None = None, stamp: int | None = None) -> bool:
        """Take these over; whether any is new or newer.  `as_uuid` and `stamp` are what a manifest calls it."""
        changed = False
        for each in page:
            try:
                head = msgspec.json.decode(each.Event, type=_Event)
            except msgspec.DecodeError as error:
                raise FeedError("one of its events has no uuid; expected events of MISP") from error
            uuid, at = as_uuid or head.uuid, _number(head.timestamp) if stamp is None else stamp
            known = self._known.get(uuid)
            if known is None or known[0] < at:
                self._known[uuid] = (at, each.Event)
                changed = True
        return changed

    def has(self, uuid: str, stamp: int) -> bool:
        """Whether this very version is known."""
        return uuid in self._known and self._known[uuid][0] == stamp

    def keep(self, others: _Events, uuid: str) -> None:
        """Take one over from others."""
        self._known[uuid] = others._known[uuid]

    def same(self, others: _Events) -> bool:
        """Whether the same versions of the same events are known."""
        return {uuid: at for uuid, (at, _) in self._known.items()} == {u: at for u, (at, _) in others._known.items()}

    def document(self) -> bytes:
        """All of them, one on each line, in the order of their UUIDs."""
        lines = b",\n".join(b'{"Event":' + bytes(self._known[uuid][1]) + b"}" for uuid in sorted(self._known))
        return b'{"response":[\n' + lines + b"\n]}"


def _number(value: int | str) -> int:
    """A timestamp (s); MISP writes it as text."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0
