"""An answer is let go when the kernel's sets hold it, whoever has to put it there, and none is forgotten."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from netpersona.adapters.dns_relay.admission import MANY_LEARNED, MOST_LENT, MOST_WAITING, Admission
from netpersona.adapters.dns_relay.concerns import Book, Concern, allowed_names, concerns
from netpersona.adapters.dns_relay.held import Answered
from netpersona.adapters.dns_relay.message import Told
from netpersona.errors import EnforcerError
from netpersona.flow.vm import VmId, vm_id
from netpersona.intel.indicators import IndicatorSet
from netpersona.persona.model import BaseNetworkConfig, Persona, TrafficProfile, Usage
from netpersona.policy.model import AllowEntry, AllowListResource, PolicySet
from netpersona.policy.parse import parse
from netpersona.ruleset.criteria import covered
from netpersona.ruleset.resolve import Resolver, resolve

VM = vm_id("web-1")
BAD = Concern(frozenset(["bad.example"]), "domains_bad.web-1", frozenset(["192.0.2.1"]))
LEARNED = Concern(frozenset(["known.example"]), None)


class Sets:
    """The kernel's sets, as far as addresses are lent to them."""

    def __init__(self) -> None:
        self.lent: list[tuple[str, tuple[str, ...], float]] = []
        self.woken = 0
        self.refuses = False

    def lend(self, name: str, addresses: Sequence[str], seconds: float) -> None:
        if self.refuses:
            raise EnforcerError("the kernel refused it")
        self.lent.append((name, tuple(addresses), seconds))

    def wake(self) -> None:
        self.woken += 1


def made(*of: Concern) -> tuple[Admission, Sets]:
    sets = Sets()
    admission = Admission(sets.lend, sets.wake)
    admission.publish({VM: of})
    return admission, sets


def answer(name: str, *addresses: str, ttl: int = 5, vm: VmId = VM) -> Answered:
    return Answered(vm, "192.0.2.53", (Told(name, tuple((address, ttl) for address in addresses)),))


def test_a_set_gains_the_address_at_once_for_a_minute_or_its_time_to_live() -> None:
    admission, sets = made(BAD)
    assert admission.heard(answer("cdn.bad.example", "192.0.2.7")) is None
    assert admission.heard(answer("bad.example", "2001:db8::7", ttl=600)) is None
    assert sets.lent == [("domains_bad.web-1", ("192.0.2.7",), 60), ("domains_bad.web-1", ("2001:db8::7",), 600)]


def test_nothing_is_asked_of_the_kernel_where_nothing_is_new() -> None:
    admission, sets = made(BAD)
    admission.heard(answer("good.example", "192.0.2.7"))
    admission.heard(answer("bad.example", "192.0.2.1"))  # it holds this one
    admission.heard(answer("bad.example", "192.0.2.8", vm=vm_id("other")))
    assert sets.lent == []
    for _ in range(3):
        admission.heard(answer("bad.example", "192.0.2.9"))
    assert len(sets.lent) == 1


def test_the_controller_is_given_all_that_was_heard_once() -> None:
    admission, _ = made(BAD)
    admission.heard(answer("good.example", "192.0.2.7", ttl=5))
    admission.heard(answer("bad.example", "192.0.2.9", ttl=600))
    with admission.settling() as learned:
        assert [(each.vm, each.name) for each in learned] == [(VM, "good.example"), (VM, "bad.example")]
        (_, soon), (_, late) = learned[0].addresses[0], learned[1].addresses[0]
        assert late - soon == pytest.approx(540_000_000, abs=5_000_000)
    with admission.settling() as learned:
        assert learned == []


def test_what_only_a_resolution_can_tell_waits_for_it() -> None:
    admission, sets = made(LEARNED)
    wait = admission.heard(answer("known.example", "192.0.2.7"))
    assert isinstance(wait, Future)
    assert sets.woken == 1
    with admission.settling() as learned:
        assert not wait.done()
        admission.publish({VM: (Concern(LEARNED.domains, None, frozenset(learned[0].addresses[0][:1])),)})
    assert wait.done()
    assert admission.heard(answer("known.example", "192.0.2.7")) is None


def test_what_is_heard_while_the_enforcer_is_busy_is_lent_by_the_new_rules() -> None:
    admission, sets = made()
    with admission.settling() as learned:
        wait = admission.heard(answer("bad.example", "192.0.2.7"))
        assert learned == []
        admission.publish({VM: (BAD,)})
        assert not wait.done()
        assert sets.lent == []
    assert wait.done()
    assert sets.lent == [("domains_bad.web-1", ("192.0.2.7",), 60)]
    with admission.settling() as learned:
        assert [each.name for each in learned] == ["bad.example"]


def test_quiet_nests_and_loses_nothing() -> None:
    admission, sets = made(BAD)
    with admission.quiet():
        with admission.quiet():
            wait = admission.heard(answer("bad.example", "192.0.2.7"))
        assert not wait.done()
        assert sets.lent == []
    assert wait.done()
    assert len(sets.lent) == 1


def test_a_settling_that_fails_is_as_if_it_had_not_been() -> None:
    admission, _ = made(LEARNED)
    wait = admission.heard(answer("known.example", "192.0.2.7"))
    laters = []

    def refused() -> None:
        with admission.settling():
            laters.append(admission.heard(answer("known.example", "192.0.2.8")))
            raise EnforcerError("the kernel refused it")

    with pytest.raises(EnforcerError):
        refused()
    assert not wait.done()
    with admission.settling() as learned:
        assert [each.addresses[0][0] for each in learned] == ["192.0.2.7", "192.0.2.8"]
    assert wait.done()
    assert laters[0].done()


def test_a_kernel_that_refuses_is_told_and_a_resolution_mends_it() -> None:
    admission, sets = made(BAD)
    sets.refuses = True
    wait = admission.heard(answer("bad.example", "192.0.2.7"))
    assert wait is not None
    assert "refused" in admission.error
    assert admission.counts.failed == 1
    with admission.settling():
        pass
    assert wait.done()
    sets.refuses = False
    assert admission.heard(answer("bad.example", "192.0.2.7")) is None
    assert admission.error is None


def test_a_set_is_lent_only_so_much_between_two_resolutions() -> None:
    admission, sets = made(BAD)
    for number in range(0, MOST_LENT + 500, 250):
        told = [f"10.{number >> 8}.{number & 255}.{each}" for each in range(250)]
        admission.heard(answer("bad.example", *told))
    assert sum(len(addresses) for _, addresses, _ in sets.lent) <= MOST_LENT
    assert admission.counts.resolved > 0


def test_answers_that_were_given_up_are_not_kept_for_ever() -> None:
    admission, _ = made(LEARNED)
    for number in range(3 * MOST_WAITING):
        wait = admission.heard(answer("known.example", f"10.0.{number >> 8}.{number & 255}"))
        wait.cancel()
    assert len(admission._unsettled) <= MOST_WAITING
    with admission.settling():
        pass


def test_a_settling_is_called_for_where_something_was_lent_or_waits_or_much_was_learned() -> None:
    admission, _ = made(BAD, LEARNED)
    for number in range(MANY_LEARNED):
        admission.heard(answer(f"n{number}.good.example", "192.0.2.7"))
        assert not admission.waiting
    admission.heard(answer("one.good.example", "192.0.2.7"))
    assert admission.waiting
    for name in ("bad.example", "known.example"):
        with admission.settling():
            admission.publish({VM: (BAD, LEARNED)})
        assert not admission.waiting
        admission.heard(answer(name, "192.0.2.9"))
        assert admission.waiting


def test_two_threads_lose_nothing() -> None:
    admission, sets = made(BAD)
    waits: list[Future[None] | None] = []
    hearing = threading.Thread(
        target=lambda: waits.extend(
            admission.heard(answer("bad.example", f"10.0.{n >> 8}.{n & 255}")) for n in range(2000)
        )
    )
    hearing.start()
    learned = []
    while hearing.is_alive():
        with admission.settling() as found:
            learned += found
            admission.publish({VM: (BAD,)})
    with admission.settling() as found:
        learned += found
    assert [each.addresses[0][0] for each in learned] == [f"10.0.{n >> 8}.{n & 255}" for n in range(2000)]
    assert all(wait is None or wait.done() for wait in waits)
    assert {address for _, addresses, _ in sets.lent for address in addresses} == {
        f"10.0.{n >> 8}.{n & 255}" for n in range(2000)
    }


POLICY = """{apiVersion: netpersona/v1, kind: Policy, metadata: {name: p}, spec: {mode: enforce, order: 1, rules: [
    {name: bad, direction: outbound, peers: {domains: [bad.example, worse.example]}, action: deny},
    {name: else, direction: both, peers: {not: {domains: [good.example]}}, action: deny},
    {name: new, direction: outbound, peers: {profile: new}, action: deny}]}}"""


def test_concerns_are_what_the_rules_ask_of_names() -> None:
    learned = TrafficProfile(names={"known.example": Usage(1.0, 1.0, 1.0, 0, 0)})
    personas = [
        Persona(
            vm=vm_id(name), base=BaseNetworkConfig(addresses=(f"10.77.0.{place}/24",), inferred=False), profile=learned
        )
        for place, name in ((1, "web-1"), (2, "web-2"))
    ]
    names = {VM: {"www.bad.example": (("192.0.2.7", None),)}}
    ruleset = resolve(personas, parse(POLICY, "p.yaml"), IndicatorSet.merge([]), 0, names=names)
    found = concerns(ruleset, allowed=frozenset(["wanted.example"]), personas={VM: personas[0]})
    assert found.keys() == {"web-1", "web-2"}
    by_domains = {min(each.domains): each for each in found[VM]}
    assert by_domains.keys() == {"bad.example", "good.example", "wanted.example", "known.example"}
    bad = by_domains["bad.example"]
    assert ruleset.sets[bad.set_name].addresses == ("192.0.2.7",)
    assert bad.holds == {"192.0.2.7"}
    assert bad.covers("a.worse.example") is covered("a.worse.example", bad.domains) is True
    assert not bad.covers("notbad.example")
    assert by_domains["wanted.example"].set_name is None  # no address yet, so no set
    assert [each.domains for each in found[vm_id("web-2")]] != [each.domains for each in found[VM]]


def test_what_stays_the_same_is_kept_and_what_changes_is_found_anew() -> None:
    persona = Persona(vm=VM, base=BaseNetworkConfig(addresses=("10.77.0.1/24",), inferred=False))
    policies, intel = parse(POLICY, "p.yaml"), IndicatorSet.merge([])
    names: dict = {VM: {"bad.example": (("192.0.2.7", None),)}}
    resolver = Resolver(policies, intel, 0, names=names)
    resolver.put(persona)
    book, ruleset = Book(), resolver.ruleset()
    first = book.concerns(ruleset)[VM]
    assert book.concerns(resolver.ruleset())[VM] is first
    assert book.concerns(ruleset, allowed=frozenset(["x"]))[VM] is not first
    names[VM] = {"bad.example": (("192.0.2.8", None),)}
    resolver.put(persona)
    later = book.concerns(resolver.ruleset())
    assert later == concerns(resolver.ruleset())
    assert {"192.0.2.8"} in [each.holds for each in later[VM]]


def test_only_domains_of_allow_lists_are_names() -> None:
    entries = tuple(AllowEntry(value, None, "") for value in ("good.example", "192.0.2.0/24", "2001:db8::1"))
    policies = PolicySet(allow=(AllowListResource("a", entries),))
    assert allowed_names(policies, IndicatorSet.merge([])) == {"good.example"}


def test_a_vm_that_no_name_concerns_is_left_out() -> None:
    persona = Persona(vm=VM, base=BaseNetworkConfig(addresses=("10.77.0.1/24",), inferred=False))
    deny = POLICY.split("rules:", maxsplit=1)[0] + "rules: [{name: d, direction: outbound, action: deny}]}}"
    assert concerns(resolve([persona], parse(deny, "p.yaml"), IndicatorSet.merge([]), 0)) == {}
