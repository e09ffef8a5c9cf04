"""A policy's rule made ready, so that resolving it for one more VM costs next to nothing.

What a rule asks of peers, ports and protocols is the same for every VM; only whether it is in force, and for some
rules the ports and the end of draining, are the VM's own.  So VMs share the resolved rules themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from netpersona.flow.window import SECOND
from netpersona.policy.conditions import ports_of
from netpersona.policy.facts import Facts
from netpersona.policy.model import Action, Condition, Direction, Policy, Rule
from netpersona.policy.triggers import goes_on, temporary
from netpersona.ruleset.criteria import Criterion, alternatives, as_match
from netpersona.ruleset.model import Origin, ResolvedRule, target_of

Ports = tuple[tuple[int, int], ...]
Pair = tuple[tuple[ResolvedRule, ...], tuple[ResolvedRule, ...]]
"""The resolved rule for outbound and for inbound flows; empty where it does not concern them."""

Variant = tuple[Ports, bool, int | None]
"""The ports, whether it cuts, and until when (µs) it drains."""

_KEPT = 4096  # variants: drains begin and end, so that new ones come for ever
_NOBODY: Pair = ((), ())


class Template:
    """One rule of one policy, for all VMs."""

    def __init__(self, policy: Policy, rule: Rule, redirects: Mapping[str, str], *, by_name: bool) -> None:
        self.origin = Origin(policy, rule)
        self._by_name = by_name
        self.when = rule.when
        self.drains = rule.existing.kind == "drain"
        self.of_vm = temporary(rule) or self.drains or isinstance(rule.ports, Condition)
        """Whether more than conditions decides what it comes to for a VM."""
        self._redirects = redirects
        self._made: dict[Variant, Pair] = {}

    def goes_on(self, facts: Facts) -> bool:
        """Whether a mitigation outlives selector and condition for this VM."""
        policy, rule = self.origin
        return goes_on(rule, policy, facts)

    def variant(self, facts: Facts, since: int | None) -> Variant | None:
        """What it comes to for a VM with these facts; `since` (µs): when it came into force, asked of one that drains.

        None where the persona names no port: no port is not every port.
        """
        rule = self.origin.rule
        ports = ports_of(rule.ports, facts) if isinstance(rule.ports, Condition) else rule.ports
        if ports == ():
            return None
        if since is None:
            return (ports or (), rule.existing.kind == "cut", None)
        end = since + rule.existing.seconds * SECOND
        return (ports or (), True, None) if end <= facts.at else (ports or (), False, end)

    def resolved(self, variant: Variant | None) -> Pair:
        """The rule in this form; None: it concerns nobody."""
        if variant is None:
            return _NOBODY
        if variant not in self._made:
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[variant] = self._pair(*variant)
        return self._made[variant]

    @property
    def for_all(self) -> Variant | None:
        """What it comes to where only conditions decide."""
        rule = self.origin.rule
        assert not isinstance(rule.ports, Condition)
        return None if rule.ports == () else (rule.ports or (), rule.existing.kind == "cut", None)

    @cached_property
    def criteria(self) -> tuple[Criterion, ...]:
        """Everything that is asked of peers and services, in the directions that the rule concerns."""
        rule = self.origin.rule
        found = (literals for d in _directions(rule) for literals in alternatives(rule.peers, d, by_name=self._by_name))
        return tuple(dict.fromkeys(criterion for literals in found for criterion, _ in literals))

    def _pair(self, ports: Ports, cut: bool, drains_until: int | None) -> Pair:
        concerned = _directions(self.origin.rule)
        out, into = (
            (self._rule(direction, ports, cut, drains_until),) if direction in concerned else ()
            for direction in (Direction.OUTBOUND, Direction.INBOUND)
        )
        return out, into

    def _rule(self, direction: Direction, ports: Ports, cut: bool, drains_until: int | None) -> ResolvedRule:
        policy, rule = self.origin
        redirects = rule.action is Action.REDIRECT and rule.to is not None
        return ResolvedRule(
            policy=policy.name,
            version=policy.version,
            rule=rule.name,
            mode=policy.mode,
            action=rule.action,
            direction=direction,
            peers=tuple(map(as_match, alternatives(rule.peers, direction, by_name=self._by_name))),
            transports=tuple(sorted(set(rule.protocols))),
            ports=tuple(sorted(ports)),
            cut=cut,
            drains_until=drains_until,
            rate=rule.rate,
            target=target_of(self._redirects.get(rule.to or "", rule.to or "")) if redirects else None,
            origin=self.origin,
        )


def templates(policy: Policy, redirects: Mapping[str, str], *, by_name: bool) -> tuple[Template, ...]:
    """A policy's rules made ready, in their order; `by_name`: see criteria.alternatives."""
    return tuple(Template(policy, rule, redirects, by_name=by_name) for rule in policy.rules)


def _directions(rule: Rule) -> tuple[Direction, ...]:
    if rule.action is Action.ISOLATE or rule.direction is Direction.BOTH:
        return (Direction.OUTBOUND, Direction.INBOUND)
    return (rule.direction,)
