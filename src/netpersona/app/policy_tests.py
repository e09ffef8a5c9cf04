"""Runs the cases of one file for `policy test`: reads the policies that they name, and asks the ruleset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netpersona.app import policies as policy_files
from netpersona.errors import PolicyError
from netpersona.policy.cases import Case, Expectation, parse_cases
from netpersona.policy.model import PolicySet
from netpersona.ruleset.cases import CaseResult, run_case


def results(text: str, file: Path) -> list[dict[str, Any]]:
    """What every expectation in the file came to.  Raises PolicyError where the file or a policy of it is wrong."""
    return [
        _told(case, result)
        for case in parse_cases(text, str(file))
        for result in run_case(case, _policies(case, file.parent))
    ]


def _policies(case: Case, folder: Path) -> PolicySet:
    """The policies in the files that a case names, relative to its own."""
    texts: policy_files.Texts = {}
    for name, place in case.given.policy_files:
        try:
            texts |= policy_files.read([folder / name])
        except PolicyError as error:
            raise PolicyError(f"{place}: {error}") from error
    return policy_files.parsed(texts)


def _told(case: Case, result: CaseResult) -> dict[str, Any]:
    wanted = result.expectation
    return {
        "case": case.name,
        "place": str(wanted.place),
        "expected": _sentence(wanted),
        "passed": result.met,
        "found": f"{result.verdict}" + (f" by {result.rule}" if result.rule else ""),
        "why": result.why,
        "otherwise": list(result.otherwise),
    }


def _sentence(wanted: Expectation) -> str:
    """`web-1 to 203.0.113.9 tcp/443: deny by block/no-low-reputation`."""
    way = "to" if wanted.direction.value == "outbound" else "from"
    state = " established" if wanted.established else ""
    by = f" by {wanted.rule}" if wanted.rule else ""
    return f"{wanted.vm} {way} {wanted.peer} {wanted.protocol}/{wanted.port}{state}: {wanted.verdict}{by}"
