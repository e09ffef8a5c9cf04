"""YAML text -> PolicySet: the resources Policy, AllowList and AlwaysAllow, every field of them checked.

All problems of a file are told together, one line each: `FILE:LINE:COLUMN: what is wrong; what was perhaps meant`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from netpersona.policy import fields as read
from netpersona.policy import values
from netpersona.policy.model import AllowEntry, AllowListResource, AlwaysAllow, Mode, Place, Policy, PolicySet
from netpersona.policy.own import OWN_PREFIX, parse_rules
from netpersona.policy.problems import Problem, RefusedError, meant, refused, shown
from netpersona.policy.rules import read_rules
from netpersona.policy.yaml_text import Mapping, Node, Scalar, read_documents

API_VERSION = "netpersona/v1"
MAX_ORDER = 1_000_000

__all__ = ["merge", "parse", "parse_rules", "problems"]

_RESOURCE = ("apiVersion", "kind", "metadata", "spec")
_MODE_SYNONYMS = {"on": "enforce", "enforced": "enforce", "dry-run": "stage", "log": "stage", "disabled": "off"}


@dataclass(slots=True)
class _Found:
    """What a file said, while it is read."""

    problems: list[Problem]
    policies: list[Policy] = field(default_factory=list)
    allow: list[AllowListResource] = field(default_factory=list)
    always: list[AlwaysAllow] = field(default_factory=list)


def parse(text: str, file: str) -> PolicySet:
    """Everything that the text says, as one value; `file` is the name that messages give it.

    Raises PolicyError (a RefusedError, with `.problems`) that tells every problem of the file.
    """
    found = _read(text, file)
    if found.problems:
        raise RefusedError(found.problems)
    return merge([_as_set(found)])


def problems(text: str, file: str) -> list[Problem]:
    """Everything that is wrong with the text, in the order of the places; empty: parse() accepts it."""
    try:
        parse(text, file)
    except RefusedError as error:
        return list(error.problems)
    return []


def merge(sets: Iterable[PolicySet]) -> PolicySet:
    """Several files as one value, policies by (order, name).  The order of the sets does not matter.

    Raises PolicyError where two resources of a kind have one name, naming both places; `unknown_vm` denies if one
    of the sets denies.
    """
    sets = list(sets)
    policies = [policy for each in sets for policy in each.policies]
    allow = [resource for each in sets for resource in each.allow]
    always = [each.always for each in sets if each.always.place is not None]
    twice = [
        *_twice("policy", [(p.name, p.place) for p in policies]),
        *_twice("AllowList", [(a.name, a.place) for a in allow]),
        *_twice("AlwaysAllow", [("", a.place) for a in always if a.place is not None]),
        *_redirects_twice(sets),
    ]
    if twice:
        raise RefusedError(twice)
    configured = [each.always for each in sets if each.always != AlwaysAllow()]
    return PolicySet(
        policies=tuple(sorted(policies, key=lambda p: (p.order, p.name))),
        allow=tuple(sorted(allow, key=lambda a: a.name)),
        always=(always or configured or [AlwaysAllow()])[0],
        unknown_vm="deny" if any(each.unknown_vm == "deny" for each in sets) else "allow",
        redirects={name: to for each in sets for name, to in sorted(each.redirects.items())},
    )


def policies_of(
    resources: Iterable[Node], problems: list[Problem], *, unknown_vm: str, redirects: dict[str, str]
) -> PolicySet:
    """The resources written out in another file (a case) as one value; what is wrong goes to `problems`."""
    found = _Found([])
    for node in resources:
        _resource(node, found)
    problems.extend([*found.problems, *_repeated(found)])
    return replace(_as_set(found), unknown_vm=unknown_vm, redirects=redirects)


def _read(text: str, file: str) -> _Found:
    found = _Found([])
    try:
        documents = read_documents(text, file)
    except RefusedError as error:
        found.problems.extend(error.problems)
        return found
    for node in documents:
        _resource(node, found)
    found.problems.extend(_repeated(found))
    return found


def _repeated(found: _Found) -> list[Problem]:
    return [
        *_twice("policy", [(p.name, p.place) for p in found.policies]),
        *_twice("AllowList", [(a.name, a.place) for a in found.allow]),
        *_twice("AlwaysAllow", [("", a.place) for a in found.always if a.place is not None]),
    ]


def _as_set(found: _Found) -> PolicySet:
    always = found.always[0] if found.always else AlwaysAllow()
    return PolicySet(tuple(found.policies), tuple(found.allow), always)


def _resource(node: Node, found: _Found) -> None:
    outer = read.Fields(node, _RESOURCE, found.problems, "a resource")
    if not outer.values:
        return
    outer.need("apiVersion", _api_version, "")
    kind = outer.need("kind", _kind, "")
    needs_name = kind != "AlwaysAllow"
    metadata = outer.values.get("metadata") or Mapping((), outer.place)
    meta = read.Fields(metadata, ("name", "version"), found.problems, "metadata")
    name = (meta.need if needs_name else meta.read)("name", read.value(values.name), "")
    version = meta.read("version", read.value(lambda text: values.whole(text, 1, 10**9)), 1)
    if kind and "spec" not in outer.values:
        outer.note(outer.place, f"{kind} needs spec")
    elif kind:
        _KINDS[kind](outer.values["spec"], _Head(name, version, outer.place, meta.place_of("name")), found)


@dataclass(frozen=True, slots=True)
class _Head:
    name: str
    version: int
    place: Place
    name_place: Place


def _api_version(node: Node) -> str:
    found = read.text(node)
    if found != API_VERSION:
        raise refused(node.place, f"{shown(found)} is not read by this version", f"it reads {API_VERSION}")
    return found


def _kind(node: Node) -> str:
    found = read.text(node)
    if found not in _KINDS:
        raise refused(node.place, f"unknown word {shown(found)}", meant(found, list(_KINDS)))
    return found


def _policy(node: Node, head: _Head, found: _Found) -> None:
    spec = read.Fields(node, ("mode", "order", "selector", "rules"), found.problems, "a policy", {"priority": "order"})
    if head.name.startswith(OWN_PREFIX):
        found.problems.append(Problem(head.name_place, f"a name that begins with {OWN_PREFIX!r} is a persona's own"))
    if spec.values and "rules" not in spec.values:
        spec.note(spec.place, "a policy needs rules")
    rules = read_rules(spec.values["rules"], found.problems, spec.has("selector")) if "rules" in spec.values else ()
    policy = Policy(
        name=head.name,
        mode=spec.need("mode", read.word(Mode, _MODE_SYNONYMS), Mode.OFF),
        order=spec.need("order", read.value(lambda text: values.whole(text, 0, MAX_ORDER)), 0),
        rules=rules,
        version=head.version,
        selector=spec.read("selector", read.condition, None),
        place=head.place,
    )
    found.policies.append(policy)


def _allow_list(node: Node, head: _Head, found: _Found) -> None:
    spec = read.Fields(node, ("entries",), found.problems, "an AllowList")
    none: tuple[AllowEntry, ...] = ()
    entries = spec.need("entries", read.each(lambda n: _allow_entry(n, found.problems)), none)
    found.allow.append(AllowListResource(head.name, entries, head.place))


def _allow_entry(node: Node, problems: list[Problem]) -> AllowEntry:
    node = _with_whole_comment(node)
    entry = read.Fields(node, ("value", "until", "comment", "author"), problems, "an entry")
    return AllowEntry(
        value=entry.need("value", read.value(values.peer), ""),
        until=entry.read("until", read.value(values.instant), None),
        comment=entry.need("comment", read.text, ""),
        place=node.place,
        author=entry.read("author", read.text, None),
    )


def _with_whole_comment(node: Node) -> Node:
    """The entry with its comment put together again.

    `{value: ..., comment: payment provider, ticket 4711}` is how people write it, and YAML reads a field
    `ticket 4711` without a value there.  Nothing else can be meant by words without a value after a comment.
    """
    if not isinstance(node, Mapping):
        return node
    kept: list[tuple[Scalar, Node]] = []
    for key, value in node.fields:
        bare = isinstance(value, Scalar) and value.plain and value.text == ""
        last = kept[-1] if kept else None
        if bare and last is not None and last[0].text == "comment" and isinstance(last[1], Scalar):
            kept[-1] = (last[0], replace(last[1], text=f"{last[1].text}, {key.text}"))
        else:
            kept.append((key, value))
    return Mapping(tuple(kept), node.place)


def _always_allow(node: Node, head: _Head, found: _Found) -> None:
    known = ("management", "ports", "dhcp", "neighbours", "resolver")
    synonyms = {"arp": "neighbours", "ndp": "neighbours", "dns": "resolver", "peers": "management"}
    spec = read.Fields(node, known, found.problems, "AlwaysAllow", synonyms)
    nobody: tuple[str, ...] = ()
    ssh: tuple[int, ...] = (22,)
    always = AlwaysAllow(
        management=tuple(sorted(set(spec.read("management", read.each(read.value(values.network)), nobody)))),
        ports=tuple(sorted(set(spec.read("ports", read.each(read.value(values.port)), ssh)))),
        dhcp=spec.read("dhcp", read.truth, default=True),
        neighbours=spec.read("neighbours", read.truth, default=True),
        resolver=spec.read("resolver", read.truth, default=True),
        place=head.place,
    )
    found.always.append(always)


_KINDS: dict[str, Callable[[Node, _Head, _Found], None]] = {
    "Policy": _policy,
    "AllowList": _allow_list,
    "AlwaysAllow": _always_allow,
}


def _twice(kind: str, named: list[tuple[str, Place]]) -> list[Problem]:
    first: dict[str, Place] = {}
    wrong = []
    for name, place in sorted(named, key=lambda pair: pair[1]):
        before = first.setdefault(name, place)
        if before is not place and (name or kind == "AlwaysAllow"):
            what = f"the {kind} {name!r}" if name else kind
            wrong.append(Problem(place, f"{what} stands twice; {before} has it too"))
    return wrong


def _redirects_twice(sets: Iterable[PolicySet]) -> list[Problem]:
    seen: dict[str, str] = {}
    for each in sets:
        for name, to in each.redirects.items():
            if seen.setdefault(name, to) != to:
                message = f"the redirect {name!r} leads to {seen[name]} and to {to}"
                return [Problem(Place("redirects", 1, 1), message)]
    return []
