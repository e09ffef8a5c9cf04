"""A persona's own mitigation_rules as a policy: it stands before all others and concerns this VM only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from netpersona.flow.vm import VmId
from netpersona.persona.model import Persona
from netpersona.policy.model import Mode, Place, Policy, Rule
from netpersona.policy.problems import Problem, RefusedError
from netpersona.policy.rules import read_rules
from netpersona.policy.yaml_text import Sequence as NodeSequence
from netpersona.policy.yaml_text import node_of

OWN_PREFIX = "mitigation-rules-of-"  # no other policy's name may begin so
OWN_ORDER = -1  # a policy's order is 0 or more


def own_policy(persona: Persona) -> Policy | None:
    """The persona's own rules as an enforced policy; None where it has none.

    Raises PolicyError, as parse_rules does.
    """
    if not persona.mitigation_rules:
        return None
    text = msgspec.json.encode(persona.mitigation_rules, order="deterministic")
    return Policy(own_policy_name(persona.vm), Mode.ENFORCE, OWN_ORDER, _rules_of(text, persona.vm))


def own_policy_name(vm: VmId) -> str:
    """What a VM's own mitigation rules are called among the policies."""
    return f"{OWN_PREFIX}{vm}"


def parse_rules(rules: Sequence[object], vm: str) -> tuple[Rule, ...]:
    """A persona's own mitigation_rules, given as plain values; the line of a place is the rule's number.

    Raises PolicyError as parse() does, with `VM.mitigation_rules` for the file.
    """
    if not rules:
        return ()
    file = f"{vm}.mitigation_rules"
    nodes = tuple(node_of(rule, Place(file, i, 1)) for i, rule in enumerate(rules, start=1))
    wrong: list[Problem] = []
    found = read_rules(NodeSequence(nodes, Place(file, 1, 1)), wrong, triggered=False)
    if wrong:
        raise RefusedError(wrong)
    return found


@lru_cache(maxsize=4096)  # a host has fewer VMs with rules of their own: reading them is dear
def _rules_of(text: bytes, vm: VmId) -> tuple[Rule, ...]:
    return parse_rules(msgspec.json.decode(text), vm)
