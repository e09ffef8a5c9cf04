"""The resolved rules for people and reports: plain data for each VM, and a listing to read."""

from __future__ import annotations

from collections.abc import Iterator

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
    """`outbound deny to 12 peers (reputation_below_0.3), tcp 80, 443; cuts established flows`."""
    parts = [f"{rule.direction} {rule.action}", _peers_said(ruleset, rules, rule)]
    services = " ".join([*rule.transports, *(str(a) if a == b else f"{a}-{b}" for a, b in rule.ports)])
    parts += [f"for {services}"] if services else []
    parts += [f"at most {_rate(rule.rate)}"] if rule.rate is not None else []
    parts += [f"to {_target(rule)}"] if rule.target is not None else []
    tail = {"cut": "; cuts established flows", "keep": ""}
    end = "" if rule.drains_until is None else f"; cuts established flows from {instant(rule.drains_until)}"
    staged = "would " if rule.mode is Mode.STAGE else ""
    return staged + " ".join(parts) + (end or tail.get(_existing(rule), ""))


def _peers_said(ruleset: Ruleset, rules: VmRules, rule: ResolvedRule) -> str:
    if not rule.peers:
        return "for nobody"
    return " or ".join(_match_said(ruleset, rules, match) for match in rule.peers)


def _match_said(ruleset: Ruleset, rules: VmRules, match: Match) -> str:
    said = [
        f"{'not ' if ref.negated else ''}{ref.of(rules.vm)} ({len(ruleset.sets[ref.of(rules.vm)])} members)"
        for ref in match.sets
    ]
    if match.known_service is not None:
        said.append("known services" if match.known_service else "new services")
    return "of " + " and ".join(said) if said else "of every peer"
