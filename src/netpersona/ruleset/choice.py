"""Which rules are in force for a VM.

VMs that answer every condition alike have the same rules, but for those rules that look at the VM itself: they hold for
a while, drain, or name its ports.  So rules are put together once for all VMs that are alike in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.policy.conditions import Asked
from netpersona.policy.facts import Facts
from netpersona.policy.model import Condition, Policy
from netpersona.ruleset.criteria import Criterion
from netpersona.ruleset.model import Origin, ResolvedRule
from netpersona.ruleset.reasons import mitigation
from netpersona.ruleset.templates import Template, Variant, templates

Began = Mapping[tuple[VmId, str, str], int]
"""When (µs) a VM's rule, named by policy and rule, came into force; what is not in it begins now."""


_OWN = 256  # VMs' own conditions that are remembered; those of one role mostly have the same
_KEPT = 4096  # combinations of rules; drains begin and end, so that new ones come for ever


class Chosen(NamedTuple):
    """The rules in force for a VM, what they ask of peers, and the first instant (µs) at which one of them drains."""

    outbound: tuple[ResolvedRule, ...]
    inbound: tuple[ResolvedRule, ...]
    criteria: tuple[Criterion, ...]
    until: int | None


class Choice:
    """Policies in their order, of which it chooses the rules of one VM after the other.

    `asked` makes conditions ready: one that remembers lets choices that ask the same share the answers.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        redirects: Mapping[str, str],
        began: Began,
        *,
        by_name: bool,
        asked: Callable[[tuple[Condition | None, ...]], Asked] = Asked,
    ) -> None:
        self.policies = tuple(policies)
        self._redirects, self._began, self._by_name = redirects, began, by_name
        self._own_asked = lru_cache(maxsize=_OWN)(Asked)
        self._ready = tuple((policy, templates(policy, redirects, by_name=by_name)) for policy in policies)
        self._of_vm = tuple(template for _, rules in self._ready for template in rules if template.of_vm)
        shared = (c for p, rules in self._ready for c in (p.selector, *(t.when for t in rules if not t.of_vm)))
        self._conditions: tuple[Condition | None, ...] = (None, *dict.fromkeys(c for c in shared if c is not None))
        own = [c for template in self._of_vm for c in (template.origin.policy.selector, template.when)]
        every = list(dict.fromkeys((*self._conditions, *own)))
        self._asked = asked(tuple(every))
        self._places = [(every.index(t.origin.policy.selector), every.index(t.when)) for t in self._of_vm]
        self._made: dict[tuple[tuple[bool, ...], tuple[Variant | None, ...]], Chosen] = {}

    def alone(self, own: Policy) -> Choice:
        """A choice of a VM's own rules; VMs whose rules ask the same share the answers."""
        return Choice((own,), self._redirects, self._began, by_name=self._by_name, asked=self._own_asked)

    def of(self, persona: Persona, facts: Facts) -> Chosen:
        """What is in force for this VM, of which these are the facts."""
        answers = self._asked.of(facts)
        variants = tuple([
            self._variant(template, persona, facts, holds=answers[selector] and answers[when])
            for template, (selector, when) in zip(self._of_vm, self._places, strict=True)
        ])  # fmt: skip
        key = (answers[: len(self._conditions)], variants)
        if key not in self._made:
            if len(self._made) >= _KEPT:
                self._made.clear()
            self._made[key] = self._together(*key)
        return self._made[key]

    def _variant(self, template: Template, persona: Persona, facts: Facts, *, holds: bool) -> Variant | None:
        """`holds`: whether selector and condition do; what held before may go on without them."""
        if not holds and not (persona.mitigations and template.goes_on(facts)):
            return None
        return template.variant(facts, self._since(template.origin, persona, facts.at) if template.drains else None)

    def _since(self, origin: Origin, persona: Persona, at: int) -> int:
        """When a rule came into force for this VM."""
        held = mitigation(origin, persona, at)
        if held is not None:
            return held.since
        return self._began.get((persona.vm, origin.policy.name, origin.rule.name), at)

    def _together(self, answers: tuple[bool, ...], variants: tuple[Variant | None, ...]) -> Chosen:
        true = {condition for condition, holds in zip(self._conditions, answers, strict=True) if holds}
        own = iter(variants)
        outbound: list[ResolvedRule] = []
        inbound: list[ResolvedRule] = []
        criteria: dict[Criterion, None] = {}
        for policy, rules in self._ready:
            for template in rules:
                if template.of_vm:
                    variant = next(own)
                else:
                    variant = template.for_all if policy.selector in true and template.when in true else None
                out, into = template.resolved(variant)
                outbound += out
                inbound += into
                if out or into:
                    criteria.update(dict.fromkeys(template.criteria))
        ends = [rule.drains_until for rule in (*outbound, *inbound) if rule.drains_until is not None]
        return Chosen(tuple(outbound), tuple(inbound), tuple(criteria), min(ends, default=None))
