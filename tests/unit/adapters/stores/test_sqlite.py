"""The SQLite store under bad luck: kills, full disks, locks, other people's files; and its migrations."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from netpersona.adapters.stores import open_store, revision
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.adapters.stores.sqlite import SqliteStore
from netpersona.adapters.stores.tables import METADATA, REVISIONS
from netpersona.errors import StoreError
from netpersona.flow.table import batch
from netpersona.flow.vm import VmId
from netpersona.persona.memory import Memory
from netpersona.persona.model import Completeness, Persona
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, Outcome, PersonaVersion

WEB = VmId("web-1")


def checkpoint(until, states=None, context=None):
    closed = Outcome(states or {WEB: VmState(Persona(WEB, until), Memory())})
    return Checkpoint(until, closed, Outcome(), batch(), [], {}, context or {})


def opened(path, **settings):
    return SqliteStore(f"sqlite:///{path}", **settings)


# Kills


HALF_WAY = """
    import sys, time
    from collections.abc import Mapping
    sys.path.insert(0, {here!r})
    from test_sqlite import checkpoint, opened

    class Endless(dict):
        def items(self):  # asked for when the states are written already, and the rest is not
            print("half way", flush=True)
            time.sleep(60)

    opened({path!r}).commit(checkpoint(200, context=Endless(x=b"")))
"""

OVER_AND_OVER = """
    import sys
    sys.path.insert(0, {here!r})
    from test_sqlite import checkpoint, opened

    store = opened({path!r})
    for until in range(101, 100_000):
        store.commit(checkpoint(until, context={{"until": str(until).encode()}}))
        print(until, flush=True)
"""


def started(script, path):
    text = textwrap.dedent(script).format(here=os.path.dirname(__file__), path=str(path))  # noqa: PTH120
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)


def killed_after(process, line):
    for said in process.stdout:
        if said.strip() == line:
            process.send_signal(signal.SIGKILL)
    process.wait(60)


def test_a_kill_in_the_middle_of_a_commit_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "store.db"
    opened(path).commit(checkpoint(100))
    killed_after(started(HALF_WAY, path), "half way")
    store = opened(path)
    assert store.closed_until() == 100
    assert store.personas()[WEB].version == 100
    store.commit(checkpoint(200))
    assert store.closed_until() == 200


def test_a_kill_at_any_time_leaves_one_whole_checkpoint(tmp_path):
    path = tmp_path / "store.db"
    killed_after(started(OVER_AND_OVER, path), "107")
    store = opened(path)
    until = store.closed_until()
    assert until >= 107
    assert store.personas()[WEB].version == until
    assert store.context("until") == str(until).encode()


# Bad luck


def test_a_checkpoint_that_cannot_be_encoded_leaves_the_one_before(tmp_path):
    store = opened(tmp_path / "store.db")
    store.commit(checkpoint(100))
    wrong = Persona(WEB, 2, completeness=Completeness(unseen="much"))
    versions = Outcome({VmId("db-1"): VmState(Persona(VmId("db-1")), Memory())}, [PersonaVersion(wrong, 1, "wrong")])
    with pytest.raises(StoreError, match="Persona cannot be stored"):
        store.commit(Checkpoint(200, versions, Outcome(), batch(), [], {}, {}))
    assert store.closed_until() == 100
    assert list(store.states()) == [WEB]


def test_a_locked_store_says_so_and_is_good_afterwards(tmp_path):
    path = tmp_path / "store.db"
    opened(path).commit(checkpoint(100))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = opened(path, busy_timeout=0.05)
    with pytest.raises(StoreError, match="another process is writing"):
        store.commit(checkpoint(200))
    assert store.closed_until() == 100  # readers are not held up
    other.execute("ROLLBACK")
    store.commit(checkpoint(200))
    assert store.closed_until() == 200
    other.close()


def test_a_full_disk_says_so_and_leaves_the_checkpoint_before(tmp_path):
    path = tmp_path / "store.db"
    opened(path).commit(checkpoint(100))
    script = """
        import resource, signal, sys
        sys.path.insert(0, {here!r})
        from test_sqlite import checkpoint, opened
        from netpersona.errors import StoreError

        store = opened({path!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            store.commit(checkpoint(200, context={{"indicators": bytes(8_000_000)}}))
        except StoreError as error:
            print(error)
    """
    said, _ = started(script, path).communicate(timeout=600)
    assert "disk" in said
    assert str(path) in said
    assert opened(path).closed_until() == 100


def test_a_missing_directory_is_made(tmp_path):
    opened(tmp_path / "a b" / "100%" / "store.db").commit(checkpoint(100))
    assert opened(tmp_path / "a b" / "100%" / "store.db").closed_until() == 100


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"store.db: its directory cannot be made"):
        opened(tmp_path / "file" / "store.db")


def test_a_directory_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="is a directory; name a file in it"):
        opened(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="may you read and write here"):
        opened(tmp_path / "store.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "store.db"
    path.write_text("a shopping list, which is long enough to be taken for the header of something " * 4)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the file is no SQLite database"):
        opened(path)
    assert path.read_bytes() == before


def test_a_strangers_database_is_left_alone(tmp_path):
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as stranger:
        stranger.execute("CREATE TABLE photos (id INTEGER)")
    with pytest.raises(StoreError, match="a database, but not netpersona's"):
        opened(path)
    assert [row[0] for row in sqlite3.connect(path).execute("SELECT name FROM sqlite_master")] == ["photos"]


def test_a_damaged_value_says_so(tmp_path):
    path = tmp_path / "store.db"
    opened(path).commit(checkpoint(100))
    with sqlite3.connect(path) as hand:
        hand.execute("UPDATE states SET persona = x'00'")
    with pytest.raises(StoreError, match="a stored Persona is damaged"):
        opened(path).personas()


# Revisions


def test_a_store_of_a_newer_revision_is_refused(tmp_path):
    path = tmp_path / "store.db"
    opened(path).commit(checkpoint(100))
    with sqlite3.connect(path) as hand:
        hand.execute("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(StoreError, match=r"revision 0999, made by a newer netpersona.*upgrade netpersona"):
        opened(path)


def test_the_migrations_make_the_tables_that_are_used(tmp_path):
    opened(tmp_path / "store.db")
    with create_engine(f"sqlite:///{tmp_path}/store.db").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_the_revisions_are_those_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", str(revision._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(REVISIONS)


def test_a_store_of_the_newest_revision_opens_without_alembic(tmp_path):
    opened(tmp_path / "store.db")
    script = f"import sys; from netpersona.adapters.stores.sqlite import SqliteStore as S; S({f'sqlite:///{tmp_path}/store.db'!r}); print('alembic' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_two_processes_may_make_one_store_at_once(tmp_path):
    script = """
        import sys
        sys.path.insert(0, {here!r})
        from test_sqlite import opened
        print(opened({path!r}).closed_until())
    """
    both = [started(script, tmp_path / "store.db") for _ in range(2)]
    assert [process.communicate(timeout=600)[0] for process in both] == ["None\n"] * 2


# People's changes


def test_a_change_is_audited(tmp_path):
    store = opened(tmp_path / "store.db")
    store.commit(checkpoint(1))
    store.put_persona(Persona(WEB, 2, learning="frozen"), 7, "frozen")
    ((at, who, what, vm, before, after),) = store.audit()
    assert (at, what, vm, before, after) == (7, "frozen", WEB, 1, 2)
    assert who


# URLs


def test_a_store_is_named_by_url_or_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///one.db", f"sqlite:///{tmp_path}/two.db", "sub/three.db", str(tmp_path / "four.db")):
        assert isinstance(open_store(url), SqliteStore)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.db")) == [
        "four.db",
        "one.db",
        "sub/three.db",
        "two.db",
    ]
    assert isinstance(open_store("memory:"), MemoryStore)


def test_a_store_that_must_be_there_is_not_made(tmp_path):
    with pytest.raises(StoreError, match="there is no store; `netpersona replay"):
        open_store(f"{tmp_path}/store.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_postgresql_comes_later_and_no_password_is_shown():
    with pytest.raises(StoreError, match="PostgreSQL comes later"):
        open_store("postgresql://me:secret@db/x")
    with pytest.raises(StoreError, match=r"mysql://\*\*\*@db/x") as caught:
        open_store("mysql://me:secret@db/x")
    assert "secret" not in str(caught.value)


def test_a_word_that_is_no_url_is_refused():
    with pytest.raises(StoreError, match="names no store"):
        open_store("netpersona")
