"""The ruleset that follows: what is in force for the personas, policies, indicators and answers of the moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from netpersona.adapters.dns_relay.admission import Learned
from netpersona.flow.table import FlowBatch
from netpersona.flow.vm import VmId, canonical_address
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import Persona
from netpersona.pipeline import Ground
from netpersona.policy.model import PolicySet
from netpersona.ruleset.criteria import Criterion, covered
from netpersona.ruleset.members import Answers
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import Resolver

LINGERS = 60_000_000  # µs: an answer is honoured for this long at least, as resolvers and programs keep it
ANSWERS_KEPT = 5_000  # names for each VM; the ones that ended first go

_Basis = tuple[PolicySet, IndicatorSet, Mapping[VmId, str]]
_ANYWHERE = "192.0.2.1"
_Answers = dict[str, dict[str, int]]  # name -> address -> until when, µs


@dataclass(frozen=True, slots=True)
class Prepared:
    """A resolver that was made elsewhere, of personas as they stood then."""

    basis: _Basis
    resolver: Resolver


@dataclass(slots=True)
class LiveRules:
    """Resolves anew whenever something that a rule rests on has changed or ended."""

    answers: dict[VmId, _Answers] = field(default_factory=dict)
    began: dict[tuple[VmId, str, str], int] = field(default_factory=dict)  # (VM, policy, rule) -> since when, µs
    _names: dict[VmId, Answers] = field(default_factory=dict)  # the answers, as a resolver reads them
    _resolver: Resolver | None = None
    _basis: _Basis | None = None  # what the resolver was made of
    _since: set[VmId] = field(default_factory=set)  # who changed since preparing() was called

    def hear(self, rows: FlowBatch, taps: Mapping[str, VmId]) -> set[VmId]:
        """Take the DNS answers that these VMs were given; gives the VMs that can reach something new by a name.

        An answer holds for its time to live; a later one adds to it, and never ends it early.
        """
        changed: set[VmId] = set()
        if not rows.transactions.height:
            return changed
        said = rows.transactions
        told = said.filter((said["kind"] == "dns") & said["answers"].list.len().gt(0) & said["name"].is_not_null())
        for tap, name, answers, ttl, start in told.select("source", "name", "answers", "ttl", "start").iter_rows():
            vm = taps.get(tap)
            until = start + max(LINGERS, (ttl or 0) * 1_000_000)
            if vm is not None and self._learn(vm, name, answers, start, until):
                changed.add(vm)
        return changed

    def take(self, learned: Iterable[Learned], now: int) -> set[VmId]:
        """Take answers that were held until the kernel knew them; gives the VMs that can reach something new."""
        changed: set[VmId] = set()
        for each in learned:
            for address, until in each.addresses:
                if self._learn(each.vm, each.name, [address], now, until):
                    changed.add(each.vm)
        return changed

    def forget(self, now: int) -> None:
        """Drop the answers that ended."""
        for vm, names in list(self.answers.items()):
            for name, known in list(names.items()):
                for address in [address for address, until in known.items() if until <= now]:
                    del known[address]
                if not known:
                    del names[name]
            if not names:
                del self.answers[vm]

    def to_bytes(self) -> bytes:
        """What a restart must not forget: the answers that hold, and since when each rule is in force."""
        began = [[*key, at] for key, at in sorted(self.began.items())]
        return json.dumps({"answers": self.answers, "began": began}).encode()

    @classmethod
    def of_bytes(cls, content: bytes | None) -> LiveRules:
        """What to_bytes() was given of; nothing for an empty store."""
        if content is None:
            return cls()
        kept = json.loads(content)
        return cls(kept["answers"], {(vm, policy, rule): at for vm, policy, rule, at in kept["began"]})

    def resolved(self, personas: Mapping[VmId, Persona], changed: Iterable[VmId], ground: Ground, now: int) -> Ruleset:
        """The ruleset of this moment, where these VMs have changed since the last one.

        Raises InventoryError for an interface that no kernel has.
        """
        resolver, ended = self._standing((ground.policies, ground.intel, _interfaces(personas)), now)
        resolver.move(now)
        again = {*changed, *ended}
        self._since |= again
        for vm in again if resolver is self._resolver else personas:
            self._put(resolver, vm, personas)
        self._resolver = resolver
        ruleset = resolver.ruleset()
        self._begin(ruleset, now)
        return ruleset

    def preparing(
        self, personas: Mapping[VmId, Persona], policies: PolicySet, now: int
    ) -> Callable[[IndicatorSet], Prepared]:
        """What makes a resolver of other indicators, with all shared sets, in another thread; see adopt()."""
        interfaces, names, began = _interfaces(personas), self._names, self.began  # read there, changed here
        self._since = set()

        def prepare(intel: IndicatorSet) -> Prepared:
            resolver = Resolver(policies, intel, now, interfaces=interfaces, names=names, began=began)
            for persona in personas.values():
                resolver.put(persona)
            for members in resolver.ruleset().sets.values():
                members.holds(_ANYWHERE)  # it makes a table of them, which the first verdict else would wait for
            intel.match_addresses(pl.Series([_ANYWHERE]))
            intel.match_names(pl.Series(["example.com"]))
            intel.listed_names.may_hold("example.com")
            return Prepared((policies, intel, interfaces), resolver)

        return prepare

    def adopt(self, prepared: Prepared, personas: Mapping[VmId, Persona]) -> None:
        """Go on with what was prepared; the VMs that changed since then are put into it again."""
        resolver = prepared.resolver
        for vm in {*self._since, *personas}:
            if vm in self._since or vm not in resolver:
                self._put(resolver, vm, personas)
        self._resolver, self._basis = resolver, prepared.basis

    def criteria(self) -> dict[str, Criterion]:
        """What the sets that rules ask for are about, by name."""
        return {} if self._resolver is None else dict(self._resolver.criteria())

    def ended(self, now: int) -> bool:
        """Whether a listing has ended, or one began, since the resolver was made: then it must be made anew."""
        return self._resolver is not None and self._resolver.ended(now) is None

    def _standing(self, basis: _Basis, now: int) -> tuple[Resolver, Collection[VmId]]:
        """The resolver so far with the VMs of which something ended; a new one where it rests on something else."""
        if self._resolver is not None and self._basis is not None:
            policies, intel, interfaces = self._basis
            if policies is basis[0] and intel is basis[1] and interfaces == basis[2]:
                ended = self._resolver.ended(now)  # None: listings ended, and another one is prepared for that
                return self._resolver, self.answers.keys() if ended is None else ended
        self._basis = basis
        policies, intel, interfaces = basis
        return Resolver(policies, intel, now, interfaces=interfaces, names=self._names, began=self.began), set()

    def _put(self, resolver: Resolver, vm: VmId, personas: Mapping[VmId, Persona]) -> None:
        if vm in personas:
            known = self.answers.get(vm, {})
            self._names[vm] = {name: tuple(sorted(found.items())) for name, found in known.items()}
            resolver.put(personas[vm])
        else:
            self._names.pop(vm, None)
            if vm in resolver:
                resolver.remove(vm)

    def _begin(self, ruleset: Ruleset, now: int) -> None:
        """Write down since when each rule is in force."""
        standing = {
            (vm, rule.policy, rule.rule)
            for vm, rules in ruleset.vms.items()
            for rule in (*rules.outbound, *rules.inbound)
        }
        for key in self.began.keys() - standing:
            del self.began[key]
        for key in standing - self.began.keys():
            self.began[key] = now

    def _learn(self, vm: VmId, name: str, answers: Iterable[str], now: int, until: int) -> bool:
        names = self.answers.setdefault(vm, {})
        known = names.setdefault(name, {})
        new = False
        for answer in answers:
            try:
                address = canonical_address(answer)
            except ValueError:
                continue  # the names and texts that DNS answers too
            new = new or known.get(address, now) <= now  # also one that held once, and ended
            known[address] = max(until, known.get(address, 0))
        if not known:
            del names[name]
        if len(names) > ANSWERS_KEPT:
            self._make_room(names)
        return new

    def _make_room(self, names: _Answers) -> None:
        """Drop what no rule is about, then what ends first; many at a time: made-up names cost no search for each."""
        criteria = self._resolver.criteria().values() if self._resolver is not None else ()
        asked = tuple({suffix for each in criteria if each.kind == "domains" for suffix in each.values})
        listed = self._basis[1].listed_names.among(names) if self._basis is not None else ()
        order = sorted(names, key=lambda name: (name in listed or covered(name, asked), max(names[name].values())))
        for name in order[: ANSWERS_KEPT // 10]:
            del names[name]


def _interfaces(personas: Mapping[VmId, Persona]) -> dict[VmId, str]:
    return {vm: persona.base.interface for vm, persona in personas.items() if persona.base.interface is not None}
