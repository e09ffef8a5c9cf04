"""The personas and feeds that a case writes out, as the values that resolve() takes."""

from __future__ import annotations

from netpersona.flow.vm import VmId
from netpersona.intel.feed import FeedSettings
from netpersona.intel.indicator import Indicator, IndicatorType
from netpersona.persona.model import (
    BaseNetworkConfig,
    BehavioralSignature,
    Completeness,
    Kind,
    Mitigation,
    Persona,
    TrafficProfile,
    Usage,
)
from netpersona.policy import fields as read
from netpersona.policy import values
from netpersona.policy.model import Direction
from netpersona.policy.own import parse_rules
from netpersona.policy.problems import Problem, RefusedError, refused
from netpersona.policy.rules import DIRECTION_SYNONYMS, PORTED, read_protocol
from netpersona.policy.yaml_text import Mapping, Node, Scalar, plain

_PERSONA = (
    "name", "version", "labels", "addresses", "gateways", "resolvers", "interface", "risk_score", "completeness",
    "learning", "known", "known_names", "answers", "signatures", "exposure", "exposed_ports", "mitigations",
    "mitigation_rules",
)  # fmt: skip
_FEED = ("name", "confidence", "family", "category", "half_life", "indicators")
_INDICATOR = ("value", "confidence", "label", "category", "from", "until", "line")
_SIGNATURE = ("name", "peer", "confidence", "since", "last")
_MITIGATION = ("policy", "rule", "since", "until")
_KNOWN = ("peer", "port", "protocol", "direction")

Answers = dict[str, tuple[str, ...]]


def read_persona(node: Node, at: int, problems: list[Problem]) -> tuple[Persona, Answers]:
    """A persona as a case gives it, and the domain answers that its VM was given.

    A `risk_score` becomes the prior, so that risk_score(persona, at) is what was written at every instant.
    """
    p = read.Fields(node, _PERSONA, problems, "a persona", {"vm": "name", "risk": "risk_score", "known_peers": "known"})
    texts: tuple[str, ...] = ()
    nothing: Answers = {}
    seen = p.read("completeness", read.value(values.part), 0.0)
    kinds = p.read("known", read.each(lambda n: _kind(n, problems)), _none(Kind))
    names = p.read("known_names", read.each(read.value(values.domain)), texts)
    once = Usage(1.0, 1.0, 1.0, at, at)
    persona = Persona(
        vm=p.need("name", read.value(values.vm), VmId("")),
        version=p.read("version", read.value(lambda text: values.whole(text, 1, 10**9)), 1),
        labels=p.read("labels", _labels, {}),
        base=BaseNetworkConfig(
            addresses=p.read("addresses", read.each(read.value(values.interface_address)), texts),
            interface=p.read("interface", read.text, None),
            gateways=p.read("gateways", read.each(read.value(values.address)), texts),
            resolvers=p.read("resolvers", read.each(read.value(values.address)), texts),
            inferred=False,
        ),
        learning=p.read("learning", _learning, "learning"),
        mitigation_rules=p.read("mitigation_rules", _own_rules, _none(dict[str, object])),
        profile=TrafficProfile(kinds=dict.fromkeys(kinds, once), names=dict.fromkeys(names, once)),
        signatures=p.read("signatures", read.each(lambda n: _signature(n, at, problems)), _none(BehavioralSignature)),
        risk_prior=min(max(p.read("risk_score", read.value(values.part), 0.02), 1e-9), 1.0 - 1e-9),
        completeness=Completeness(round(1.0 - seen, 9), 0.0, 1.0),
        mitigations=p.read("mitigations", read.each(lambda n: _mitigation(n, at, problems)), _none(Mitigation)),
        exposure=p.read("exposure", read.each(read.text), texts),
        exposed_ports=p.read("exposed_ports", read.each(read.value(values.port)), _none(int)),
    )
    return persona, p.read("answers", _answers, nothing)


def read_feed(node: Node, problems: list[Problem]) -> tuple[FeedSettings, tuple[Indicator, ...]]:
    """A feed as a case gives it: its settings, and what it lists."""
    feed = read.Fields(node, _FEED, problems, "a feed", {"entries": "indicators", "values": "indicators"})
    half_life = feed.read("half_life", lambda n: read.value(values.seconds)(n) * values.SECOND, None)
    settings = FeedSettings(
        name=feed.need("name", read.text, ""),
        confidence=feed.read("confidence", read.value(values.part), 0.8),
        half_life=half_life,
        family=feed.read("family", read.text, None),
        category=feed.read("category", read.text, None),
    )
    listed = feed.need("indicators", read.each(lambda n: _indicator(n, settings, problems)), _none(Indicator))
    return settings, listed


def _indicator(node: Node, feed: FeedSettings, problems: list[Problem]) -> Indicator:
    if isinstance(node, Scalar):
        value = read.value(values.peer)(node)
        return Indicator(
            value, _type_of(value), None, feed.category, feed.confidence, None, None, feed.name, node.place.line
        )
    fields = read.Fields(node, _INDICATOR, problems, "an indicator", {"valid_until": "until", "valid_from": "from"})
    value = fields.need("value", read.value(values.peer), "")
    return Indicator(
        value=value,
        type=_type_of(value),
        label=fields.read("label", read.text, None),
        category=fields.read("category", read.text, feed.category),
        confidence=fields.read("confidence", read.value(values.part), feed.confidence),
        valid_from=fields.read("from", read.value(values.instant), None),
        valid_until=fields.read("until", read.value(values.instant), None),
        feed=feed.name,
        line=fields.read("line", read.value(lambda text: values.whole(text, 1, 10**9)), node.place.line),
    )


def _type_of(value: str) -> IndicatorType:
    if "/" in value:
        return IndicatorType.NETWORK
    return IndicatorType.ADDRESS if values.looks_numeric(value) else IndicatorType.DOMAIN


def _signature(node: Node, at: int, problems: list[Problem]) -> BehavioralSignature:
    fields = read.Fields(node, _SIGNATURE, problems, "a signature")
    return BehavioralSignature(
        name=fields.need("name", read.text, ""),
        since=fields.read("since", read.value(values.instant), at),
        last=fields.read("last", read.value(values.instant), at),
        peer=fields.read("peer", read.value(values.peer), None),
        confidence=fields.read("confidence", read.value(values.part), 1.0),
        why="given by the case",
    )


def _mitigation(node: Node, at: int, problems: list[Problem]) -> Mitigation:
    fields = read.Fields(node, _MITIGATION, problems, "a mitigation")
    return Mitigation(
        policy=fields.need("policy", read.text, ""),
        rule=fields.need("rule", read.text, ""),
        policy_version=1,
        since=fields.read("since", read.value(values.instant), at),
        until=fields.need("until", read.value(values.instant), 0),
        why="given by the case",
    )


def _kind(node: Node, problems: list[Problem]) -> Kind:
    if isinstance(node, Scalar):
        return Kind("outbound", "tcp", 443, read.value(values.address)(node))
    fields = read.Fields(node, _KNOWN, problems, "a known kind of traffic", {"transport": "protocol"})
    direction = fields.read("direction", read.word(Direction, DIRECTION_SYNONYMS), Direction.OUTBOUND)
    protocol = fields.read("protocol", read_protocol, "tcp")
    port = fields.read("port", read.value(values.port), 443 if protocol in PORTED else 0)
    if direction is Direction.INBOUND:
        return Kind("inbound", protocol, port, "")
    return Kind("outbound", protocol, port, fields.need("peer", read.value(values.address), ""))


def _labels(node: Node) -> dict[str, str]:
    if not isinstance(node, Mapping):
        raise refused(node.place, f"labels are names and texts, not {read.kind(node)}")
    return {key.text: read.text(value) for key, value in node.fields}


def _answers(node: Node) -> Answers:
    if not isinstance(node, Mapping):
        raise refused(node.place, f"answers are domains and lists of addresses, not {read.kind(node)}")
    return {
        read.value(values.domain)(domain): read.each(read.value(values.address))(found) for domain, found in node.fields
    }


def _learning(node: Node) -> str:
    found = read.text(node)
    if found not in ("learning", "frozen"):
        raise refused(node.place, "learning or frozen is expected")
    return found


def _own_rules(node: Node) -> tuple[dict[str, object], ...]:
    rules = plain(node)
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise refused(node.place, f"a list of rules is expected, not {read.kind(node)}")
    try:
        parse_rules(rules, "persona")
    except RefusedError as error:
        raise RefusedError([Problem(node.place, str(problem), None) for problem in error.problems]) from error
    return tuple(rules)


def _none(_: type[read.T]) -> tuple[read.T, ...]:
    return ()
