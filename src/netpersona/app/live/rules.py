"""The ruleset that follows: what is in force for the personas, policies, indicators and answers of the moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netpersona.flow.table import FlowBatch
from netpersona.flow.vm import VmId, canonical_address
from netpersona.persona.model import Persona
from netpersona.pipeline import Ground
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import resolve

LINGERS = 60_000_000  # µs: an answer is honoured for this long at least, as resolvers and programs keep it
ANSWERS_KEPT = 5_000  # names for each VM; the ones that ended first go

_Answers = dict[str, dict[str, int]]  # name -> address -> until when, µs


@dataclass(slots=True)
class LiveRules:
    """Resolves anew whenever something that a rule rests on has changed or ended."""

    answers: dict[VmId, _Answers] = field(default_factory=dict)
    began: dict[tuple[VmId, str, str], int] = field(default_factory=dict)  # (VM, policy, rule) -> since when, µs

    def hear(self, rows: FlowBatch, taps: Mapping[str, VmId]) -> set[VmId]:
        """Take the DNS answers that these VMs were given; gives the VMs that can reach something new by a name.

        An answer holds for its time to live; a later one adds to it, and never ends it early.
        """
        changed = set()
        said = rows.transactions
        told = said.filter((said["kind"] == "dns") & said["answers"].list.len().gt(0) & said["name"].is_not_null())
        for tap, name, answers, ttl, start in told.select("source", "name", "answers", "ttl", "start").iter_rows():
            vm = taps.get(tap)
            if vm is not None and self._learn(vm, name, answers, start + max(LINGERS, (ttl or 0) * 1_000_000)):
                changed.add(vm)
        return changed

    def forget(self, now: int) -> None:
        """Drop the answers that ended."""
        for names in self.answers.values():
            for name in [name for name, known in names.items() if max(known.values()) <= now]:
                del names[name]

    def resolved(
        self, personas: Iterable[Persona], ground: Ground, now: int, interfaces: Mapping[VmId, str]
    ) -> Ruleset:
        """The ruleset of this moment.  Raises InventoryError for an interface that no kernel has."""
        names = {
            vm: {name: tuple(sorted(known.items())) for name, known in names.items()}
            for vm, names in self.answers.items()
        }
        ruleset = resolve(
            personas, ground.policies, ground.intel, now, interfaces=interfaces, names=names, began=self.began
        )
        standing = {
            (vm, rule.policy, rule.rule): now
            for vm, rules in ruleset.vms.items()
            for rule in (*rules.outbound, *rules.inbound)
        }
        self.began = {key: self.began.get(key, at) for key, at in standing.items()}
        return ruleset

    def _learn(self, vm: VmId, name: str, answers: Iterable[str], until: int) -> bool:
        names = self.answers.setdefault(vm, {})
        known = names.setdefault(name, {})
        new = False
        for answer in answers:
            try:
                address = canonical_address(answer)
            except ValueError:
                continue  # the names and texts that DNS answers too
            new = new or address not in known
            known[address] = max(until, known.get(address, 0))
        if not known:
            del names[name]
        if len(names) > ANSWERS_KEPT:
            del names[min(names, key=lambda n: max(names[n].values()))]
        return new
