"""A VM's risk at an instant, taken apart: which detector and peer adds what, by which terms, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from netpersona.app.clock import clock
from netpersona.app.report import seconds
from netpersona.errors import ConfigError
from netpersona.persona.model import Persona, RiskTerm
from netpersona.risk import ledger
from netpersona.risk.finding import Finding


def explanation(
    persona: Persona,
    terms: Sequence[RiskTerm],
    at: int | None,
    left_out: Sequence[str],
    findings: Mapping[str, Finding] = MappingProxyType({}),
) -> dict[str, Any]:
    """The risk of a persona at an instant (µs; None: when it was last seen), without the named feeds and detectors.

    `terms` are marked with what exempts them then (risk.exemptions).  `findings`: those that the store still has, by
    id; each reason is told as they tell it now.
    """
    instant = at if at is not None else last_of(persona, terms)
    for owner in left_out:
        _check(owner, terms)
    kept = ledger.without(terms, *left_out)
    told: dict[str, Any] = {
        "vm": persona.vm,
        "at": seconds(instant),
        "risk": ledger.score(persona.risk_prior, kept, instant),
        "prior": persona.risk_prior,
        "contributions": [_contribution(c, findings, instant) for c in ledger.contributions(kept, instant)],
        "exempt": [_exempt(t, findings, instant) for t in kept if _would_count(t, instant)],
    }
    if left_out:
        told["without"] = sorted(left_out)
        told["risk_with_all"] = ledger.score(persona.risk_prior, terms, instant)
    return told


def sentence(term: RiskTerm, findings: Mapping[str, Finding], at: int) -> str:
    """The reason for a term: its finding's sentence as it is now; the term's own where the finding is gone.

    A term keeps the sentence of the window that raised it, while its finding goes on to count.  At an instant (µs)
    before the finding was last seen, the term's own sentence is the one that was true.
    """
    finding = findings.get(term.finding)
    return term.why if finding is None or at < finding.last_seen else finding.why


def table(told: Mapping[str, Any]) -> Group:
    """The explanation for a terminal: a line for each part, and below it why, as wide as there is room."""
    head = (
        f"{told['vm']}: risk {told['risk']:.3f} ({ledger.word(told['risk'])}) at {clock(round(told['at'] * 1e6))} UTC"
    )
    if "without" in told:
        head += f", without {', '.join(told['without'])} (with all: {told['risk_with_all']:.3f})"
    parts = [part for each in told["contributions"] for part in _part_lines(each)]
    prior = Text(f"       prior: every VM begins at {told['prior']:.0%}")
    parts += [part for each in told.get("exempt", ()) for part in _exempt_lines(each)]
    return Group(Text(head, style="bold"), Text("log-odds", style="dim"), prior, *parts)


def _part_lines(part: Mapping[str, Any]) -> Iterator[RenderableType]:
    newest, capped = part["terms"][-1], ", capped" if part["capped"] else ""
    since, half_life = clock(round(part["terms"][0]["at"] * 1e6))[:16], newest["half_life_s"] / 3600
    yield Text.assemble(
        (f"{part['log_odds']:+5.2f}  ", "bold"),
        f"{part['detector']} {part['peer'] or 'many'}",
        (f"  since {since}, halves in {half_life:g} h{capped}", "dim"),
    )
    yield Padding(Text(newest["why"]), (0, 0, 0, 7))


def _exempt_lines(part: Mapping[str, Any]) -> Iterator[RenderableType]:
    since, why = clock(round(part["exempt_since"] * 1e6))[:16], part["exempt_because"]
    yield Text.assemble(
        ("   --  ", "bold"), f"{part['detector']} {part['peer'] or 'many'}", (f"  does not count since {since}", "dim")
    )
    yield Padding(Text(f"It would add {part['now']:.2f}, but {why}."), (0, 0, 0, 7))


def last_of(persona: Persona, terms: Sequence[RiskTerm]) -> int:
    """The last instant (µs) of which anything is known."""
    last = [term.at for term in terms]
    return max([persona.last_seen or 0, persona.learned_until or 0, *last])


def _check(owner: str, terms: Sequence[RiskTerm]) -> None:
    known = sorted({t.detector for t in terms} | {feed for t in terms for feed in t.feeds})
    if owner in known:
        return
    near = get_close_matches(owner, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it rests on {', '.join(known) or 'nothing'}"
    raise ConfigError(f"this VM's risk rests on no feed or detector {owner!r}; {hint}")


def _contribution(part: ledger.Contribution, findings: Mapping[str, Finding], at: int) -> dict[str, Any]:
    return {
        "detector": part.detector,
        "peer": part.peer,
        "log_odds": round(part.log_odds, 6),
        "capped": part.capped,
        "terms": [_term(term, findings, at) for term in part.terms if ledger.counted(term, at) > 0.0],
    }


def _term(term: RiskTerm, findings: Mapping[str, Finding], at: int) -> dict[str, Any]:
    return {
        "finding": term.finding,
        "at": seconds(term.at),
        "weight": term.weight,
        "half_life_s": term.half_life / 1e6,
        "now": round(ledger.decayed(term, at), 6),
        "feeds": list(term.feeds),
        "why": sentence(term, findings, at),
        "why_then": term.why,
    }


def _would_count(term: RiskTerm, at: int) -> bool:
    """Whether a term that is exempt has not faded: it would count again if the exemption ended."""
    return ledger.is_exempt(term, at) and ledger.decayed(term, at) >= ledger.NEGLIGIBLE


def _exempt(term: RiskTerm, findings: Mapping[str, Finding], at: int) -> dict[str, Any]:
    assert term.exempt is not None
    return {
        "detector": term.detector,
        "peer": term.peer,
        **_term(term, findings, at),
        "exempt_since": seconds(term.exempt.since),
        "exempt_until": seconds(term.exempt.until),
        "exempt_because": term.exempt.why,
    }
