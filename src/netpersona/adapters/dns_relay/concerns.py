"""Which of a VM's sets a name's addresses belong to, in the ruleset that is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.intel.listed_names import ListedNames
from netpersona.persona.model import Persona
from netpersona.policy.model import Direction, Peers, PolicySet
from netpersona.ruleset.criteria import alternatives, covered, is_of_listed, set_name
from netpersona.ruleset.model import Ruleset, VmRules
from netpersona.ruleset.peers import PeerSet, is_peer
from netpersona.ruleset.render_rules import is_of_names


@dataclass(frozen=True, slots=True)
class Concern:
    """The set that gains the addresses of names below these domains; None: only a resolution can make it.

    `listed`: of names that feeds list too, whose addresses may be others' as well, so that a resolution decides.
    """

    domains: frozenset[str]
    set_name: str | None
    holds: frozenset[str] = frozenset()  # addresses that are in it, or of which it is decided that they are not
    listed: ListedNames | None = None

    def covers(self, name: str) -> bool:
        """Whether the name is one of the domains or lies below one, or may be listed."""
        return covered(name, self.domains) or (self.listed is not None and self.listed.may_hold(name))


Concerns = Mapping[VmId, tuple[Concern, ...]]
"""By VM; a VM that no name concerns is not in it, and its answers need not be held."""

_NO_DOMAINS: frozenset[str] = frozenset()
_NO_PERSONAS: Mapping[VmId, Persona] = MappingProxyType({})


class Book:
    """Finds concerns, and keeps those of each VM for as long as its rules and sets stay the same."""

    def __init__(self) -> None:
        self._kept: dict[VmId, _Kept] = {}
        self._domains: dict[int, tuple[object, dict[str, frozenset[str]]]] = {}  # by the identity of a policy's rule

    def concerns(
        self,
        ruleset: Ruleset,
        *,
        allowed: frozenset[str] = frozenset(),
        personas: Mapping[VmId, Persona] = _NO_PERSONAS,
        listed: ListedNames | None = None,
    ) -> Concerns:
        """What each VM's names mean in this ruleset.

        `allowed`: the domains that are allow-listed.  `personas`: for rules that ask for the learned profile.
        `listed`: the names that feeds list, for rules that ask for a reputation.
        """
        found: dict[VmId, _Kept] = {}
        for vm, rules in ruleset.vms.items():
            kept = self._kept.get(vm)
            if kept is None or not kept.stands(ruleset, rules, allowed, listed):
                domains = dict(self._asked(rules)) if rules.known else {}
                if allowed and rules.known:
                    domains["allow_names"] = allowed
                if vm in personas and f"profile.{vm}" in ruleset.sets:
                    domains["profile"] = frozenset(personas[vm].profile.names)
                kept = _kept(ruleset, rules, allowed, domains, listed)
            found[vm] = kept
        self._kept = found
        return {vm: kept.concerns for vm, kept in found.items() if kept.concerns}

    def _asked(self, rules: VmRules) -> Iterator[tuple[str, frozenset[str]]]:
        """The domains that the VM's rules ask for, by the name of the set."""
        for resolved in (*rules.outbound, *rules.inbound):
            if resolved.origin is not None:
                rule = resolved.origin.rule
                kept = self._domains.get(id(rule))
                if kept is None or kept[0] is not rule:
                    if len(self._domains) > 10_000:
                        self._domains.clear()
                    kept = self._domains[id(rule)] = rule, dict(_domains(rule.peers))
                yield from kept[1].items()
                for name in {ref.name for match in resolved.peers for ref in match.sets if is_of_listed(ref.name)}:
                    yield name, _NO_DOMAINS


def concerns(
    ruleset: Ruleset,
    *,
    allowed: frozenset[str] = frozenset(),
    personas: Mapping[VmId, Persona] = _NO_PERSONAS,
    listed: ListedNames | None = None,
) -> Concerns:
    """As Book.concerns, once."""
    return Book().concerns(ruleset, allowed=allowed, personas=personas, listed=listed)


def allowed_names(policies: PolicySet, intel: IndicatorSet) -> frozenset[str]:
    """Every domain that an allow-list names, its end not asked: one too many only has more answers looked at."""
    entries = [entry.value for resource in policies.allow for entry in resource.entries]
    entries += [entry.value for entry in intel.allow.entries]
    return frozenset(value for value in entries if not is_peer(value))


@dataclass(frozen=True, slots=True)
class _Kept:
    rules: VmRules
    allowed: frozenset[str]
    sets: tuple[tuple[str, PeerSet | None], ...]
    concerns: tuple[Concern, ...]
    listed: ListedNames | None

    def stands(self, ruleset: Ruleset, rules: VmRules, allowed: frozenset[str], listed: ListedNames | None) -> bool:
        """Whether nothing that it was made of has changed."""
        same = rules is self.rules and allowed == self.allowed and listed is self.listed
        return same and all(ruleset.sets.get(name) is of for name, of in self.sets)


def _kept(
    ruleset: Ruleset,
    rules: VmRules,
    allowed: frozenset[str],
    domains: Mapping[str, frozenset[str]],
    listed: ListedNames | None,
) -> _Kept:
    sets = tuple((f"{name}.{rules.vm}", ruleset.sets.get(f"{name}.{rules.vm}")) for name in domains)
    found = tuple(_concern(name, of, domains[name.rpartition(".")[0]], listed) for name, of in sets)
    return _Kept(rules, allowed, sets, found, listed)


def _concern(name: str, of: PeerSet | None, domains: frozenset[str], listed: ListedNames | None) -> Concern:
    if is_of_listed(name):
        decided = () if of is None else (*of.addresses, *(address for address, _ in of.spared))
        return Concern(domains, None, frozenset(decided), listed)
    if of is None:
        return Concern(domains, None)
    return Concern(domains, name if is_of_names(name) else None, frozenset(of.addresses))


def _domains(peers: Peers | None) -> Iterator[tuple[str, frozenset[str]]]:
    for literals in alternatives(peers, Direction.OUTBOUND):
        for criterion, _ in literals:
            if criterion.kind == "domains":
                yield set_name(criterion), frozenset(criterion.values)
