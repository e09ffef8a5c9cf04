"""What is legal in the policies, but hardly meant: told before it is in force.

    shadowed        an earlier rule decides everything that this rule could
    contradiction   two rules of one policy, or of policies of one order, say opposite things of the same packets
    unmatched       no persona can fulfil the selector or `when`, or has the label they ask for
    management      a deny or isolate covers a management peer, or cuts the only management path
    unknown         a feed, a category or a redirect of a name that nothing has

A rule covers another only where that is certain: conditions are compared as text, criteria field by field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from netpersona.persona.model import Persona
from netpersona.policy import expression as cel_text
from netpersona.policy.conditions import conditions_of, holds
from netpersona.policy.facts import facts
from netpersona.policy.model import Action, Condition, Direction, Mode, Peers, Place, Policy, PolicySet, Rule
from netpersona.policy.problems import meant

_DECIDING = (Action.ALLOW, Action.DENY, Action.REJECT, Action.REDIRECT, Action.ISOLATE)  # no later rule is asked
_CUTTING = (Action.DENY, Action.REJECT, Action.ISOLATE, Action.REDIRECT)
_ANY = "true"


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001 (it is what an operator is shown)
    """Something that is hardly meant; `kind` is one of the words at the top of this file."""

    kind: str
    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place}: warning: {self.message}"


@dataclass(frozen=True, slots=True)
class _Ruled:
    policy: Policy
    rule: Rule

    @property
    def name(self) -> str:
        return f"{self.policy.name}/{self.rule.name}"


def check(
    policies: PolicySet,
    personas: Sequence[Persona] = (),
    *,
    at: int | None = None,
    feeds: Collection[str] | None = None,
    categories: Collection[str] | None = None,
) -> list[Warning]:
    """Everything in the policies that is hardly meant, in the order of the places.

    `personas` are those known now; with none, nothing is said about whom rules match.  `at` (µs) is the
    instant for which selectors are asked; None: the end of the last window learned.  `feeds` and `categories` are
    the names that exist; None: not known, nothing is said about them.  Policies that are off are left out.
    """
    ordered = sorted((p for p in policies.policies if p.mode is not Mode.OFF), key=lambda p: (p.order, p.name))
    ruled = [_Ruled(policy, rule) for policy in ordered for rule in policy.rules]
    found = [
        *_overlaps(ruled),
        *_unmatched(ruled, personas, at),
        *_management(ruled, policies),
        *_unknown(ruled, policies, feeds, categories),
    ]
    return sorted(set(found), key=lambda w: (w.place, w.kind, w.message))


def _overlaps(ruled: list[_Ruled]) -> Iterator[Warning]:
    """Shadowed rules, and contradictions; the first earlier rule that covers a rule is named."""
    for i, later in enumerate(ruled):
        for earlier in ruled[:i]:
            if _opposed(earlier, later):
                message = (
                    f"{later.name} ({later.rule.action}) contradicts {earlier.name} ({earlier.rule.action}, "
                    f"{_where(earlier, later)}): both are about the same packets; only the first is ever asked"
                )
                yield Warning("contradiction", later.rule.place, message)
                break
            if _decides_before(earlier, later):
                message = (
                    f"{later.name} is never reached: {earlier.name} ({_where(earlier, later)}) decides everything "
                    "that it could; remove it, or put it first"
                )
                yield Warning("shadowed", later.rule.place, message)
                break


def _where(earlier: _Ruled, later: _Ruled) -> str:
    place = earlier.rule.place
    return f"line {place.line}" if place.file == later.rule.place.file else str(place)


def _opposed(earlier: _Ruled, later: _Ruled) -> bool:
    """Whether two rules of one order say yes and no to exactly the same packets."""
    actions = {earlier.rule.action, later.rule.action}
    opposite = Action.ALLOW in actions and bool(actions & {Action.DENY, Action.REJECT})
    if not opposite or earlier.policy.order != later.policy.order:
        return False
    return _decides_before(earlier, later) and _covers(later, earlier)


def _decides_before(earlier: _Ruled, later: _Ruled) -> bool:
    if earlier.rule.action not in _DECIDING or (earlier.policy.mode is Mode.STAGE) is not (
        later.policy.mode is Mode.STAGE
    ):
        return False
    reach = {"keep": 0, "drain": 1, "cut": 1}  # a rule that cuts also decides established flows
    same_reach = earlier.rule.action is Action.ALLOW or (
        reach[earlier.rule.existing.kind] >= reach[later.rule.existing.kind]
    )
    return same_reach and _covers(earlier, later)


def _covers(wide: _Ruled, narrow: _Ruled) -> bool:
    """Whether every packet of every VM that `narrow` is about, `wide` is about too."""
    if not (_implied(wide.policy.selector, narrow) and _implied(wide.rule.when, narrow)):
        return False
    a, b = wide.rule, narrow.rule
    if a.action is Action.ISOLATE:
        return True
    if a.direction not in (Direction.BOTH, b.direction):
        return False
    return _names_cover(a.protocols, b.protocols) and _ports_cover(a.ports, b.ports) and _peers_cover(a.peers, b.peers)


def _implied(condition: Condition | None, narrow: _Ruled) -> bool:
    """Whether the condition holds whenever `narrow` is in force."""
    if condition is None or condition.expression == _ANY:
        return True
    if narrow.rule.hold is not None:
        return False  # it may outlive its `when`
    known = [c.expression for c in (narrow.policy.selector, narrow.rule.when) if c is not None]
    parts = {_normal(part) for text in known for part in cel_text.conjuncts(text)}
    return {_normal(part) for part in cel_text.conjuncts(condition.expression)} <= parts


def _normal(text: str) -> str:
    return " ".join(token.text for token in cel_text.tokens(text))


def _names_cover(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


def _ports_cover(wide: Any, narrow: Any) -> bool:
    if wide is None:
        return True
    if isinstance(wide, Condition) or isinstance(narrow, Condition) or narrow is None:
        return bool(wide == narrow)
    return all(any(low <= a and b <= high for low, high in wide) for a, b in narrow)


def _peers_cover(wide: Peers | None, narrow: Peers | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    if wide.reputation_below is not None and (
        narrow.reputation_below is None or narrow.reputation_below > wide.reputation_below
    ):
        return False
    lists = ((wide.categories, narrow.categories), (wide.feeds, narrow.feeds))
    if not all(_names_cover(a, b) for a, b in lists) or wide.profile not in (None, narrow.profile):
        return False
    if not _vms_cover(wide.vms, narrow.vms):
        return False
    return (
        _domains_cover(wide.domains, narrow.domains)
        and _networks_cover(wide.networks, narrow.networks)
        and wide.negated in (None, narrow.negated)
    )


def _vms_cover(wide: Condition | None, narrow: Condition | None) -> bool:
    return wide is None or (narrow is not None and (wide == narrow or wide.expression == _ANY))


def _domains_cover(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    below = all(any(name == suffix or name.endswith(f".{suffix}") for suffix in wide) for name in narrow)
    return not wide or (bool(narrow) and below)


def _networks_cover(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    return not wide or (bool(narrow) and all(any(_within(small, big) for big in wide) for small in narrow))


def _within(small: str, big: str) -> bool:
    inner, outer = ip_network(small), ip_network(big)
    return inner.version == outer.version and bool(inner.subnet_of(outer))  # type: ignore[arg-type]


def _unmatched(ruled: list[_Ruled], personas: Sequence[Persona], at: int | None) -> Iterator[Warning]:
    """Labels that no persona has, and selectors that pick nobody now.

    Of rules only the labels are held against the personas: risk that nobody has today, somebody may have tomorrow.
    """
    if not personas:
        return
    instant = max((p.learned_until or 0 for p in personas), default=0) if at is None else at
    known = [facts(persona, instant) for persona in personas]
    labels = {(name, text) for persona in personas for name, text in persona.labels.items()}
    for policy in dict.fromkeys(item.policy.name for item in ruled):
        rules = [item for item in ruled if item.policy.name == policy]
        selector = rules[0].policy.selector
        missing = [] if selector is None else list(_labels_missing(policy, selector, labels))
        yield from missing
        if selector is not None and not missing and not any(holds(selector, each) for each in known):
            message = f"{policy}: the selector picks none of the {len(known)} personas now"
            yield Warning("unmatched", selector.place, message)
        for item in rules:
            for condition in conditions_of(item.rule):
                yield from _labels_missing(item.name, condition, labels)


def _labels_missing(owner: str, condition: Condition, labels: set[tuple[str, str]]) -> Iterator[Warning]:
    words = cel_text.tokens(condition.expression)
    names = sorted({name for name, _ in labels})
    for reference in cel_text.references(words):
        if reference.field != "labels" or len(reference.words) < 2:
            continue
        label = reference.words[1].text
        text = _compared_with(words, reference)
        if label not in names:
            hint = meant(label, names) if names else "no persona has any label"
            message = f"{owner}: no persona has the label {label!r}, so this holds for none; {hint}"
            yield Warning("unmatched", condition.place, message)
        elif text is not None and (label, text) not in labels:
            known = sorted(value for name, value in labels if name == label)
            message = f"{owner}: no persona has the label {label} = {text!r}; {meant(text, known)}"
            yield Warning("unmatched", condition.place, message)


def _compared_with(words: list[cel_text.Token], reference: cel_text.Reference) -> str | None:
    """The text that a label must equal: persona.labels.role == 'web' gives "web"."""
    end = words.index(reference.words[-1])
    follows = words[end + 1 : end + 3]
    if len(follows) == 2 and follows[0].text == "==" and follows[1].kind == "text" and follows[1].text[0] in "'\"":
        return follows[1].text.strip("'\"")
    return None


def _management(ruled: list[_Ruled], policies: PolicySet) -> Iterator[Warning]:
    """Denies that cover a management peer, or, where none is named, everybody who could manage the VM."""
    always = policies.always
    for item in ruled:
        rule = item.rule
        inbound = rule.action is Action.ISOLATE or rule.direction in (Direction.INBOUND, Direction.BOTH)
        if rule.action not in _CUTTING or not inbound or item.policy.mode is not Mode.ENFORCE:
            continue
        if rule.protocols and "tcp" not in rule.protocols:
            continue
        ports = [port for port in always.ports if _port_in(port, rule.ports)]
        if not ports:
            continue
        named = ", ".join(str(port) for port in ports)
        if not always.management and (rule.peers is None or rule.action is Action.ISOLATE):
            message = (
                f"{item.name} cuts the management path (port {named}): AlwaysAllow names no management peer; "
                "name one, e.g. spec: {management: [192.0.2.10]}"
            )
            yield Warning("management", rule.place, message)
        for peer in always.management:
            if _covers_peer(rule, peer):
                message = (
                    f"{item.name} covers the management peer {peer} (port {named}); AlwaysAllow stands before it, "
                    "so that peer stays allowed"
                )
                yield Warning("management", rule.place, message)


def _port_in(port: int, ports: Any) -> bool:
    if ports is None:
        return True
    return not isinstance(ports, Condition) and any(low <= port <= high for low, high in ports)


def _covers_peer(rule: Rule, peer: str) -> bool:
    """Whether the rule certainly concerns this peer: by its networks, or because it concerns everybody."""
    peers = rule.peers
    if rule.action is Action.ISOLATE or peers is None:
        return True
    named_only = peers == Peers(networks=peers.networks) and bool(peers.networks)
    return named_only and _networks_cover(peers.networks, (peer,))


def _unknown(
    ruled: list[_Ruled], policies: PolicySet, feeds: Collection[str] | None, categories: Collection[str] | None
) -> Iterator[Warning]:
    """Names that nothing has: feeds, categories, redirects."""
    known: Mapping[str, Collection[str] | None] = {"feeds": feeds, "categories": categories}
    for item in ruled:
        for peers in _all_peers(item.rule.peers):
            for kind, names in (("feeds", peers.feeds), ("categories", peers.categories)):
                for name in names:
                    there = known[kind]
                    if there is not None and name not in there:
                        what = "feed" if kind == "feeds" else "category"
                        hint = meant(name, sorted(there)) if there else f"no {what} is known"
                        message = f"{item.name}: no {what} is named {name!r}, so it matches nobody; {hint}"
                        yield Warning("unknown", item.rule.place, message)
        to = item.rule.to
        if to is not None and to[0] not in "[0123456789" and ":" not in to and to not in policies.redirects:
            hint = meant(to, sorted(policies.redirects)) if policies.redirects else "the configuration names none"
            message = f"{item.name}: no redirect is named {to!r}, so it leads nowhere; {hint}"
            yield Warning("unknown", item.rule.place, message)


def _all_peers(peers: Peers | None) -> list[Peers]:
    return [] if peers is None else [each for each in (peers, peers.negated) if each is not None]
