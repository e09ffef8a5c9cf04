"""`netpersona policy`: validate, plan, list, show and test policies."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.lookup import opened, store_option
from netpersona.app.output import emit, output_option
from netpersona.errors import ConfigError, PolicyError

if TYPE_CHECKING:
    from netpersona.app.standing import Standing
    from netpersona.policy.model import Policy, PolicySet
    from netpersona.ruleset.model import Ruleset

_FILES = click.argument("files", nargs=-1, type=click.Path(path_type=Path, readable=False))


@click.group()
def policy() -> None:
    """Validate, plan, list, show and test policies."""


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@store_option
@output_option
def validate(files: tuple[Path, ...], store: str | None, output: str) -> None:
    """Say everything that is wrong or doubtful in policy FILES; with a store, held against its personas too.

    Exit code 0: nothing is wrong (there may be warnings); 2: something is.
    """
    from netpersona.app import policies as policy_files
    from netpersona.policy.checks import check
    from netpersona.policy.parse import problems

    texts = policy_files.read(files)
    wrong = [problem for file, text in texts.items() for problem in problems(text, file)]
    told = [_remark("error", p.place, p.message, p.hint) for p in wrong]
    if not wrong:
        personas = () if store is None else tuple(opened(store).personas().values())
        told += [_remark("warning", w.place, w.message, None) for w in check(policy_files.parsed(texts), personas)]
    emit(told, output, _remarks)
    sys.exit(2 if wrong else 0)


@policy.command()
@_FILES
@click.option("--nft", is_flag=True, help="The nft text alone; beside the rest in JSON and YAML.")
@store_option
@output_option
def plan(files: tuple[Path, ...], nft: bool, store: str | None, output: str) -> None:
    """Say what would change if FILES were the policies: in rules, and for what the VMs normally do.

    Without FILES: the rules that the store's own policies come to.
    """
    from netpersona.adapters.enforcers.plan import Plan
    from netpersona.app import policies as policy_files
    from netpersona.app.standing import standing
    from netpersona.ruleset.diff import words
    from netpersona.ruleset.words import plan as plan_objects

    now = standing(opened(store))
    wanted = now.policies
    if files:
        before = policy_files.decode(now.store.context("policies"))[1]
        wanted, _ = policy_files.versioned(policy_files.parsed(policy_files.read(files)), before)
    in_force, desired = now.ruleset(), now.ruleset(wanted)
    enforcer = Plan(in_force)
    changes = words(enforcer.apply(desired))
    if nft and output == "table":
        click.echo(enforcer.text(), nl=False)
        return
    told: dict[str, Any] = {
        "at": now.at / 1e6,
        "changes": changes,
        "would_stop": _would_stop(now, in_force, desired),
        "vms": plan_objects(desired),
    }
    if nft:
        told["nft"] = enforcer.text()
    emit(told, output, _planned)


@policy.command("list")
@store_option
@output_option
def list_(store: str | None, output: str) -> None:
    """List the store's policies in their order, and the VMs that each concerns now."""
    from netpersona.app.standing import standing

    now = standing(opened(store))
    emit(
        [_summary(now, each) for each in sorted(now.policies.policies, key=lambda p: (p.order, p.name))],
        output,
        _listed,
    )


@policy.command()
@click.argument("name")
@store_option
@output_option
def show(name: str, store: str | None, output: str) -> None:
    """Show one policy as it was written, with its version and the VMs it concerns."""
    from netpersona.app.standing import standing

    now = standing(opened(store))
    found = _named(now.policies, name)
    emit({**_summary(now, found), "resource": _resource(now, found)}, output, _shown)


@policy.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@output_option
def test(files: tuple[Path, ...], output: str) -> None:
    """Run the given/expect cases in FILES.  Exit code 0: all hold; 1: some do not."""
    from netpersona.app.policies import read
    from netpersona.app.policy_tests import results

    told = [result for file, text in read(files).items() for result in results(text, Path(file))]
    emit(told, output, _tested)
    sys.exit(0 if all(result["passed"] for result in told) else 1)


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
    from netpersona.policy.model import Direction
    from netpersona.ruleset.verdict import Packet, verdict

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


def _summary(now: Standing, found: Policy) -> dict[str, Any]:
    from netpersona.policy.conditions import holds
    from netpersona.policy.facts import facts

    concerned = [vm for vm, p in sorted(now.personas.items()) if holds_for(found, holds, facts(p, now.at))]
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


def holds_for(found: Policy, holds: Any, known: Any) -> bool:
    """Whether the policy's selector picks the persona of which these are the facts."""
    return found.selector is None or bool(holds(found.selector, known))


def _named(policies: PolicySet, name: str) -> Policy:
    from difflib import get_close_matches

    by_name = {each.name: each for each in policies.policies}
    if name in by_name:
        return by_name[name]
    near = get_close_matches(name, by_name, n=1)
    known = f"it has {', '.join(sorted(by_name))}" if by_name else "it has none; replay with --policy FILE"
    raise ConfigError(f"the store has no policy {name!r}; " + (f"did you mean {near[0]!r}?" if near else known))


def _resource(now: Standing, found: Policy) -> Any:
    """The policy's document as it was written."""
    import yaml

    documents = yaml.safe_load_all(now.texts[found.place.file])
    for document in documents:
        if document and document.get("kind") == "Policy" and document["metadata"]["name"] == found.name:
            return document
    raise PolicyError(f"{found.place.file}: the policy {found.name} is not there any more")


def _remarks(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.text import Text

    if not told:
        return Text("nothing is wrong")
    lines = [
        f"{t['file']}:{t['line']}:{t['column']}: {t['kind']}: {t['message']}" + (f"; {t['hint']}" if t["hint"] else "")
        for t in told
    ]
    return Text("\n".join(lines))


def _planned(told: Mapping[str, Any]) -> Any:
    from rich.text import Text

    lines = ["Changes", *(f"  {line}" for line in told["changes"] or ["none: this is what is in force"])]
    lines.append("What the VMs normally do and would be stopped")
    lines += [f"  {_stopped(each)}" for each in told["would_stop"]] or ["  nothing"]
    return Text("\n".join(lines))


def _stopped(flows: Mapping[str, Any]) -> str:
    """`web-1 to 203.0.113.7 tcp/443 (12 flows): deny, it is listed`."""
    how_many = f"{flows['flows']:g} {'flow' if flows['flows'] == 1 else 'flows'}"
    return f"{flows['vm']} to {flows['peer']} {flows['service']} ({how_many}): {flows['verdict']}, {flows['why']}"


def _listed(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("order", "policy", "version", "mode", "rules", "VMs"):
        table.add_column(name)
    for each in told:
        vms = ", ".join(each["vms"][:4]) + (f" and {len(each['vms']) - 4} more" if len(each["vms"]) > 4 else "")
        table.add_row(
            str(each["order"]),
            each["name"],
            str(each["version"]),
            each["mode"],
            ", ".join(each["rules"]),
            vms or "none",
        )
    return table


def _shown(told: Mapping[str, Any]) -> Any:
    from rich.text import Text

    from netpersona.app.output import yaml_text

    vms = ", ".join(told["vms"]) or "none"
    head = f"# version {told['version']}, {told['file']}:{told['line']}; concerns: {vms}"
    return Text(f"{head}\n{yaml_text(told['resource']).rstrip()}")


def _tested(told: Sequence[Mapping[str, Any]]) -> Any:
    from rich.text import Text

    lines = []
    for result in told:
        lines.append(
            f"{'ok    ' if result['passed'] else 'FAILED'} {result['place']}: {result['case']}: {result['expected']}"
        )
        if not result["passed"]:
            lines.append(f"       {result['found']}: {result['why']}")
    failed = sum(not result["passed"] for result in told)
    held = len(told) - failed
    verbs = "holds" if held == 1 else "hold", "does not" if failed == 1 else "do not"
    return Text("\n".join([*lines, f"{held} {verbs[0]}, {failed} {verbs[1]}"]))
