"""How things stand in a store: its personas, the indicators and policies of its last replay, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netpersona.adapters.software import evidence
from netpersona.adapters.warning_lists import warning_lists
from netpersona.app import policies as policy_files
from netpersona.app.policies import Texts
from netpersona.app.run import in_force
from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.exposed import Exposures
from netpersona.persona.model import Persona
from netpersona.policy.model import PolicySet
from netpersona.ports import Store
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import resolve

_UNUSED = tuple(f"240.0.0.{host}" for host in range(1, 9))  # reserved (RFC 1112, 4)


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that a decision rests on, at one instant (µs)."""

    store: Store
    personas: Mapping[VmId, Persona]
    intel: IndicatorSet
    policies: PolicySet
    texts: Texts
    at: int
    exposures: Exposures = field(default_factory=Exposures)

    def ruleset(self, policies: PolicySet | None = None) -> Ruleset:
        """The rules that the store's policies come to, or others in their place."""
        chosen = self.policies if policies is None else policies
        return in_force(self.personas, chosen, self.intel, self.at, self.store)

    def supposed(self, vm: VmId, name: str, in_force: Ruleset) -> tuple[Ruleset, str]:
        """The rules in force for one VM, had DNS answered it a new address for this name; and that address.

        The address is one that nobody lists or uses, so that what is decided of it is decided of the name.
        """
        free = (a for a in _UNUSED if not any(members.holds(a) for members in in_force.sets.values()))
        address = next(free, _UNUSED[0])
        answers = {known: tuple((a, None) for a in sorted(found)) for known, found in self._answers(vm).items()}
        names = {vm: {**answers, name: ((address, None),)}}
        return resolve(self.personas.values(), self.policies, self.intel, self.at, names=names), address

    def _answers(self, vm: VmId) -> Mapping[str, Mapping[str, int]]:
        return self.store.names().get(vm, {})


def standing(store: Store, at: int | None = None) -> Standing:
    """How things stand at `at` (µs); None: at the end of the last window that any VM was judged by."""
    personas = store.personas()
    listed = store.context("indicators")
    texts, versions = policy_files.decode(store.context("policies"))
    policies, _ = policy_files.versioned(policy_files.parsed(texts), versions)
    instant = at if at is not None else max((p.learned_until or 0 for p in personas.values()), default=0)
    try:
        intel = IndicatorSet.merge([]) if listed is None else IndicatorSet.from_bytes(listed)
        intel = replace(intel, lists=warning_lists())
    except ValueError as error:
        raise StoreError(f"the stored indicators cannot be read: {error}; replay with the feeds again") from error
    exposures = Exposures.of_indicators(evidence.of_bytes(store.context("software")), intel.table)
    return Standing(store, personas, intel, policies, texts, instant, exposures)
