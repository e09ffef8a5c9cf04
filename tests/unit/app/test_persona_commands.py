"""`netpersona persona ...` as a person and as a script meet it."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from msgspec.structs import replace

from netpersona.adapters.stores import open_store
from netpersona.app.cli import main
from netpersona.app.output import harmless, json_text, yaml_text
from netpersona.flow.table import batch
from netpersona.flow.vm import VmId
from netpersona.persona.memory import Memory
from netpersona.persona.model import (
    BaseNetworkConfig,
    BehavioralSignature,
    Completeness,
    Kind,
    Mitigation,
    Persona,
    RiskTerm,
    TrafficProfile,
    Usage,
)
from netpersona.persona.state import VmState
from netpersona.ports import Checkpoint, Outcome, PersonaVersion

SECOND = 1_000_000
HOUR = 3600 * SECOND
NOON = 1_767_268_800 * SECOND  # 2026-01-01T12:00:00Z
WHY = "10.77.0.11 called 203.0.113.7:443 every 60 s"

PROFILE = TrafficProfile(
    kinds={
        Kind("inbound", "tcp", 443, ""): Usage(60.0, 8e8, 3e7, NOON - HOUR, NOON),
        Kind("outbound", "udp", 53, "10.77.0.1"): Usage(40.0, 9e4, 2e5, NOON - HOUR, NOON),
    },
    names={"evil\x1b[31m.example": Usage(1.0, 0.0, 0.0, NOON, NOON)},
    windows=12,
    flows=100,
)
OLD = Persona(
    VmId("web-1"),
    labels={"role": "web"},
    base=BaseNetworkConfig(("10.77.0.11/24", "2001:db8::11/64"), "tap-web-1", inferred=False),
    profile=PROFILE,
    completeness=Completeness(0.01, 0.005, 0.02),
    first_seen=NOON - HOUR,
    last_seen=NOON,
)
TERM = RiskTerm("c2_beacon", "203.0.113.7", 4.0, 6 * HOUR, NOON - HOUR, "f1", ("ours",), WHY)
WEB = replace(
    OLD,
    version=2,
    signatures=(BehavioralSignature("c2_beacon", NOON - HOUR, NOON, "203.0.113.7", 0.93, WHY),),
    risk_ledger=(TERM,),
    mitigations=(Mitigation("block-c2", "isolate", 3, NOON, NOON + HOUR, "risk 0.5 is above 0.3"),),
)
DB = Persona(VmId("db-1"), base=BaseNetworkConfig(("10.77.0.12",)), last_seen=NOON - HOUR)


@pytest.fixture
def store(tmp_path, monkeypatch):
    path = tmp_path / "store.db"
    versions = [PersonaVersion(OLD, NOON - HOUR, "first seen"), PersonaVersion(WEB, NOON, "c2_beacon was recognised")]
    states = {p.vm: VmState(p, Memory(until=7)) for p in (WEB, DB)}
    closed = Outcome(states, versions, [], [(WEB.vm, TERM)])
    open_store(str(path)).commit(Checkpoint(NOON, closed, Outcome(), batch(), [], {}, {}))
    monkeypatch.setenv("NETPERSONA_STORE", str(path))
    return path


@pytest.fixture
def run(capsys, monkeypatch):
    """Run one command at 160 columns; gives its exit code, what it said, and what it said of errors."""
    monkeypatch.setenv("COLUMNS", "160")

    def run_it(*words):
        code = 0
        try:
            main(["persona", *words])
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def told(run, *words):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    return out


def object_of(run, *words):
    """The JSON that a command tells, which is also its YAML."""
    said = json.loads(told(run, *words, "-o", "json"))
    assert yaml.safe_load(told(run, *words, "-o", "yaml")) == said
    return said


# Reading


def test_list_shows_who_how_worried_and_how_well_known(store, run):
    out = told(run, "list")
    web, recognised = (line for line in out.splitlines() if line.startswith("web-1"))
    for word in ("10.77.0.11 +1", "0.42 elevated", "99.0%", "2026-01-01 12:00"):
        assert word in web
    assert recognised.split() == ["web-1", "c2_beacon"]
    db, web = object_of(run, "list")
    assert (db["vm"], db["risk_score"], db["risk_at"]) == ("db-1", 0.02, "2026-01-01T11:00:00Z")
    assert (web["signatures"], web["completeness"]["seen"]) == (["c2_beacon"], 0.99)


def test_list_fits_eighty_columns(store, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = told(run, "list")
    assert "10.77.0.12 " in out
    assert "0.42 elevated" in out
    assert "2026-01-01 12:00" in out
    assert "last seen (UTC)" in out


def test_risk_is_told_at_the_instant_that_is_asked_for(store, run):
    def risk(*at):
        return {vm["vm"]: vm["risk_score"] for vm in object_of(run, "list", *at)}["web-1"]

    assert risk("--at", "2026-01-01T10:59:59Z") == 0.02
    assert risk("--at", "2026-01-01T11:00:00Z") > risk() > risk("--at", str(NOON / SECOND + 86_400))
    assert run("list", "--at", "noon")[0] == 2


@pytest.mark.parametrize("name", ["web-1", "10.77.0.11", "2001:db8::11", "2001:0DB8:0::11"])
def test_a_vm_is_given_by_name_or_by_address(store, run, name):
    assert object_of(run, "show", name)["metadata"]["name"] == "web-1"


def test_show_tells_everything_in_words(store, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    out = told(run, "show", "web-1")
    for word in (
        "web-1  version 2, risk 0.42 elevated, learning  role=web",
        "tap-web-1",
        "c2_beacon  93% sure, 203.0.113.7",
        WHY,
        "100 flows in 12 active windows",
        "tcp/443",
        "60.0%",
        "800 MB",
        "block-c2/isolate",
    ):
        assert word in out


@pytest.mark.parametrize("width", ["40", "80", "140"])
def test_text_from_outside_does_not_steer_the_terminal(store, run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    out = told(run, "show", "web-1") + told(run, "show", "web-1", "-o", "yaml") + told(run, "export", "-o", "json")
    assert "\x1b" not in out
    assert all(len(line) <= int(width) for line in told(run, "show", "web-1").splitlines())


def test_history_tells_each_change(store, run):
    first, second = object_of(run, "history", "web-1")
    assert (first["version"], first["at"], first["why"]) == (1, "2026-01-01T11:00:00Z", "first seen")
    assert second["risk_score"] > first["risk_score"]
    assert "c2_beacon was recognised" in told(run, "history", "web-1")


def test_a_vm_without_history_has_none(store, run):
    assert object_of(run, "history", "db-1") == []
    assert "No version is stored yet" in told(run, "history", "db-1")


def test_diff_of_two_versions(store, run):
    said = object_of(run, "diff", "web-1@1", "web-1@2")
    assert (said["before"], said["after"]) == ("web-1@1", "web-1@2")
    changes = {change["path"]: change for change in said["changes"]}
    assert changes["status.behavioral_signatures[c2_beacon 203.0.113.7]"]["before"] is None
    assert changes["status.risk_score"]["before"] == 0.02
    assert object_of(run, "diff", "web-1@1") == said  # against how it stands
    assert WHY in told(run, "diff", "10.77.0.11@1", "web-1")


def test_diff_of_two_vms_and_of_nothing(store, run):
    paths = [change["path"] for change in object_of(run, "diff", "web-1", "db-1")["changes"]]
    assert "metadata.name" in paths
    assert "Nothing differs" in told(run, "diff", "web-1", "web-1@2")


def test_export_tells_whole_personas(store, run):
    items = json.loads(told(run, "export", "-o", "json"))["items"]
    assert [item["metadata"]["name"] for item in items] == ["db-1", "web-1"]
    assert list(yaml.safe_load_all(told(run, "export"))) == items
    assert list(yaml.safe_load_all(told(run, "export", "10.77.0.11"))) == items[1:]
    assert items[1] == object_of(run, "show", "web-1")


# Changing


def test_freeze_and_unfreeze_make_versions_that_say_why(store, run):
    assert told(run, "freeze", "10.77.0.11") == "web-1 is now version 3, frozen: it learns nothing more.\n"
    assert object_of(run, "show", "web-1")["spec"]["learning"] == {"state": "frozen"}
    assert open_store(str(store)).states()[WEB.vm] == VmState(
        replace(WEB, version=3, learning="frozen"), Memory(until=7)
    )
    assert "nothing was changed" in told(run, "freeze", "web-1")
    assert json.loads(told(run, "unfreeze", "web-1", "-o", "json")) == {
        "vm": "web-1",
        "version": 4,
        "learning": "learning",
        "changed": True,
        "what": "unfrozen: it learns again",
    }
    assert [v["version"] for v in object_of(run, "history", "web-1")] == [1, 2, 3, 4]
    assert [what for _, _, what, *_ in open_store(str(store)).audit()] == [
        "frozen: it learns nothing more",
        "unfrozen: it learns again",
    ]


def test_reset_forgets_what_is_normal_and_nothing_else(store, run):
    told(run, "reset", "web-1", "--yes")
    state = open_store(str(store)).states()[WEB.vm]
    assert state == VmState(replace(WEB, version=3, profile=TrafficProfile(), completeness=Completeness()), Memory())
    assert "nothing learned yet: windows are learned when they are over" in told(run, "show", "web-1")
    assert "no flow of it is of a known kind yet" in told(run, "show", "web-1")
    assert object_of(run, "show", "web-1")["status"]["risk_score"] > 0.3
    assert "nothing was changed" in told(run, "reset", "web-1", "--yes")


@pytest.mark.parametrize("answer", ["", "n\n", "\n"])
def test_reset_asks_first(store, run, monkeypatch, answer):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    code, _, err = run("reset", "web-1")
    assert code == 1
    assert "not confirmed, so nothing was changed" in err
    assert "Forget what is normal for web-1 (100 learned flows)?" in err
    assert open_store(str(store)).personas()[WEB.vm] == WEB


# Errors


@pytest.mark.parametrize(
    "words", [("show",), ("history",), ("freeze",), ("unfreeze",), ("reset", "--yes"), ("diff",), ("export",)]
)
def test_an_unknown_vm_is_refused_with_the_name_probably_meant(store, run, words):
    code, out, err = run(*words, "wbe-1")
    assert (code, out) == (2, "")
    assert "no VM 'wbe-1'; did you mean 'web-1'?" in err


def test_an_unknown_version_is_refused_with_those_that_are_stored(store, run):
    code, _, err = run("diff", "web-1@7")
    assert code == 2
    assert "web-1 has no stored version '7'; stored are 1, 2" in err


def test_without_a_store_the_way_to_one_is_told(run, monkeypatch, tmp_path):
    monkeypatch.delenv("NETPERSONA_STORE", raising=False)
    code, _, err = run("list")
    assert code == 2
    assert "netpersona replay SOURCE --store FILE.db" in err
    code, _, err = run("list", "--store", str(tmp_path / "absent.db"))
    assert code == 1
    assert "there is no store; `netpersona replay" in err
    assert list(tmp_path.iterdir()) == []


# Output


def test_json_and_yaml_say_the_same():
    value = {
        "a": (1, 2.5, None, True),
        "time": "2026-01-01T12:00:00Z",
        "no": "off",
        "ü": ["\x1b[0m", "0x10", "1e3", ""],
    }
    assert yaml.safe_load(yaml_text(value)) == json.loads(json_text(value))
    assert json_text(value).isascii()
    assert yaml_text(value).isascii()


def test_what_steers_a_terminal_is_shown_as_its_escape():
    assert harmless({"a\n": ["\x1b[31m", "grün", 7, "\u202e", "\x9b"]}) == {
        "a\\n": ["\\x1b[31m", "grün", 7, "\\u202e", "\\x9b"]
    }
