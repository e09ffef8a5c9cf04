"""What answers rest on: a store as a replay left it, or the running controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from netpersona.errors import ConfigError
from netpersona.flow.vm import VmId, canonical_address

if TYPE_CHECKING:
    from netpersona.adapters.enforcers.nftables.receipts import Receipt
    from netpersona.app.live.service import Service
    from netpersona.app.standing import Standing
    from netpersona.persona.model import Persona
    from netpersona.ports import Store
    from netpersona.ruleset.diff import Changes
    from netpersona.ruleset.model import Ruleset


class UnknownError(ConfigError):
    """Nothing of the name that was asked for is there."""


class Known(Protocol):
    """Where answers come from."""

    @property
    def whose(self) -> str:
        """Who knows it, for messages: "the store"."""

    @property
    def store(self) -> Store:
        """Findings, risk terms and history."""

    def present(self) -> Mapping[VmId, Persona]:
        """The personas that are at hand: of the VMs that exist."""

    def personas(self) -> Mapping[VmId, Persona]:
        """Every VM's persona as it stands."""

    def clock(self) -> int | None:
        """The present instant (µs); None where nothing is known but event time."""

    def standing(self, at: int | None = None) -> Standing:
        """Everything that a verdict rests on, now or at another instant (µs)."""

    def ruleset(self, standing: Standing, at: int | None = None) -> Ruleset:
        """The rules in force as things stand so; `at` is the instant that the standing was asked for."""

    def planned(self, texts: Mapping[str, str], standing: Standing) -> tuple[Ruleset, Changes]:
        """What these policies would come to, and how that differs from what is in force.  Raises PolicyError."""

    def receipts(self, vm: VmId | None) -> Sequence[Receipt]:
        """The latest packets that the kernel told of, of one VM or of all, the oldest first."""

    def edit(self, persona: Persona, why: str) -> None:
        """Store what a person changed."""


class InStore:
    """A store by itself; it is opened when it is first asked, so that what cannot be asked is told before."""

    whose = "the store"

    def __init__(self, opened: Callable[[], Store]) -> None:
        self._opened = opened

    @cached_property
    def store(self) -> Store:
        """The store.  Raises StoreError."""
        return self._opened()

    def present(self) -> Mapping[VmId, Persona]:
        """A store does not tell who exists from who did."""
        return self.personas()

    def personas(self) -> Mapping[VmId, Persona]:
        """Every VM's persona, open windows included."""
        return self.store.personas()

    def clock(self) -> int | None:
        """Recorded traffic has no present."""
        return None

    def standing(self, at: int | None = None) -> Standing:
        """How things stood at the end of the last window, or at another instant."""
        from netpersona.app.standing import standing

        return standing(self.store, at)

    def ruleset(self, standing: Standing, at: int | None = None) -> Ruleset:  # noqa: ARG002
        """What the store's policies come to."""
        return standing.ruleset()

    def planned(self, texts: Mapping[str, str], standing: Standing) -> tuple[Ruleset, Changes]:
        """What these policies would come to in place of the store's."""
        from netpersona.app import policies as policy_files
        from netpersona.ruleset.diff import diff

        before = policy_files.decode(self.store.context("policies"))[1]
        wanted, _ = policy_files.versioned(policy_files.parsed(texts), before)
        desired = standing.ruleset(wanted)
        return desired, diff(standing.ruleset(), desired)

    def receipts(self, vm: VmId | None) -> Sequence[Receipt]:  # noqa: ARG002
        """Recorded traffic met no kernel."""
        return ()

    def edit(self, persona: Persona, why: str) -> None:
        """Store the next version."""
        self.store.put_persona(persona, now(self, persona), why)


@dataclass(frozen=True, slots=True)
class InService:
    """The running controller."""

    service: Service
    who: str = "someone"
    whose: str = "the controller"

    @property
    def store(self) -> Store:
        """The controller's store."""
        return self.service.store()

    def present(self) -> Mapping[VmId, Persona]:
        """The VMs that exist."""
        return self.service.vms()

    def personas(self) -> Mapping[VmId, Persona]:
        """They, and those that the store still knows."""
        return dict(sorted({**self.store.personas(), **self.service.vms()}.items()))

    def clock(self) -> int | None:
        """The present instant."""
        return self.service.now()

    def standing(self, at: int | None = None) -> Standing:
        """How things stand, or what they would come to at another instant."""
        standing = self.service.standing()
        return standing if at is None else replace(standing, at=at)

    def ruleset(self, standing: Standing, at: int | None = None) -> Ruleset:
        """The rules in force; at another instant than now, what would be."""
        return self.service.ruleset() if at is None else standing.ruleset()

    def planned(self, texts: Mapping[str, str], standing: Standing) -> tuple[Ruleset, Changes]:  # noqa: ARG002
        """What the controller would make of these policies."""
        return self.service.plan(texts)

    def receipts(self, vm: VmId | None) -> Sequence[Receipt]:
        """What the controller heard of the kernel."""
        return self.service.receipts(vm)

    def edit(self, persona: Persona, why: str) -> None:
        """Let the controller store it and go on with it."""
        self.service.edit(persona, self.who, why)


def now(known: Known, persona: Persona) -> int:
    """The instant (µs) that is now for this VM: where there is no present, when it was last seen."""
    clock = known.clock()
    if clock is not None:
        return clock
    return persona.last_seen if persona.last_seen is not None else persona.learned_until or 0


def the_vm(known: Known, text: str) -> Persona:
    """The persona of the VM with this name or address.  Raises UnknownError with the name probably meant."""
    found = _found(known.present(), text)
    personas = known.personas() if found is None else {}
    found = found or _found(personas, text)
    if found is not None:
        return found
    names = [*map(str, personas), *(a.partition("/")[0] for p in personas.values() for a in p.base.addresses)]
    near = get_close_matches(text[:100], names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "'netpersona persona list' names them all"
    raise UnknownError(f"{known.whose} knows no VM {text[:100]!r}; {hint}")


def _found(personas: Mapping[VmId, Persona], text: str) -> Persona | None:
    """The persona of this name, or else with this address."""
    by_name = {str(vm): persona for vm, persona in personas.items()}
    if text in by_name:
        return by_name[text]
    try:
        address = canonical_address(text)
    except ValueError:
        return None
    return next((p for p in personas.values() if address in {a.partition("/")[0] for a in p.base.addresses}), None)
