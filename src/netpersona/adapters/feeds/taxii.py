"""A TAXII 2.1 collection (OASIS TAXII 2.1): found from any of its addresses, then asked only for what was added since.

    discovery -> API root -> collections -> /objects/?added_after=... page by page

What was added is laid over what was there, by the objects' ids; the newest version of each stays.  A server tells
nothing of objects that it deleted: now and then the whole collection has to be downloaded anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import Copy, marks_of
from netpersona.adapters.feeds.web import Web
from netpersona.errors import FeedError

_ACCEPT = {"Accept": "application/taxii+json;version=2.1"}
_WANTED = "indicator,marking-definition"  # the types of objects that say what to look for, and who may know
_PAGE = "1000"  # objects asked for at once; a server may give fewer
_MOST_PAGES = 10_000
_MOST_ROOTS = 20
_COLLECTION = re.compile(r"/collections/([^/]+)/?(?:objects/?)?$")
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,20}Z")


class _Object(msgspec.Struct):
    """What is looked at of a STIX object, to keep the newest version of each."""

    id: str
    modified: str = ""


class _Envelope(msgspec.Struct):
    more: bool = False
    next: str | None = None
    objects: tuple[msgspec.Raw, ...] = ()


class _Bundle(msgspec.Struct):
    objects: tuple[msgspec.Raw, ...] = ()


@dataclass(frozen=True, slots=True)
class TaxiiSource:
    """A collection: its own address, or that of its API root or of the server, with its id, alias or title."""

    place: WebPlace
    collection: str | None = None  # None: the only one that may be read
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)

    @property
    def shown(self) -> str:
        """The address and the collection."""
        return str(self.place) + (f" ({self.collection})" if self.collection else "")

    def download(self, last: Copy | None) -> Copy | None:
        """The collection as a STIX bundle; None where nothing was added.  Raises FeedError."""
        marks = marks_of(last)
        with Web(self.place, self.access, self.limits, marks) as web:
            found = _Asking(web, self.place).collection(self.collection)
            name = found.path.rstrip("/").rpartition("/")[2]
            since = marks.get("added", "") if marks.get("collection") == name else ""
            objects = _kept(last.content) if last is not None and since else {}
            newest, added = since, 0
            for page, until in _pages(web, found, since):
                newest, added = until or newest, added + len(page)
                _lay_over(objects, page)
            if last is not None and since and not added:
                return None
            told = {"collection": name, "added": newest, **web.marks}
            return Copy.whole(_bundle(objects), {mark: text for mark, text in told.items() if text})


@dataclass(frozen=True, slots=True)
class _Asking:
    """Finds a collection from wherever the operator began."""

    web: Web
    place: WebPlace

    def collection(self, wanted: str | None) -> WebPlace:
        """The collection's own address.  Raises FeedError, which names those that there are."""
        direct = _COLLECTION.search(self.place.path)
        if direct is not None and wanted is None:
            return replace(self.place, path=self.place.path[: direct.end(1)] + "/")
        seen: list[str] = []
        for root in self._roots():
            for each in self._readable(root):
                names = {each["id"], *_texts(each.get("alias")), *_texts(each.get("title"))}
                if wanted in names:
                    return root.below(f"collections/{each['id']}/")
                seen.append(f"{str(each.get('title'))[:64]!r} ({each['id']})")
                only = root.below(f"collections/{each['id']}/")
        if wanted is None and len(seen) == 1:
            return only
        known = ", ".join(seen[:10]) or "none that may be read"
        asked = "name one as 'collection'" if wanted is None else f"there is no collection {wanted[:64]!r}"
        raise FeedError(f"{asked}; there is {known}")

    def _roots(self) -> Iterator[WebPlace]:
        """The API roots: the address itself, or those that the server lists, its default first."""
        told = _resource(self.web, self.place)
        listed = [*_texts(told.get("default")), *_texts(told.get("api_roots"))]
        if not listed:
            yield self.place
        for each in list(dict.fromkeys(listed))[:_MOST_ROOTS]:
            yield self.place.sent_to(each)

    def _readable(self, root: WebPlace) -> list[dict[str, Any]]:
        listed = _resource(self.web, root.below("collections/")).get("collections")
        found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        return [each for each in found if _is_id(each.get("id")) and each.get("can_read") is True]


def _pages(web: Web, collection: WebPlace, since: str) -> Iterator[tuple[tuple[msgspec.Raw, ...], str]]:
    """The objects of each page, and when the last of them was added (empty where the server does not say)."""
    asked = {"limit": _PAGE, "match[type]": _WANTED} | ({"added_after": since} if since else {})
    for _ in range(_MOST_PAGES):
        answer = web.get(collection.below("objects/", **asked), _ACCEPT)
        page = _decoded(answer.content, _Envelope)
        until = answer.headers.get("x-taxii-date-added-last", "")
        until = until if _INSTANT.fullmatch(until) else ""
        yield page.objects, until
        if not page.more:
            return
        if page.next:
            asked["next"] = page.next[:1024]
        elif until and until != asked.get("added_after"):  # a server without `next`: go on after the last object
            asked["added_after"] = until
        else:
            raise FeedError("it says that there is more, and not where; expected 'next' in the envelope")
    raise FeedError(f"it has more than {_MOST_PAGES} pages")


def _lay_over(objects: dict[str, tuple[str, msgspec.Raw]], page: tuple[msgspec.Raw, ...]) -> None:
    """Put a page's objects among those known; of one id the newest version stays."""
    for raw in page:
        try:
            head = msgspec.json.decode(raw, type=_Object)
        except msgspec.DecodeError:
            continue  # no object of STIX: it has no id
        if head.id not in objects or objects[head.id][0] <= head.modified:
            objects[head.id] = (head.modified, raw)


def _kept(content: bytes) -> dict[str, tuple[str, msgspec.Raw]]:
    objects: dict[str, tuple[str, msgspec.Raw]] = {}
    _lay_over(objects, _decoded(content, _Bundle).objects)
    return objects


def _bundle(objects: Mapping[str, tuple[str, msgspec.Raw]]) -> bytes:
    """All objects, in the order of their ids: one on each line, so that a line number says which."""
    lines = b",\n".join(bytes(objects[each][1]) for each in sorted(objects))
    return b'{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[\n' + lines + b"\n]}"


def _resource(web: Web, place: WebPlace) -> dict[str, Any]:
    told = _decoded(web.get(place, _ACCEPT).content, dict)
    return {str(name): value for name, value in told.items()}


def _decoded(content: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FeedError("its answer is no JSON of TAXII 2.1; is this the address of a TAXII 2.1 server?") from error


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str) and each]


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None and value not in {".", ".."}
