"""One rule as written -> one Rule, and what a rule needs to mean something.

Defaults are a careful operator's: a rule without `direction` concerns both; `isolate` cuts what is established, all
else keeps it; a rule with `until` but no `for` holds for 24 hours at a time, since a mitigation always ends.
"""

from __future__ import annotations

import re

from netpersona.policy import fields as read
from netpersona.policy import values
from netpersona.policy.conditions import ranges
from netpersona.policy.model import Action, Condition, Direction, Existing, Peers, Rule
from netpersona.policy.problems import Problem, meant, refused, shown
from netpersona.policy.yaml_text import Mapping, Node, Scalar
from netpersona.policy.yaml_text import Sequence as NodeSequence

DEFAULT_HOLD = 24 * 3_600 * values.SECOND  # µs: of a rule with `until` and no `for`
MAX_RULES = 1_000  # in one policy

RULE_FIELDS = (
    "name", "when", "until", "for", "direction", "peers", "ports", "protocols", "action", "existing", "rate", "to",
)  # fmt: skip
PEER_FIELDS = ("reputation_below", "categories", "feeds", "domains", "profile", "networks", "vms", "not")
FIELD_SYNONYMS = {
    "if": "when",
    "match": "peers",
    "duration": "for",
    "limit": "rate",
    "target": "to",
    "verdict": "action",
}
PROTOCOLS = ("tcp", "udp", "icmp", "icmp6", "sctp", "dccp", "udplite", "gre", "esp", "ah", "igmp", "ipip", "ospf")
PORTED = ("tcp", "udp", "sctp", "dccp", "udplite")
ACTION_SYNONYMS = {
    "block": "deny", "drop": "deny", "accept": "allow", "permit": "allow", "pass": "allow", "quarantine": "isolate",
    "limit": "rate-limit", "throttle": "rate-limit", "ratelimit": "rate-limit", "rate_limit": "rate-limit",
}  # fmt: skip
DIRECTION_SYNONYMS = {"out": "outbound", "egress": "outbound", "in": "inbound", "ingress": "inbound", "any": "both"}


def read_rules(node: Node, problems: list[Problem], triggered: bool) -> tuple[Rule, ...]:
    """The rules of a list; `triggered`: the policy has a selector, so that a rule without `when` still begins.

    What is wrong goes to `problems`; the rules are good only if nothing was added to it.
    """
    if not isinstance(node, NodeSequence) or not node.items:
        problems.append(Problem(node.place, f"rules: a list of rules is expected, not {read.kind(node)}"))
        return ()
    if len(node.items) > MAX_RULES:
        problems.append(Problem(node.place, f"rules: {len(node.items)} rules; at most {MAX_RULES} stand in one policy"))
    rules = tuple(_rule(item, problems, triggered) for item in node.items[:MAX_RULES])
    first: dict[str, Rule] = {}
    for rule in rules:
        if rule.name and first.setdefault(rule.name, rule) is not rule:
            line = first[rule.name].place.line
            problems.append(
                Problem(rule.place, f"the rule name {rule.name!r} stands here twice; line {line} has it too")
            )
    return rules


def _rule(node: Node, problems: list[Problem], triggered: bool) -> Rule:
    fields = read.Fields(node, RULE_FIELDS, problems, "a rule", FIELD_SYNONYMS)
    action = fields.need("action", read.word(Action, ACTION_SYNONYMS), Action.DENY)
    until = fields.read("until", read.condition, None)
    hold = fields.read("for", lambda n: read.value(values.seconds)(n) * values.SECOND, None)
    rule = Rule(
        name=fields.need("name", read.value(values.name), ""),
        action=action,
        direction=fields.read("direction", read.word(Direction, DIRECTION_SYNONYMS), Direction.BOTH),
        place=node.place,
        when=fields.read("when", read.condition, None),
        until=until,
        hold=DEFAULT_HOLD if hold is None and until is not None else hold,
        peers=fields.read("peers", lambda n: _peers(n, problems, negatable=True), None),
        ports=fields.read("ports", _ports, None),
        protocols=fields.read("protocols", lambda n: tuple(dict.fromkeys(read.each(read_protocol)(n))), ()),
        existing=fields.read("existing", read.value(values.existing), _existing_of(action)),
        rate=fields.read("rate", read.value(values.rate), None),
        to=fields.read("to", read.value(values.target), None),
    )
    if fields.values:
        _requirements(rule, fields, triggered)
    return rule


def _existing_of(action: Action) -> Existing:
    return Existing("cut") if action is Action.ISOLATE else Existing("keep")


def _requirements(rule: Rule, fields: read.Fields, triggered: bool) -> None:
    """Note what the action needs and lacks, and what stands there without meaning anything."""
    _companions(rule, fields)
    if rule.action is Action.ISOLATE:
        _isolate_alone(rule, fields)
    if rule.action in (Action.ALLOW, Action.LOG) and rule.existing.kind != "keep":
        fields.note(fields.place_of("existing"), f"{rule.action} keeps what is established", "leave existing out")
    if not triggered and not fields.has("when"):
        for name in filter(fields.has, ("for", "until")):
            fields.note(fields.place_of(name), f"{name} needs `when`, the condition that triggers the rule")
    if rule.ports is not None and rule.protocols and not set(rule.protocols) & set(PORTED):
        fields.note(fields.place_of("ports"), f"{', '.join(rule.protocols)} has no ports")


def _companions(rule: Rule, fields: read.Fields) -> None:
    needs = {"rate": (Action.RATE_LIMIT, "1 mbit"), "to": (Action.REDIRECT, "analyser")}
    for name, (action, example) in needs.items():
        if rule.action is action and name not in fields.values:
            fields.note(fields.place_of("action"), f"{action} needs {name}", f"for example {name}: {example}")
        elif rule.action is not action and fields.has(name) and fields.has("action"):
            fields.note(fields.place_of(name), f"{name} belongs to action: {action}, not to {rule.action}")


def _isolate_alone(rule: Rule, fields: read.Fields) -> None:
    for name in filter(fields.has, ("direction", "peers", "ports", "protocols")):
        if name != "direction" or rule.direction is not Direction.BOTH:
            message = f"isolate leaves only the always-allowed; {name} cannot narrow it"
            fields.note(fields.place_of(name), message, f"leave {name} out, or use deny")


def _peers(node: Node, problems: list[Problem], negatable: bool) -> Peers:
    fields = read.Fields(node, PEER_FIELDS, problems, "peers", {"ips": "networks", "countries": "categories"})
    if isinstance(node, Mapping) and not node.fields:
        raise refused(node.place, "no criterion stands here", "leave peers out to mean every peer")
    if not negatable and "not" in fields.values:
        fields.note(fields.place_of("not"), "not within not", "write it without both")
    return Peers(
        reputation_below=fields.read("reputation_below", read.value(values.share), None),
        categories=fields.read("categories", read.each(_label), ()),
        feeds=fields.read("feeds", read.each(_label), ()),
        domains=fields.read("domains", lambda n: _sorted(read.each(read.value(values.domain))(n)), ()),
        profile=fields.read("profile", _profile, None),
        networks=fields.read("networks", lambda n: _sorted(read.each(read.value(values.network))(n)), ()),
        vms=fields.read("vms", read.condition, None),
        negated=fields.read("not", lambda n: _peers(n, problems, negatable=False), None) if negatable else None,
    )


def _sorted(found: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))


def _label(node: Node) -> str:
    found = read.text(node)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}", found):
        raise refused(node.place, "a name of letters, digits and _ . : / - is expected")
    return found


def _profile(node: Node) -> str:
    found = read.text(node)
    if found not in ("known", "new"):
        raise refused(node.place, f"unknown word {shown(found)}", meant(found, ("known", "new")))
    return found


def read_protocol(node: Node) -> str:
    """A protocol as flows name it; icmpv6 is icmp6."""
    found = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6"}.get(read.text(node).lower(), read.text(node).lower())
    if found not in PROTOCOLS:
        raise refused(node.place, f"unknown protocol {shown(found)}", meant(found, PROTOCOLS))
    return found


def _ports(node: Node) -> tuple[tuple[int, int], ...] | Condition:
    if isinstance(node, NodeSequence):
        return ranges(read.each(read.value(values.port_range))(node))
    if isinstance(node, Scalar) and re.search(r"\bpersona\b|^\s*\[", node.text):
        return read.condition(node, "ports")
    return ranges([read.value(values.port_range)(node)])
