"""Records that a reader would know, had nobody wrapped them: what helps is told, for the person who named the file.

Log shippers and exports put records into other objects (`{"_source": {...}}`), into text members
(`{"message": "2 1234 eni-..."}`), behind a syslog header, or on many lines each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_OBJECTS = 40  # beginnings of objects that are tried
_VALUES = 2000  # values looked at in one object
_NAME = re.compile(r"[@\w.-]{1,40}", re.ASCII)
_MEMBERS = ("event_type", "ts", "srcaddr")  # of a record of Suricata's, Zeek's, a VPC flow log's
_SYSLOG = re.compile(rb"[^{\n]{1,200}(\{.*\})\s*", re.DOTALL)

Known = Callable[[bytes], bool]  # whether a sensor would read what begins so


def advice(head: bytes, known: Known) -> str | None:
    """What unwraps the source that begins so; None where there is nothing known inside."""
    try:
        return _behind(head, known) or _inside(head, known)
    except RecursionError:  # of JSON that is nested more deeply than any record
        return None


def _behind(head: bytes, known: Known) -> str | None:
    behind = _SYSLOG.fullmatch(head.split(b"\n", 1)[0].strip())
    if behind is not None and not head.lstrip().startswith((b"{", b"[")) and known(behind[1]):
        return "records behind other text on each line: cut it off with `sed 's/^[^{]*//' FILE`"
    return None


def _inside(head: bytes, known: Known) -> str | None:
    if not head.lstrip().startswith((b"{", b"[")):
        return None
    for found in _objects(head.decode("utf-8", "replace")):
        if known(json.dumps(found).encode()):
            return _of_objects(found, "one record on many lines, or inside others")
        for name, inner in _values(found):
            if isinstance(inner, dict) and known(json.dumps(inner).encode()):
                return _of_objects(inner, f"records inside {name!r}")
            if isinstance(inner, str) and known(inner.encode()):
                taken = f".. | objects | .[{json.dumps(name)}] | strings"
                return f"records as the text of {name!r}: take them out with `jq -r '{taken}' FILE`"
            if isinstance(inner, dict) and known(_columns(inner)):
                return _AS_TABLE
        if known(_columns(found)):
            return _AS_TABLE
    return None


_AS_TABLE = (
    "a JSON object for each row: make CSV of them with "
    "`jq -rs '(.[0] | keys_unsorted) as $k | $k, (.[] | [.[$k[]]]) | @csv' FILE`"
)


def _of_objects(record: dict[str, Any], where: str) -> str:
    member = next((name for name in _MEMBERS if name in record), None)
    chosen = "." if member is None else f".. | objects | select(has({json.dumps(member)}))"
    return f"{where}: take them out with `jq -c '{chosen}' FILE`"


def _columns(found: dict[str, Any]) -> bytes:
    """The object's members as a table's header line."""
    return ",".join(name for name in found if _NAME.fullmatch(name)).encode()


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost objects of the text that are whole, from its beginning on."""
    decoder, at = json.JSONDecoder(), -1
    for _ in range(_OBJECTS):
        at = text.find("{", at + 1)
        if at < 0:
            return
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        yield found
        at = end - 1


def _values(top: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The members below, each with its name, the outer ones first; an element of a list has the list's name."""
    waiting: list[tuple[str, Any]] = [(name, value) for name, value in top.items() if _NAME.fullmatch(name)]
    for at in range(_VALUES):
        if at >= len(waiting):
            return
        name, value = waiting[at]
        yield name, value
        if isinstance(value, dict):
            waiting += [(inner, below) for inner, below in value.items() if _NAME.fullmatch(inner)]
        elif isinstance(value, list):
            waiting += [(name, below) for below in value[:100]]
