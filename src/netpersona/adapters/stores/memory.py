"""The store of one run: everything in memory, nothing left behind.  A replay without --store uses it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from netpersona.adapters.stores.edit import (
    FINDINGS_KEPT,
    TERMS_KEPT,
    carried,
    check_next,
    edited,
    kept,
    outdated,
    seen_by,
)
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.vm import Vm, VmId
from netpersona.persona.model import Persona, RiskTerm
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, Forgotten, Outcome, PersonaVersion
from netpersona.risk.finding import Finding


class MemoryStore:
    """A Store that is gone with its process."""

    def __init__(self) -> None:
        self._states: dict[VmId, VmState] = {}
        self._closed = _Kept()
        self._open = _Kept()
        self._open_personas: dict[VmId, Persona] = {}
        self._checkpoint: Checkpoint | None = None
        self._seen: dict[VmId, int | None] = {}  # every VM that is spoken of -> when it was last there or judged

    def closed_until(self) -> int | None:
        """The end (µs) of the last window that is closed for good; None for an empty store."""
        return None if self._checkpoint is None else self._checkpoint.closed_until

    def states(self) -> dict[VmId, VmState]:
        """Every VM's keyed state at `closed_until`."""
        return {vm: self._states[vm] for vm in sorted(self._states)}

    def pending(self) -> FlowBatch:
        """The flows of the windows that are still open."""
        return batch() if self._checkpoint is None else self._checkpoint.pending

    def vms(self) -> list[Vm]:
        """The VMs, as the last checkpoint had them."""
        return [] if self._checkpoint is None else list(self._checkpoint.vms)

    def names(self) -> dict[VmId, dict[str, dict[str, int]]]:
        """DNS answers seen by each VM: name -> address -> last seen (µs)."""
        names: Mapping[VmId, Mapping[str, Mapping[str, int]]] = (
            {} if self._checkpoint is None else self._checkpoint.names
        )
        return {vm: {name: dict(seen) for name, seen in names[vm].items()} for vm in sorted(names)}

    def personas(self) -> dict[VmId, Persona]:
        """Every persona as it stands now, open windows included."""
        newest = {vm: state.persona for vm, state in self._states.items()} | self._open_personas
        return {vm: newest[vm] for vm in sorted(newest)}

    def history(self, vm: VmId) -> list[PersonaVersion]:
        """The stored versions of a persona, oldest first."""
        return kept((self._closed.versions.get(vm, {}) | self._open.versions.get(vm, {})).values())

    def findings(self, vm: VmId | None = None) -> list[Finding]:
        """Findings in the order (judged_at, id)."""
        found = (self._closed.findings | self._open.findings).values()
        return sorted((f for f in found if vm is None or f.vm == vm), key=lambda f: (f.judged_at, f.id))

    def terms(self, vm: VmId) -> list[RiskTerm]:
        """The risk terms of a VM that are kept, in the order of their instants."""
        found = self._closed.terms.get(vm, {}) | self._open.terms.get(vm, {})
        return [found[key] for key in sorted(found)]

    def context(self, key: str) -> bytes | None:
        """What the last decisions rested on."""
        return None if self._checkpoint is None else self._checkpoint.context.get(key)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write one checkpoint, wholly or not at all."""
        self._states |= checkpoint.closed.states
        self._closed.add(checkpoint.closed)
        self._open = _Kept()
        self._open.add(checkpoint.open)
        self._open_personas = {vm: state.persona for vm, state in checkpoint.open.states.items()}
        self._checkpoint = checkpoint
        for vm in {*_spoken_of(checkpoint.closed), *_spoken_of(checkpoint.open), *checkpoint.names}:
            self._seen.setdefault(vm, None)
        self._seen |= seen_by(checkpoint, self._seen)

    def put_persona(self, persona: Persona, at: int, why: str) -> None:
        """Store what a person changed (frozen, reset, labels) as a new version, in the keyed state too.

        Raises StoreError where the persona is not the next version of the stored one: someone else changed it.
        """
        before = self.personas().get(persona.vm)
        check_next(before, persona)
        self._states[persona.vm] = edited(self._states.get(persona.vm), before, persona)
        self._closed.add(Outcome(versions=[PersonaVersion(persona, at, why)]))
        if persona.vm in self._open_personas:
            self._open_personas[persona.vm] = persona
        self._seen.setdefault(persona.vm, None)

    def forget(self, gone: int, past: int) -> Forgotten:
        """Let go what is too old."""
        there = {vm.name for vm in self.vms()}
        unseen = (vm for vm, seen in self._seen.items() if seen is not None and seen < gone)
        vms = tuple(sorted(vm for vm in unseen if vm not in there))
        for vm in vms:
            for of_vm in (self._states, self._open_personas, self._seen):
                of_vm.pop(vm, None)
        for known in (self._closed, self._open):
            known.without(vms)
        if self._checkpoint is not None:
            left = {vm: names for vm, names in self._checkpoint.names.items() if vm not in vms}
            self._checkpoint = replace(self._checkpoint, names=left)
        ledgers = carried([*(state.persona for state in self._states.values()), *self._open_personas.values()])
        versions, terms = self._closed.forget_versions(past), self._closed.forget_terms(past, ledgers)
        stays = ledgers | self._closed.raised() | self._open.raised()
        return Forgotten(vms, versions, self._closed.forget_findings(past, stays), terms)


def _spoken_of(outcome: Outcome) -> set[VmId]:
    versions = {version.persona.vm for version in outcome.versions}
    return {*outcome.states, *versions, *(f.vm for f in outcome.findings), *(vm for vm, _ in outcome.terms)}


class _Kept:
    """The versions, findings and terms of closed or of open windows, by what names each."""

    def __init__(self) -> None:
        self.versions: dict[VmId, dict[int, PersonaVersion]] = {}
        self.findings: dict[str, Finding] = {}
        self.terms: dict[VmId, dict[tuple[int, str], RiskTerm]] = {}

    def add(self, outcome: Outcome) -> None:
        self._add_versions(outcome.versions)
        self.findings |= {finding.id: finding for finding in outcome.findings}
        for vm, term in outcome.terms:
            self.terms.setdefault(vm, {})[term.at, term.finding] = term
        self._forget({finding.vm for finding in outcome.findings}, {vm for vm, _ in outcome.terms})

    def _forget(self, found: Iterable[VmId], raised: Iterable[VmId]) -> None:
        """All but the latest findings and terms of these VMs."""
        for vm in found:
            ids = sorted((f.judged_at, f.id) for f in self.findings.values() if f.vm == vm)
            for _, gone in ids[: max(0, len(ids) - FINDINGS_KEPT)]:
                del self.findings[gone]
        for vm in raised:
            known = self.terms[vm]
            for key in sorted(known)[: max(0, len(known) - TERMS_KEPT)]:
                del known[key]

    def _add_versions(self, versions: Iterable[PersonaVersion]) -> None:
        for version in versions:
            vm = version.persona.vm
            self.versions.setdefault(vm, {})[version.persona.version] = version
        for vm in {version.persona.vm for version in versions}:
            self.versions[vm] = {v.persona.version: v for v in kept(self.versions[vm].values())}

    def without(self, vms: Collection[VmId]) -> None:
        """Let go all that is known of these VMs."""
        self.findings = {name: finding for name, finding in self.findings.items() if finding.vm not in vms}
        for vm in vms:
            self.versions.pop(vm, None)
            self.terms.pop(vm, None)

    def raised(self) -> set[str]:
        """The findings that have a term."""
        return {finding for known in self.terms.values() for _, finding in known}

    def forget_versions(self, past: int) -> int:
        """Let go those of before then; how many they were."""
        gone = 0
        for known in self.versions.values():
            for number in outdated([(number, known[number].at) for number in sorted(known)], past):
                del known[number]
                gone += 1
        return gone

    def forget_terms(self, past: int, stays: Collection[str]) -> int:
        """Let go those of before then, but for these findings'; how many they were."""
        gone = [(vm, key) for vm, known in self.terms.items() for key in known if key[0] < past and key[1] not in stays]
        for vm, key in gone:
            del self.terms[vm][key]
        return len(gone)

    def forget_findings(self, past: int, stays: Collection[str]) -> int:
        """Let go those that were seen last before then, but for these; how many they were."""
        gone = [name for name, found in self.findings.items() if found.last_seen < past and name not in stays]
        for name in gone:
            del self.findings[name]
        return len(gone)
