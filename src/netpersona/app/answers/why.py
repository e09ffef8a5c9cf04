"""Why traffic between a VM and a peer passes or not: the verdict, the rule, and everything it rests on.

A peer may be given by a name.  Then the newest address that the VM addressed by it is judged, and the others beside
it; where no address is known, an address that nobody knows but by this name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from netpersona.adapters.sensors.flow_records import TRANSPORTS
from netpersona.app.answers.ask import Traffic
from netpersona.app.answers.known import Known, the_vm
from netpersona.app.answers.receipts import Flow, about
from netpersona.app.clock import clock
from netpersona.app.exempted import terms_of
from netpersona.app.named_peer import NamedPeer, name_of, named_peer
from netpersona.app.report import seconds
from netpersona.app.risk_explanation import sentence
from netpersona.app.standing import Standing
from netpersona.errors import ConfigError
from netpersona.flow.vm import canonical_address
from netpersona.intel.explanation import Explanation
from netpersona.persona.model import Persona, RiskTerm
from netpersona.policy.model import Direction
from netpersona.policy.rules import PROTOCOLS
from netpersona.risk import ledger
from netpersona.risk.detectors.words import span
from netpersona.risk.finding import Finding
from netpersona.risk.ledger import Contribution
from netpersona.ruleset.explain import explain_other
from netpersona.ruleset.model import PORTED, Ruleset
from netpersona.ruleset.verdict import Decision, Packet, verdict


def why(known: Known, traffic: Traffic, at: int | None) -> dict[str, Any]:
    """The verdict now or at another instant (µs).  Raises ConfigError for what is no VM, peer or protocol."""
    if traffic.direction not in {"outbound", "inbound"}:
        raise ConfigError(f"{traffic.direction[:100]!r} is no direction; say outbound or inbound")
    text, port = _split(traffic.peer)
    transport = _transport(traffic.protocol, port)
    name = name_of(text)
    persona = the_vm(known, traffic.vm)
    now = known.standing(at)
    named = None if name is None else named_peer(now.store, persona, name)
    supposed = named is not None and not named.addresses
    ruleset = known.ruleset(now, at)
    if named is None:
        address = canonical_address(text)
    elif named.addresses:
        address = named.addresses[0].address
    else:
        ruleset, address = now.supposed(persona.vm, named.name, ruleset)
    direction = Direction(traffic.direction)
    packet = Packet(persona.vm, direction, address, transport, port, established=traffic.established)
    told = _told(_Question(now, persona, ruleset, _of_family(packet), named, supposed))
    met = None if at is not None else about(known.receipts(persona.vm), _flow(packet))
    return told if met is None else {**told, "receipts": met}


def _flow(packet: Packet) -> Flow:
    return Flow(packet.vm, packet.peer, packet.transport, packet.port)


class _Question(NamedTuple):
    """What was asked: a packet under some rules, and the name that the peer was given by, if it was."""

    now: Standing
    persona: Persona
    ruleset: Ruleset
    packet: Packet
    named: NamedPeer | None
    supposed: bool  # no address is known: the packet's stands for the name alone

    def said(self, text: str) -> str:
        """A sentence about the packet, with the name in place of the supposed address."""
        return text.replace(self.packet.peer, self.named.name) if self.named is not None and self.supposed else text

    def findings(self) -> list[Finding]:
        """The findings that concern the peer."""
        peer = self.packet.peer
        about = {f.id for f in self.named.findings} if self.named is not None else set()
        found = self.now.store.findings(self.persona.vm)
        return [f for f in found if f.peer == peer or peer in f.peers or f.id in about]


def _split(text: str) -> tuple[str, int]:
    """A peer and a port: 203.0.113.7:443, [2001:db8::7]:443, host.example:443, or any of them alone."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})", text)
    if match is None:
        return text, 0
    said = match[2] or match[4]
    if said is not None and not 1 <= int(said) <= 65535:
        raise ConfigError(f"{text}: {said} is no port; ports go from 1 to 65535")
    return match[1] or match[3], 0 if said is None else int(said)


def _transport(text: str, port: int) -> str:
    """The protocol as flows name it.

    Raises ConfigError for one that nobody knows, and for a port where the protocol has none.
    """
    name = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,3}", name) and int(name) < 256:
        name = TRANSPORTS.get(int(name), str(int(name)))
    name = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}.get(name, name)
    known = dict.fromkeys([*PROTOCOLS, *TRANSPORTS.values()])
    if name not in known and not (re.fullmatch(r"[0-9]{1,3}", name) and int(name) < 256):
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"--protocol {text}: no such protocol; {hint}known are {', '.join(known)}, and numbers from 0 to 255"
        )
    if port and name not in PORTED:
        raise ConfigError(f"--protocol {text} has no ports, but port {port} was given; ask without it")
    return name


def _of_family(packet: Packet) -> Packet:
    """The packet with the ICMP of its peer's family."""
    return replace(packet, transport="icmp6") if packet.transport == "icmp" and ":" in packet.peer else packet


def _told(asked: _Question) -> dict[str, Any]:
    packet, named = asked.packet, asked.named
    decision = verdict(asked.ruleset, packet)
    otherwise = explain_other(asked.ruleset, packet) or ["a policy would have to have a rule that concerns this packet"]
    return {
        "vm": asked.persona.vm,
        "peer": None if asked.supposed else packet.peer,
        **({} if named is None else {"name": named.name, "known_by_name": _known_by_name(asked, named)}),
        "port": packet.port or None,
        "protocol": packet.transport,
        "direction": packet.direction.value,
        "established": packet.established,
        "at": seconds(asked.now.at),
        "verdict": decision.verdict,
        "why": asked.said(decision.why),
        "rule": _rule(decision),
        "staged": [f"{r.action} by {r.policy}/{r.rule}@{r.version}" for r in decision.staged],
        "persona": _facts(asked),
        "indicators": _listings(asked),
        "otherwise": [asked.said(text) for text in otherwise],
    }


def _known_by_name(asked: _Question, named: NamedPeer) -> dict[str, Any]:
    """The addresses that the VM addressed by the name, each with its verdict, and how much the VM used the name.

    `if_answered` is the verdict on the name itself: on an address that nobody knows but as its DNS answer.
    """
    addresses = []
    for seen in named.addresses:
        decision = verdict(asked.ruleset, _of_family(replace(asked.packet, peer=seen.address)))
        addresses.append(
            {
                "address": seen.address,
                "name": seen.name,
                "how": seen.how,
                "last": seconds(seen.last),
                "verdict": decision.verdict,
                "why": decision.why,
            }
        )
    used = named.learned
    ruleset, address = asked.ruleset, asked.packet.peer
    if not asked.supposed:
        ruleset, address = asked.now.supposed(asked.persona.vm, named.name, ruleset)
    answered = verdict(ruleset, _of_family(replace(asked.packet, peer=address)))
    return {
        "addresses": addresses,
        "if_answered": {"verdict": answered.verdict, "why": answered.why.replace(address, named.name)},
        "learned": None
        if used is None
        else {
            "name": named.learned_as,
            "uses": round(used.flows, 1),
            "first": seconds(used.first),
            "last": seconds(used.last),
        },
    }


def _rule(decision: Decision) -> dict[str, Any] | None:
    rule = decision.rule
    if rule is None:
        return None
    return {"policy": rule.policy, "version": rule.version, "rule": rule.rule, "action": rule.action.value}


def _facts(asked: _Question) -> dict[str, Any]:
    """What of the persona bears on the answer: its risk with its owners, its signatures, and how it knows this peer."""
    now, persona, packet = asked.now, asked.persona, asked.packet
    terms = terms_of(now.store, persona.vm, now.at)
    met = [(k, u) for k, u in sorted(persona.profile.kinds.items()) if k.peer == packet.peer]
    found = asked.findings()
    return {
        "version": persona.version,
        "risk": ledger.score(persona.risk_prior, terms, now.at),
        **_worries(asked, ledger.contributions(terms, now.at), {f.id: f for f in found}),
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


def _worries(asked: _Question, parts: Sequence[Contribution], found: Mapping[str, Finding]) -> dict[str, Any]:
    """The parts of the risk that concern the peer, and of the rest their number, sum and owners."""
    peers = {asked.packet.peer, *(a.address for a in (asked.named.addresses if asked.named is not None else ()))}
    about = [p for p in parts if p.peer in peers or any(term.finding in found for term in p.terms)]
    rest = [p for p in parts if p not in about]
    return {
        "risk_terms": [
            {
                "detector": p.detector,
                "peer": p.peer,
                "log_odds": round(p.log_odds, 3),
                "why": sentence(_latest(p.terms, found), found, asked.now.at),
            }
            for p in about
        ],
        "risk_elsewhere": {
            "terms": len(rest),
            "log_odds": round(sum(p.log_odds for p in rest), 3),
            "owners": [" ".join((p.detector, p.peer or "many")) for p in rest],
        },
    }


def _latest(terms: Sequence[RiskTerm], found: Mapping[str, Finding]) -> RiskTerm:
    """The latest of the terms that is of one of these findings; else the latest."""
    return next((term for term in reversed(terms) if term.finding in found), terms[-1])


def _listings(asked: _Question) -> dict[str, Any]:
    """The indicators that cover the peer, or a name it was met by: feed, line, date, and what they come to."""
    now, packet, named = asked.now, asked.packet, asked.named
    answered = {
        name: answers[packet.peer]
        for name, answers in now.store.names().get(packet.vm, {}).items()
        if packet.peer in answers
    }
    names = set(answered)
    if named is not None:
        names |= {named.name, *(seen.name for seen in named.addresses if seen.address == packet.peer)}
    values = [*([] if asked.supposed else [packet.peer]), *sorted(names)]
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
    unique = list({(row["value"], row["feed"], row["line"]): row for row in rows}.values())
    worst = min(told, key=lambda explanation: explanation.reputation)
    words = [told[0].words] if worst.reputation == told[0].reputation else [told[0].words, worst.words]
    words += [_answered(packet, each.value, answered[each.value], now.at) for each in told if _is_of(each, answered)]
    return {"reputation": round(told[0].reputation, 6), "words": " ".join(words), "listings": unique}


def _is_of(told: Explanation, answered: Mapping[str, int]) -> bool:
    """Whether a listed name is told of, for which DNS answered the peer."""
    return len(told) > 0 and told.value in answered


def _answered(packet: Packet, name: str, last: int, now: int) -> str:
    """That DNS answered the peer for a listed name, and how long ago."""
    ago = span(max(0, now - last))
    return f"DNS answered {packet.vm} {packet.peer} for {name}, last at {clock(last)}, {ago} before."
