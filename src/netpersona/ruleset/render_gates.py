"""What a packet of an established flow is asked before the rules: whether any of them may concern it at all.

Most packets belong to established flows that no rule cuts.  Asking each rule for its peers' addresses and prefixes
would be two look-ups for each set, of 1 to 2 % of a packet's way each.  So a packet is asked once for each set of
addresses that cutting rules name, and once whether its peer is near a prefix of any of these sets; whoever passes all
these gates is let through.  Behind them stand the rules as they are, in their order, with what is always allowed and
the allow-lists before them: a gate that leads there in vain costs time and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from netpersona.policy.model import Action, Mode
from netpersona.ruleset.model import Match, ResolvedRule, VmRules, last_concerning_established
from netpersona.ruleset.nft_text import identifier
from netpersona.ruleset.render_rules import FAMILIES, RuleText, Side, in_parts, set_parts

_OF_4 = re.compile(r"(?:^| )(?:ip (?:saddr|daddr)|meta protocol ip) ")
_OF_6 = re.compile(r"(?:^| )(?:ip6 (?:saddr|daddr)|meta protocol ip6) ")


def of_established(rules: tuple[ResolvedRule, ...]) -> list[ResolvedRule]:
    """The rules that concern established flows, and the allows among them that come first."""
    own = rules[: split(rules)]
    return [rule for rule in own if rule.concerns_established or rule.action is Action.ALLOW]


def split(rules: tuple[ResolvedRule, ...]) -> int:
    """Where established flows are let through; never inside a staged policy, which has a chain of its own."""
    place = last_concerning_established(rules)
    while 0 < place < len(rules) and rules[place].mode is Mode.STAGE and rules[place].policy == rules[place - 1].policy:
        place += 1
    return place


def gates(text: RuleText, rules: Sequence[ResolvedRule], side: Side) -> list[str]:
    """Conditions of which one holds for each packet that a rule stops, slows or logs; none: only the rules can tell."""
    if any(rule.target is not None for rule in rules):  # it also counts what it lets through
        return []
    shared, others = _asked(rules)
    found = [*_of_sets(shared, text.whose.versions, side)]
    found += [condition for rule in others for condition in text.conditions(rule, side)]
    return [] if "" in found else [*dict.fromkeys(found)]


def by_version(name: str, lines: Sequence[str], versions: tuple[int, ...]) -> dict[str, list[str]]:
    """A chain of gates; those of IPv6 stand in one of their own, so that IPv4 meets none of them."""
    of_6 = [line for line in lines if _OF_6.search(line)]
    if len(of_6) < 2 or len(versions) == 1:
        return {name: [*lines]}
    others = [line for line in lines if line not in of_6]
    return {
        name: [f"{FAMILIES[6][1]} goto {name}.6", *others],
        f"{name}.6": [*of_6, *(line for line in others if not _OF_4.search(line))],
    }


def near_groups(rules: VmRules) -> set[tuple[str, ...]]:
    """The shared sets whose prefixes are asked for together, by their names."""
    groups = {_asked(of_established(each))[0] for each in (rules.outbound, rules.inbound)}
    return {names for names in groups if len(names) > 1}


def near_any(names: tuple[str, ...]) -> str:
    """The set of the /16 networks of IPv4 in which a prefix of any of these sets lies."""
    return f"{identifier('near', ' '.join(names))}.p4"


def _asked(rules: Sequence[ResolvedRule]) -> tuple[tuple[str, ...], list[ResolvedRule]]:
    """Shared sets of which one holds the peer, or else one of these rules concerns the packet, where any rule does."""
    shared: set[str] = set()
    others = []
    for rule in rules:
        for match in rule.peers if rule.action is not Action.ALLOW else ():
            needed = sorted((ref for ref in match.sets if not ref.negated), key=lambda ref: ref.own)
            if needed and not needed[0].own:
                shared.add(needed[0].name)
            elif needed:
                others.append(replace(rule, peers=(Match((needed[0],)),), transports=(), ports=()))
            else:
                others.append(replace(rule, peers=(match,)))
    return tuple(sorted(shared)), others


def _of_sets(names: tuple[str, ...], versions: tuple[int, ...], side: Side) -> Iterator[str]:
    for version in versions:
        field = f"{FAMILIES[version][0]} {side.peer}"
        if version == 4 and len(names) > 1:
            yield from (f"{field} @{set_parts(name, version)[0]}" for name in names)
            yield f"{field} & 255.255.0.0 @{near_any(names)}"
        else:
            yield from (asked for name in names for asked in in_parts(field, name, version))
