"""The same commands asked of a store and of the controller over it; and what only the controller can do."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netpersona.adapters.stores import open_store
from netpersona.app.answers.known import InStore
from netpersona.app.asking import SOCKET
from netpersona.app.cli import main
from netpersona.policy.model import Direction
from service_samples import receipt

VICTIM, CONTROL = "desk-2", "203.0.113.66"
NO_WEB = """\
apiVersion: netpersona/v1
kind: Policy
metadata: {name: no-web}
spec:
  mode: enforce
  order: 50
  rules:
    - {name: https, direction: outbound, action: deny, existing: keep, protocols: [tcp], ports: [443]}
"""


@pytest.fixture
def run(capsys, server, monkeypatch):
    """Runs a command against the controller; gives what it printed."""
    monkeypatch.setenv("NETPERSONA_SOCKET", str(server.path))
    monkeypatch.delenv("NETPERSONA_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")  # long paths are not what is asked here

    def ran(*argv, code=0):
        ended = 0
        try:
            main([*map(str, argv)])
        except SystemExit as exit_:
            ended = exit_.code or 0
        said = capsys.readouterr()
        assert ended == code, said.err
        return said.out if code == 0 or said.out else said.err

    return ran


@pytest.fixture
def web(place):
    """A policy file."""
    file = place / "no-web.yaml"
    file.write_text(NO_WEB)
    return file


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
@pytest.mark.parametrize(
    "command",
    [
        ["persona", "list"],
        ["persona", "show", "desk-2"],
        ["persona", "show", "10.77.0.22", "--at", "2026-01-05T15:00:00Z"],
        ["persona", "history", "web-1"],
        ["persona", "export"],
        ["persona", "export", "web-1", "db-1"],
        ["persona", "diff", "desk-1", "desk-2"],
        ["findings"],
        ["findings", "desk-2", "--all"],
        ["findings", "--kind", "c2_beacon", "--since", "2026-01-05T12:00:00Z"],
        ["risk", "explain", "desk-2", "--without", "c2_beacon"],
        ["risk", "explain", "desk-2", "--at", "2026-01-05T15:00:00.123456Z"],
        ["why", "desk-2", f"{CONTROL}:8443"],
        ["why", "web-1", "updates.example", "--at", "2026-01-05T12:00:00Z"],
        ["policy", "list"],
        ["policy", "show", "isolate-command-and-control"],
        ["policy", "plan"],
        ["policy", "plan", "--nft"],
        ["policy", "plan", "FILE"],
        ["policy", "plan", "FILE", "--replace"],
    ],
)
def test_a_command_says_the_same_of_a_store_and_of_a_controller(run, place, web, service, command, output, monkeypatch):
    monkeypatch.setattr(InStore, "clock", lambda _: service.now())  # as if the store's present were the controller's
    argv = [str(web) if word == "FILE" else word for word in command]
    live = run(*argv, "-o", output)
    stored = run(*argv, "-o", output, "--store", place / "day.db")
    assert live == stored
    assert live


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["persona", "show", "web"], 2, "the controller knows no VM 'web'; did you mean 'web-1'?"),
        (["persona", "show", "../../health"], 2, "'../../health' is no name"),
        (["persona", "diff", "web-1@999"], 2, "no stored version '999'"),
        (["policy", "show", "isolate"], 2, "the controller has no policy 'isolate'"),
        (["findings", "--kind", "beacons"], 2, "no kind of finding"),
        (["risk", "explain", "desk-2", "--without", "c2_baecon"], 2, "did you mean 'c2_beacon'?"),
        (["why", "web-1", "1.2.3.4:99999"], 2, "99999 is no port"),
        (["why", "web-1", "1.2.3.4", "--protocol", "tpc"], 2, "did you mean 'tcp'?"),
        (["policy", "rollback"], 2, "no version 0"),
        (["policy", "confirm"], 2, "nothing waits"),
        (["feed", "push", "ours", "10.0.0.1"], 3, "nothing was pushed"),
        (["feed", "push", "ours"], 2, "no indicator was given"),
        (["feed", "push", "o/urs", "45.66.77.88"], 2, "'o/urs' is no name"),
        (["feed", "push", "o urs", "45.66.77.88"], 2, "path.name"),
        (["persona", "label", "web-1", "role"], 2, "write NAME=VALUE"),
        (["status", "--socket", "/nowhere/api.sock"], 1, "no controller runs here; start it with 'netpersona up'"),
    ],
)
def test_an_error_is_one_clear_line(run, command, code, said):
    told = run(*command, code=code)
    assert said in told
    assert told.startswith("netpersona: ")
    assert told.count("\n") == 1


@pytest.mark.skipif(Path(SOCKET).exists(), reason="a controller runs on this host")
def test_neither_store_nor_controller(run, monkeypatch):
    monkeypatch.delenv("NETPERSONA_SOCKET")
    told = run("persona", "list", code=2)
    assert "--store FILE.db" in told
    assert "no controller runs here" in told


def test_a_store_that_is_named_is_asked_and_not_both(run, place, server, monkeypatch):
    run("persona", "freeze", "web-1", "--store", place / "day.db")
    assert "in the store" not in run("persona", "list", "--store", place / "day.db")
    assert "give one of them" in run("persona", "list", "--store", "x.db", "--socket", server.path, code=2)
    monkeypatch.setenv("NETPERSONA_STORE", "absent.db")
    assert "absent.db" in run("persona", "list", code=1)
    assert run("persona", "list", "--socket", server.path)


def test_a_socket_that_nobody_answers_is_told(run, server):
    server.stop()
    server.path.touch()
    assert "no controller answers there" in run("status", code=1)


def test_status(run, service):
    assert "all is well" in run("status")
    service.fail("tap web-1", "no such interface")
    told = run("status", code=1)
    assert "not well: tap web-1" in told
    assert "no such interface" in told
    assert not json.loads(run("status", "-o", "json", code=1))["well"]


def test_what_a_person_changes(run):
    assert "frozen" in run("persona", "freeze", "web-1")
    assert "nothing was changed" in run("persona", "freeze", "web-1")
    assert "learns again" in run("persona", "unfreeze", "web-1")
    assert "labelled: no role, tier=front" in run("persona", "label", "web-1", "tier=front", "role-")
    assert json.loads(run("persona", "show", "web-1", "-o", "json"))["metadata"]["labels"] == {"tier": "front"}
    assert "forgotten" in run("persona", "reset", "web-1", "--yes")
    assert "(root)" in run("persona", "history", "web-1") or os.geteuid() != 0


def test_a_plan_says_what_the_same_command_would_apply(run, web):
    for options in ([], ["--replace"]):
        planned = json.loads(run("policy", "plan", web, *options, "-o", "json"))["changes"]
        assert any("no-web/https@1 begins" in each for each in planned)
        assert any("no-low-reputation@1 ends" in each for each in planned) is bool(options)
        applied = json.loads(run("policy", "apply", web, *options, "-o", "json"))["changes"]
        assert [each for each in applied if "no-web" in each] == [each for each in planned if "no-web" in each]
        run("policy", "rollback")


def test_policies_are_applied_confirmed_staged_and_rolled_back(run, web, place):
    told = run("policy", "apply", web, "--confirm-within", "60s", "--why", "mail only")
    assert "Version 2 of the policies is in force." in told
    assert "no-web/https@1 begins" in told
    assert "goes back at" in told
    assert "to be confirmed" in run("policy", "history")
    assert "stays" in run("policy", "confirm")
    assert "deny" in run("why", "web-1", "192.0.2.80:443")
    names = {p["name"] for p in json.loads(run("policy", "list", "-o", "json"))}
    assert "no-web" in names  # beside those that were there
    assert len(names) > 1
    run("policy", "apply", web, "--replace")
    run("policy", "stage", "no-web")
    assert [p["mode"] for p in json.loads(run("policy", "list", "-o", "json"))] == ["stage"]
    assert "allow" in run("why", "web-1", "192.0.2.80:443").splitlines()[0]
    run("policy", "stage", "no-web", "--mode", "enforce")
    run("policy", "delete", "no-web")
    assert json.loads(run("policy", "list", "-o", "json")) == []
    assert "isolate-command-and-control" in run("policy", "rollback", "1")
    assert "mail only" in run("policy", "history")
    assert "  order" in run("policy", "history", "2").split("# no-web.yaml\n")[1]
    web.write_text(NO_WEB.replace("deny", "denny"))
    assert "no-web.yaml:8" in run("policy", "apply", web, code=2)
    assert "did you mean" in run("policy", "validate", web, code=2)
    web.write_text(NO_WEB.replace("order", "selector: persona.labels.role == 'mail'\n  order"))
    assert "warning" in run("policy", "validate", web)
    assert "version 7" not in run("policy", "apply", web, "--stage")
    assert "60x" in run("policy", "apply", web, "--confirm-within", "60x", code=2)


def test_the_firewall(run, web, monkeypatch):
    told = run("firewall", "show")
    assert "desk-2 (tap-desk-2)" in told
    assert "block-outbound-low-reputation/no-low-reputation@1" in told
    assert "desk-2" not in run("firewall", "show", "10.77.0.11")
    assert run("firewall", "show", "--nft").startswith("table inet netpersona")
    assert "holds what was applied" in run("firewall", "verify")
    run("policy", "apply", web)
    assert "Version 3" in run("firewall", "rollback")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "not confirmed, so nothing was changed" in run("firewall", "uninstall", code=1)
    assert "desk-2 (tap-desk-2)" in run("firewall", "show")
    assert "out of the kernel" in run("firewall", "uninstall", "--yes")
    assert "Nothing is installed" in run("firewall", "show")


def test_feeds(run, place):
    assert run("feed", "list") == "No feeds.\n"
    listed = place / "bad.txt"
    listed.write_text("# ours\n45.66.77.88  # seen\n\nbad.example.net\n")
    assert run("feed", "push", "ours", "45.66.77.89", "--from", listed) == "3 indicators added to ours.\n"
    assert "1 was in it already" in run("feed", "push", "ours", "45.66.77.89", "45.66.77.90")
    assert "4" in run("feed", "list")
    assert (
        run("feed", "remove", "ours", "45.66.77.89", "1.2.3.4") == "1 indicator removed from ours; 1 was not in it.\n"
    )
    many = place / "many.txt"
    many.write_text("\n".join(f"45.{a}.{b}.1" for a in range(100) for b in range(110)))
    assert "11,000 indicators added" in run("feed", "push", "many", "--from", many)
    assert "cannot be read" in run("feed", "push", "many", "--from", place / "absent.txt", code=2)
    assert "a feed's name has letters, digits" in run("feed", "push", "my feed", "1.2.3.4", code=2)


def test_the_store_is_as_the_commands_left_it(run, place):
    run("persona", "freeze", "db-1")
    assert open_store(str(place / "day.db"), create=False).personas()["db-1"].learning == "frozen"


IN_A_NAMESPACE = """\
import sys
from netpersona.adapters.enforcers.nftables import nftables
from netpersona.app.cli import main
from netpersona.policy.model import AlwaysAllow
from netpersona.ruleset.model import Ruleset, VmRules
with nftables() as enforcer:
    rules = VmRules("web-1", known=True, interface="tap0", addresses=("10.77.0.11",))
    enforcer.apply(Ruleset(sets={}, vms={"web-1": rules}, always=AlwaysAllow(), unknown_vm="allow"))
    print("tables", len(enforcer.verify(whole=True)))
    main(["firewall", "uninstall", "--yes", "--socket", sys.argv[1]])
    print("missing", bool(enforcer.verify(whole=True)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace of its own needs root")
@pytest.mark.parametrize("left", [False, True], ids=["no socket", "a dead one"])
def test_rules_are_taken_out_where_no_controller_answers(place, left):
    path = place / "dead.sock"
    if left:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", IN_A_NAMESPACE, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "unshare" in done.stderr or "not permitted" in done.stderr:
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
    assert done.stdout.splitlines() == [
        "tables 0",
        f"Every rule is out of the kernel. No controller answers at {path}.",
        "missing True",
    ], done.stderr


def test_receipts_are_listed_and_told_by_why(run, service):
    assert run("firewall", "receipts") == "No receipts.\n"
    begun = service.now()
    here, there = ("10.77.0.22", 40000), (CONTROL, 8443)
    service.told = [
        receipt(begun, "desk-2", here, there),
        receipt(begun + 9, "desk-2", there, here, staged=True, direction=Direction.INBOUND),
        receipt(begun + 9, None, ("2001:db8::1", 1), ("::1", 53), policy="", rule="spoofed"),
    ]
    told = run("firewall", "receipts")
    assert f"tcp 10.77.0.22:40000 to {CONTROL}:8443" in told
    assert "p/r@3 (staged)" in told
    assert "tcp [2001:db8::1]:1 to [::1]:53" in told
    assert len(json.loads(run("firewall", "receipts", "desk-2", "-o", "json"))) == 2
    assert len(json.loads(run("firewall", "receipts", "--newest", "1", "-o", "json"))) == 1
    why = run("why", "desk-2", f"{CONTROL}:8443")
    assert "the kernel told of 2 packets" in why
    assert "p/r@3, p/r@3 (staged)" in why
    assert "the kernel told" not in run("why", "desk-2", f"{CONTROL}:443")
    assert "the kernel told" not in run("why", "desk-2", f"{CONTROL}:8443", "--at", "2026-01-05T15:00:00Z")
