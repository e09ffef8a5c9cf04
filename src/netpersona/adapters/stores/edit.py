"""What a person's change of a persona does to the keyed state, and what both stores keep, by number and by age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import fields, replace

from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.flow.window import HOUR
from netpersona.persona.memory import Memory
from netpersona.persona.model import Persona, TrafficProfile
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, PersonaVersion

VERSIONS_KEPT = 200  # of each persona, besides the first
FINDINGS_KEPT, TERMS_KEPT = 50_000, 100_000  # of each VM, the latest: some 100 MB of one that never rests


def edited(state: VmState | None, before: Persona | None, after: Persona) -> VmState:
    """The keyed state with exactly what was changed from `before` to `after`.

    `before` is the persona as it stood, open windows included; the keyed state is older, and must not take over
    what the open windows taught, as they will be judged again.  A profile that was emptied takes the detectors'
    memory with it.
    """
    if state is None:
        fresh = Persona(after.vm, labels=after.labels, base=after.base, mitigation_rules=after.mitigation_rules)
        state = VmState(fresh, Memory())
    if before is None:
        return replace(state, persona=after)
    changed = {f.name: getattr(after, f.name) for f in fields(Persona) if _differs(before, after, f.name)}
    if changed.get("learning") == "frozen":  # what was shown when it was frozen is what stays normal
        changed |= {"profile": before.profile, "completeness": before.completeness}
    emptied = "profile" in changed and after.profile == TrafficProfile()
    return VmState(replace(state.persona, **changed), Memory() if emptied else state.memory)


def check_next(before: Persona | None, after: Persona) -> None:
    """Raise StoreError where the changed persona is not the next version of the one that is stored."""
    if before is not None and after.version != before.version + 1:
        raise StoreError(
            f"{after.vm} was changed by someone else meanwhile: it stands at version {before.version}, and the change "
            f"was made to version {after.version - 1}; look at it again, then repeat the change"
        )


def kept(versions: Iterable[PersonaVersion]) -> list[PersonaVersion]:
    """The versions that are kept, oldest first."""
    ordered = sorted(versions, key=lambda version: version.persona.version)
    gone = set(surplus([version.persona.version for version in ordered]))
    return [version for version in ordered if version.persona.version not in gone]


def surplus(numbers: Sequence[int]) -> Sequence[int]:
    """Of ascending version numbers those that go: all but the first, which says how it began, and the newest."""
    return numbers[1 : max(1, len(numbers) - VERSIONS_KEPT + 1)]


def outdated(versions: Sequence[tuple[int, int]], before: int) -> list[int]:
    """Of a persona's versions, (number, µs) in order, those from before then; the first and the newest stay."""
    return [number for number, at in versions[1:-1] if at < before]


def carried(personas: Iterable[Persona]) -> set[str]:
    """The findings that the risk of these personas rests on."""
    return {term.finding for persona in personas for term in persona.risk_ledger}


def seen_by(checkpoint: Checkpoint, known: Mapping[VmId, int | None]) -> dict[VmId, int]:
    """When the VMs were seen that a checkpoint has or judged, of those that a store knows, where that is news.

    `known`: when each was seen so far, to the hour, so that not every checkpoint writes every VM; None: nobody could
    say yet.
    """
    at = checkpoint.closed_until
    if at is None:
        return {}
    there = {vm.name for vm in checkpoint.vms} | checkpoint.closed.states.keys() | checkpoint.open.states.keys()
    return {vm: at for vm, seen in known.items() if seen is None or (vm in there and seen < at - HOUR)}


def _differs(before: Persona, after: Persona, name: str) -> bool:
    return bool(getattr(before, name) != getattr(after, name))
