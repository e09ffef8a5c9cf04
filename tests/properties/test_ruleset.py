"""What holds for every ruleset, whatever the personas, the policies and the text in them."""

import re
from dataclasses import replace

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from msgspec import structs

from netpersona.persona.model import Persona
from netpersona.policy.model import Action, Direction, Mode, Policy, PolicySet
from netpersona.ruleset.diff import apply, diff, words
from netpersona.ruleset.explain import explain_other
from netpersona.ruleset.render import render
from netpersona.ruleset.resolve import Resolver, resolve
from netpersona.ruleset.verdict import Packet, verdict
from properties.given_rulesets import AT, HERE, World, packets, policies, rules, worlds

PLAIN = st.sampled_from(("a", "b", "c", "d", "e", "f"))
some_time = settings(max_examples=25, deadline=None)


@some_time
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_changes_nothing(world: World, random: object) -> None:
    def shuffled(values: tuple) -> tuple:
        found = list(values)
        random.shuffle(found)
        return tuple(found)

    policies = replace(world.policies, policies=shuffled(world.policies.policies), allow=shuffled(world.policies.allow))
    personas = tuple(
        structs.replace(p, profile=structs.replace(p.profile, kinds=dict(shuffled(tuple(p.profile.kinds.items())))))
        for p in shuffled(world.personas)
    )
    interfaces = dict(shuffled(tuple(world.interfaces.items())))
    first = world.ruleset()
    second = resolve(personas, policies, world.intel, AT, interfaces=interfaces, names=world.names)
    assert first == second
    assert first.until == second.until
    assert render(first) == render(second)


@some_time
@given(worlds(), worlds(), st.data())
def test_one_persona_at_a_time_comes_to_what_all_at_once_come_to(
    world: World, other: World, data: st.DataObject
) -> None:
    changes = data.draw(st.lists(st.sampled_from((*world.personas, *other.personas)), max_size=4))
    resolver = Resolver(world.policies, world.intel, AT, interfaces=world.interfaces, names=world.names)
    latest: dict[str, Persona] = {}
    for persona in (*world.personas, *changes):
        resolver.put(persona)
        latest[persona.vm] = persona
        resolver.ruleset()
    whole = resolve(latest.values(), world.policies, world.intel, AT, interfaces=world.interfaces, names=world.names)
    assert resolver.ruleset() == whole
    assert render(resolver.ruleset()) == render(whole)


@some_time
@given(worlds(), worlds())
def test_the_difference_applied_is_what_was_desired(before: World, after: World) -> None:
    old, new = before.ruleset(), after.ruleset()
    changes = diff(old, new)
    assert apply(old, changes) == new
    assert apply(old, changes).until == new.until
    assert not diff(new, apply(old, changes))
    assert bool(changes) is (old != new)
    assert all(isinstance(sentence, str) for sentence in words(changes))


@some_time
@given(worlds(PLAIN), st.data())
def test_outside_text_never_changes_the_shape(world: World, data: st.DataObject) -> None:
    """Renaming every policy and rule to anything changes comments and names of chains, and no statement."""
    odd = data.draw(st.lists(st.text(min_size=1, max_size=200), min_size=9, max_size=9, unique=True))
    renamed = tuple(
        replace(
            p,
            name=f"{number}{odd[number]}",
            rules=tuple(replace(r, name=f"{i}{odd[4 + i]}") for i, r in enumerate(p.rules)),
        )
        for number, p in enumerate(sorted(world.policies.policies, key=lambda p: (p.order, p.name)))
    )
    one = tuple(
        replace(p, name=f"{number}x", rules=tuple(replace(r, name=f"{i}x") for i, r in enumerate(p.rules)))
        for number, p in enumerate(sorted(world.policies.policies, key=lambda p: (p.order, p.name)))
    )
    texts = [
        render(replace(world, policies=replace(world.policies, policies=found)).ruleset()) for found in (one, renamed)
    ]
    first, second = (sorted(_shape(text)) for text in texts)
    assert first == second


def _shape(text: str) -> list[str]:
    """The lines without quoted text and without the names of chains and sets that carry a rule's name or hash."""
    bare = re.sub(r'"[^"]*"', '""', text)
    return [
        re.sub(r"\b((?:deny|reject|log|stage|limit|hits|from|to|nat)\.)(?!spoofed|unknown)\S+", r"\1", line)
        for line in bare.splitlines()
    ]


@some_time
@given(
    worlds(PLAIN),
    rules(PLAIN, (Action.DENY, Action.REJECT, Action.ISOLATE)),
    st.integers(-1, 5),
    st.lists(packets(), min_size=1, max_size=20),
)
def test_a_deny_never_lets_more_through(world: World, rule: object, order: int, asked: list[Packet]) -> None:
    extra = Policy("extra", Mode.ENFORCE, order, (rule,), place=HERE)
    more = replace(world, policies=replace(world.policies, policies=(*world.policies.policies, extra)))
    before, after = world.ruleset(), more.ruleset()
    for packet in asked:
        if not verdict(before, packet).passes:
            assert not verdict(after, packet).passes, packet


@some_time
@given(worlds(), st.lists(packets(), min_size=1, max_size=20))
def test_every_packet_has_a_verdict_a_reason_and_an_alternative(world: World, asked: list[Packet]) -> None:
    ruleset = world.ruleset()
    for packet in asked:
        decision = verdict(ruleset, packet)
        assert decision.why
        assert isinstance(explain_other(ruleset, packet), list)
        if not decision.passes:
            assert explain_other(ruleset, packet)


@some_time
@given(worlds(), st.lists(packets(), min_size=1, max_size=20))
def test_a_staged_policy_changes_no_verdict(world: World, asked: list[Packet]) -> None:
    enforced = tuple(p for p in world.policies.policies if p.mode is Mode.ENFORCE)
    without = replace(world, policies=replace(world.policies, policies=enforced))
    first, second = world.ruleset(), without.ruleset()
    for packet in asked:
        assert verdict(first, packet).verdict == verdict(second, packet).verdict


@some_time
@given(policies(PLAIN), worlds(PLAIN), st.sampled_from(("192.0.2.1", "2001:db8::1")), st.booleans(), st.booleans())
def test_management_survives_every_policy(
    wanted: PolicySet, world: World, peer: str, established: bool, reply: bool
) -> None:
    always = replace(wanted.always, management=("192.0.2.1/32", "2001:db8::1/128"))
    ruleset = replace(world, policies=replace(wanted, always=always)).ruleset()
    for vm in ruleset.vms:
        packet = Packet(vm, Direction.INBOUND, peer, "tcp", 22, established=established, reply=reply)
        assert verdict(ruleset, packet).passes


def test_two_personas_of_one_vm_are_refused(one_world: World) -> None:
    with pytest.raises(ValueError, match="two personas"):
        resolve((one_world.personas[0],) * 2, one_world.policies, one_world.intel, AT)


@pytest.fixture
def one_world() -> World:
    return find(worlds(PLAIN), lambda _: True, settings=settings(phases=[Phase.generate]))  # any will do
