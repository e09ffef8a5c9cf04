"""The resolved rules for people and reports: plain data for each VM, and a listing to read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from netpersona.policy.model import Mode, Rate
from netpersona.ruleset.model import Match, ResolvedRule, Ruleset, VmRules
from netpersona.ruleset.reasons import instant, why


def plan(ruleset: Ruleset) -> list[dict[str, object]]:
    """One object for each VM, in the order of their names: `vm`, `interface`, `addresses` and its `rules`.

    A rule has policy, version, rule, mode, action, direction, peers (see `_peers`), protocols, ports, existing and
    why; rate, to and drains_until (seconds since the epoch) where it has them.
    """
    return [
        {
            "vm": vm,
            "interface": rules.interface,
            "addresses": list(rules.addresses),
            "known": rules.known,
            "rules": [_rule(ruleset, rules, rule) for rule in (*rules.outbound, *rules.inbound)],
        }
        for vm, rules in ruleset.vms.items()
    ]


def listing(ruleset: Ruleset) -> str:
    """The ruleset to be read on a terminal, a rule a line with its reason below it."""
    return "\n".join(line for rules in ruleset.vms.values() for line in _vm_lines(ruleset, rules)) + "\n"


def peers_said(peers: Sequence[Mapping[str, Any]]) -> str:
    """`each peer that has a reputation below 0.3 (12)`: whom a rule concerns, as `plan` tells it."""
    told = {each["set"] for peer in peers for each in peer.get("sets", ()) if not each["not"]}
    return " or ".join(_alternative(peer, told) for peer in peers) or "nobody"


def _alternative(peer: Mapping[str, Any], told: Collection[str]) -> str:
    """Peers for which all of this holds; of what another alternative concerns anyway it is not said that it is none."""
    sets = peer.get("sets", ())
    said = [f"each peer that {each['why']} ({each['size']:,})" for each in sets if not each["not"]]
    besides = [f" except any that {each['why']}" for each in sets if each["not"] and each["set"] not in told]
    whom = (" and ".join(said) or "every peer") + "".join(besides)
    if "services" not in peer:
        return whom
    services = "new services" if peer["services"]["not"] else "known services"
    return services if whom == "every peer" else f"{whom}, {services}"


def _rule(ruleset: Ruleset, rules: VmRules, rule: ResolvedRule) -> dict[str, object]:
    found: dict[str, object] = {
        "policy": rule.policy,
        "version": rule.version,
        "rule": rule.rule,
        "mode": rule.mode.value,
        "action": rule.action.value,
        "direction": rule.direction.value,
        "peers": [_peers(ruleset, rules, match) for match in rule.peers],
        "protocols": list(rule.transports),
        "ports": [low if low == high else f"{low}-{high}" for low, high in rule.ports],
        "existing": _existing(rule),
        "why": why(rules, rule),
    }
    if rule.rate is not None:
        found["rate"] = _rate(rule.rate)
    if rule.target is not None:
        found["to"] = _target(rule)
    if rule.drains_until is not None:
        found["drains_until"] = rule.drains_until / 1_000_000
    return found


def _peers(ruleset: Ruleset, rules: VmRules, match: Match) -> dict[str, object]:
    """What must hold together: the sets, each with its size; `any`: every peer."""
    if not match.sets and match.known_service is None:
        return {"any": True}
    found: dict[str, object] = {
        "sets": [
            {
                "set": ref.of(rules.vm),
                "size": len(ruleset.sets[ref.of(rules.vm)]),
                "not": ref.negated,
                "why": ruleset.sets[ref.of(rules.vm)].why,
            }
            for ref in match.sets
        ]
    }
    if match.known_service is not None:
        services = [f"{transport}/{port}" for transport, port in rules.services]
        found["services"] = {"services": services, "not": not match.known_service}
    return found


def _existing(rule: ResolvedRule) -> str:
    if rule.cut:
        return "cut"
    return "keep" if rule.drains_until is None else "drain"


def _rate(rate: Rate) -> str:
    return f"{rate.value} {rate.unit}/s"


def _target(rule: ResolvedRule) -> str:
    assert rule.target is not None
    address, port = rule.target
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _vm_lines(ruleset: Ruleset, rules: VmRules) -> Iterator[str]:
    where = rules.interface or ", ".join(rules.addresses) or "no address known"
    yield f"{rules.vm} ({where})"
    if not rules.known:
        yield f"  no persona: {ruleset.unknown_vm}"
    elif not rules.outbound and not rules.inbound:
        yield "  no rule concerns it"
    for rule in (*rules.outbound, *rules.inbound):
        yield f"  {_sentence(ruleset, rules, rule)}"
        yield f"      {rule.name}: {why(rules, rule)}"


def _sentence(ruleset: Ruleset, rules: VmRules, rule: ResolvedRule) -> str:
    """`outbound deny of each peer that has a reputation below 0.3 (12) for tcp 80, 443; cuts established flows`."""
    parts = [
        f"{rule.direction} {rule.action}",
        f"of {peers_said([_peers(ruleset, rules, match) for match in rule.peers])}",
    ]
    services = " ".join([*rule.transports, *(str(a) if a == b else f"{a}-{b}" for a, b in rule.ports)])
    parts += [f"for {services}"] if services else []
    parts += [f"at most {_rate(rule.rate)}"] if rule.rate is not None else []
    parts += [f"to {_target(rule)}"] if rule.target is not None else []
    tail = {"cut": "; cuts established flows", "keep": ""}
    end = "" if rule.drains_until is None else f"; cuts established flows from {instant(rule.drains_until)}"
    staged = "would " if rule.mode is Mode.STAGE else ""
    return staged + " ".join(parts) + (end or tail.get(_existing(rule), ""))
