"""The store of one run: everything in memory, nothing left behind.  A replay without --store uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from netpersona.adapters.stores.edit import FINDINGS_KEPT, TERMS_KEPT, check_next, edited, kept
from netpersona.flow.table import FlowBatch, batch
from netpersona.flow.vm import Vm, VmId
from netpersona.persona.model import Persona, RiskTerm
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, Outcome, PersonaVersion
from netpersona.risk.finding import Finding


class MemoryStore:
    """A Store that is gone with its process."""

    def __init__(self) -> None:
        self._states: dict[VmId, VmState] = {}
        self._closed = _Kept()
        self._open = _Kept()
        self._open_personas: dict[VmId, Persona] = {}
        self._checkpoint: Checkpoint | None = None

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
        """Every risk term ever raised for a VM, in the order of their instants."""
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
