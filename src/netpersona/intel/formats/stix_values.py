"""Which values of a STIX pattern suffice alone: seeing one of them is all that the pattern asks for.

    A OR B               what suffices of either
    A AND B              nothing: the pattern is narrower than its parts, and a part alone would match more than it
                         says.  Only a part that another one implies (dst_ref.type beside dst_ref.value) takes nothing
                         away, and neither does WITHIN around one observation.  Hashes of one file each say the whole
    A FOLLOWEDBY B       nothing, likewise; nor REPEATS more than once
    NOT, !=, <, LIKE...  nothing: they name no value.  ISSUBSET names a network
    A START t STOP u     what suffices of A, valid from t to u

What does not suffice is told with its reason, branch by branch.
"""

from __future__ import annotations

from typing import NamedTuple

from netpersona.intel.formats.stix_pattern import Comparison, Expression, Group, Qualified

NO_MATCH = "a kind of value that this product cannot match"

_PLAIN = {
    "ipv4-addr": "address",
    "ipv6-addr": "address",
    "ip-addr": "address",  # not in the standard, but written
    "domain-name": "domain",
    "hostname": "domain",  # likewise
    "url": "url",
}
_HASHED = {"file", "artifact", "x509-certificate"}
_HASHES = {"md5", "sha1", "sha256", "sha512"}
_REFERENCES = {"dst_ref", "src_ref"}


class Found(NamedTuple):
    """One value that suffices."""

    value: str
    type: str | None  # an IndicatorType; None: as its shape says
    start: str | None = None  # no earlier than this time, as it stands
    stop: str | None = None  # before this time


class Unmatched(NamedTuple):
    """A part of a pattern that gives no value."""

    text: str
    reason: str


class Sufficient(NamedTuple):
    """What suffices alone, and what does not, with its reason."""

    found: tuple[Found, ...]
    unmatched: tuple[Unmatched, ...]


def sufficient(expression: Expression) -> Sufficient:
    """The values of a pattern that suffice alone."""
    if isinstance(expression, Comparison):
        return _compared(expression)
    if isinstance(expression, Qualified):
        return _qualified(expression)
    if expression.word == "OR":
        parts = [sufficient(part) for part in expression.parts]
        return Sufficient(
            tuple(found for part in parts for found in part.found),
            tuple(each for part in parts for each in part.unmatched),
        )
    return _together(expression)


def _together(group: Group) -> Sufficient:
    """What AND and FOLLOWEDBY leave."""
    told = {reference for part in group.parts if (reference := _reference(part, "value"))}
    parts = [part for part in group.parts if _reference(part, "type") not in told]
    if len(parts) == 1:
        return sufficient(parts[0])
    each = [sufficient(part) for part in parts]
    if group.word == "AND" and _one_file(parts):
        return Sufficient(tuple(found for part in each for found in part.found), ())
    hopeless = [part for part in each if not part.found]
    if len(hopeless) == len(each):
        return Sufficient((), (Unmatched(shown(group), hopeless[0].unmatched[0].reason),))
    why = f"joined by {group.word}: it is narrower than its parts, and one of them alone would match more than it says"
    return Sufficient((), (Unmatched(shown(group), why),))


def _one_file(parts: list[Expression]) -> bool:
    """Whether all parts are hashes of the same thing, each by its own algorithm, and one of them can be matched."""
    equal = [part for part in parts if isinstance(part, Comparison) and part.operator == "=" and not part.negated]
    hashes = [part for part in equal if part.path[-2:-1] == ("hashes",)]
    owners = {(part.object, part.path[:-1]) for part in hashes}
    algorithms = {part.path[-1].replace("-", "").lower() for part in hashes}
    return len(hashes) == len(parts) == len(algorithms) and len(owners) == 1 and bool(algorithms & _HASHES)


def _reference(part: Expression, last: str) -> tuple[str, ...] | None:
    """The reference (network-traffic:dst_ref) of which it says what its `last` is; None where it does not."""
    if not isinstance(part, Comparison) or part.operator != "=" or len(part.path) < 2 or part.path[-1] != last:
        return None
    return (part.object, *part.path[:-1])


def _qualified(expression: Qualified) -> Sufficient:
    inner = sufficient(expression.of)
    if expression.word == "START":
        start, stop = expression.arguments
        return inner._replace(found=tuple(_narrowed(found, start, stop) for found in inner.found))
    if inner.found and expression.word == "REPEATS" and expression.arguments[0] != "1":
        why = f"REPEATS {expression.arguments[0]} TIMES: seeing it once is not enough"
        return Sufficient((), (Unmatched(shown(expression.of), why),))
    return inner


def _narrowed(found: Found, start: str, stop: str) -> Found:
    """Valid in this span; the inner one holds where there are two."""
    return found if found.start is not None else found._replace(start=start, stop=stop)


def _compared(comparison: Comparison) -> Sufficient:
    kind = _kind(comparison)
    if kind is None:
        return _refused(comparison, NO_MATCH)
    if comparison.negated or comparison.operator == "!=":
        return _refused(comparison, "it says what is not so, and names no value")
    if comparison.operator == "ISSUBSET" and comparison.object not in {"ipv4-addr", "ipv6-addr", "network-traffic"}:
        return _refused(comparison, "ISSUBSET of something that is no address")
    if comparison.operator not in {"=", "IN", "ISSUBSET"}:
        return _refused(comparison, f"{comparison.operator} names no value; only whole values and networks are matched")
    return Sufficient(tuple(Found(literal, kind or None) for literal in comparison.literals), ())


def _kind(comparison: Comparison) -> str | None:
    """The type of the property's values, "" where their shape says it; None: it cannot be matched."""
    kind, path = comparison.object, comparison.path
    if path == ("value",) and kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _HASHED and len(path) >= 2 and path[-2] == "hashes":
        return "hash" if path[-1].replace("-", "").lower() in _HASHES else None
    if kind == "network-traffic" and len(path) == 2 and path[0] in _REFERENCES and path[1] == "value":
        return ""
    if kind == "network-traffic" and [step.lower() for step in path[-2:]] == ["request_header", "host"]:
        return ""
    if kind == "autonomous-system" and path == ("number",):
        return "asn"
    return "cve" if kind == "vulnerability" and path == ("name",) else None


def _refused(comparison: Comparison, reason: str) -> Sufficient:
    return Sufficient((), (Unmatched(comparison.text, reason),))


def shown(expression: Expression) -> str:
    """The expression as text again, in short."""
    if isinstance(expression, Comparison):
        return expression.text
    if isinstance(expression, Qualified):
        return shown(expression.of)
    return f" {expression.word} ".join(
        f"({shown(part)})" if isinstance(part, Group) else shown(part) for part in expression.parts
    )
