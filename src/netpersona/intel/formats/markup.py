"""What begins with `<`: OpenIOC is read; other XML, and every page in HTML, is refused by its name.

A page that shows a table of indicators is refused like an error page: nobody promises that it looks the same tomorrow,
and services that show such tables have the same as CSV or JSON.
"""

from __future__ import annotations

import re
from html import unescape

from netpersona.intel.formats import openioc
from netpersona.intel.formats.entry import Entries, FormatError

NAME = openioc.NAME

_PRE = re.compile(rb"\s*<pre>", re.IGNORECASE)
_START = re.compile(rb"\s*<")
_BEFORE = rb"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE(?!\s+html)[^<>\[]*(?:\[.*?\]\s*)?>)*+"
_ROOT = re.compile(_BEFORE + rb"<([A-Za-z_][\w.:-]{0,80})", re.DOTALL | re.IGNORECASE)
_HTML = re.compile(
    _BEFORE + rb"<(?:!doctype\s+html|html|head|body|title|table|div|meta|script)\b", re.DOTALL | re.IGNORECASE
)
_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,200}?)\s*<", re.IGNORECASE)
_NAMED = {"stix_package": "STIX 1 in XML", "rss": "a news feed (RSS)", "feed": "a news feed (Atom)", "svg": "a picture"}
_EXPECTED = "a list, CSV, JSON or OpenIOC"


def without_pre(content: bytes) -> bytes:
    """A list that some server sends as `<pre>...</pre>` without the two tags, each line where it was."""
    begin = _PRE.match(content)
    if begin is None:
        return content
    inside = content[begin.end() :].rstrip()
    inside = inside[:-6] if inside[-6:].lower() == b"</pre>" else inside
    return content if b"<" in inside else b"\n" * begin[0].count(b"\n") + inside


def recognised(content: bytes) -> bool:
    """Whether the content begins with a tag."""
    return _START.match(content) is not None


def read(content: bytes) -> Entries:
    """The entries, if it is OpenIOC.  Raises FormatError that says what else it is."""
    head = content[: 1 << 16]
    if _HTML.match(head):
        title = _TITLE.search(head)
        named = f" ({_printable(title[1])!r})" if title else ""
        raise FormatError(1, f"a page in HTML{named}", f"{_EXPECTED}: the address of the data, not of a page about it")
    found = _ROOT.match(head)
    root = found[1].decode("ascii", errors="replace").rpartition(":")[2] if found else ""
    if openioc.recognised(root):
        return openioc.read(content)
    raise FormatError(1, _NAMED.get(root.lower(), f"XML ({root[:40]!r})" if root else "no known text"), _EXPECTED)


def _printable(text: bytes) -> str:
    plain = unescape(text.decode("utf-8", errors="replace"))
    return "".join(sign if sign.isprintable() else " " for sign in plain)[:80]
