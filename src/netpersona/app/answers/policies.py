"""What the policies are, what others in their place would come to, and what is wrong or doubtful in a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from netpersona.app import policies as policy_files
from netpersona.app.answers.exposure import changed
from netpersona.app.answers.known import Known, UnknownError
from netpersona.app.policy_texts import merged
from netpersona.errors import PolicyError
from netpersona.persona.model import Persona
from netpersona.policy.conditions import holds
from netpersona.policy.facts import facts
from netpersona.policy.model import Direction, Policy, PolicySet
from netpersona.ruleset.verdict import Packet, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netpersona.app.standing import Standing
    from netpersona.ruleset.model import Ruleset


def remarks(texts: Mapping[str, str], personas: Sequence[Persona]) -> list[dict[str, Any]]:
    """Everything that is wrong with these policies; where nothing is, what is hardly meant."""
    from netpersona.policy.checks import check
    from netpersona.policy.parse import problems

    wrong = [problem for file, text in texts.items() for problem in problems(text, file)]
    if wrong:
        return [_remark("error", p.place, p.message, p.hint) for p in wrong]
    return [_remark("warning", w.place, w.message, None) for w in check(policy_files.parsed(texts), personas)]


def plan(known: Known, texts: Mapping[str, str] | None, *, nft: bool, replace: bool = True) -> dict[str, Any]:
    """What would change if these were the policies, and what of the VMs' habits would be stopped; and the rules.

    `texts`: None for the policies as they are; `nft`: the rules' text too; `replace`: they are all policies, else each
    stands in place of the one of its name.  Raises PolicyError.
    """
    from netpersona.ruleset.diff import words
    from netpersona.ruleset.render import render
    from netpersona.ruleset.words import plan as plan_objects

    now = known.standing()
    in_force = known.ruleset(now)
    wanted = texts if texts is None or replace else merged(now.texts, texts)
    desired, changes = (in_force, None) if wanted is None else known.planned(wanted, now)
    told: dict[str, Any] = {
        "at": now.at / 1e6,
        "changes": [] if changes is None else words(changes),
        "would_stop": [] if changes is None else _would_stop(now, in_force, desired),
        "exposure": changed(now, in_force, desired),
        "vms": plan_objects(desired),
    }
    return {**told, "nft": render(desired)} if nft else told


def summaries(now: Standing) -> list[dict[str, Any]]:
    """The policies in their order, and the VMs that each concerns now."""
    return [summary(now, each) for each in sorted(now.policies.policies, key=lambda p: (p.order, p.name))]


def shown(known: Known, now: Standing, name: str) -> dict[str, Any]:
    """One policy as it was written, with its version and the VMs it concerns.  Raises UnknownError."""
    found = named(known, now.policies, name)
    return {**summary(now, found), "resource": _resource(now, found)}


def summary(now: Standing, found: Policy) -> dict[str, Any]:
    """One policy in a line, and the VMs that its selector picks now."""
    concerned = [
        vm
        for vm, persona in sorted(now.personas.items())
        if found.selector is None or holds(found.selector, facts(persona, now.at))
    ]
    return {
        "name": found.name,
        "version": found.version,
        "mode": found.mode.value,
        "order": found.order,
        "rules": [rule.name for rule in found.rules],
        "vms": concerned,
        "file": found.place.file,
        "line": found.place.line,
    }


def named(known: Known, policies: PolicySet, name: str) -> Policy:
    """The policy of this name.  Raises UnknownError with the name probably meant."""
    from difflib import get_close_matches

    by_name = {each.name: each for each in policies.policies}
    if name in by_name:
        return by_name[name]
    near = get_close_matches(name[:100], by_name, n=1)
    has = f"it has {', '.join(sorted(by_name))}" if by_name else "it has none; replay with --policy FILE"
    raise UnknownError(
        f"{known.whose} has no policy {name[:100]!r}; " + (f"did you mean {near[0]!r}?" if near else has)
    )


def _remark(kind: str, place: Any, message: str, hint: str | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "message": message,
        "hint": hint,
    }


def _would_stop(now: Standing, before: Ruleset, after: Ruleset) -> list[dict[str, Any]]:
    """What the VMs normally do that passes now and would not: a preview on what was learned."""
    found = []
    for vm, persona in sorted(now.personas.items()):
        for kind, usage in sorted(persona.profile.kinds.items()):
            if not kind.peer:
                continue
            packet = Packet(vm, Direction(kind.direction), kind.peer, kind.transport, kind.port)
            decision = verdict(after, packet)
            if not decision.passes and verdict(before, packet).passes:
                found.append(
                    {
                        "vm": vm,
                        "peer": kind.peer,
                        "service": f"{kind.transport}/{kind.port}",
                        "flows": round(usage.flows, 1),
                        "last": usage.last / 1e6,
                        "verdict": decision.verdict,
                        "why": decision.why,
                    }
                )
    return found


def _resource(now: Standing, found: Policy) -> Any:
    """The policy's document as it was written."""
    import yaml

    documents = yaml.safe_load_all(now.texts[found.place.file])
    for document in documents:
        if document and document.get("kind") == "Policy" and document["metadata"]["name"] == found.name:
            return document
    raise PolicyError(f"{found.place.file}: the policy {found.name} is not there any more")
