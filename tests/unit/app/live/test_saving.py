"""What is too old is let go behind a checkpoint: when, what the log tells, and that a failure of it is no failure of it."""

import logging

import pytest

from conformance.test_store import DB, WEB, checkpoint, finding, state, term, there
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app.live.saving import Saving
from netpersona.errors import StoreError
from netpersona.flow.window import DAY, HOUR
from netpersona.ports import Keep, Outcome

START = 100 * DAY
OLD = Outcome(state() | state(DB), findings=[finding("a", 5)], terms=[(WEB, term(5, "a"))])


@pytest.fixture
def saving():
    return Saving(MemoryStore(), Keep(gone=DAY, past=2 * DAY))


@pytest.fixture
def store(saving):
    saving._store.commit(checkpoint(OLD, until=START - DAY - HOUR, vms=there(WEB, DB)))
    return saving._store


def save(saving, until, vms=(WEB,)):
    """Write a checkpoint; gives the VMs that were forgotten with it."""
    saving.begin(checkpoint(until=until, vms=there(*vms)))
    saving.finish()
    saving.over()()
    return saving.forgotten()


def test_the_first_hour_forgets_nothing_and_then_each_hour_does(saving, store, caplog):
    caplog.set_level(logging.INFO, "netpersona.live")
    assert [save(saving, START + minutes * HOUR // 60) for minutes in (0, 30, 59)] == [(), (), ()]
    assert store.personas().keys() == {WEB, DB}
    assert save(saving, START + HOUR) == (DB,)
    assert saving.forgotten() == ()  # told once
    assert store.personas().keys() == {WEB}
    assert (store.findings(), store.terms(WEB)) == ([], [])
    assert caplog.messages == [
        "store: forgotten for their age; VMs that are gone: 1 (db-1), findings: 1, risk terms: 1",
    ]
    assert save(saving, START + DAY, vms=()) == ()
    assert save(saving, START + DAY + HOUR, vms=()) == (WEB,)


def test_nothing_is_forgotten_where_everything_is_kept(store):
    saving = Saving(store)
    assert save(saving, START) == save(saving, START + 999 * DAY) == ()
    assert store.personas().keys() == {WEB, DB}


def test_a_store_that_cannot_forget_has_stored_all_the_same(saving, store, caplog):
    save(saving, START)

    def refuses(gone, past):
        raise StoreError("another process is writing to it")

    store.forget = refuses
    assert save(saving, START + HOUR) == ()
    assert store.closed_until() == START + HOUR
    assert "could not be let go, and will be in an hour: another process" in caplog.text
    del store.forget
    assert save(saving, START + HOUR + 1) == ()
    assert save(saving, START + 2 * HOUR) == (DB,)
