"""What the SQLite store alone does when it forgets: the audit, failures, older stores, and how it finds what is old."""

import sqlite3

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from conformance.test_store import WEB, checkpoint, finding, persona, state, term
from netpersona.adapters.stores import revision
from netpersona.adapters.stores.sqlite import SqliteStore
from netpersona.errors import StoreError
from netpersona.flow.vm import VmId
from netpersona.persona.codec import encode
from netpersona.persona.memory import Memory
from netpersona.persona.model import Persona
from netpersona.ports import Forgotten, Outcome


def opened(folder):
    return SqliteStore(f"sqlite:///{folder}/store.db")


def test_what_people_changed_outlasts_the_vm(tmp_path):
    store = opened(tmp_path)
    store.commit(checkpoint(Outcome(state()), until=1))
    store.put_persona(persona(WEB, 2, learning="frozen"), 7, "frozen")
    assert store.forget(2, 7) == Forgotten(vms=(WEB,))
    assert [change[2:4] for change in store.audit()] == [("frozen", WEB)]
    assert store.forget(2, 8) == Forgotten(changes=1)
    assert store.audit() == []


def test_a_forgetting_that_fails_half_way_forgets_nothing(tmp_path):
    store = opened(tmp_path)
    store.commit(checkpoint(Outcome(state()), until=1))
    store.put_persona(persona(WEB, 2), 7, "labelled")
    with sqlite3.connect(store.path) as hand:
        hand.execute("CREATE TRIGGER no BEFORE DELETE ON audit BEGIN SELECT raise(abort, 'no'); END")
    with pytest.raises(StoreError):
        store.forget(2, 8)
    assert list(store.states()) == [WEB]


def test_what_is_old_is_found_by_an_index(tmp_path):
    opened(tmp_path)
    with sqlite3.connect(tmp_path / "store.db") as hand:
        for table, column in (("findings", "last_seen"), ("terms", "at"), ("versions", "at")):
            (plan,) = hand.execute(f"EXPLAIN QUERY PLAN DELETE FROM {table} WHERE open IS 0 AND {column} < 5")
            assert f"{table}_by_time" in plan[3]


def at_revision(path, number):
    """A connection to a new store whose tables are as they were then."""
    config = Config()
    config.set_main_option("script_location", str(revision._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, number)
    return sqlite3.connect(path)


def test_what_a_store_of_the_first_revision_holds_is_kept_and_ages_from_there(tmp_path):
    path = tmp_path / "store.db"
    old = finding("old", 5)
    with at_revision(path, "0001") as hand:
        hand.execute("INSERT INTO subjects VALUES ('web-1'), ('gone-1')")
        hand.execute("INSERT INTO position VALUES (1, 1000, x'80')")
        for vm in (WEB, VmId("gone-1")):
            hand.execute("INSERT INTO states VALUES (?, ?, ?)", (vm, encode(Persona(vm)), encode(Memory())))
        hand.execute("INSERT INTO versions VALUES ('web-1', 1, 0, 5, 'began', ?)", (encode(Persona(WEB)),))
        hand.execute("INSERT INTO findings VALUES ('old', 0, 'web-1', 5, ?)", (encode(old),))
        hand.execute("INSERT INTO terms VALUES ('web-1', 'old', 5, 0, ?)", (encode(term(5, "old")),))
        hand.execute("INSERT INTO audit VALUES (1, 7, 'ann', 'frozen', 'web-1', 1, 2)")
    store = opened(tmp_path)
    assert sorted(store.states()) == ["gone-1", "web-1"]
    assert (store.findings(), store.terms(WEB)) == ([old], [term(5, "old")])
    assert [v.why for v in store.history(WEB)] == ["began"]
    assert store.audit() == [(7, "ann", "frozen", WEB, 1, 2)]
    assert store.forget(1000, 6) == Forgotten(terms=1)  # when they were seen was not known: not before that
    assert store.forget(1001, 1000) == Forgotten(vms=("gone-1", "web-1"), changes=1)
