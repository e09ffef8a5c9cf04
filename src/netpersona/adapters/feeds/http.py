"""A feed that is one document on the Web, fetched only if it has changed (RFC 9110, 13: conditional requests)."""

from __future__ import annotations

from dataclasses import dataclass, field

from netpersona.adapters.feeds.access import Access, Limits
from netpersona.adapters.feeds.place import WebPlace
from netpersona.adapters.feeds.source import Copy, marks_of, unpacked
from netpersona.adapters.feeds.web import Answer, Web

_NOT_MODIFIED = 304
_CONDITIONS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
_LONGEST_MARK = 1024


@dataclass(frozen=True, slots=True)
class HttpSource:
    """The document at an http or https URL, plain or packed."""

    place: WebPlace
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)

    @property
    def shown(self) -> str:
        """The URL, without what may be a secret."""
        return str(self.place)

    def download(self, last: Copy | None) -> Copy | None:
        """What the document holds now; None where the server says that it has not changed.  Raises FeedError."""
        marks = marks_of(last)
        conditions = {header: marks[mark] for mark, header in _CONDITIONS.items() if mark in marks}
        with Web(self.place, self.access, self.limits, marks) as web:
            answer = web.get(self.place, conditions, accept=(_NOT_MODIFIED,) if conditions else ())
            if answer.status == _NOT_MODIFIED:
                return None
            content = unpacked(answer.content, self.limits.largest)
            return Copy.whole(content, {**_marks(answer), **web.marks}, _moved(answer))


def _marks(answer: Answer) -> dict[str, str]:
    told = {mark: answer.headers.get(mark, "") for mark in _CONDITIONS}
    return {mark: text for mark, text in told.items() if 0 < len(text) <= _LONGEST_MARK and _printable(text)}


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _moved(answer: Answer) -> tuple[str, ...]:
    return (f"it has moved for good to {answer.place}; name that URL",) if answer.moved else ()
