"""What is too old is let go behind a checkpoint: when, what the log tells, and that a failure of it is no failure of it."""

import logging
from pathlib import Path
from resource import getpagesize

import pytest

from conformance.test_store import DB, WEB, checkpoint, finding, state, term, there
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.app.live.saving import Saving
from netpersona.errors import StoreError
from netpersona.flow.window import DAY, HOUR, MINUTE
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


def test_what_was_freed_is_given_back_each_ten_minutes_and_when_the_clock_was_set_back(saving):
    for at in (START, START + 10 * MINUTE, START - DAY):
        kept = freed()
        before = resident()
        save(saving, at)
        assert resident() < before - 16, at
        del kept
    kept = freed()
    before = resident()
    save(saving, START - DAY + 9 * MINUTE)
    assert resident() > before - 16
    del kept


def freed():
    """Free some 40 MiB of the heap, but for what lies at its end."""
    taken = [bytes(900) for _ in range(50_000)]
    return taken[-1]


def resident():
    """MiB that the process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / 2**20
