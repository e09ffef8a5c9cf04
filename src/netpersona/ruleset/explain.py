"""What would have to be different for the other verdict.

The answer is found by undoing: the rule that decided is taken away, and what then decides is looked at, until the
packet meets the other fate.  Each step names what its rule rests on: the condition, the peer, the port.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from netpersona.policy.conditions import evidence, holds
from netpersona.policy.expression import conjuncts
from netpersona.policy.facts import Facts
from netpersona.policy.model import Action, Condition, Direction, Mode
from netpersona.ruleset.model import Match, Origin, ResolvedRule, Ruleset, SetRef, VmRules
from netpersona.ruleset.peers import PeerSet
from netpersona.ruleset.verdict import Decision, Packet, agrees, concerns, concerns_flow, verdict

_COMPARED = re.compile(r"\s*persona\.([a-z_]+)\s*(>=|<=|>|<)\s*([0-9.]+)\s*")
_TRUE = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most"}
_FALSE = {">": "at most", ">=": "less than", "<": "at least", "<=": "more than"}
_ALLOWING = {Action.ALLOW, Action.LOG}


def explain_other(ruleset: Ruleset, packet: Packet) -> list[str]:
    """Sentences that say what would have to be different for this packet to be let through, or to be stopped."""
    decision = verdict(ruleset, packet)
    rules = ruleset.vms.get(packet.vm)
    if rules is None or not rules.known:
        return [f"{packet.vm} would have to have a persona, or unknown_vm be {_opposite(ruleset.unknown_vm)}"]
    said = _to_pass(ruleset, rules, packet) if not decision.passes else _to_stop(ruleset, rules, packet, decision)
    return list(dict.fromkeys(said))


def _opposite(word: str) -> str:
    return "deny" if word == "allow" else "allow"


def _to_pass(ruleset: Ruleset, rules: VmRules, packet: Packet) -> Iterator[str]:
    """Every rule that stops it must be undone; an allow-list entry does it at once."""
    decision = verdict(ruleset, packet)
    if decision.step == "spoof":
        yield f"its source would have to be one of {', '.join(rules.own)}"
        return
    while not decision.passes and decision.rule is not None:
        rule = decision.rule
        yield f"{rule.name}: {_or(_undone(ruleset, rules, rule, packet))}"
        ruleset = _without_rule(ruleset, packet, rule)
        decision = verdict(ruleset, packet)
    yield f"or {packet.peer} would have to be allow-listed"


def _to_stop(ruleset: Ruleset, rules: VmRules, packet: Packet, decision: Decision) -> Iterator[str]:
    if decision.step == "always":
        yield f"it would have to be taken from what is always allowed ({decision.why})"
        return
    if decision.step == "allow-list":
        yield f"the allow-list entry would have to end ({decision.why})"
        ruleset = replace(ruleset, vms={**ruleset.vms, packet.vm: replace(rules, allow=())})
        decision = verdict(ruleset, packet)
    while decision.passes and decision.rule is not None and decision.rule.action not in {Action.LOG, Action.RATE_LIMIT}:
        yield f"{decision.rule.name}: {_or(_undone(ruleset, rules, decision.rule, packet))}"
        ruleset = _without_rule(ruleset, packet, decision.rule)
        decision = verdict(ruleset, packet)
    if not decision.passes:
        yield f"then {decision.rule.name if decision.rule else decision.step} would stop it: {decision.why}"
        return
    yield from _missed(ruleset, ruleset.vms[packet.vm], packet)
    for origin in _idle(rules):
        yield from _awoken(rules, origin, packet)


def _undone(ruleset: Ruleset, rules: VmRules, rule: ResolvedRule, packet: Packet) -> Iterator[str]:
    """The single differences that keep a rule from concerning the packet."""
    yield from _unwanted(rules, rule)
    for match in rule.peers:
        if agrees(ruleset, match, packet):
            for ref in match.told:
                yield _peer_otherwise(ruleset.sets[ref.of(rules.vm)], ref, packet, wanted=False)
    if not rule.cut and not packet.goes_on and rule.action is not Action.ALLOW:
        yield "the flow would have to be established already"
    if rule.ports:
        yield f"the port would have to be none of {_ports(rule)}"
    if rule.transports:
        yield f"the protocol would have to be none of {', '.join(rule.transports)}"
    if rule.origin is not None and rule.origin.rule.when is None and not rule.ports and not _asks(rule):
        yield f"the policy {rule.policy} would have to be changed"


def _unwanted(rules: VmRules, rule: ResolvedRule) -> Iterator[str]:
    """The conditions that put the rule in force, undone."""
    if rule.origin is None or rules.asked is None:
        return
    for condition in (rule.origin.rule.when, rule.origin.policy.selector):
        if condition is not None:
            yield _or(_turned(condition, rules.asked.facts, wanted=False))


def _missed(ruleset: Ruleset, rules: VmRules, packet: Packet) -> Iterator[str]:
    """The rules in force that would stop it, were the packet another one."""
    for rule in rules.rules(packet.direction):
        if rule.mode is Mode.STAGE:
            if concerns(ruleset, rule, packet) and rule.action not in _ALLOWING:
                yield f"{rule.name}: the policy would have to be enforced, not staged"
            continue
        if rule.action in {*_ALLOWING, Action.RATE_LIMIT} or concerns(ruleset, rule, packet):
            continue
        if concerns_flow(ruleset, rule, packet):
            yield f"{rule.name}: the flow would have to be new; it keeps established ones"
            continue
        for match in rule.peers:
            yield f"{rule.name}: {' and '.join(_lacking(ruleset, rule, match, packet))}"


def _lacking(ruleset: Ruleset, rule: ResolvedRule, match: Match, packet: Packet) -> Iterator[str]:
    for ref in match.told:
        if ruleset.sets[ref.of(packet.vm)].holds(packet.peer) is ref.negated:
            yield _peer_otherwise(ruleset.sets[ref.of(packet.vm)], ref, packet, wanted=True)
    if rule.transports and packet.transport not in rule.transports:
        yield f"the protocol would have to be {' or '.join(rule.transports)}"
    if rule.ports and not any(low <= packet.port <= high for low, high in rule.ports):
        yield f"the port would have to be one of {_ports(rule)}"


def _idle(rules: VmRules) -> Iterator[Origin]:
    """The rules that are not in force for this VM, because a selector or a condition does not hold."""
    in_force = {rule.origin for rule in (*rules.outbound, *rules.inbound)}
    if rules.asked is not None:
        for policy in rules.asked.policies:
            yield from (Origin(policy, rule) for rule in policy.rules if Origin(policy, rule) not in in_force)


def _awoken(rules: VmRules, origin: Origin, packet: Packet) -> Iterator[str]:
    """A rule that is idle for this VM, and what would put it in force."""
    policy, rule = origin
    concerned = rule.direction in {Direction.BOTH, packet.direction} or rule.action is Action.ISOLATE
    if not concerned or rule.action in {*_ALLOWING, Action.RATE_LIMIT} or policy.mode is not Mode.ENFORCE:
        return
    if (rule.protocols and packet.transport not in rule.protocols) or rules.asked is None:
        return
    facts = rules.asked.facts
    wanted = [c for c in (policy.selector, rule.when) if c is not None and not holds(c, facts)]
    said = " and ".join(text for condition in wanted for text in _turned(condition, facts, wanted=True))
    if said:
        further = " (for the peers and ports that it names)" if rule.peers is not None or rule.ports else ""
        yield f"{policy.name}/{rule.name}@{policy.version}: {said}{further}"


def _turned(condition: Condition, facts: Facts, *, wanted: bool) -> Iterator[str]:
    """What makes the condition true, or false: comparisons in words, anything else as it stands."""
    for part in conjuncts(condition.expression):
        single = Condition(part.strip(), condition.place)
        if holds(single, facts) is wanted:
            continue
        compared = _COMPARED.fullmatch(part)
        if compared is None:
            yield f"{part.strip()} would have to be {'true' if wanted else 'false'} ({evidence(single, facts)})"
            continue
        name, sign, value = compared.groups()
        word = (_TRUE if wanted else _FALSE)[sign]
        yield f"{name} would have to be {word} {value} ({evidence(single, facts)})"


def _peer_otherwise(members: PeerSet, ref: SetRef, packet: Packet, *, wanted: bool) -> str:
    """What the peer would have to be so that the set is asked with success (`wanted`), or without."""
    inside = wanted is not ref.negated
    threshold = ref.name.removeprefix("reputation_below_")
    if threshold != ref.name:
        word = "below" if inside else "at least"
        return f"the reputation of {packet.peer} would have to be {word} {threshold}"
    return f"{packet.peer} would have to be {'a' if inside else 'no'} peer that {members.why}"


def _without_rule(ruleset: Ruleset, packet: Packet, rule: ResolvedRule) -> Ruleset:
    rules = ruleset.vms[packet.vm]
    outbound = tuple(other for other in rules.outbound if other is not rule)
    inbound = tuple(other for other in rules.inbound if other is not rule)
    return replace(ruleset, vms={**ruleset.vms, packet.vm: replace(rules, outbound=outbound, inbound=inbound)})


def _asks(rule: ResolvedRule) -> bool:
    return any(match.sets or match.known_service is not None for match in rule.peers)


def _ports(rule: ResolvedRule) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in rule.ports)


def _or(texts: Iterator[str]) -> str:
    return ", or ".join(dict.fromkeys(texts))
