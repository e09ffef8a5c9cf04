"""Generated worlds: personas, policies and indicators as values, with hostile text wherever text may come from outside.

What describes the parts of a world is made once (`cache`): to make it for each example took longer than all else.
"""

from dataclasses import dataclass, replace
from functools import cache

import polars as pl
from hypothesis import strategies as st

from netpersona.flow.vm import VmId, vm_id
from netpersona.intel.indicator import INDICATOR_SCHEMA
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, BehavioralSignature, Kind, Persona, TrafficProfile, Usage
from netpersona.policy.model import (
    Action,
    AllowEntry,
    AllowListResource,
    AlwaysAllow,
    Condition,
    Direction,
    Existing,
    Mode,
    Peers,
    Place,
    Policy,
    PolicySet,
    Rate,
    Rule,
)
from netpersona.ruleset.model import Ruleset
from netpersona.ruleset.resolve import resolve
from netpersona.ruleset.verdict import Packet

AT = 1_800_000_000_000_000  # µs
HERE = Place("generated", 1, 1)
PEERS = (
    "203.0.113.7", "203.0.113.65", "198.51.100.9", "192.0.2.1", "10.77.0.12", "10.77.0.1",
    "2001:db8:bad::1", "2001:db8:dead::9", "2001:db8::1", "fd00:77::12", "fd00:77::1",
)  # fmt: skip
NETWORKS = ("203.0.113.64/26", "198.51.100.0/24", "10.77.0.0/24", "2001:db8:dead::/48", "fd00:77::/64", *PEERS)
LISTED_NAMES = ("example.com", "www.example.com", "example.org")  # feeds may list names; VMs are answered for them
CONDITIONS = ("true", "persona.risk_score > 0.5", "persona.labels.role == 'web'", "persona.exposed_ports.size() > 0")
SERVICES = (("tcp", 22), ("tcp", 80), ("tcp", 443), ("udp", 53), ("udp", 443), ("icmp", 0), ("icmp6", 0), ("gre", 0))
HOSTILE = st.one_of(
    st.sampled_from(
        ['"; flush ruleset; #', "a/b@1 } chain x {", "$(reboot)", "\n\n}", "\x00\u202e", "é" * 200, "\ud800"]
    ),
    st.text(max_size=300),
)


OTHER_ANSWERS = {  # four sites at an address of a name that may be listed: then it is everybody's
    "example.org": (("192.0.2.1", None),),
    **{f"www.site{n}.com": (("198.51.100.9", None), ("192.0.2.1", AT + 9)) for n in range(4)},
}


@dataclass(frozen=True)
class World:
    """Everything that resolve() takes."""

    personas: tuple[Persona, ...]
    policies: PolicySet
    intel: IndicatorSet
    interfaces: dict[VmId, str]
    names: dict[VmId, dict[str, tuple[tuple[str, int | None], ...]]]

    def ruleset(self) -> Ruleset:
        return resolve(self.personas, self.policies, self.intel, AT, interfaces=self.interfaces, names=self.names)


def condition(text: str) -> Condition:
    return Condition(text, HERE)


def optional(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.none(), strategy)


def some(values: tuple, most: int = 3) -> st.SearchStrategy:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


def peers(depth: int = 1) -> st.SearchStrategy[Peers]:
    return st.builds(
        Peers,
        reputation_below=optional(st.sampled_from((0.3, 0.30000001, 1.0))),
        categories=some(("c2", "scanner"), 2),
        feeds=some(("bad", "worse"), 1),
        domains=some(("example.com", "example.org"), 1),
        profile=st.sampled_from((None, None, "known", "new")),
        networks=some(NETWORKS, 2),
        vms=optional(st.sampled_from(CONDITIONS).map(condition)),
        negated=optional(peers(depth - 1)) if depth else st.none(),
    )


def sparse_peers() -> st.SearchStrategy[Peers | None]:
    one = st.one_of(
        st.builds(Peers, networks=some(NETWORKS, 3).filter(bool)),
        st.builds(Peers, reputation_below=st.sampled_from((0.3, 0.9))),
        st.builds(Peers, profile=st.sampled_from(("known", "new"))),
        st.builds(Peers, domains=st.just(("example.com",))),
        st.builds(Peers, negated=st.builds(Peers, networks=some(NETWORKS, 3).filter(bool))),
    )
    return st.one_of(st.none(), one, peers())


def rules(text: st.SearchStrategy[str], actions: tuple[Action, ...] = tuple(Action)) -> st.SearchStrategy[Rule]:
    def complete(rule: Rule) -> Rule:
        if rule.action is Action.RATE_LIMIT:
            return replace(rule, rate=Rate(1_000_000_000, "bit"))
        return replace(rule, to="analyser") if rule.action is Action.REDIRECT else rule

    return st.builds(
        Rule,
        name=text,
        action=st.sampled_from(actions),
        direction=st.sampled_from(Direction),
        place=st.just(HERE),
        when=optional(st.sampled_from(CONDITIONS).map(condition)),
        peers=sparse_peers(),
        ports=st.one_of(
            st.none(),
            st.just(((443, 443),)),
            st.just(((53, 80), (443, 443))),
            st.just(condition("persona.exposed_ports")),
        ),
        protocols=some(("tcp", "udp", "icmp", "icmp6", "gre"), 2),
        existing=st.sampled_from((Existing("keep"), Existing("cut"), Existing("drain", 60))),
    ).map(complete)


@cache
def policies(text: st.SearchStrategy[str], actions: tuple[Action, ...] = tuple(Action)) -> st.SearchStrategy[PolicySet]:
    policy = st.builds(
        Policy,
        name=text,
        mode=st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.STAGE, Mode.OFF)),
        order=st.integers(0, 3),
        rules=st.lists(rules(text, actions), min_size=1, max_size=4).map(tuple),
        version=st.integers(1, 9),
        selector=optional(st.sampled_from(CONDITIONS).map(condition)),
        place=st.just(HERE),
    )
    entry = st.builds(
        AllowEntry,
        value=st.sampled_from(("192.0.2.1", "198.51.100.0/28", "2001:db8::/64", "example.org")),
        until=st.sampled_from((None, AT, AT + 1)),
        comment=text,
    )
    return st.builds(
        PolicySet,
        policies=st.lists(policy, max_size=4, unique_by=lambda p: p.name).map(tuple),
        allow=st.lists(entry, max_size=2).map(
            lambda found: (AllowListResource("listed", tuple(found)),) if found else ()
        ),
        always=st.sampled_from((AlwaysAllow(), AlwaysAllow(management=("10.77.0.1/32", "fd00:77::/120")))),
        unknown_vm=st.sampled_from(("allow", "deny")),
        redirects=st.sampled_from(({}, {"analyser": "10.77.0.9"}, {"analyser": "[fd00:77::9]:8080"})),
    )


def dense_policies(actions: tuple[Action, ...]) -> st.SearchStrategy[PolicySet]:
    """Policies that are in force and meet: every rule concerns many UDP flows."""
    networks = st.builds(Peers, networks=some(NETWORKS, 6).filter(bool))
    rule = st.builds(
        Rule,
        name=st.just("r"),
        action=st.sampled_from(actions),
        direction=st.sampled_from(Direction),
        place=st.just(HERE),
        peers=st.one_of(st.none(), networks, st.builds(Peers, negated=networks), st.just(Peers(profile="known"))),
        ports=st.sampled_from((None, ((53, 80),), ((443, 443),))),
        protocols=st.sampled_from(((), ("udp",))),
        existing=st.sampled_from((Existing("keep"), Existing("cut"))),
    )
    policy = st.builds(
        Policy,
        name=st.just("p"),
        mode=st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.ENFORCE, Mode.STAGE)),
        order=st.just(0),
        rules=st.lists(rule, min_size=1, max_size=3).map(
            lambda found: tuple(replace(each, name=f"r{number}") for number, each in enumerate(found))
        ),
    )
    return st.lists(policy, min_size=2, max_size=4).map(
        lambda found: PolicySet(
            tuple(replace(each, name=f"p{number}", order=number) for number, each in enumerate(found))
        )
    )


@cache
def persona(name: str, number: int, text: st.SearchStrategy[str]) -> st.SearchStrategy[Persona]:
    usage = Usage(1.0, 1.0, 1.0, AT, AT)
    kind = st.one_of(
        st.builds(Kind, st.just("outbound"), st.just("tcp"), st.just(443), st.sampled_from(PEERS)),
        st.sampled_from(SERVICES).map(lambda service: Kind("inbound", *service, "")),
    )
    return st.builds(
        Persona,
        vm=st.just(vm_id(name)),
        labels=st.dictionaries(st.just("role"), st.one_of(st.just("web"), text), max_size=1),
        base=st.builds(
            BaseNetworkConfig,
            addresses=st.just((f"10.77.0.{number}/24", f"fd00:77::{number}/64")),
            gateways=st.just(("10.77.0.1", "fd00:77::1")),
            resolvers=some(("10.77.0.1", "fd00:77::1"), 2),
            inferred=st.booleans(),
        ),
        risk_prior=st.sampled_from((0.2, 0.8)),
        exposed_ports=st.sampled_from(((), (443,), (80, 8080))),
        profile=st.lists(kind, max_size=4, unique=True).map(
            lambda kinds: TrafficProfile(kinds=dict.fromkeys(kinds, usage))
        ),
        signatures=st.lists(
            st.builds(BehavioralSignature, text, st.just(AT), st.just(AT), st.none(), st.just(0.9), text), max_size=1
        ).map(tuple),
    )


@cache
def listings(text: st.SearchStrategy[str]) -> st.SearchStrategy[IndicatorSet]:
    row = st.fixed_dictionaries(
        {
            "value": st.sampled_from((*NETWORKS, *LISTED_NAMES)),
            "confidence": st.sampled_from((0.5, 0.95)),
            "valid_until": st.sampled_from((None, AT, AT + 1)),
            "category": st.sampled_from(("c2", "scanner")),
            "feed": st.sampled_from(("bad", "worse")),
            "label": text.map(lambda t: t.encode("utf-8", "replace").decode()),
        }
    )

    def whole(rows: list) -> IndicatorSet:
        found = [
            {
                **dict.fromkeys(INDICATOR_SCHEMA),
                **row,
                "type": "network" if "/" in row["value"] else "domain" if row["value"] in LISTED_NAMES else "address",
                "line": line,
                "family": row["feed"],
            }
            for line, row in enumerate(rows, 1)
        ]
        return IndicatorSet(pl.DataFrame(found, schema=INDICATOR_SCHEMA))

    return st.lists(row, max_size=4).map(whole)


@st.composite
def worlds(
    draw: st.DrawFn, text: st.SearchStrategy[str] = HOSTILE, actions: tuple[Action, ...] = tuple(Action)
) -> World:
    found = tuple(draw(persona(name, number, text)) for name, number in (("vm-1", 11), ("vm-2", 12)))
    given = [p.vm for p in found] + [vm_id("stranger")]
    chosen = draw(st.lists(st.sampled_from(given), unique=True))
    answers = {
        "www.example.com": (("198.51.100.9", None), ("2001:db8::1", AT + 5)),
        "example.org": (("203.0.113.7", AT),),
    }
    return World(
        personas=found,
        policies=draw(policies(text, actions)),
        intel=draw(listings(text)),
        interfaces={vm: f"tap-{vm}" for vm in chosen},
        names=draw(st.sampled_from(({}, {found[0].vm: answers}, {found[0].vm: answers, found[1].vm: OTHER_ANSWERS}))),
    )


def packets() -> st.SearchStrategy[Packet]:
    def packet(vm: VmId, direction: Direction, peer: str, service: tuple[str, int], state: str) -> Packet:
        transport, port = service
        return Packet(vm, direction, peer, transport, port, established=state == "established", reply=state == "reply")

    return st.builds(
        packet,
        st.sampled_from((vm_id("vm-1"), vm_id("vm-2"), vm_id("stranger"))),
        st.sampled_from((Direction.OUTBOUND, Direction.INBOUND)),
        st.sampled_from(PEERS),
        st.sampled_from(SERVICES),
        st.sampled_from(("new", "established", "reply")),
    )
