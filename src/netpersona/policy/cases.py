"""Cases for `policy test`: given personas, feeds and policies, what is expected to happen to packets.

A file holds one case per YAML document:

    name: a risky VM reaches nobody
    given:
      at: 2026-03-01T12:00:00Z                 # absent: 2026-01-01
      policies: [block.yaml]                   # files beside this one; or resources written out here
      redirects: {analyser: 10.77.0.9}
      unknown_vm: allow                        # or deny
      personas:
        - {name: web-1, labels: {role: web}, addresses: [10.77.0.11/24], risk_score: 0.8, completeness: 0.99,
           known: [198.51.100.7, {peer: 198.51.100.8, port: 53, protocol: udp}], known_names: [example.com],
           answers: {updates.example.com: [198.51.100.9]},
           signatures: [{name: c2_beacon, peer: 203.0.113.7, confidence: 0.95}]}
      feeds:
        - {name: ours, indicators: [203.0.113.7, {value: 203.0.113.9, confidence: 0.9, until: 2026-03-02}]}
    expect:
      - {vm: web-1, peer: 203.0.113.9, port: 443, verdict: deny, rule: block-outbound-low-reputation/no-low-reputation}
      - {vm: web-1, direction: inbound, peer: 192.0.2.1, port: 22, state: established, verdict: allow}

An expectation is about an outbound TCP packet of a new flow unless it says otherwise.  Nothing is read or resolved
here: ruleset.cases runs what this gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from netpersona.flow.vm import VmId
from netpersona.intel.feed import FeedSettings
from netpersona.intel.indicator import Indicator
from netpersona.persona.model import Persona
from netpersona.policy import fields as read
from netpersona.policy import values
from netpersona.policy.given import read_feed, read_persona
from netpersona.policy.model import Direction, Place, PolicySet
from netpersona.policy.parse import policies_of
from netpersona.policy.problems import Problem, RefusedError, meant, refused, shown
from netpersona.policy.rules import DIRECTION_SYNONYMS, read_protocol
from netpersona.policy.yaml_text import Mapping, Node, Scalar, read_documents
from netpersona.policy.yaml_text import Sequence as NodeSequence

VERDICTS = ("allow", "deny", "reject", "redirect", "rate-limit", "log")
EPOCH = 1_767_225_600_000_000  # µs: 2026-01-01, where a case names no instant

_CASE = ("name", "given", "expect")
_GIVEN = ("at", "personas", "feeds", "policies", "redirects", "unknown_vm")
_EXPECT = ("vm", "direction", "peer", "port", "protocol", "state", "verdict", "rule")
_ELSEWHERE = "'policy validate' checks policies; a case has name, given and expect"
_VERDICT_SYNONYMS = {"drop": "deny", "block": "deny", "isolate": "deny", "accept": "allow", "pass": "allow"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected to happen to one packet."""

    vm: VmId
    direction: Direction  # outbound | inbound: of the flow, seen from the VM
    peer: str  # canonical address
    port: int  # the service's; 0: none
    protocol: str
    established: bool
    verdict: str  # one of VERDICTS
    rule: str | None  # "policy/rule", or "rule"; None: whichever
    place: Place


@dataclass(frozen=True, slots=True)
class Given:
    """The world of one case.  `policy_files` are to be read by the caller and merged with `policies`."""

    at: int = EPOCH  # µs
    personas: tuple[Persona, ...] = ()
    feeds: tuple[tuple[FeedSettings, tuple[Indicator, ...]], ...] = ()
    policies: PolicySet = field(default_factory=PolicySet)  # those written out, with redirects and unknown_vm
    policy_files: tuple[tuple[str, Place], ...] = ()  # as written, relative to the case's file
    answers: dict[VmId, dict[str, tuple[str, ...]]] = field(default_factory=dict)  # domain -> what the resolver said


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is given, and what is expected of it."""

    name: str
    given: Given
    expect: tuple[Expectation, ...]
    place: Place


def parse_cases(text: str, file: str) -> tuple[Case, ...]:
    """The cases of one file, in their order.  Raises PolicyError with every problem, as parse() does."""
    problems: list[Problem] = []
    documents = read_documents(text, file)
    resources = [node for node in documents if _is_resource(node)]
    problems += [Problem(node.place, "a resource stands here, and no case", _ELSEWHERE) for node in resources]
    cases = tuple(_case(node, problems) for node in documents if node not in resources)
    if not documents:
        problems.append(Problem(Place(file, 1, 1), "no case stands here; name, given and expect are expected"))
    if problems:
        raise RefusedError(problems)
    return cases


def _is_resource(node: Node) -> bool:
    named = {name.text for name, _ in node.fields} if isinstance(node, Mapping) else set()
    return {"apiVersion", "kind"} <= named


def _case(node: Node, problems: list[Problem]) -> Case:
    case = read.Fields(node, _CASE, problems, "a case")
    nothing: tuple[Expectation, ...] = ()
    given = case.need("given", lambda n: _given(n, problems), Given())
    expect = case.need("expect", read.each(lambda n: _expectation(n, problems)), nothing)
    known = {persona.vm for persona in given.personas}
    for expectation in expect:
        if expectation.vm and expectation.vm not in known and given.policies.unknown_vm == "allow" and known:
            _note_stranger(expectation, known, problems)
    return Case(case.need("name", read.text, ""), given, expect, node.place)


def _note_stranger(expectation: Expectation, known: set[VmId], problems: list[Problem]) -> None:
    hint = meant(expectation.vm, sorted(known))
    if hint.startswith("did you mean"):
        problems.append(Problem(expectation.place, f"vm: no persona {shown(expectation.vm)} is given", hint))


def _given(node: Node, problems: list[Problem]) -> Given:
    given = read.Fields(node, _GIVEN, problems, "given", {"vms": "personas", "intel": "feeds", "now": "at"})
    at = given.read("at", read.value(values.instant), EPOCH)
    nobody: tuple[tuple[Persona, dict[str, tuple[str, ...]]], ...] = ()
    nothing: tuple[tuple[FeedSettings, tuple[Indicator, ...]], ...] = ()
    personas = given.read("personas", read.each(lambda n: read_persona(n, at, problems)), nobody)
    names = [persona.vm for persona, _ in personas]
    for twice in sorted({name for name in names if name and names.count(name) > 1}):
        given.note(given.place_of("personas"), f"the persona {twice!r} stands here twice")
    inline, files = _policies(given)
    return Given(
        at=at,
        personas=tuple(persona for persona, _ in personas),
        feeds=given.read("feeds", read.each(lambda n: read_feed(n, problems)), nothing),
        policies=inline,
        policy_files=files,
        answers={persona.vm: answers for persona, answers in personas if answers},
    )


def _policies(given: read.Fields) -> tuple[PolicySet, tuple[tuple[str, Place], ...]]:
    node = given.values.get("policies", NodeSequence((), given.place))
    items = node.items if isinstance(node, NodeSequence) else (node,)
    files = tuple((read.text(item), item.place) for item in items if isinstance(item, Scalar) and not item.null)
    resources = [item for item in items if not (isinstance(item, Scalar) and not item.null)]
    redirects: dict[str, str] = {}
    return (
        policies_of(
            resources,
            given.problems,
            unknown_vm=given.read("unknown_vm", _allow_or_deny, "allow"),
            redirects=given.read("redirects", _redirects, redirects),
        ),
        files,
    )


def _allow_or_deny(node: Node) -> str:
    found = read.text(node)
    if found not in ("allow", "deny"):
        raise refused(node.place, f"unknown word {shown(found)}", meant(found, ("allow", "deny"), _VERDICT_SYNONYMS))
    return found


def _redirects(node: Node) -> dict[str, str]:
    if not isinstance(node, Mapping):
        raise refused(node.place, f"names and addresses are expected, not {read.kind(node)}")
    return {read.value(values.name)(key): read.value(values.target)(to) for key, to in node.fields}


def _expectation(node: Node, problems: list[Problem]) -> Expectation:
    fields = read.Fields(node, _EXPECT, problems, "an expectation", {"transport": "protocol", "action": "verdict"})
    direction = fields.read("direction", read.word(Direction, DIRECTION_SYNONYMS), Direction.OUTBOUND)
    if direction is Direction.BOTH:
        fields.note(fields.place_of("direction"), "a packet's flow is outbound or inbound")
    return Expectation(
        vm=fields.need("vm", read.value(values.vm), VmId("")),
        direction=direction,
        peer=fields.need("peer", read.value(values.address), ""),
        port=fields.read("port", read.value(lambda text: values.whole(text, 0, 65_535)), 0),
        protocol=fields.read("protocol", read_protocol, "tcp"),
        established=fields.read("state", _state, default=False),
        verdict=fields.need("verdict", _verdict, "allow"),
        rule=fields.read("rule", read.text, None),
        place=node.place,
    )


def _state(node: Node) -> bool:
    found = read.text(node)
    if found not in ("new", "established"):
        raise refused(node.place, f"unknown word {shown(found)}", meant(found, ("new", "established")))
    return found == "established"


def _verdict(node: Node) -> str:
    found = read.text(node)
    if found not in VERDICTS:
        raise refused(node.place, f"unknown word {shown(found)}", meant(found, VERDICTS, _VERDICT_SYNONYMS))
    return found
