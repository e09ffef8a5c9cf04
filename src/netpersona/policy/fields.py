"""Reading a mapping field by field: each value by its reader, each problem noted, none lost to the one before it.

A reader is a function of a node that gives a value or raises RefusedError.  `Fields.read` notes what was refused and
goes on with the default, so one pass over a file finds all its problems; nothing is made of a file that has any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from netpersona.policy.conditions import flaws
from netpersona.policy.model import Condition, Place
from netpersona.policy.problems import Problem, RefusedError, meant, refused, shown
from netpersona.policy.values import UnreadableError
from netpersona.policy.yaml_text import Mapping, Node, Scalar
from netpersona.policy.yaml_text import Sequence as NodeSequence

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
Reader = Callable[[Node], T]


class Fields:
    """One mapping of a file, with the list to which its problems go."""

    def __init__(
        self,
        node: Node,
        known: Sequence[str],
        problems: list[Problem],
        what: str,
        synonyms: dict[str, str] | None = None,
    ) -> None:
        """Note every field of `node` that is not known; `what` names the thing in messages ("a rule")."""
        self.place = node.place
        self.problems = problems
        self.what = what
        self.values: dict[str, Node] = {}
        if not isinstance(node, Mapping):
            self.note(node.place, f"{what} is a mapping of fields, not {kind(node)}")
            return
        for key, value in node.fields:
            if key.text in known:
                self.values[key.text] = value
            elif isinstance(value, Scalar) and value.null and value.text == "" and " " in key.text:
                hint = "a comma inside {...} ends the value before it; put that value in quotes"
                self.note(key.place, f"unknown field {shown(key.text)} in {what}", hint)
            else:
                self.note(key.place, f"unknown field {shown(key.text)} in {what}", meant(key.text, known, synonyms))

    def note(self, place: Place, message: str, hint: str | None = None) -> None:
        """Add a problem."""
        self.problems.append(Problem(place, message, hint))

    def has(self, name: str) -> bool:
        """Whether the field stands there, and not as null."""
        value = self.values.get(name)
        return value is not None and not (isinstance(value, Scalar) and value.null)

    def place_of(self, name: str) -> Place:
        """Where the field's value stands; the mapping's own place where the field is absent."""
        return self.values[name].place if name in self.values else self.place

    def read(self, name: str, reader: Reader[T], default: T) -> T:
        """The field's value; the default where it is absent or was refused (and noted)."""
        if not self.has(name):
            if name in self.values:
                self.note(self.place_of(name), f"{name} is empty", "leave it out or give it a value")
            return default
        try:
            return reader(self.values[name])
        except RefusedError as error:
            self.problems.extend(Problem(p.place, f"{name}: {p.message}", p.hint) for p in error.problems)
            return default

    def need(self, name: str, reader: Reader[T], default: T) -> T:
        """As `read`, and a problem where the field is absent."""
        if name not in self.values:
            self.note(self.place, f"{self.what} needs {name}")
        return self.read(name, reader, default)


def kind(node: Node) -> str:
    """What the node is, in words."""
    if isinstance(node, Scalar):
        return "nothing" if node.null else f"the text {shown(node.text)}"
    return "a list" if isinstance(node, NodeSequence) else "a mapping"


def text(node: Node) -> str:
    """Any text that is not empty and shows on one line."""
    if not isinstance(node, Scalar) or node.null:
        raise refused(node.place, f"text is expected, not {kind(node)}")
    if not node.text.isprintable() or not node.text.strip():
        raise refused(node.place, "text of printable characters on one line is expected")
    return node.text.strip()


def value(convert: Callable[[str], T]) -> Reader[T]:
    """A reader of text by one of the functions of policy.values."""

    def read(node: Node) -> T:
        found = text(node)
        try:
            return convert(found)
        except UnreadableError as error:
            joint = " is " if error.args[0].startswith(("not ", "no ")) else ": "
            raise refused(node.place, f"{shown(found)}{joint}{error.args[0]}", error.hint) from error

    return read


def word(known: type[E], synonyms: dict[str, str] | None = None) -> Reader[E]:
    """A reader of one word of an enumeration."""

    def read(node: Node) -> E:
        found = text(node)
        try:
            return known(found)
        except ValueError as error:
            raise refused(node.place, f"unknown word {shown(found)}", meant(found, list(known), synonyms)) from error

    return read


def truth(node: Node) -> bool:
    """True or false, and YAML 1.1's other words for them."""
    found = text(node)
    if found.lower() in ("true", "yes", "on"):
        return True
    if found.lower() in ("false", "no", "off"):
        return False
    raise refused(node.place, f"true or false is expected, not {kind(node)}")


def each(reader: Reader[T]) -> Reader[tuple[T, ...]]:
    """A reader of a list whose members are read alike; all that are refused are told together."""

    def read(node: Node) -> tuple[T, ...]:
        if not isinstance(node, NodeSequence):
            raise refused(node.place, f"a list is expected, not {kind(node)}", "write [...] around it")
        if not node.items:
            raise refused(node.place, "the list is empty", "leave the field out or name at least one")
        found: list[T] = []
        wrong: list[Problem] = []
        for item in node.items:
            try:
                found.append(reader(item))
            except RefusedError as error:
                wrong.extend(error.problems)
        if wrong:
            raise RefusedError(wrong)
        return tuple(found)

    return read


def condition(node: Node, wanted: str = "bool") -> Condition:
    """A CEL expression, checked; flaws are told at their place in the file."""
    if not isinstance(node, Scalar) or node.null:
        raise refused(node.place, f"a CEL expression is expected, not {kind(node)}")
    wrong = [Problem(node.place_of(f.line, f.column), f.message, f.hint) for f in flaws(node.text, wanted)]
    if wrong:
        raise RefusedError(wrong)
    return Condition(node.text.strip(), node.origin)
