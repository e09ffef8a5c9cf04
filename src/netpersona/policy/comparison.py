"""Comparisons that are decided without CEL: a number of the persona with a number, a label with a text.

    persona.risk_score > 0.7        persona.labels.role == 'web'

Most conditions are conjunctions of these, and handing a persona to CEL takes ten times as long as comparing.  What is
decided here is what CEL says (tests/properties/test_policy.py holds one against the other).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from netpersona.policy.facts import FIELDS, Facts

Sign = Callable[[Any, Any], bool]


class OfNumber(NamedTuple):
    """A number of the persona beside a limit."""

    field: str
    sign: Sign
    limit: float

    def decide(self, facts: Facts) -> bool:
        """Whether it holds."""
        return self.sign(facts.value(self.field), self.limit)


class OfLabel(NamedTuple):
    """A label beside a text.  One that is missing is an error to CEL, so that nothing holds of it."""

    name: str
    sign: Sign
    text: str

    def decide(self, facts: Facts) -> bool:
        """Whether it holds."""
        value = facts.persona.labels.get(self.name)
        return value is not None and self.sign(value, self.text)


Comparison = OfNumber | OfLabel

_NUMBERS = "|".join(name for name, field in FIELDS.items() if field.type == "number")
_NUMBER = re.compile(rf"\s*persona\.({_NUMBERS})\s*(>=|<=|>|<)\s*(\d{{1,9}}(?:\.\d{{1,9}})?)\s*", re.ASCII)
_LABEL = re.compile(r"\s*persona\.labels\.([A-Za-z_][A-Za-z0-9_]*)\s*(==|!=)\s*'([^'\\\r\n]*)'\s*", re.ASCII)
_SIGNS: dict[str, Sign] = {
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
        return OfNumber(number[1], _SIGNS[number[2]], float(number[3]))
    label = _LABEL.fullmatch(expression)
    return None if label is None else OfLabel(label[1], _SIGNS[label[2]], label[3])
