"""The questions that commands ask, whoever answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from netpersona.app.answers.known import Known

Plain = dict[str, Any]  # values that JSON and YAML can say


class Wanted(NamedTuple):
    """Which findings are asked for."""

    vm: str | None = None
    kind: str | None = None
    everything: bool = False  # also what is kept as context, not only alerts
    since: int | None = None  # µs: seen then or later


class Traffic(NamedTuple):
    """The traffic that is asked about, in the words of the person who asks."""

    vm: str
    peer: str  # an address or a name, with or without :PORT
    direction: str = "outbound"
    protocol: str = "tcp"
    established: bool = False


class Answers(Protocol):
    """Who answers: a store, or the running controller.  Instants are µs.  Raises NetpersonaError."""

    def personas(self, vms: Sequence[str] = (), at: int | None = None) -> list[Plain]:
        """The VMs in a line each: those named, or all."""

    def whole_personas(self, vms: Sequence[str] = (), at: int | None = None) -> list[Plain]:
        """The personas as resources: those named, or all."""

    def history(self, vm: str) -> list[Plain]:
        """The stored versions of a persona, the oldest first."""

    def differences(self, one: str, other: str | None) -> Plain:
        """What differs between A[@VERSION] and B[@VERSION]."""

    def edit(self, vm: str, edit: str) -> Plain:
        """Freeze, unfreeze or reset a persona."""

    def label(self, vm: str, labels: Mapping[str, str | None]) -> Plain:
        """Set labels of a persona; None takes one away."""

    def findings(self, wanted: Wanted) -> list[Plain]:
        """What the detectors found."""

    def risk(self, vm: str, at: int | None, left_out: Sequence[str]) -> Plain:
        """What a risk is the sum of."""

    def exposures(self, vm: str | None) -> list[Plain]:
        """What one VM, or each, is exposed to."""

    def why(self, traffic: Traffic, at: int | None) -> Plain:
        """The verdict on traffic, and what it rests on."""

    def policies(self) -> list[Plain]:
        """The policies in their order."""

    def policy(self, name: str) -> Plain:
        """One policy as it was written."""

    def plan(self, texts: Mapping[str, str] | None, *, nft: bool, replace: bool = True) -> Plain:
        """What other policies would come to, in place of all or of those of their names; None: those that are there."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The Answers that what is known gives."""

    known: Known

    def personas(self, vms: Sequence[str] = (), at: int | None = None) -> list[Plain]:
        """The VMs in a line each: those named, or all."""
        from netpersona.app.answers import personas
        from netpersona.app.answers.known import the_vm

        chosen = [the_vm(self.known, vm) for vm in vms] if vms else self.known.personas().values()
        return [personas.summary(self.known, each, at) for each in chosen]

    def whole_personas(self, vms: Sequence[str] = (), at: int | None = None) -> list[Plain]:
        """The personas as resources: those named, or all."""
        from netpersona.app.answers import personas
        from netpersona.app.answers.known import the_vm

        chosen = [the_vm(self.known, vm) for vm in vms] if vms else self.known.personas().values()
        return [personas.shown(self.known, each, at) for each in chosen]

    def history(self, vm: str) -> list[Plain]:
        """The stored versions of a persona, the oldest first."""
        from netpersona.app.answers import personas

        return personas.history(self.known, vm)

    def differences(self, one: str, other: str | None) -> Plain:
        """What differs between A[@VERSION] and B[@VERSION]."""
        from netpersona.app.answers import personas

        return personas.differences(self.known, one, other)

    def edit(self, vm: str, edit: str) -> Plain:
        """Freeze, unfreeze or reset a persona."""
        from netpersona.app.answers import personas

        return personas.edited(self.known, vm, edit)

    def label(self, vm: str, labels: Mapping[str, str | None]) -> Plain:
        """Set labels of a persona; None takes one away."""
        from netpersona.app.answers import personas

        return personas.labelled(self.known, vm, labels)

    def findings(self, wanted: Wanted) -> list[Plain]:
        """What the detectors found."""
        from netpersona.app.answers.findings import findings
        from netpersona.app.report import finding_object

        return [finding_object(f) for f in findings(self.known, wanted)]

    def risk(self, vm: str, at: int | None, left_out: Sequence[str]) -> Plain:
        """What a risk is the sum of."""
        from netpersona.app.answers.findings import risk

        return risk(self.known, vm, at, left_out)

    def exposures(self, vm: str | None) -> list[Plain]:
        """What one VM, or each, is exposed to."""
        from netpersona.app.answers.exposure import exposures

        return exposures(self.known, vm)

    def why(self, traffic: Traffic, at: int | None) -> Plain:
        """The verdict on traffic, and what it rests on."""
        from netpersona.app.answers.why import why

        return why(self.known, traffic, at)

    def policies(self) -> list[Plain]:
        """The policies in their order."""
        from netpersona.app.answers.policies import summaries

        return summaries(self.known.standing())

    def policy(self, name: str) -> Plain:
        """One policy as it was written."""
        from netpersona.app.answers.policies import shown

        return shown(self.known, self.known.standing(), name)

    def plan(self, texts: Mapping[str, str] | None, *, nft: bool, replace: bool = True) -> Plain:
        """What other policies would come to, in place of all or of those of their names; None: those that are there."""
        from netpersona.app.answers.policies import plan

        return plan(self.known, texts, nft=nft, replace=replace)
