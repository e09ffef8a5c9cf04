"""What every store must do."""

from __future__ import annotations

from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from netpersona.adapters.stores.edit import VERSIONS_KEPT
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.adapters.stores.sqlite import SqliteStore
from netpersona.errors import StoreError
from netpersona.flow.table import batch
from netpersona.flow.vm import Vm, VmId
from netpersona.flow.window import DAY
from netpersona.persona.memory import Contact, Memory
from netpersona.persona.model import Kind, Persona, RiskTerm, TrafficProfile, Usage
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, Forgotten, Outcome, PersonaVersion
from netpersona.risk.finding import Finding, Severity

WEB, DB = VmId("web-1"), VmId("db-1")
MEMORY = Memory(contacts={("tcp", 443, "203.0.113.7"): Contact(1, 1, 2, 3, 4, 5, (6, 7))}, until=100)
LEARNED = TrafficProfile(kinds={Kind("outbound", "tcp", 443, "203.0.113.7"): Usage(2.0, 9.0, 9.0, 1, 2)}, flows=2)


@pytest.fixture(params=["memory", "sqlite", "sqlite, opened again for each call"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    opened = SqliteStore(f"sqlite:///{tmp_path}/sub/store.db")
    return opened if request.param == "sqlite" else OpenedAgain(tmp_path / "sub/store.db")


class OpenedAgain:
    """A store that is opened for each call, as after a restart."""

    def __init__(self, path):
        self.path = path

    def __getattr__(self, name):
        return getattr(SqliteStore(f"sqlite:///{self.path}"), name)


def persona(vm=WEB, version=1, **changes):
    return Persona(vm, version, **changes)


def checkpoint(closed=None, opened=None, until=100, **changes):
    known = {"pending": batch(), "vms": [], "names": {}, "context": {}}
    return Checkpoint(until, closed or Outcome(), opened or Outcome(), **(known | changes))


def state(vm=WEB, version=1, **changes):
    return {vm: VmState(persona(vm, version, **changes), MEMORY)}


def version(number, vm=WEB, at=None):
    return PersonaVersion(persona(vm, number), number if at is None else at, f"change {number}")


def finding(name, judged_at, vm=WEB, why="because"):
    return Finding(
        name, vm, "10.0.0.1", "scan", "scan_vertical", "10.0.0.2", ("10.0.0.2",), 1, "tcp", 80, "outbound",
        1, 2, judged_at, 0.9, Severity.HIGH, alert=True, why=why,
    )  # fmt: skip


def term(at, name="f", weight=1.0):
    return RiskTerm("scan", None, weight, 3_600_000_000, at, name, (), "because")


def test_an_empty_store_knows_nothing(store):
    assert store.closed_until() is None
    assert store.states() == {}
    assert store.personas() == {}
    assert store.pending().flows.is_empty()
    assert (store.vms(), store.names(), store.findings(), store.history(WEB), store.terms(WEB)) == ([], {}, [], [], [])
    assert store.context("policies") is None


def test_a_checkpoint_comes_back(store):
    vms = [Vm(WEB, ("10.0.0.1/24",), labels={"role": "web"}), Vm(DB, ("fd00::1/64",))]
    names = {WEB: {"example.com": {"203.0.113.7": 9}}, DB: {}}
    closed = Outcome(state() | state(DB), [version(1)], [finding("a", 5)], [(WEB, term(5))])
    store.commit(checkpoint(closed, vms=vms, names=names, context={"policies": b"rules"}))
    assert store.closed_until() == 100
    assert store.states() == state() | state(DB)
    assert list(store.states()) == [DB, WEB]
    assert store.personas() == {DB: persona(DB), WEB: persona()}
    assert store.history(WEB) == [version(1)]
    assert store.findings() == [finding("a", 5)]
    assert store.terms(WEB) == [term(5)]
    assert store.vms() == vms
    assert store.names() == names
    assert store.context("policies") == b"rules"


def test_pending_flows_come_back_with_their_columns(store):
    flows = pl.DataFrame({"start": [1, 2], "originator": ["10.0.0.1", "fd00::1"], "auth_success": [None, True]})
    transactions = pl.DataFrame({"start": [3], "kind": ["dns"], "answers": [["203.0.113.7", "2001:db8::7"]]})
    pending = batch(flows, transactions, {"no time": 3})
    store.commit(checkpoint(pending=pending))
    back = store.pending()
    assert back.flows.equals(pending.flows)
    assert back.transactions.equals(pending.transactions)
    assert back.flows.schema == pending.flows.schema
    assert back.skipped == {"no time": 3}
    store.commit(checkpoint())
    assert store.pending().flows.is_empty()
    assert store.pending().skipped == {}


def test_what_rests_on_open_windows_is_shown_and_then_replaced_whole(store):
    closed = Outcome(state(), [version(1)], [finding("a", 5)], [(WEB, term(5))])
    opened = Outcome(
        state(version=2, profile=LEARNED) | state(DB),
        [version(2)],
        [finding("a", 5, why="more"), finding("b", 7, DB)],
        [(WEB, term(7)), (WEB, term(5, weight=2.0))],
    )
    store.commit(checkpoint(closed, opened))
    assert store.states() == state()
    assert store.personas() == {DB: persona(DB), WEB: persona(version=2, profile=LEARNED)}
    assert store.history(WEB) == [version(1), version(2)]
    assert store.findings() == [finding("a", 5, why="more"), finding("b", 7, DB)]
    assert store.terms(WEB) == [term(5, weight=2.0), term(7)]
    store.commit(checkpoint(until=200))
    assert store.personas() == {WEB: persona()}
    assert store.history(WEB) == [version(1)]
    assert store.findings() == [finding("a", 5)]
    assert store.terms(WEB) == [term(5)]
    assert store.closed_until() == 200


def test_closed_findings_and_states_take_their_latest_form(store):
    store.commit(checkpoint(Outcome(state(), findings=[finding("a", 5)])))
    store.commit(checkpoint(Outcome(state(version=2), findings=[finding("a", 5, why="more")])))
    assert store.findings() == [finding("a", 5, why="more")]
    assert store.states() == state(version=2)


def test_findings_are_in_order_and_by_vm(store):
    found = [finding("c", 1, DB), finding("a", 2), finding("b", 2), finding("d", 1)]
    store.commit(checkpoint(Outcome(findings=found)))
    assert [f.id for f in store.findings()] == ["c", "d", "a", "b"]
    assert [f.id for f in store.findings(WEB)] == ["d", "a", "b"]


def test_terms_of_one_instant_are_in_the_order_of_their_findings(store):
    store.commit(checkpoint(Outcome(terms=[(WEB, term(2, "b")), (WEB, term(2, "a")), (WEB, term(1, "z"))])))
    assert [(t.at, t.finding) for t in store.terms(WEB)] == [(1, "z"), (2, "a"), (2, "b")]


def test_the_first_version_and_the_newest_are_kept(store):
    store.commit(checkpoint(Outcome(versions=[version(n) for n in range(1, 150)])))
    store.commit(checkpoint(Outcome(versions=[version(n) for n in range(150, 301)])))
    numbers = [v.persona.version for v in store.history(WEB)]
    assert numbers == [1, *range(301 - VERSIONS_KEPT + 1, 301)]
    assert len(numbers) == VERSIONS_KEPT


def test_the_world_is_as_the_last_checkpoint_had_it(store):
    store.commit(
        checkpoint(vms=[Vm(WEB, ("10.0.0.1/24",))], names={WEB: {"a": {"b": 1}}}, context={"x": b"1", "y": b"2"})
    )
    store.commit(checkpoint(vms=[Vm(DB, ("10.0.0.2/24",))], names={DB: {}}, context={"x": b"3"}))
    assert [vm.name for vm in store.vms()] == [DB]
    assert store.names() == {DB: {}}
    assert (store.context("x"), store.context("y")) == (b"3", None)


def test_what_a_person_changed_holds_now_and_at_the_next_windows(store):
    store.commit(checkpoint(Outcome(state(), [version(1)]), Outcome(state(version=2, profile=LEARNED), [version(2)])))
    named = persona(version=3, profile=LEARNED, labels={"role": "web"})
    store.put_persona(named, 7, "labelled")
    assert store.personas()[WEB] == named
    assert store.history(WEB)[-1] == PersonaVersion(named, 7, "labelled")
    # What the open windows taught is not in the keyed state: they are judged again.
    assert store.states()[WEB] == VmState(persona(version=3, labels={"role": "web"}), MEMORY)
    store.commit(checkpoint(until=200))
    assert store.personas()[WEB] == persona(version=3, labels={"role": "web"})
    assert [v.persona.version for v in store.history(WEB)] == [1, 3]


def test_what_was_shown_when_it_was_frozen_stays_what_is_normal(store):
    store.commit(checkpoint(Outcome(state(), [version(1)]), Outcome(state(version=2, profile=LEARNED), [version(2)])))
    frozen = persona(version=3, profile=LEARNED, learning="frozen")
    store.put_persona(frozen, 7, "frozen")
    assert store.states()[WEB] == VmState(frozen, MEMORY)
    store.commit(checkpoint(until=200))
    assert store.personas()[WEB] == frozen


def test_a_persona_known_from_open_windows_only_can_be_changed(store):
    store.commit(checkpoint(opened=Outcome(state(profile=LEARNED), [version(1)])))
    store.put_persona(persona(version=2, profile=LEARNED, labels={"role": "web"}), 7, "labelled")
    store.commit(checkpoint(until=200))
    assert store.personas()[WEB] == persona(version=2, labels={"role": "web"})


def test_emptying_the_profile_empties_the_memory(store):
    store.commit(checkpoint(Outcome(state(profile=LEARNED, labels={"role": "web"}))))
    store.put_persona(persona(version=2, labels={"role": "web"}), 7, "reset")
    assert store.states() == {WEB: VmState(persona(version=2, labels={"role": "web"}), Memory())}


def test_a_change_of_something_that_changed_meanwhile_is_refused(store):
    store.commit(checkpoint(Outcome(state(version=4))))
    with pytest.raises(StoreError, match="changed by someone else meanwhile"):
        store.put_persona(persona(version=4, learning="frozen"), 7, "frozen")
    assert store.personas()[WEB] == persona(version=4)
    assert store.history(WEB) == []


def test_what_was_read_is_the_readers_own(store):
    store.commit(checkpoint(Outcome(state()), names={WEB: {"a": {"b": 1}}}))
    store.states().clear()
    store.names()[WEB].clear()
    store.personas().clear()
    assert (len(store.states()), store.names(), len(store.personas())) == (1, {WEB: {"a": {"b": 1}}}, 1)


# What is too old is let go


def there(*names):
    return [Vm(name, (f"10.0.0.{i + 1}/24",)) for i, name in enumerate(names)]


def seen(name, last_seen, vm=WEB):
    return replace(finding(name, last_seen, vm), last_seen=last_seen)


def test_a_vm_that_is_gone_is_forgotten_wholly_once_it_was_not_seen_for_long(store):
    old = Outcome(
        state() | state(DB),
        [version(1), version(1, DB)],
        [seen("a", 5), seen("b", 5, DB)],
        [(WEB, term(5, "a")), (DB, term(5, "b"))],
    )
    names = {WEB: {"example.com": {"203.0.113.7": 9}}, DB: {}}
    store.commit(checkpoint(old, until=DAY, vms=there(WEB, DB), names=names))
    store.commit(checkpoint(until=3 * DAY, vms=there(WEB), names=names))
    assert store.forget(DAY, 0) == Forgotten()  # seen at that very instant
    assert store.forget(2 * DAY, 0) == Forgotten(vms=(DB,))
    assert (store.states(), store.personas()) == (state(), {WEB: persona()})
    assert (store.history(DB), store.findings(DB), store.terms(DB)) == ([], [], [])
    assert store.names() == {WEB: names[WEB]}
    assert (store.history(WEB), store.findings(), store.terms(WEB)) == ([version(1)], [seen("a", 5)], [term(5, "a")])
    assert store.forget(2 * DAY, 0) == Forgotten()


def test_a_vm_that_is_there_is_never_forgotten_and_counts_anew_when_it_comes_back(store):
    store.commit(checkpoint(Outcome(state()), until=DAY, vms=there(WEB)))
    assert store.forget(9 * DAY, 0) == Forgotten()  # the clock is ahead, or nothing was written for long
    store.commit(checkpoint(until=2 * DAY, vms=[]))
    store.commit(checkpoint(until=5 * DAY, vms=there(WEB)))
    store.commit(checkpoint(until=6 * DAY, vms=[]))
    assert store.forget(4 * DAY, 0) == Forgotten()
    assert store.forget(9 * DAY, 0) == Forgotten(vms=(WEB,))


def test_a_vm_that_no_inventory_has_is_seen_when_it_is_judged(store):
    store.commit(checkpoint(Outcome(state()), until=DAY))
    store.commit(checkpoint(Outcome(state(version=2)), Outcome(state(DB)), until=5 * DAY))
    store.commit(checkpoint(until=9 * DAY))
    assert store.forget(5 * DAY, 0) == Forgotten()
    assert store.forget(6 * DAY, 0) == Forgotten(vms=(DB, WEB))
    assert store.personas() == {}


def test_a_vm_that_was_forgotten_begins_anew(store):
    store.commit(checkpoint(Outcome(state(version=7), [version(7)]), until=DAY))
    store.forget(2 * DAY, 0)
    store.commit(checkpoint(Outcome(state(), [version(1)]), until=3 * DAY, vms=there(WEB)))
    assert (store.states(), store.history(WEB)) == (state(), [version(1)])


def test_while_no_window_is_closed_nobody_is_gone(store):
    store.commit(checkpoint(opened=Outcome(state()), until=None))
    assert store.forget(9 * DAY, 9 * DAY) == Forgotten()
    store.commit(checkpoint(until=DAY))
    assert store.forget(DAY, 0) == Forgotten()
    assert store.forget(DAY + 1, 0) == Forgotten(vms=(WEB,))


def test_the_past_goes_by_age_but_for_the_first_version_and_the_newest(store):
    closed = Outcome(state(version=4), [version(n) for n in (1, 2, 3, 4)])
    store.commit(checkpoint(closed, vms=there(WEB)))
    assert store.forget(0, 3) == Forgotten(versions=1)
    assert [v.persona.version for v in store.history(WEB)] == [1, 3, 4]
    assert store.forget(0, 9) == Forgotten(versions=1)
    assert [v.persona.version for v in store.history(WEB)] == [1, 4]
    assert store.personas()[WEB].version == 4


def test_findings_go_by_when_they_were_seen_last_and_stay_while_they_have_a_term(store):
    found = [replace(seen("goes on", 50), judged_at=1), seen("over", 2), seen("weighs", 2), seen("no risk", 3)]
    terms = [(WEB, term(1, "goes on")), (WEB, term(2, "over")), (WEB, term(40, "weighs"))]
    store.commit(checkpoint(Outcome(state(), findings=found, terms=terms), vms=there(WEB)))
    assert store.forget(0, 30) == Forgotten(findings=2, terms=2)
    assert [f.id for f in store.findings()] == ["goes on", "weighs"]
    assert store.terms(WEB) == [term(40, "weighs")]


def test_what_the_risk_of_a_persona_rests_on_stays_however_old(store):
    ledger = (term(2, "a"),)
    shown = Outcome(state(DB, risk_ledger=(term(3, "b"),)))
    found = [seen("a", 2), seen("b", 3, DB), seen("c", 2)]
    terms = [(WEB, term(2, "a")), (DB, term(3, "b")), (WEB, term(2, "c"))]
    store.commit(checkpoint(Outcome(state(risk_ledger=ledger) | state(DB), findings=found, terms=terms), shown))
    assert store.forget(0, 30) == Forgotten(findings=1, terms=1)
    assert (store.terms(WEB), store.terms(DB)) == ([term(2, "a")], [term(3, "b")])
    assert [f.id for f in store.findings()] == ["a", "b"]


def test_what_rests_on_open_windows_is_not_let_go_by_age(store):
    opened = Outcome(state(), [version(n) for n in (1, 2, 3)], [seen("a", 2)], [(WEB, term(2, "a"))])
    store.commit(checkpoint(opened=opened))
    assert store.forget(0, 30) == Forgotten()
    assert (len(store.history(WEB)), len(store.findings()), len(store.terms(WEB))) == (3, 1, 1)


# Any sequence of checkpoints and changes reads the same from every store.


def found_at(vm, name, judged_at, why):
    return finding(f"{name} of {vm}", judged_at, vm, why)  # an id belongs to one VM


vms = st.sampled_from([WEB, DB])
numbers = st.integers(1, 6)


class Too(NamedTuple):
    """Forget what is older than these."""

    gone: int
    past: int


outcomes = st.builds(
    Outcome,
    states=st.dictionaries(vms, numbers, max_size=2).map(
        lambda found: {vm: VmState(persona(vm, number), MEMORY) for vm, number in found.items()}
    ),
    versions=st.lists(st.builds(version, numbers, vms, numbers), max_size=3),
    findings=st.lists(st.builds(found_at, vms, st.sampled_from("abc"), numbers, st.text(max_size=3)), max_size=3),
    terms=st.lists(st.tuples(vms, st.builds(term, numbers, st.sampled_from("abc"))), max_size=3),
)
steps = st.lists(
    st.one_of(
        st.builds(checkpoint, outcomes, outcomes, st.integers(1, 1000)),
        st.tuples(vms, st.sampled_from(["learning", "frozen"])),
        st.builds(Too, st.integers(1, 1000), numbers),
    ),
    max_size=6,
)


def take(store, step):
    """Let the store take the step; gives what it forgot."""
    if isinstance(step, Checkpoint):
        return store.commit(step)
    if isinstance(step, Too):
        return store.forget(*step)._replace(changes=0)  # not every store has an audit
    vm, learning = step
    known = store.personas().get(vm, persona(vm, 0))
    return store.put_persona(structs.replace(known, version=known.version + 1, learning=learning), 7, learning)


def everything(store):
    by_vm = [(store.history(vm), store.findings(vm), store.terms(vm)) for vm in (WEB, DB)]
    return store.closed_until(), store.states(), store.personas(), store.findings(), by_vm


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps)
def test_all_stores_tell_the_same(steps):
    with TemporaryDirectory() as folder:
        stores = MemoryStore(), SqliteStore(f"sqlite:///{folder}/store.db")
        for step in steps:
            assert take(stores[0], step) == take(stores[1], step)
        assert everything(stores[0]) == everything(stores[1])
