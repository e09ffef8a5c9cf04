"""Mitigations: rules that, once triggered, hold for a while, and always end.

    begins      selector and `when` hold
    goes on     as long as both hold, each time for `for` from now; then until its end, or until `until` holds
    ends        at its end, or, once `when` holds no longer, as soon as `until` does

So `until` is hysteresis: it is asked only when the reason is gone, and a rule whose `when` and `until` are both true
stays.  The selector says whom a rule may be triggered for; a VM that leaves it keeps what already holds to its end.
A rule with `until` and no `for` holds for rules.DEFAULT_HOLD at a time.  A rule with neither holds exactly while its
`when` does and needs no mitigation.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from netpersona.persona.model import Mitigation, Persona
from netpersona.policy.conditions import evidence, holds
from netpersona.policy.facts import Facts, facts
from netpersona.policy.model import Mode, Policy, PolicySet, Rule
from netpersona.policy.own import own_policy
from netpersona.policy.rules import DEFAULT_HOLD

_WHY = 240  # characters; a persona is bounded


def advance(persona: Persona, policies: PolicySet, at: int, previous: Iterable[Mitigation]) -> tuple[Mitigation, ...]:
    """The mitigations in force at `at` (µs), given those before, in the order of their policies and rules.

    Policies that are off hold nothing; staged ones do, so that it can be said what they would do.  Repeating it at
    one instant changes nothing.  Raises PolicyError if the persona's own rules cannot be read.
    """
    known = facts(persona, at)
    before = {(m.policy, m.rule): m for m in previous}
    found = (
        _next(rule, policy, known, before.get((policy.name, rule.name)))
        for policy in _all(policies, persona)
        for rule in policy.rules
        if temporary(rule) and policy.mode is not Mode.OFF
    )
    return tuple(mitigation for mitigation in found if mitigation is not None)


def goes_on(rule: Rule, policy: Policy, known: Facts) -> bool:
    """Whether a mitigation of this rule holds on for the VM though selector or `when` does not."""
    own = [m for m in known.persona.mitigations if m.policy == policy.name and m.rule == rule.name]
    return bool(own) and temporary(rule) and _held(rule, known, own[-1]) is not None and not _released(rule, known)


def stateful(policies: PolicySet, persona: Persona) -> bool:
    """Whether `advance` can give this persona a mitigation, or end one."""
    if persona.mitigations or any("for" in rule or "until" in rule for rule in persona.mitigation_rules):
        return True
    return any(temporary(rule) for policy in policies.policies for rule in policy.rules)


def temporary(rule: Rule) -> bool:
    """Whether the rule, once triggered, holds for a while."""
    return rule.hold is not None or rule.until is not None


def next_end(mitigations: Iterable[Mitigation]) -> int | None:
    """The earliest instant (µs) at which one of them ends by itself; None where there is none."""
    return min((m.until for m in mitigations if m.until is not None), default=None)


def _all(policies: PolicySet, persona: Persona) -> tuple[Policy, ...]:
    own = own_policy(persona)
    return policies.policies if own is None else (own, *policies.policies)


def _next(rule: Rule, policy: Policy, known: Facts, before: Mitigation | None) -> Mitigation | None:
    held = None if before is None else _held(rule, known, before)
    if holds(policy.selector, known) and holds(rule.when, known):
        since, why = (known.at, _why(rule, policy, known)) if held is None else (held.since, held.why)
        return Mitigation(policy.name, rule.name, policy.version, since, known.at + _lasts(rule), why)
    return None if held is None or _released(rule, known) else held


def _held(rule: Rule, known: Facts, before: Mitigation) -> Mitigation | None:
    """The mitigation with its end; None where it has not begun or has ended."""
    end = before.since + _lasts(rule) if before.until is None else before.until
    return replace(before, until=end) if before.since <= known.at < end else None


def _lasts(rule: Rule) -> int:
    return DEFAULT_HOLD if rule.hold is None else rule.hold


def _released(rule: Rule, known: Facts) -> bool:
    return rule.until is not None and holds(rule.until, known)


def _why(rule: Rule, policy: Policy, known: Facts) -> str:
    condition = rule.when if rule.when is not None else policy.selector
    if condition is None:
        return "it is triggered for every VM"
    said = evidence(condition, known)
    why = f"{condition.expression} ({said})" if said else condition.expression
    return why if len(why) <= _WHY else why[: _WHY - 3] + "..."
