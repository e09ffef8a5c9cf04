"""The account of a replay on the terminal: who was seen, what was found and why, how risk went, what is in force."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from netpersona.app.clock import clock
from netpersona.app.finding_table import finding_lines
from netpersona.app.output import terminal
from netpersona.app.report import finding_object
from netpersona.app.run import Done
from netpersona.flow.vm import VmId
from netpersona.flow.words import counted
from netpersona.persona.model import Persona, RiskTerm
from netpersona.risk import ledger
from netpersona.risk.finding import Finding
from netpersona.ruleset.words import listing

_BARS = "▁▂▃▄▅▆▇█"
_POINTS = 32  # of a risk line
_ALERTS = 12  # shown; the report holds all
_VMS = 20
_REFUSED = 5  # refusals of a feed that are shown
_UNREAD = 5  # files that are named
_RULED = 5  # VMs whose rules are shown
_COLOURS = {"low": "green", "elevated": "yellow", "high": "bold red"}


def tell(done: Done, console: Console | None = None) -> None:
    """Print the account."""
    out = console if console is not None else terminal()
    findings = done.store.findings()
    for part in _parts(done, findings):
        out.print(part)


def risk_line(prior: float, terms: Sequence[RiskTerm], first: int, last: int) -> str:
    """The risk between two instants (µs) as a row of bars, 0 at the foot and 1 at the top."""
    step = max(1, (last - first) // (_POINTS - 1))
    scores = [ledger.score(prior, terms, min(last, first + step * i)) for i in range(_POINTS)]
    return "".join(_BARS[min(len(_BARS) - 1, int(score * len(_BARS)))] for score in scores)


def _parts(done: Done, findings: Sequence[Finding]) -> Iterator[object]:
    yield _read(done)
    if done.personas:
        yield _heading("Personas")
        yield _personas(done)
    yield _heading("Findings")
    yield _findings(findings)
    risky = [vm for vm in sorted(done.personas) if done.store.terms(vm)]
    if risky:
        yield _heading("Risk over time")
        yield _risk(done, risky)
    yield _heading("Rules that would be in force")
    yield _rules(done)
    yield Text()
    yield _next(done)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _read(done: Done) -> Group:
    intake = done.replayed.intake
    formats = sorted({account.format for account in intake.accounts if account.flows})
    what = ", ".join(formats) or "nothing that speaks of flows"
    unread = {path for path, _ in intake.unread}
    files = sum(account.path not in unread for account in intake.accounts)
    lines = [f"{counted(intake.flows, 'flow')} from {counted(files, 'file')} ({what})"]
    if intake.first is not None:
        lines.append(f"from {clock(intake.first)} to {clock(intake.last)} UTC")
    if intake.duplicates:
        again = counted(intake.duplicates, "flow")
        lines.append(f"{again} came again, from another sensor or replayed before: each counts once")
    lines += [f"{account.path}: {note}" for account in intake.accounts for note in account.notes]
    lines += [f"skipped {count:,}: {reason}" for reason, count in sorted(intake.skipped.items())]
    lines += [f"not read: {path}: {reason}" for path, reason in intake.unread[:_UNREAD]]
    if len(intake.unread) > _UNREAD:
        lines.append(f"not read: {counted(len(intake.unread) - _UNREAD, 'more file')}, which the report names")
    for snapshot in done.snapshots:
        held = f", {snapshot.refused_total:,} refused" if snapshot.refused_total else ""
        lines.append(f"feed {snapshot.settings.name}: {counted(snapshot.indicators.height, 'indicator')}{held}")
        lines += [f"  line {r.line}: {r.value}: {r.reason}" for r in snapshot.refused[:_REFUSED]]
        if snapshot.refused_total > _REFUSED:
            lines.append(f"  and {snapshot.refused_total - _REFUSED:,} more")
    if not done.personas:
        lines.append("no VM was seen: name them with --vm ADDRESS or --inventory FILE")
    elif intake.inferred:
        lines.append("no inventory was given: the VMs are the private addresses that open or answer flows")
    return Group(*(Text(line) for line in lines))


def _personas(done: Done) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("VM", "address", "risk", "learned", "flows", "serves", "signatures", "version"):
        table.add_column(name, overflow="fold", no_wrap=name not in {"serves", "signatures"})
    ranked = sorted(done.personas.values(), key=lambda p: (-ledger.risk_score(p, done.at), p.vm))
    for persona in ranked[:_VMS]:
        table.add_row(*_persona(persona, done.at))
    if len(ranked) > _VMS:
        table.caption = f"and {len(ranked) - _VMS} more"
    return table


def _persona(persona: Persona, at: int) -> tuple[Text, ...]:
    risk = ledger.risk_score(persona, at)
    word = ledger.word(risk)
    serves = sorted({f"{k.transport}/{k.port}" for k in persona.profile.kinds if k.direction == "inbound"})
    return (
        Text(persona.vm),
        Text(", ".join(a.partition("/")[0] for a in persona.base.addresses[:2])),
        Text(f"{risk:.2f} {word}", style=_COLOURS[word]),
        Text(f"{persona.completeness.seen:.1%}"),
        Text(f"{persona.profile.flows:,}"),
        Text(", ".join(serves[:4]) + (" ..." if len(serves) > 4 else "")),
        Text(", ".join(sorted({s.name for s in persona.signatures})) or "-"),
        Text(str(persona.version)),
    )


def _findings(findings: Sequence[Finding]) -> Group:
    alerts = sorted((f for f in findings if f.alert), key=lambda f: (-f.weight, f.judged_at, f.id))
    parts = [part for finding in alerts[:_ALERTS] for part in finding_lines(finding_object(finding))]
    if len(alerts) > _ALERTS:
        parts.append(Text(f"and {counted(len(alerts) - _ALERTS, 'more alert')}", style="dim"))
    quiet = "no alert; " if not alerts else ""
    context = counted(len(findings) - len(alerts), "finding")
    parts.append(Text(f"{quiet}{context} kept as context", style="dim"))
    return Group(*parts)


def _risk(done: Done, vms: Sequence[VmId]) -> Table:
    intake = done.replayed.intake
    table = Table(box=None, pad_edge=False, show_header=False)
    shown = sorted(vms, key=lambda vm: (-ledger.risk_score(done.personas[vm], done.at), vm))[:10]
    for vm in shown:
        persona, terms = done.personas[vm], done.store.terms(vm)
        first = intake.first if intake.first is not None else done.at
        line = risk_line(persona.risk_prior, terms, first, done.at)
        top = ledger.contributions(persona.risk_ledger, done.at)[:2]
        owners = ", ".join(f"{c.detector} {c.peer or ''} +{c.log_odds:.1f}".replace("  ", " ") for c in top)
        table.add_row(
            Text(vm), Text(line), Text(f"{ledger.risk_score(persona, done.at):.2f}"), Text(owners, style="dim")
        )
    return table


def _rules(done: Done) -> Group:
    busy = {vm for vm, rules in done.ruleset.vms.items() if rules.outbound or rules.inbound}
    if not busy:
        return Group(Text("none: no policy was given (--policy FILE), or none concerns these VMs", style="dim"))
    ranked = sorted(busy, key=lambda vm: (-ledger.risk_score(done.personas[vm], done.at), vm))
    shown = replace(done.ruleset, vms={vm: done.ruleset.vms[vm] for vm in ranked[:_RULED]})
    parts: list[RenderableType] = [_indented(line) for line in listing(shown).splitlines()]
    if len(ranked) > _RULED:
        parts.append(
            Text(f"and the rules of {counted(len(ranked) - _RULED, 'more VM')}: see the report's plan", style="dim")
        )
    return Group(*parts)


def _indented(line: str) -> Padding:
    """A line that keeps its indentation where it is broken."""
    text = line.lstrip()
    return Padding(Text(text), (0, 0, 0, len(line) - len(text)))


def _next(done: Done) -> Text:
    if done.store_url is None:
        return Text(
            "Nothing was stored. With --store FILE.db: netpersona persona list, why, risk explain.", style="dim"
        )
    return Text(f"Stored in {done.store_url}: netpersona persona list, why VM PEER, risk explain VM.", style="dim")
