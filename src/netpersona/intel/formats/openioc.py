"""OpenIOC 1.0 and 1.1: terms joined by AND and OR, in XML.

A record is a term (IndicatorItem).  Its value suffices alone where every group around it is an OR, or has no other
part; in an AND of several parts it does not, since the whole is narrower.  "contains" is as good as "is": what is, or
lies below, the listed name also contains it.

XML is hostile until read: a document type with entities is refused, so is nesting deeper than any indicator needs.
Sources: the schemas http://schemas.mandiant.com/2010/ioc and http://openioc.org/schemas/OpenIOC_1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from netpersona.intel.formats.entry import Entries, FormatError
from netpersona.intel.formats.gathered import Gathered, Record
from netpersona.intel.formats.stix_values import NO_MATCH

NAME = "openioc"

_ROOTS = ("ioc", "openioc", "iocs")
_EXPECTED = "OpenIOC 1.0 or 1.1"
_DEEPEST = 100
_LONGEST = 4096  # characters of a text
_TYPES = {
    "dns": "domain",
    "host": "domain",
    "hostname": "domain",
    "recordname": "domain",
    "remotehost": "domain",
    "remoteip": "address",
    "ip": "address",
    "destination": "address",
    "ipv4address": "address",
    "ipv6address": "address",
    "url": "url",
    "sourceurl": "url",
    "uri": "url",
    "md5sum": "hash",
    "sha1sum": "hash",
    "sha256sum": "hash",
    "sha512sum": "hash",
}
"""What the last part of a term's name (PortItem/remoteIP) says that its value is."""


@dataclass(slots=True)
class _Group:
    """An Indicator: what joins its parts, and how many there are."""

    word: str
    parts: int = 0


@dataclass(slots=True)
class _Term:
    """An IndicatorItem."""

    at: int
    condition: str
    groups: tuple[_Group, ...]
    search: str = ""
    content: list[str] = field(default_factory=list)


def recognised(root: str) -> bool:
    """Whether this is the name of OpenIOC's outermost element."""
    return root.lower() in _ROOTS


def read(content: bytes) -> Entries:
    """The values of the terms that suffice alone.  Raises FormatError for what is no XML, or has entities."""
    reader = _Reader(content)
    reader.run()
    gathered = Gathered()
    for number, term in enumerate(reader.terms, 1):
        text = "".join(term.content).strip()
        kind, objection = _TYPES.get(term.search.rpartition("/")[2].lower()), _objection(term)
        if objection is not None:
            gathered.refuse(Record(number, term.at), text, objection)
        else:
            gathered.enter(Record(number, term.at), text, kind, label=reader.label, start=reader.modified)
    return gathered.found(NAME, content)


def _objection(term: _Term) -> str | None:
    """Why a term is refused."""
    name = term.search.rpartition("/")[2].lower()
    if name not in _TYPES:
        return f"{term.search[:60]}: {NO_MATCH}"
    if term.condition not in {"is", "contains"}:
        return f"its condition is {term.condition[:20]!r}; only what a value is, or contains, is matched"
    if any(group.word != "OR" and group.parts > 1 for group in term.groups):
        return "joined by AND: the whole is narrower than its parts, and this one alone would match more than it says"
    return None


class _Reader:
    """Takes the elements of one document, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.terms: list[_Term] = []
        self.label: str | None = None
        self.modified: str | None = None
        self._content = content
        self._depth = 0
        self._groups: list[_Group] = []
        self._term: _Term | None = None
        self._text: list[str] | None = None
        self._parser = parser = safe_parser(content)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def run(self) -> None:
        """Reads the document.  Raises FormatError."""
        try:
            self._parser.Parse(self._content, True)  # noqa: FBT003 (it is the last part)
        except expat.ExpatError as error:
            raise FormatError(error.lineno, f"damaged XML: {expat.ErrorString(error.code)}", _EXPECTED) from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise FormatError(self._parser.CurrentLineNumber, "XML that is nested too deeply", _EXPECTED)
        local = name.rpartition(":")[2]
        if self._depth == 1:
            self.modified = attributes.get("last-modified")
        if local in {"Indicator", "IndicatorItem"} and self._groups:
            self._groups[-1].parts += 1
        if local == "Indicator":
            self._groups.append(_Group(attributes.get("operator", "OR").upper()))
        elif local == "IndicatorItem":
            self._term = self._opened(attributes)
        elif local == "Context" and self._term is not None:
            self._term.search = attributes.get("search", "")
        elif local == "Content" and self._term is not None:
            self._text = self._term.content
        elif local == "short_description" and self.label is None:
            self._text = []

    def _opened(self, attributes: dict[str, str]) -> _Term:
        condition = attributes.get("condition", "is").lower()
        negated = attributes.get("negate", "false").lower() == "true"
        groups = tuple(self._groups)
        return _Term(self._parser.CurrentByteIndex, f"not {condition}" if negated else condition, groups)

    def _end(self, name: str) -> None:
        self._depth -= 1
        local = name.rpartition(":")[2]
        if local == "Indicator" and self._groups:
            self._groups.pop()
        elif local == "IndicatorItem" and self._term is not None:
            self.terms.append(self._term)
            self._term = None
        elif local == "short_description" and self._text is not None:
            self.label = "".join(self._text)
        if local in {"Content", "short_description"}:
            self._text = None

    def _characters(self, text: str) -> None:
        if self._text is not None and sum(map(len, self._text)) < _LONGEST:
            self._text.append(text[:_LONGEST])


def safe_parser(content: bytes) -> expat.XMLParserType:
    """A parser that refuses document types with declarations: what they declare could be without bound."""
    parser = expat.ParserCreate("utf-8" if _is_utf8(content) else None)
    parser.buffer_text = True

    def refuse(*_: object) -> NoReturn:
        raise FormatError(parser.CurrentLineNumber, "XML that declares entities", f"{_EXPECTED} without them")

    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    return parser


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
