"""`netpersona why VM PEER[:PORT]`: the verdict on traffic between a VM and a peer, and everything it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from netpersona.app.lookup import opened, store_option, the_vm
from netpersona.app.output import emit, output_option
from netpersona.errors import ConfigError
from netpersona.flow.vm import canonical_address

if TYPE_CHECKING:
    from netpersona.app.standing import Standing
    from netpersona.persona.model import Persona
    from netpersona.ports import Store
    from netpersona.ruleset.verdict import Decision, Packet

_TERMS = 5


@click.command()
@click.argument("vm")
@click.argument("peer", metavar="PEER[:PORT]")
@click.option("--direction", type=click.Choice(["outbound", "inbound"]), default="outbound", show_default=True)
@click.option("--protocol", default="tcp", show_default=True, help="tcp, udp, icmp, ...")
@click.option("--established", is_flag=True, help="A flow that is established already, not a new one.")
@click.option("--at", metavar="TIME", help="The instant: epoch seconds or RFC 3339; else when the VM was last judged.")
@store_option
@output_option
def why(
    vm: str, peer: str, direction: str, protocol: str, established: bool, at: str | None, store: str | None, output: str
) -> None:
    """Explain what happens to traffic between VM and PEER: the verdict, the rule, and what it rests on.

    PEER is an address or a name that the VM asked for; an IPv6 address with a port stands in brackets.
    """
    from netpersona.app.replay_command import parse_time
    from netpersona.app.standing import standing
    from netpersona.policy.model import Direction
    from netpersona.ruleset.verdict import Packet

    kept = opened(store)
    persona = the_vm(kept, vm)
    now = standing(kept, None if at is None else parse_time(at))
    text, port = _split(peer)
    address = _address(kept, persona, text)
    packet = Packet(persona.vm, Direction(direction), address, protocol.lower(), port, established=established)
    emit(_told(now, persona, packet, text), output, _drawn)


def _split(text: str) -> tuple[str, int]:
    """A peer and a port: 203.0.113.7:443, [2001:db8::7]:443, host.example:443, or any of them alone."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", text)
    if match is None:
        return text, 0
    port = int(match[2] or match[4] or 0)
    if port > 65535:
        raise ConfigError(f"{text}: {port} is no port; ports go to 65535")
    return match[1] or match[3], port


def _address(store: Store, persona: Persona, text: str) -> str:
    """The peer's address; a name stands for the address that DNS last answered this VM for it."""
    try:
        return canonical_address(text)
    except ValueError:
        answers = store.names().get(persona.vm, {}).get(text.lower().rstrip("."))
    if not answers:
        raise ConfigError(f"{text!r} is no address, and {persona.vm} was never seen to get one for it; give an address")
    return max(answers, key=lambda address: (answers[address], address))


def _told(now: Standing, persona: Persona, packet: Packet, asked: str) -> dict[str, Any]:
    from netpersona.app.report import seconds
    from netpersona.ruleset.explain import explain_other
    from netpersona.ruleset.verdict import verdict

    ruleset = now.ruleset()
    decision = verdict(ruleset, packet)
    return {
        "vm": persona.vm,
        "peer": packet.peer,
        **({"name": asked} if asked != packet.peer else {}),
        "port": packet.port or None,
        "protocol": packet.transport,
        "direction": packet.direction.value,
        "established": packet.established,
        "at": seconds(now.at),
        "verdict": decision.verdict,
        "why": decision.why,
        "rule": _rule(decision),
        "staged": [f"{r.action} by {r.policy}/{r.rule}@{r.version}" for r in decision.staged],
        "persona": _facts(now, persona, packet),
        "indicators": _listings(now, packet, asked),
        "otherwise": explain_other(ruleset, packet) or ["a policy would have to have a rule that concerns this packet"],
    }


def _rule(decision: Decision) -> dict[str, Any] | None:
    rule = decision.rule
    if rule is None:
        return None
    return {"policy": rule.policy, "version": rule.version, "rule": rule.rule, "action": rule.action.value}


def _facts(now: Standing, persona: Persona, packet: Packet) -> dict[str, Any]:
    """What of the persona bears on the answer: its risk with its owners, its signatures, and how it knows this peer."""
    from netpersona.app.report import seconds
    from netpersona.risk import ledger

    terms = now.store.terms(persona.vm)
    parts = ledger.contributions(terms, now.at)
    met = [(k, u) for k, u in sorted(persona.profile.kinds.items()) if k.peer == packet.peer]
    found = [f for f in now.store.findings(persona.vm) if f.peer == packet.peer or packet.peer in f.peers]
    return {
        "version": persona.version,
        "risk": ledger.score(persona.risk_prior, terms, now.at),
        "risk_terms": [
            {"detector": p.detector, "peer": p.peer, "log_odds": round(p.log_odds, 3), "why": p.terms[-1].why}
            for p in parts[:_TERMS]
        ],
        "completeness": round(persona.completeness.seen, 6),
        "signatures": sorted({s.name for s in persona.signatures}),
        "known_peer": [
            {
                "service": f"{k.transport}/{k.port}",
                "flows": round(u.flows, 1),
                "first": seconds(u.first),
                "last": seconds(u.last),
            }
            for k, u in met
        ],
        "findings": [{"id": f.id, "kind": f.kind, "alert": f.alert, "why": f.why} for f in found],
    }


def _listings(now: Standing, packet: Packet, asked: str) -> dict[str, Any]:
    """The indicators that cover the peer, or the name it was asked by: feed, line, date, and what they come to."""
    from netpersona.app.report import seconds

    names = {name for name, answers in now.store.names().get(packet.vm, {}).items() if packet.peer in answers}
    values = [packet.peer, *sorted(names | ({asked} if asked != packet.peer else set()))]
    told = [now.intel.explain(value, now.at) for value in values]
    rows = [
        {
            "value": listing.value,
            "feed": listing.feed,
            "line": listing.line,
            "category": listing.category,
            "label": listing.label,
            "confidence": listing.confidence,
            "freshness": round(listing.freshness, 3),
            "since": seconds(listing.valid_from),
            "until": seconds(listing.valid_until),
            "in_force": listing.in_force,
        }
        for explanation in told
        for listing in explanation
    ]
    return {"reputation": round(told[0].reputation, 6), "words": told[0].words, "listings": rows}


def _drawn(told: Mapping[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    colour = (
        "green" if told["verdict"] == "allow" else "bold red" if told["verdict"] in {"deny", "reject"} else "yellow"
    )
    port = f" port {told['port']}" if told["port"] else ""
    way = "to" if told["direction"] == "outbound" else "from"
    flow = "an established" if told["established"] else "a new"
    name = f" ({told['name']})" if "name" in told else ""
    head = Text.assemble(
        (told["verdict"], colour), f": {flow} {told['protocol']} flow of {told['vm']} {way} {told['peer']}{name}{port}"
    )
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    for label, text in _lines(told):
        grid.add_row(f"  {label}", Text(text))
    return Group(head, grid)


def _lines(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    persona, listed, rule = told["persona"], told["indicators"], told["rule"]
    yield "because", told["why"]
    yield "by", _rule_words(rule)
    for text in told["staged"]:
        yield "staged", text
    yield "known", _known_words(persona["known_peer"])
    yield "indicator", listed["words"]
    for row in listed["listings"]:
        yield "", _listing_words(row)
    learned = f"persona version {persona['version']}, {persona['completeness']:.1%} learned"
    yield "risk", f"{persona['risk']:.3f} ({learned})"
    for t in persona["risk_terms"]:
        yield "", f"+{t['log_odds']:.2f} {t['detector']} {t['peer'] or 'many'}: {t['why']}"
    for f in persona["findings"]:
        yield "finding", f"{f['kind']}: {f['why']}"
    for text in told["otherwise"]:
        yield "otherwise", text


def _rule_words(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return "no rule; the built-in order decides"
    return f"{rule['policy']}/{rule['rule']}, version {rule['version']}"


def _known_words(known: Sequence[Mapping[str, Any]]) -> str:
    from netpersona.app.account import clock

    said = [f"{k['service']} {k['flows']:g} flows since {clock(round(k['first'] * 1e6))}" for k in known]
    return ", ".join(said) or "this peer is not in the learned profile"


def _listing_words(row: Mapping[str, Any]) -> str:
    from netpersona.app.account import clock

    since = "no date given" if row["since"] is None else f"since {clock(round(row['since'] * 1e6))}"
    until = "" if row["until"] is None else f", until {clock(round(row['until'] * 1e6))}"
    state = "" if row["in_force"] else ", not in force"
    said = f"{row['value']} in {row['feed']}, line {row['line']}, {since}{until}"
    return f"{said}, confidence {row['confidence']:.2f}{state}"
