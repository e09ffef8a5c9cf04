"""Which of a VM's sets a name's addresses belong to, in the ruleset that is in force."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netpersona.flow.vm import VmId
from netpersona.policy.model import Direction, Peers
from netpersona.ruleset.criteria import alternatives, covered, set_name
from netpersona.ruleset.model import Ruleset, VmRules
from netpersona.ruleset.render_rules import is_of_names


@dataclass(frozen=True, slots=True)
class Concern:
    """The set that gains the addresses of names below these domains; None: only a resolution can make it."""

    domains: frozenset[str]
    set_name: str | None
    holds: frozenset[str] = frozenset()  # addresses that are in it

    def covers(self, name: str) -> bool:
        """Whether the name is one of the domains or lies below one."""
        return covered(name, self.domains)


Concerns = Mapping[VmId, tuple[Concern, ...]]
"""By VM; a VM that no name concerns is not in it, and its answers need not be held."""


def concerns(
    ruleset: Ruleset,
    *,
    allowed: Collection[str] = (),
    profiles: Mapping[VmId, Collection[str]] = MappingProxyType({}),
) -> dict[VmId, tuple[Concern, ...]]:
    """What each VM's names mean in this ruleset.

    `allowed`: the domains that are allow-listed.  `profiles`: the learned names of the VMs, for rules that ask for the
    profile.
    """
    asked = _Asked()
    allowed_ = frozenset(allowed)
    found: dict[VmId, tuple[Concern, ...]] = {}
    for vm, rules in ruleset.vms.items():
        own = [_concern(ruleset, f"{name}.{vm}", domains) for name, domains in sorted(asked.of(rules).items())]
        if allowed_ and rules.known:
            own.append(_concern(ruleset, f"allow_names.{vm}", allowed_))
        if f"profile.{vm}" in ruleset.sets and profiles.get(vm):
            own.append(_concern(ruleset, f"profile.{vm}", frozenset(profiles[vm])))
        if own:
            found[vm] = tuple(own)
    return found


def _concern(ruleset: Ruleset, name: str, domains: frozenset[str]) -> Concern:
    made = ruleset.sets.get(name)
    if made is None:
        return Concern(domains, None)
    return Concern(domains, name if is_of_names(name) else None, frozenset(made.addresses))


class _Asked:
    """The domains that rules ask for, by the name of the set; what VMs share is found once."""

    def __init__(self) -> None:
        self._of_rules: dict[int, dict[str, frozenset[str]]] = {}

    def of(self, rules: VmRules) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for resolved in (*rules.outbound, *rules.inbound):
            if resolved.origin is not None:
                rule = resolved.origin.rule  # kept alive by the ruleset
                if id(rule) not in self._of_rules:
                    self._of_rules[id(rule)] = dict(_domains(rule.peers))
                found |= self._of_rules[id(rule)]
        return found


def _domains(peers: Peers | None) -> Iterator[tuple[str, frozenset[str]]]:
    for literals in alternatives(peers, Direction.OUTBOUND):
        for criterion, _ in literals:
            if criterion.kind == "domains":
                yield set_name(criterion), frozenset(criterion.values)
