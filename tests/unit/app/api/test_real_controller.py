"""The API over the controller itself, on a script of traffic: every answer holds what its documentation states."""

from __future__ import annotations

import threading

import pytest
from pydantic import TypeAdapter
from starlette.routing import Match

from netpersona.app.answers.ask import Traffic, Wanted
from netpersona.app.api import application as api
from netpersona.app.api.server import Server
from netpersona.app.client import Controller
from netpersona.errors import ConfigError, FeedError, NetpersonaError, PolicyError
from netpersona.flow.window import SECOND
from unit.app.live.rig import FINE, LISTED, LOW_REPUTATION, RISKY, Rig
from waiting import until

VM = "web-1"


class Strict(Controller):
    """What asks, and holds each answer against its model."""

    def _ask(self, method, path, params=None, body=None, **more):
        told = super()._ask(method, path, params, body, **more)
        scope = {"type": "http", "method": method, "path": f"/{path}"}
        route = next(r for part in api._PARTS for r in part.router.routes if r.matches(scope)[0] is Match.FULL)
        TypeAdapter(route.response_model).validate_python(told)
        return told


@pytest.fixture
def live(tmp_path):
    """A controller that runs, with a flow to a listed peer behind it, and what asks it."""
    rig = Rig(tmp_path, LOW_REPUTATION, RISKY)
    rig.sensor.flow("tap-web-1", "10.77.0.11", FINE, 443)
    rig.sensor.flow("tap-web-1", "10.77.0.11", LISTED, 443)
    rig.turns(20)
    runs = threading.Thread(target=rig.controller.run)
    runs.start()
    server = Server(rig.controller, tmp_path / "api.sock")
    server.start()
    yield Strict(server.path)
    server.stop()
    rig.controller.stop()
    runs.join(300)


def test_what_is_so(live):
    assert live.health()["well"]
    assert [line["vm"] for line in live.personas()] == ["desk-1", "web-1"]
    assert live.whole_personas([VM])[0]["spec"]["base_network_config"]["interface"] == "tap-web-1"
    assert {found["peer"] for found in live.findings(Wanted(vm=VM, everything=True))} >= {LISTED}
    assert live.risk(VM, None, ())["risk"] > 0.02
    assert live.risk(VM, None, ["bad"])["risk"] < live.risk(VM, None, ())["risk"]
    assert live.why(Traffic(VM, f"{LISTED}:443"), None)["verdict"] == "deny"
    assert live.differences(VM, "desk-1")["changes"]
    assert isinstance(live.history(VM), list)
    assert {policy["name"] for policy in live.policies()} == {"low-reputation", "risky"}
    assert live.policy("risky")["resource"]["spec"]["mode"] == "enforce"
    assert live.plan(None, nft=True)["changes"] == []
    held = live.firewall(nft=True)
    assert {vm["vm"] for vm in held["vms"]} == {"desk-1", "web-1"}
    assert "netpersona" in held["nft"]
    assert live.verify()["well"]
    assert live.receipts(None, 10) == []
    assert [feed["name"] for feed in live.feeds()] == ["bad"]


def test_what_is_changed(live):
    assert live.edit(VM, "freeze")["changed"]
    assert live.label(VM, {"tier": "front"})["changed"]
    assert live.personas([VM])[0]["labels"]["tier"] == "front"
    assert live.edit(VM, "unfreeze")["learning"] == "learning"
    assert "reset" in live.edit(VM, "reset")["what"]
    assert len(live.history(VM)) >= 3

    assert live.push("ours", ["45.66.77.88"]) == 1
    assert live.push("ours", ["45.66.77.88"]) == 0
    assert live.why(Traffic(VM, "45.66.77.88"), None)["verdict"] == "deny"
    assert live.remove("ours", ["45.66.77.88"]) == 1
    with pytest.raises(FeedError, match="nothing was pushed"):
        live.push("ours", ["10.77.0.11"])

    assert live.set_mode("low-reputation", "stage", None)["number"] == 2
    assert live.why(Traffic("desk-1", f"{LISTED}:443"), None)["staged"]
    assert live.delete("risky", None)["number"] == 3
    assert live.roll_back(1)["changes"]
    assert len(live.versions()) == 4
    assert live.version(1)["texts"]
    trial = live.apply({"a.yaml": RISKY}, "a trial", "7d")
    assert not trial["confirmed"]
    assert live.confirm()["confirmed"]
    assert live.remarks({"a.yaml": RISKY}) == []
    assert not live.uninstall()["installed"]
    assert live.apply({"a.yaml": LOW_REPUTATION}, "again", None)["in_force"]
    assert live.firewall(nft=False)["installed"]


def test_a_trial_goes_back_by_itself(live):
    live.apply({"a.yaml": RISKY}, "a trial", "1m")  # of the script's minutes, which last a second or so
    until(lambda: live.versions()[-1]["why"] == "not confirmed in time", "it goes back", within=180)
    assert {policy["name"] for policy in live.policies()} == {"low-reputation", "risky"}


@pytest.mark.parametrize(
    ("asks", "error"),
    [
        (lambda live: live.confirm(), ConfigError),
        (lambda live: live.roll_back(9), ConfigError),
        (lambda live: live.roll_back(None), ConfigError),
        (lambda live: live.apply({"a.yaml": "kind: Polizy"}, "", None), PolicyError),
        (lambda live: live.plan({"a.yaml": "["}, nft=False), PolicyError),
        (lambda live: live.delete("nothing", None), ConfigError),
        (lambda live: live.set_mode("nothing", "off", None), ConfigError),
        (lambda live: live.personas(["nothing"]), ConfigError),
        (lambda live: live.risk(VM, SECOND, ["nothing"]), ConfigError),
        (lambda live: live.push("bad", ["45.66.77.88"]), FeedError),
        (lambda live: live.remove("bad", ["45.66.77.88"]), FeedError),
    ],
)
def test_what_is_refused_changes_nothing(live, asks, error):
    before = live.versions(), live.policies()
    with pytest.raises(error):
        asks(live)
    assert (live.versions(), live.policies()) == before


def test_a_controller_that_ends_says_so(tmp_path):
    rig = Rig(tmp_path, RISKY)
    rig.turns(3)
    server = Server(rig.controller, tmp_path / "api.sock")
    server.start()
    rig.controller.stop()
    rig.controller.run()
    with pytest.raises(NetpersonaError):
        Controller(server.path).push("ours", ["45.66.77.88"])
    server.stop()
