"""`netpersona persona ...`: what the store knows of each VM, and what people may change of it.

"Now" is event time: the instant at which the VM was last seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from netpersona.app.lookup import opened, store_option, the_vm
from netpersona.app.output import emit, json_text, output_option, yaml_text
from netpersona.errors import ConfigError
from netpersona.flow.vm import VmId
from netpersona.flow.words import counted
from netpersona.persona.difference import difference
from netpersona.persona.model import Completeness, Persona, TrafficProfile
from netpersona.persona.resource import resource, rfc3339
from netpersona.ports import PersonaVersion, Store
from netpersona.risk.ledger import risk_score, score

at_option = click.option("--at", metavar="TIME", help="The risk then: epoch seconds or RFC 3339.")


@click.group()
def persona() -> None:
    """List, show, compare, freeze, reset and export personas.  A VM is given by its name or by an address."""


@persona.command("list", short_help="List every VM, its risk and how known it is.")
@at_option
@store_option
@output_option
def list_(at: str | None, store: str | None, output: str) -> None:
    """List every VM: how worried we are, and how much we know of it."""
    from netpersona.app.persona_tables import personas_table

    kept = opened(store)
    instant = _instant(at)
    emit([_summary(kept, known, instant) for known in kept.personas().values()], output, personas_table)


@persona.command(short_help="Show one persona whole, and its risk.")
@click.argument("vm")
@at_option
@store_option
@output_option
def show(vm: str, at: str | None, store: str | None, output: str) -> None:
    """Show one persona: its network, its normal traffic, what was recognised, and its risk."""
    from netpersona.app.persona_tables import persona_table

    kept = opened(store)
    known = the_vm(kept, vm)
    instant = _instant(at)
    told = resource(known, _now(known) if instant is None else instant, _risk(kept, known, instant))
    emit(told, output, persona_table)


@persona.command(short_help="List a persona's versions, and why each.")
@click.argument("vm")
@store_option
@output_option
def history(vm: str, store: str | None, output: str) -> None:
    """List the stored versions of a persona, each with what changed."""
    from netpersona.app.persona_tables import history_table

    kept = opened(store)
    versions = [
        {
            "version": v.persona.version,
            "at": rfc3339(v.at),
            "why": v.why,
            "risk_score": risk_score(v.persona, v.at),
            "completeness": round(v.persona.completeness.seen, 6),
            "learning": v.persona.learning,
        }
        for v in kept.history(the_vm(kept, vm).vm)
    ]
    emit(versions, output, history_table)


@persona.command(short_help="Compare two versions, or two personas.")
@click.argument("one", metavar="A[@VERSION]")
@click.argument("other", metavar="[B[@VERSION]]", required=False)
@store_option
@output_option
def diff(one: str, other: str | None, store: str | None, output: str) -> None:
    """Say what differs between two versions of a persona, or between two personas.

    Without a version the persona as it stands is meant; without B, A as it stands.
    """
    from netpersona.app.persona_tables import changes_table

    kept = opened(store)
    before = _version(kept, one)
    after = _version(kept, other if other is not None else one.rpartition("@")[0] or one)
    changes = difference(_shown(before), _shown(after))
    told = {
        "before": f"{before.persona.vm}@{before.persona.version}",
        "after": f"{after.persona.vm}@{after.persona.version}",
        "changes": [change._asdict() for change in changes],
    }
    emit(told, output, changes_table)


@persona.command(short_help="Let a persona learn nothing more.")
@click.argument("vm")
@store_option
@output_option
def freeze(vm: str, store: str | None, output: str) -> None:
    """Let a persona learn nothing more: what is normal now stays what is normal."""
    kept = opened(store)
    _change(kept, the_vm(kept, vm), {"learning": "frozen"}, "frozen: it learns nothing more", output)


@persona.command()
@click.argument("vm")
@store_option
@output_option
def unfreeze(vm: str, store: str | None, output: str) -> None:
    """Let a frozen persona learn again."""
    kept = opened(store)
    _change(kept, the_vm(kept, vm), {"learning": "learning"}, "unfrozen: it learns again", output)


@persona.command(short_help="Forget what was learned as normal.")
@click.argument("vm")
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def reset(vm: str, yes: bool, store: str | None, output: str) -> None:
    """Forget what was learned as normal; risk, findings, labels, rules and the history stay."""
    kept = opened(store)
    known = the_vm(kept, vm)
    if not yes:
        flows = counted(known.profile.flows, "learned flow")
        click.confirm(f"Forget what is normal for {known.vm} ({flows})?", abort=True, err=True)
    empty = {"profile": TrafficProfile(), "completeness": Completeness()}
    _change(kept, known, empty, "reset: what was learned as normal is forgotten", output)


@persona.command(short_help="Print whole personas for machines.")
@click.argument("vms", metavar="[VM]...", nargs=-1)
@at_option
@store_option
@click.option("-o", "--output", type=click.Choice(["yaml", "json", "table"]), default="yaml", show_default=True)
def export(vms: tuple[str, ...], at: str | None, store: str | None, output: str) -> None:
    """Print whole personas, all or the named ones: a YAML document each, or one JSON list."""
    kept = opened(store)
    instant = _instant(at)
    known = [the_vm(kept, vm) for vm in vms] if vms else list(kept.personas().values())
    if output == "table":
        from netpersona.app.persona_tables import personas_table

        emit([_summary(kept, k, instant) for k in known], output, personas_table)
        return
    told = [resource(k, _now(k) if instant is None else instant, _risk(kept, k, instant)) for k in known]
    if output == "json":
        click.echo(json_text({"apiVersion": "netpersona/v1", "kind": "PersonaList", "items": told}))
    else:
        click.echo("---\n".join(yaml_text(one) for one in told), nl=False)


def _summary(store: Store, known: Persona, at: int | None) -> dict[str, Any]:
    instants = {"first_seen": known.first_seen, "last_seen": known.last_seen}
    return {
        "vm": known.vm,
        "addresses": list(known.base.addresses),
        "labels": dict(sorted(known.labels.items())),
        "version": known.version,
        "learning": known.learning,
        "risk_score": _risk(store, known, at),
        "risk_at": rfc3339(_now(known) if at is None else at),
        "completeness": {"seen": round(known.completeness.seen, 6), "flows": known.profile.flows},
        "signatures": sorted({signature.name for signature in known.signatures}),
        **{name: rfc3339(instant) for name, instant in instants.items() if instant is not None},
    }


def _risk(store: Store, known: Persona, at: int | None) -> float:
    """The risk now, or at another instant; for that all terms ever raised are asked for, not only those it carries."""
    if at is None:
        return risk_score(known, _now(known))
    return score(known.risk_prior, store.terms(known.vm), at)


def _now(known: Persona) -> int:
    """The instant (µs) at which the VM was last seen."""
    return known.last_seen if known.last_seen is not None else known.learned_until or 0


def _instant(text: str | None) -> int | None:
    if text is None:
        return None
    from netpersona.app.replay_command import parse_time

    return parse_time(text)


def _version(store: Store, text: str) -> PersonaVersion:
    """The version that NAME@NUMBER names, or the persona as it stands.  Raises ConfigError."""
    name, sign, number = text.rpartition("@")
    if not sign:
        known = the_vm(store, text)
        return PersonaVersion(known, _now(known), "as it stands")
    known = the_vm(store, name)
    versions = {str(v.persona.version): v for v in store.history(known.vm)}
    if number == str(known.version):
        return PersonaVersion(known, _now(known), "as it stands")
    if number not in versions:
        raise ConfigError(f"{known.vm} has no stored version {number!r}; {_numbers(known.vm, [*versions])}")
    return versions[number]


def _numbers(vm: VmId, numbers: list[str]) -> str:
    if not numbers:
        return f"none is stored; compare {vm} as it stands, without @"
    shown = ", ".join(numbers) if len(numbers) <= 6 else f"{', '.join(numbers[:3])}, ... {numbers[-1]}"
    return f"stored are {shown} ('netpersona persona history {vm}' lists them)"


def _shown(version: PersonaVersion) -> dict[str, Any]:
    return resource(version.persona, version.at, risk_score(version.persona, version.at))


def _change(store: Store, known: Persona, fields: dict[str, Any], why: str, output: str) -> None:
    """Store what a person changed, unless it is so already, and say it."""
    changed = any(getattr(known, name) != value for name, value in fields.items())
    new = replace(known, version=known.version + 1, **fields) if changed else known
    if changed:
        store.put_persona(new, _now(known), why)
    told = {"vm": new.vm, "version": new.version, "learning": new.learning, "changed": changed, "what": why}
    emit(told, output, _said)


def _said(told: dict[str, Any]) -> str:
    if told["changed"]:
        return f"{told['vm']} is now version {told['version']}, {told['what']}."
    return f"{told['vm']} is as asked already; nothing was changed."
