"""Why a rule is in force for a VM, in a sentence that names the condition and the facts it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_interface

from netpersona.flow.vm import canonical_address
from netpersona.flow.window import SECOND
from netpersona.persona.model import Mitigation, Persona
from netpersona.policy.conditions import evidence
from netpersona.policy.facts import Facts
from netpersona.policy.model import Condition, Rule
from netpersona.ruleset.model import Origin, ResolvedRule, VmRules


def why(rules: VmRules, resolved: ResolvedRule) -> str:
    """The sentence that says why this rule is in force for this VM, with the facts that it rests on."""
    if resolved.origin is None or rules.asked is None:
        return f"it is in force for {rules.vm}"
    policy, rule = resolved.origin
    facts = rules.asked.facts
    held = mitigation(resolved.origin, facts.persona, facts.at)
    if held is not None:
        sentence = f"triggered at {instant(held.since)}, {_end(rule, held)}: {held.why}"
    else:
        said = [_holding(c, facts) for c in (policy.selector, rule.when) if c is not None]
        sentence = " and ".join(said) if said else "it concerns every VM, always"
    return f"{sentence}; redirected to {rule.to}" if rule.to is not None else sentence


def mitigation(origin: Origin, persona: Persona, at: int) -> Mitigation | None:
    """The mitigation of this rule that is in force for this VM at `at` (µs), the oldest first."""
    policy, rule = origin
    held = [
        m
        for m in persona.mitigations
        if m.rule == rule.name and m.policy == policy.name and m.since <= at and (m.until is None or at < m.until)
    ]
    return min(held, key=lambda m: (m.since, m.until is None, m.until or 0, m.why), default=None)


@lru_cache(maxsize=4096)
def hosts(addresses: Iterable[str]) -> tuple[str, ...]:
    """Interface addresses ("10.77.0.11/24") without their prefixes, canonical, sorted, each once."""
    return tuple(sorted({canonical_address(str(ip_interface(address).ip)) for address in addresses}))


def instant(at: int) -> str:
    """An instant (µs since the epoch) as RFC 3339 text, whole seconds, UTC."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _end(rule: Rule, held: Mitigation) -> str:
    ends = [] if held.until is None else [instant(held.until)]
    ends += [] if rule.until is None else [rule.until.expression]
    return f"holds until {' or '.join(ends)}" if ends else "holds"


def _holding(condition: Condition, facts: Facts) -> str:
    values = evidence(condition, facts)
    return f"{condition.expression} holds ({values})" if values else f"{condition.expression} holds"
