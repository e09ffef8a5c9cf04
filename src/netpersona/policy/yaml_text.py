"""YAML text as plain nodes that know their places.

Decides what of YAML is accepted: scalars, sequences and mappings with text keys, anchors and merge keys within
bounds, no tags but the plain ones, no key twice.  Scalars stay text: whether `off` is a word or a truth value, and
`2027-06-30` a date, is for the field to say in which it stands, not for YAML 1.1.

The parser's events are read one by one and the nodes are built here, so depth, size and aliases are bounded
before anything is built, and nothing is ever constructed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from netpersona.policy.model import Place
from netpersona.policy.problems import refused, shown

MAX_TEXT = 4 * 1024 * 1024  # characters in one file
MAX_DEPTH = 32
MAX_NODES = 200_000  # aliases counted as often as they are used
_NULL = re.compile(r"~|null|Null|NULL|")
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text as written.  `origin` is where its first character stands, `indent` where its later lines begin.

    `plain`: written without quotes; only then can it be null, a number or a truth value.
    """

    text: str
    plain: bool
    place: Place
    origin: Place
    indent: int = 1  # the column of the first character of every line but the first

    @property
    def null(self) -> bool:
        """Whether it says that nothing stands here."""
        return self.plain and _NULL.fullmatch(self.text) is not None

    def place_of(self, line: int, column: int) -> Place:
        """Where in the file the text's own line and column (from 1) stand."""
        if line == 1:
            return Place(self.origin.file, self.origin.line, self.origin.column + column - 1)
        return Place(self.origin.file, self.origin.line + line - 1, self.indent + column - 1)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """Named nodes in the order in which they were written."""

    fields: tuple[tuple[Scalar, Node], ...]
    place: Place


Node = Scalar | Sequence | Mapping


def read_documents(text: str, file: str) -> list[Node]:
    """The documents of a YAML text; empty ones are left out.

    Raises RefusedError("FILE:LINE:COL: what is wrong") for text that is not YAML or is outside the bounds.
    """
    if len(text) > MAX_TEXT:
        raise refused(Place(file, 1, 1), f"{len(text)} characters are too many; at most {MAX_TEXT} are read")
    try:
        documents = list(_documents(_Builder(text, file)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        raise refused(place, f"not YAML: {_told(error, text)}") from error
    except yaml.reader.ReaderError as error:
        raise refused(_place_at(text, error.position, file), f"not YAML: {error.reason}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise refused(Place(file, 1, 1), f"not YAML: {str(error).splitlines()[0]}") from error
    return [node for node in documents if not (isinstance(node, Scalar) and node.null)]


def _told(error: yaml.MarkedYAMLError, text: str) -> str:
    """What the parser says; of a tab that indents, what to write instead."""
    mark = error.problem_mark
    if mark is not None and mark.index < len(text) and text[mark.index] == "\t":
        return "a tab; YAML is indented with spaces"
    return str(error.problem or error.context)


def node_of(value: object, place: Place) -> Node:
    """A plain value (of msgspec, JSON or a store) as a node; every part of it stands at `place`.

    Raises RefusedError for values that no YAML text could have given, and beyond the bounds.
    """
    return _node_of(value, place, depth=0)


def plain(node: Node) -> object:
    """The node as dicts, lists, texts and None; scalars stay text, and nothing becomes a number."""
    if isinstance(node, Scalar):
        return None if node.null else node.text
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.fields}


def _node_of(value: object, place: Place, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise refused(place, f"nested too deeply; at most {MAX_DEPTH} levels are read")
    if isinstance(value, AnyMapping):
        fields = [(_scalar_of(str(key), place), _node_of(part, place, depth + 1)) for key, part in value.items()]
        return Mapping(tuple(fields), place)
    if isinstance(value, list | tuple):
        return Sequence(tuple(_node_of(part, place, depth + 1) for part in value), place)
    if value is None:
        return _plain("", place)
    if isinstance(value, bool):
        return _plain("true" if value else "false", place)
    if isinstance(value, int | float):
        return _plain(str(value), place)
    if isinstance(value, str):
        return _scalar_of(value, place)
    raise refused(place, f"a {type(value).__name__} cannot stand in a policy")


def _scalar_of(text: str, place: Place) -> Scalar:
    return Scalar(text, _NULL.fullmatch(text) is None, place, place)


def _plain(text: str, place: Place) -> Scalar:
    return Scalar(text, True, place, place)  # noqa: FBT003


def _documents(builder: _Builder) -> Iterator[Node]:
    for event in builder.events:
        if isinstance(event, yaml.DocumentStartEvent):
            builder.anchors.clear()
            yield builder.node(next(builder.events), depth=0)


@dataclass(slots=True)
class _Builder:
    """Builds nodes from the events of one text, and stops at the bounds."""

    text: str
    file: str
    events: Iterator[Any] = field(init=False)
    lines: list[str] = field(init=False)
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)  # with the number of nodes in it
    nodes: int = 0

    def __post_init__(self) -> None:
        self.events = iter(yaml.parse(self.text, Loader=_Loader))
        self.lines = self.text.splitlines()

    def node(self, event: Any, depth: int) -> Node:
        place = self.place(event)
        if depth > MAX_DEPTH:
            raise refused(place, f"nested too deeply; at most {MAX_DEPTH} levels are read")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, place)
        if event.tag not in _TAGS:
            raise refused(place, f"the tag {shown(event.tag)} is not allowed; write the value without a tag")
        before = self.nodes
        self.count(1, place)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self.scalar(event, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(tuple(self.sequence_items(depth)), place)
        else:
            node = self.mapping(depth, place)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.nodes - before)
        return node

    def count(self, nodes: int, place: Place) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise refused(place, f"more than {MAX_NODES} values, aliases counted each time they are used")

    def alias(self, event: Any, place: Place) -> Node:
        if event.anchor not in self.anchors:
            raise refused(place, f"the alias *{shown(event.anchor)} stands before its anchor")
        node, size = self.anchors[event.anchor]
        self.count(size, place)
        return node

    def sequence_items(self, depth: int) -> Iterator[Node]:
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            yield self.node(event, depth + 1)

    def mapping(self, depth: int, place: Place) -> Mapping:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Node] = []
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise refused(key.place, "a name must be text, not a list or a mapping")
            value = self.node(next(self.events), depth + 1)
            if key.plain and key.text == "<<":
                merged.extend(value.items if isinstance(value, Sequence) else [value])
            elif key.text in own:
                line = own[key.text][0].place.line
                raise refused(key.place, f"{shown(key.text)} stands here twice; line {line} said it first")
            else:
                own[key.text] = (key, value)
        return Mapping(tuple(self.merge(own, merged).values()), place)

    def merge(self, own: dict[str, tuple[Scalar, Node]], merged: list[Node]) -> dict[str, tuple[Scalar, Node]]:
        for node in merged:
            if not isinstance(node, Mapping):
                raise refused(node.place, "`<<` merges mappings only")
            self.count(len(node.fields), node.place)
            for key, value in node.fields:
                own.setdefault(key.text, (key, value))
        return own

    def scalar(self, event: Any, place: Place) -> Scalar:
        plain = bool(event.implicit[0])
        style = event.style or ""
        if style in ("|", ">"):
            line = self.lines[place.line] if place.line < len(self.lines) else ""
            column = len(line) - len(line.lstrip(" ")) + 1
            return Scalar(event.value, plain, place, Place(self.file, place.line + 1, column), column)
        quote = 1 if style in ("'", '"') else 0
        return Scalar(event.value, plain, place, Place(self.file, place.line, place.column + quote), place.column)

    def place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)


def _place_at(text: str, position: int, file: str) -> Place:
    before = text[: max(0, position)]
    return Place(file, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
