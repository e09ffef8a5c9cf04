"""`netpersona export` over a store: what is written is what the findings say."""

import json

import pytest

from netpersona.adapters.stores import open_store
from netpersona.app.cli import main
from netpersona.app.export_command import _finding
from netpersona.app.report import finding_object
from netpersona.flow.table import batch
from netpersona.flow.vm import Vm, vm_id
from netpersona.pipeline import begun
from netpersona.ports import Checkpoint, Outcome
from told_findings import AT, EVERY_KIND, finding


@pytest.fixture
def store(tmp_path):
    """A store with findings of every kind, one of which is no alert."""
    vm = Vm(vm_id("web-1"), ("10.0.0.1",))
    found = [*EVERY_KIND, finding("long_connection", alert=False)]
    outcome = Outcome(states={vm.name: begun(vm)}, findings=found)
    kept = open_store(f"{tmp_path}/s.db")
    kept.commit(Checkpoint(AT, outcome, Outcome(), batch(), [vm], {}, {}))
    return f"{tmp_path}/s.db"


def exported(capsys, *words):
    main(["export", *words])
    return capsys.readouterr().out


def test_ocsf_is_a_line_for_each_alert_or_for_everything(capsys, store):
    alerts = [json.loads(line) for line in exported(capsys, "--format", "ocsf", "--store", store).splitlines()]
    assert {each["class_uid"] for each in alerts} == {2004}
    assert {each["finding_info"]["uid"] for each in alerts} == {each.id for each in EVERY_KIND}
    everything = exported(capsys, "--format", "ocsf", "--all", "--store", store).splitlines()
    assert len(everything) == len(alerts) + 1


def test_stix_is_one_bundle_without_what_is_ours(capsys, store):
    text = exported(capsys, "--format", "stix", "--store", store, "--kind", "c2_beacon", "web-1")
    whole = json.loads(text)
    assert whole["type"] == "bundle"
    assert len([each for each in whole["objects"] if each["type"] == "indicator"]) == 2
    assert "web-1" not in text
    assert text == exported(capsys, "--format", "stix", "--store", store, "--kind", "c2_beacon", "web-1")
    named = exported(capsys, "--format", "stix", "--store", store, "--vms", "--producer", "ACME", "--tlp", "red")
    assert {"web-1", "ACME"} <= {each["name"] for each in json.loads(named)["objects"] if each["type"] == "identity"}


def test_a_file_is_written_whole(capsys, store, tmp_path):
    assert exported(capsys, "--format", "stix", "--store", store, "--to", str(tmp_path / "out.json")) == ""
    assert json.loads((tmp_path / "out.json").read_text())["objects"]
    with pytest.raises(SystemExit) as ended:
        exported(capsys, "--format", "stix", "--store", store, "--to", str(tmp_path / "no" / "out.json"))
    assert ended.value.code == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("found", EVERY_KIND, ids=lambda found: found.kind)
def test_what_the_api_says_of_a_finding_is_the_finding(found):
    again = _finding(json.loads(json.dumps({**finding_object(found), "id": found.id})))
    for name in ("id", "vm", "kind", "peers", "first_seen", "last_seen", "judged_at", "severity", "evidence", "why"):
        assert getattr(again, name) == getattr(found, name)
