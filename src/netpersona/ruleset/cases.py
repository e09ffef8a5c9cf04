"""Runs policy cases: what is given is resolved, and each expected packet is asked for its verdict."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from netpersona.intel.feed import FeedSettings, FeedSnapshot
from netpersona.intel.indicator import INDICATOR_SCHEMA, Indicator
from netpersona.intel.indicators import IndicatorSet
from netpersona.policy.cases import Case, Expectation, Given
from netpersona.policy.model import PolicySet
from netpersona.policy.parse import merge
from netpersona.ruleset.explain import explain_other
from netpersona.ruleset.model import ResolvedRule, Ruleset
from netpersona.ruleset.resolve import resolve
from netpersona.ruleset.verdict import Decision, Packet, verdict

NONE = PolicySet()


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one expectation came to: what happens, why, and, if that is not as expected, what would change it."""

    case: str
    expectation: Expectation
    met: bool
    verdict: str
    rule: str | None  # "policy/rule@version" of what decided
    why: str
    otherwise: tuple[str, ...] = ()


def run_case(case: Case, policies: PolicySet = NONE) -> list[CaseResult]:
    """The results of a case, one for each expectation, in their order.

    `policies`: what the caller read from the case's policy files; they stand beside those that the case writes out.
    Raises PolicyError where both have a resource of one name.
    """
    ruleset = resolved(case.given, policies)
    return [_result(case.name, ruleset, expectation) for expectation in case.expect]


def resolved(given: Given, policies: PolicySet = NONE) -> Ruleset:
    """The ruleset of a case's world."""
    answers = {
        vm: {domain: tuple((address, None) for address in found) for domain, found in by_domain.items()}
        for vm, by_domain in given.answers.items()
    }
    interfaces = {p.vm: p.base.interface for p in given.personas if p.base.interface is not None}
    intel = IndicatorSet.merge(_snapshot(settings, listed) for settings, listed in given.feeds)
    together = merge([given.policies, policies])
    return resolve(given.personas, together, intel, given.at, interfaces=interfaces, names=answers)


def _snapshot(settings: FeedSettings, listed: tuple[Indicator, ...]) -> FeedSnapshot:
    rows = [
        {
            **{name: getattr(indicator, name) for name in Indicator.__slots__},
            "type": indicator.type.value,
            "family": settings.family or settings.name,
            "half_life": settings.half_life,
        }
        for indicator in listed
    ]
    return FeedSnapshot(settings, pl.DataFrame(rows, schema=INDICATOR_SCHEMA))


def _result(name: str, ruleset: Ruleset, expectation: Expectation) -> CaseResult:
    packet = Packet(
        vm=expectation.vm,
        direction=expectation.direction,
        peer=expectation.peer,
        transport=expectation.protocol,
        port=expectation.port,
        established=expectation.established,
    )
    decision = verdict(ruleset, packet)
    met = decision.verdict == expectation.verdict and _names(decision.rule, expectation.rule)
    return CaseResult(
        case=name,
        expectation=expectation,
        met=met,
        verdict=decision.verdict,
        rule=None if decision.rule is None else decision.rule.name,
        why=_why(decision),
        otherwise=() if met else tuple(explain_other(ruleset, packet)),
    )


def _names(rule: ResolvedRule | None, wanted: str | None) -> bool:
    """Whether the rule that decided is the expected one, said as `policy/rule`, `policy/rule@version` or `rule`."""
    if wanted is None:
        return True
    return rule is not None and wanted in {rule.rule, f"{rule.policy}/{rule.rule}", rule.name}


def _why(decision: Decision) -> str:
    staged = "".join(f"; {rule.name}, which is staged, would {rule.action}" for rule in decision.staged)
    return decision.why + staged
