"""Comparisons that are decided without CEL: a number of the persona with a number, a label with a text.

    persona.risk_score > 0.7        persona.labels.role == 'web'

Most conditions are conjunctions of these, and handing a persona to CEL takes ten times as long as comparing.  What is
decided here is what CEL says (tests/properties/test_policy.py holds one against the other).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from netpersona.policy.facts import FIELDS, Facts

Comparison = Callable[[Facts], bool]

_NUMBERS = "|".join(name for name, field in FIELDS.items() if field.type == "number")
_NUMBER = re.compile(rf"\s*persona\.({_NUMBERS})\s*(>=|<=|>|<)\s*(\d{{1,9}}(?:\.\d{{1,9}})?)\s*", re.ASCII)
_LABEL = re.compile(r"\s*persona\.labels\.([A-Za-z_][A-Za-z0-9_]*)\s*(==|!=)\s*'([^'\\\r\n]*)'\s*", re.ASCII)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


def comparison(expression: str) -> Comparison | None:
    """What decides this expression, which CEL has compiled; None where only CEL can."""
    number = _NUMBER.fullmatch(expression)
    if number is not None:
        return _of_number(number[1], number[2], float(number[3]))
    label = _LABEL.fullmatch(expression)
    return None if label is None else _of_label(label[1], label[2], label[3])


def _of_number(field: str, sign: str, limit: float) -> Comparison:
    holds = _SIGNS[sign]
    return lambda facts: holds(facts.value(field), limit)


def _of_label(name: str, sign: str, text: str) -> Comparison:
    """A label that is missing is an error to CEL, so that nothing holds of it."""
    holds = _SIGNS[sign]

    def decide(facts: Facts) -> bool:
        value = facts.persona.labels.get(name)
        return value is not None and holds(value, text)

    return decide
