"""Conditions: CEL expressions over a persona, checked when they are read, never raising when they are asked.

A condition holds, or it does not: a label that is missing, a type that does not fit, anything that CEL calls an
error makes it not hold.  `flaws` tells the operator beforehand.

Speed (measured, one core): handing fields of a persona to CEL costs 4 to 30 µs, asking something of them 0.3 to 3 µs.
So a conjunction is asked part by part.  Plain comparisons need no CEL; another part is handed the fields that it names
only, and `Asked` asks it once for all personas that are alike in these.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from netpersona.errors import PolicyError
from netpersona.policy import expression as cel_text
from netpersona.policy.comparison import Comparison, OfLabel, OfNumber, comparison
from netpersona.policy.facts import FIELDS, Facts, likeness
from netpersona.policy.model import Condition, Rule

# What CEL raises for errors inside an expression; see cel.evaluate.
CEL_ERRORS = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError)
_SYNTAX = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_KEPT = 1 << 12  # sorts of personas of which answers are kept: a host has fewer VMs, so all of them may differ


class Flaw(NamedTuple):
    """What is wrong with an expression, where in it (line and column from 1), and what was perhaps meant."""

    line: int
    column: int
    message: str
    hint: str | None = None


class _Compiled(NamedTuple):
    program: Any
    fields: frozenset[str]
    compare: Comparison | None  # what says the same without CEL


def compile_condition(text: str) -> None:
    """Check that the text is a CEL expression.

    Raises PolicyError("LINE:COLUMN: what is wrong") with the place inside the expression.
    """
    for flaw in syntax_flaws(text):
        raise PolicyError(f"{flaw.line}:{flaw.column}: {flaw.message}")


def holds(condition: Condition | None, facts: Facts) -> bool:
    """Whether the condition is true of the persona; no condition always holds, and an error never does."""
    if condition is None or condition.expression == "true":
        return True
    for part in _parts(condition.expression):  # noqa: SIM110 (asked so often that a generator would be felt)
        if evaluate(part, facts) is not True:
            return False
    return True


class Asked:
    """Conditions made ready to be asked of many personas: what they have in common is asked once."""

    def __init__(self, conditions: Sequence[Condition | None]) -> None:
        parts = [() if c is None or c.expression == "true" else _parts(c.expression) for c in conditions]
        every = list(dict.fromkeys(part for each in parts for part in each))
        compared = {part: _comparison(part) for part in every}
        numbers = [(part, c) for part, c in compared.items() if isinstance(c, OfNumber)]
        labels = [(part, c) for part, c in compared.items() if isinstance(c, OfLabel)]
        self._fields = list(dict.fromkeys(c.field for _, c in numbers))
        self._numbers = [(self._fields.index(c.field), c.sign, c.limit) for _, c in numbers]
        self._labels = [c for _, c in labels]
        self._others = _by_fields(part for part, c in compared.items() if c is None)
        cel = chain.from_iterable(each.parts for each in self._others)
        places = {part: place for place, part in enumerate((*dict(numbers), *dict(labels), *cel))}
        self._and = [[places[part] for part in each] for each in parts]
        self._joined: dict[tuple[bool, ...], tuple[bool, ...]] = {}  # what the parts' answers come to

    def of(self, facts: Facts) -> tuple[bool, ...]:
        """Whether each condition holds of this persona, in their order."""
        values = [facts.value(field) for field in self._fields]
        found = [sign(values[field], limit) for field, sign, limit in self._numbers]
        found += [label.decide(facts) for label in self._labels]
        for each in self._others:
            found += each.of(facts)
        key = tuple(found)
        if key not in self._joined:
            _make_room(self._joined)
            self._joined[key] = tuple([all(found[place] for place in places) for places in self._and])
        return self._joined[key]


class _Alike:
    """Parts that only CEL decides and that ask for the same fields: asked once for all personas alike in these."""

    def __init__(self, fields: frozenset[str], parts: Sequence[str]) -> None:
        self._fields = sorted(fields)
        self.parts = parts
        self._kept: dict[tuple[Hashable, ...], list[bool]] = {}

    def of(self, facts: Facts) -> list[bool]:
        """Whether each part holds of this persona, in their order."""
        key = tuple([likeness(facts.value(name)) for name in self._fields])
        if key not in self._kept:
            _make_room(self._kept)
            self._kept[key] = [evaluate(part, facts) is True for part in self.parts]
        return self._kept[key]


def ports_of(condition: Condition, facts: Facts) -> tuple[tuple[int, int], ...]:
    """The ports that a CEL list names, as sorted, separate, inclusive ranges; empty where it names none."""
    value = evaluate(condition.expression, facts)
    values = value if isinstance(value, list) else [value]
    ports = {port for port in values if isinstance(port, int) and not isinstance(port, bool) and 0 < port < 65536}
    return ranges((port, port) for port in ports)


def evaluate(expression: str, facts: Facts) -> object:
    """What the expression gives for this persona; None where CEL calls it an error."""
    answers = facts.answers
    if expression not in answers:
        answers[expression] = _evaluated(expression, facts)
    return answers[expression]


def conditions_of(rule: Rule) -> list[Condition]:
    """Every condition that stands in a rule."""
    inner = rule.peers.negated if rule.peers is not None else None
    peers = [each.vms for each in (rule.peers, inner) if each is not None]
    found = [rule.when, rule.until, *peers, rule.ports]
    return [each for each in found if isinstance(each, Condition)]


def evidence(condition: Condition | None, facts: Facts) -> str:
    """The facts that the condition asks for, in words: "risk_score is 0.83, labels.role is 'web'"."""
    if condition is None:
        return ""
    said = {}
    for reference in cel_text.references(cel_text.tokens(condition.expression)):
        name = ".".join(word.text for word in reference.words[:2])
        value = facts.value(reference.field) if reference.field in FIELDS else None
        if len(reference.words) > 1 and isinstance(value, dict):
            value = value.get(reference.words[1].text)
        said[name] = f"{name} is {_in_words(value)}"
    return ", ".join(said.values())


def ranges(pairs: Any) -> tuple[tuple[int, int], ...]:
    """Inclusive ranges sorted and joined where they touch: the one way to write a set of ports."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def syntax_flaws(text: str) -> list[Flaw]:
    """Why the text is no CEL expression; empty where it is one.  The first flaw is the one to mend."""
    if len(text) > cel_text.MAX_LENGTH:
        return [Flaw(1, 1, f"the expression has {len(text)} characters; at most {cel_text.MAX_LENGTH} are read")]
    try:
        _compiled(text)
    except CEL_ERRORS as error:
        return [_syntax_flaw(str(error))]
    words = cel_text.tokens(text)
    if cel_text.loops(words) > cel_text.MAX_LOOPS:
        return [Flaw(1, 1, f"more than {cel_text.MAX_LOOPS} loops (exists, all, map ...) in one expression")]
    return []


def flaws(text: str, wanted: str = "bool") -> list[Flaw]:
    """Everything wrong with an expression: syntax, names that mean nothing, types that cannot fit.

    `wanted` is what it must give: "bool", or "ports" for a port or a list of ports.
    """
    wrong = syntax_flaws(text)
    return wrong or list(_name_flaws(text)) or list(_type_flaws(text, wanted))


def _evaluated(expression: str, facts: Facts) -> object:
    try:
        program, fields, compare = _compiled(expression)
    except CEL_ERRORS:
        return None
    if compare is not None:
        return compare.decide(facts)
    try:
        return program.execute(_context(facts, fields))
    except CEL_ERRORS:
        return None


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= _KEPT:
        kept.clear()


def _by_fields(parts: Iterable[str]) -> list[_Alike]:
    asking: dict[frozenset[str], list[str]] = {}
    for part in parts:
        asking.setdefault(cel_text.fields_asked(cel_text.tokens(part)), []).append(part)
    return [_Alike(fields, each) for fields, each in asking.items()]


@lru_cache(maxsize=4096)
def _parts(expression: str) -> tuple[str, ...]:
    """The parts of a conjunction: it is true where each of them is."""
    parts = cel_text.conjuncts(expression)
    try:
        for part in parts:
            _compiled(part)
    except CEL_ERRORS:
        return (expression,)
    return tuple(parts)


def _comparison(part: str) -> Comparison | None:
    try:
        return _compiled(part).compare
    except CEL_ERRORS:
        return None


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> _Compiled:
    if len(expression) > cel_text.MAX_LENGTH:
        raise ValueError("too long")
    from cel import compile as compile_cel  # noqa: PLC0415 (costs 0.3 s; --help has no use for it)

    program, fields = compile_cel(expression), cel_text.fields_asked(cel_text.tokens(expression))
    return _Compiled(program, fields, comparison(expression))


def _context(facts: Facts, fields: frozenset[str]) -> Any:
    if fields not in facts.contexts:
        from cel import Context  # noqa: PLC0415

        facts.contexts[fields] = Context({"persona": {name: facts.value(name) for name in fields}})
    return facts.contexts[fields]


def _syntax_flaw(message: str) -> Flaw:
    found = _SYNTAX.search(message)
    if found is None:
        return Flaw(1, 1, f"not a CEL expression: {message.splitlines()[0] if message else 'unreadable'}")
    if "Recursion limit" in found[3]:
        return Flaw(int(found[1]), int(found[2]), "not a CEL expression: nested too deeply")
    said = re.sub(r", expecting .*| expecting \{.*", "", found[3]).removeprefix("Syntax error: ")
    return Flaw(int(found[1]), int(found[2]), f"not a CEL expression: {said}")


def _name_flaws(text: str) -> Iterator[Flaw]:
    words = cel_text.tokens(text)
    bound = cel_text.bindings(words)
    for path in cel_text.paths(words):
        root = path[0]
        if root.text == "persona":
            yield from _field_flaws(text, path)
        elif root.text in bound:
            yield from _part_flaws(text, path, bound[root.text])
        elif root.text not in cel_text.TYPES:
            yield _unknown(text, root, "name", ("persona", *bound), "")
    for word in cel_text.calls(words):
        if word.text not in cel_text.FUNCTIONS:
            yield _unknown(text, word, "function", cel_text.FUNCTIONS, "")


def _field_flaws(text: str, path: tuple[cel_text.Token, ...]) -> Iterator[Flaw]:
    if len(path) > 1 and path[1].text not in FIELDS:
        yield _unknown(text, path[1], "field", tuple(FIELDS), "persona")
    elif len(path) > 2:
        field = FIELDS[path[1].text]
        if field.type == "map":
            yield from _part_flaws(text, path[1:], path[1].text)
        else:
            yield Flaw(*_at(text, path[2].offset), f"persona.{path[1].text} is a {field.type} and has no parts")


def _part_flaws(text: str, path: tuple[cel_text.Token, ...], field: str) -> Iterator[Flaw]:
    parts = FIELDS[field].parts if field in FIELDS else None
    if parts is not None and len(path) > 1 and path[1].text not in parts:
        yield _unknown(text, path[1], "field", parts, path[0].text)


def _unknown(text: str, word: cel_text.Token, kind: str, known: tuple[str, ...], owner: str) -> Flaw:
    close = get_close_matches(word.text, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
    where = f" of {owner}" if owner else ""
    return Flaw(*_at(text, word.offset), f"unknown {kind} {word.text}{where}", hint)


def _type_flaws(text: str, wanted: str) -> Iterator[Flaw]:
    """Trial runs over a persona in which every field has a value, the parts of a conjunction one by one."""
    sample = _sample(text)
    for part in cel_text.conjuncts(text) if wanted == "bool" else [text]:
        offset = text.find(part) + len(part) - len(part.lstrip())
        try:
            value = _compiled(part.strip()).program.execute({"persona": sample})
        except TypeError as error:
            yield Flaw(*_at(text, offset), f"types do not fit: {str(error).partition('.')[0]}")
            continue
        except CEL_ERRORS:
            continue  # depends on the values: what it gives at run time is "does not hold"
        if wanted == "bool" and not isinstance(value, bool):
            yield Flaw(*_at(text, offset), f"a condition is true or false, but this gives {_kind(value)}")
        elif wanted == "ports" and not _are_ports(value):
            yield Flaw(*_at(text, offset), f"ports are whole numbers or a list of them, but this gives {_kind(value)}")


def _sample(text: str) -> dict[str, object]:
    sample = {name: field.sample for name, field in FIELDS.items()}
    asked = cel_text.references(cel_text.tokens(text))
    sample["labels"] = {r.words[1].text: "x" for r in asked if r.field == "labels" and len(r.words) > 1}
    return sample


def _are_ports(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(port, int) and not isinstance(port, bool) for port in values)


def _kind(value: object) -> str:
    names = {
        "int": "a number",
        "float": "a number",
        "str": "text",
        "list": "a list",
        "dict": "a map",
        "NoneType": "null",
    }
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def _at(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        said = dict.fromkeys(_in_words(v.get("name", v) if isinstance(v, dict) else v) for v in value)
        return "[" + ", ".join(said) + "]"
    return "missing" if value is None else repr(value)
