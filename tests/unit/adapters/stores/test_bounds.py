"""What a store keeps of a VM that never rests: the latest findings and risk terms, in both stores the same."""

import pytest

from conformance.test_store import DB, WEB, checkpoint, finding, term
from netpersona.adapters.stores import memory, sqlite
from netpersona.adapters.stores.memory import MemoryStore
from netpersona.adapters.stores.sqlite import SqliteStore
from netpersona.ports import Outcome


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path, monkeypatch):
    for module in (sqlite, memory):
        monkeypatch.setattr(module, "FINDINGS_KEPT", 5)
        monkeypatch.setattr(module, "TERMS_KEPT", 7)
    return MemoryStore() if request.param == "memory" else SqliteStore(f"sqlite:///{tmp_path / 'a.db'}")


def test_the_latest_findings_and_terms_of_each_vm_are_kept(store):
    for at in range(1, 12):
        found = [finding(f"f{at:02}{i}", at) for i in range(2)]
        store.commit(checkpoint(Outcome(findings=found, terms=[(WEB, term(at, f"f{at:02}")), (DB, term(1))])))
    store.commit(checkpoint(Outcome(findings=[finding("other", 1, DB)])))
    assert [f.id for f in store.findings(WEB)] == ["f091", "f100", "f101", "f110", "f111"]
    assert [t.at for t in store.terms(WEB)] == list(range(5, 12))
    assert [f.id for f in store.findings(DB)] == ["other"]
    assert len(store.terms(DB)) == 1


def test_what_rests_on_open_windows_does_not_count(store):
    store.commit(checkpoint(Outcome(findings=[finding(f"f{at}", at) for at in range(5)])))
    still = Outcome(findings=[finding(f"open{at}", 50 + at) for at in range(3)])
    store.commit(checkpoint(Outcome(), still))
    assert len(store.findings(WEB)) == 8
