"""What the API answers: every answer is held against the model that its documentation states."""

from __future__ import annotations

import os
import pwd
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import TypeAdapter
from starlette.routing import Match

from netpersona.app.answers.ask import Answered, Wanted
from netpersona.app.answers.known import InService
from netpersona.app.answers.summary import of_resource
from netpersona.app.api import application as api
from netpersona.app.api import models
from service_samples import receipt

ME = pwd.getpwuid(os.geteuid()).pw_name
VICTIM, CONTROL = "desk-2", "203.0.113.66"
NO_MAIL = """\
# what nobody should use
apiVersion: netpersona/v1
kind: Policy
metadata: {name: no-mail}
spec:
  mode: enforce # for now
  order: 50
  rules: # by port
    - {name: smtp, direction: outbound, action: deny, existing: keep, protocols: [tcp], ports: [443]}
"""
RULES = ["nothing-out-when-risky", "no-low-reputation"]


@pytest.fixture
def ask(http):
    """Asks, expects the status, and gives the answer as its declared model allows it."""

    def asked(method, path, status=None, **more):
        answer = http.request(method, path, **more)
        if status is not None and status >= 400:
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            models.Problem.model_validate_json(answer.content)
            return answer.json()
        assert answer.status_code == (status or 200), answer.text
        TypeAdapter(_route(method, answer.url.path).response_model).validate_json(answer.content)
        return answer.json()

    return asked


def _route(method, path):
    scope = {"type": "http", "method": method, "path": path.removeprefix(api.PREFIX)}
    return next(r for part in api._PARTS for r in part.router.routes if r.matches(scope)[0] is Match.FULL)


def status(told):
    return told["status"]


def test_health_says_how_each_part_is(ask, service):
    told = ask("GET", "/health")
    assert told["status"]["well"]
    assert told["status"]["parts"][0]["figures"] == {"bytes": 1}
    service.fail("inventory", "vms.yaml: no such file")
    told = ask("GET", "/health")
    assert not told["status"]["well"]
    assert told["status"]["parts"][0]["says"] == "vms.yaml: no such file"


def test_personas_in_a_line_and_whole(ask, service):
    lines = ask("GET", "/personas")["items"]
    assert [of_resource(line) for line in lines] == Answered(InService(service)).personas()
    whole = ask("GET", "/personas", params={"view": "whole"})["items"]
    assert whole == Answered(InService(service)).whole_personas()
    assert ask("GET", "/personas/desk-2") == next(p for p in whole if p["metadata"]["name"] == VICTIM)
    assert ask("GET", "/personas/10.77.0.22", params={"view": "summary"}) == lines[2]


def test_a_list_in_pages_is_the_list(ask):
    whole = ask("GET", "/personas")["items"]
    found, after = [], None
    while after is not None or not found:
        page = ask("GET", "/personas", params={"limit": 3, **({"continue": after} if after else {})})
        assert page["metadata"]["remaining"] == len(whole) - len(found) - len(page["items"])
        found, after = found + page["items"], page["metadata"]["continue"]
    assert found == whole
    findings = ask("GET", "/findings")["items"]
    first = ask("GET", "/findings", params={"limit": 1})
    rest = ask("GET", "/findings", params={"continue": first["metadata"]["continue"]})
    assert first["items"] + rest["items"] == findings


def test_what_a_person_changes_of_a_persona(ask, service):
    assert status(ask("POST", "/personas/web-1/freeze"))["changed"]
    assert not status(ask("POST", "/personas/web-1/freeze"))["changed"]
    assert status(ask("POST", "/personas/web-1/unfreeze"))["learning"] == "learning"
    ask("PATCH", "/personas/web-1/labels", json={"labels": {"tier": "front", "role": None}})
    assert ask("GET", "/personas/web-1")["metadata"]["labels"] == {"tier": "front"}
    assert status(ask("POST", "/personas/web-1/reset"))["changed"]
    assert ask("GET", "/personas/web-1", params={"view": "summary"})["status"]["completeness"]["flows"] == 0
    versions = ask("GET", "/personas/web-1/history")["items"]
    assert versions[-1]["status"]["why"].startswith("reset")
    assert f"({ME})" in versions[-1]["status"]["why"]
    before = versions[0]["metadata"]["version"]
    changes = ask("GET", "/persona-differences", params={"one": f"web-1@{before}", "other": "web-1"})
    assert "metadata.labels.tier" in {change["path"] for change in changes["status"]["changes"]}
    assert "label" in ask("PATCH", "/personas/web-1/labels", 400, json={"labels": {"a b": "x"}})["detail"]
    ask("POST", "/personas/web-1/melt", 422)


def test_findings_by_vm_kind_and_instant(ask, service):
    everything = ask("GET", "/findings")["items"]
    alerts = ask("GET", "/findings", params={"alerts": True})["items"]
    assert [f["status"] for f in alerts] == Answered(InService(service)).findings(Wanted())
    assert 0 < len(alerts) < len(everything)
    one = everything[0]
    assert ask("GET", f"/findings/{one['metadata']['name']}") == one
    kind = one["status"]["kind"]
    assert {f["status"]["kind"] for f in ask("GET", "/findings", params={"kind": kind})["items"]} == {kind}
    assert {f["status"]["vm"] for f in ask("GET", "/findings", params={"vm": "db-1"})["items"]} == {"db-1"}
    late = max(f["status"]["last_seen"] for f in everything)
    assert len(ask("GET", "/findings", params={"since": str(late)})["items"]) < len(everything)
    assert "c2_beacon" in ask("GET", "/findings", 400, params={"kind": "beacons"})["detail"]
    ask("GET", "/findings/nothing", 404)


def test_a_risk_and_a_verdict_say_what_they_rest_on(ask):
    whole = ask("GET", f"/personas/{VICTIM}/risk")["status"]
    without = ask("GET", f"/personas/{VICTIM}/risk", params={"without": "c2_beacon"})["status"]
    assert without["risk"] < whole["risk"] == without["risk_with_all"]
    told = ask("GET", "/verdict", params={"vm": VICTIM, "peer": CONTROL, "port": 8443})
    assert told["status"]["verdict"] == "deny"
    assert told["spec"]["peer"] == f"{CONTROL}:8443"
    assert ask("GET", "/verdict", params={"vm": "web-1", "peer": "updates.example"})["status"]["name"]
    assert "no VM 'web'" in ask("GET", "/verdict", 404, params={"vm": "web", "peer": CONTROL})["detail"]
    ask("GET", "/verdict", 400, params={"vm": "web-1", "peer": "not/a peer"})
    ask("GET", "/verdict", 422, params={"vm": "web-1"})


def test_a_policy_is_checked_planned_defined_staged_and_deleted(ask):
    texts = {"texts": {"mail.yaml": NO_MAIL}}
    assert status(ask("POST", "/policy-checks", json=texts))["valid"]
    wrong = status(ask("POST", "/policy-checks", json={"texts": {"mail.yaml": NO_MAIL.replace("deny", "denny")}}))
    assert not wrong["valid"]
    assert wrong["remarks"][0]["line"] == 9
    planned = status(ask("POST", "/policy-plans", json=texts, params={"nft": True}))
    assert any("no-mail/smtp" in change for change in planned["changes"])
    assert {stopped["service"] for stopped in planned["would_stop"]} == {"tcp/443"}
    assert "no-mail" in planned["nft"]

    defined = ask("PUT", "/policies/no-mail", 201, content=NO_MAIL, headers={"content-type": "application/yaml"})
    assert "no-mail.yaml" in defined["spec"]["files"]
    assert defined["status"]["who"] == ME
    assert [p["metadata"]["name"] for p in ask("GET", "/policies")["items"]] == [
        "isolate-command-and-control",
        "no-mail",
        "block-outbound-low-reputation",
    ]
    deny = {"vm": "web-1", "peer": "192.0.2.80", "port": 443}
    assert status(ask("GET", "/verdict", params=deny))["verdict"] == "deny"
    ask("PUT", "/policies/no-mail/mode", 201, json={"mode": "stage"})
    verdict = status(ask("GET", "/verdict", params=deny))
    assert verdict["verdict"] == "allow"
    assert verdict["staged"]
    version = ask("GET", "/policy-versions/3")
    assert version["spec"]["texts"]["no-mail.yaml"].splitlines()[0] == "# what nobody should use"
    ask("DELETE", "/policies/no-mail", 201)
    ask("GET", "/policies/no-mail", 404)
    ask("DELETE", "/policies/no-mail", 404)


def test_a_policy_as_json(ask):
    document = {
        "apiVersion": "netpersona/v1",
        "kind": "Policy",
        "metadata": {"name": "quiet"},
        "spec": {"mode": "enforce", "order": 7, "rules": [{"name": "all", "direction": "outbound", "action": "log"}]},
    }
    ask("PUT", "/policies/quiet", 201, json=document)
    told = ask("GET", "/policies/quiet")
    assert {name: told[name] for name in document} == document
    assert "metadata.name" in ask("PUT", "/policies/loud", 400, json=document)["detail"]
    two = NO_MAIL + "---\n" + NO_MAIL.replace("no-mail", "no-web")
    ask("PUT", "/policies/no-mail", 400, content=two)
    ask("PUT", "/policies/no-mail", 422, content="kind: [")


def test_versions_are_confirmed_or_rolled_back(ask):
    bundle = {"texts": {"mail.yaml": NO_MAIL}, "why": "mail is read elsewhere", "confirm_within": "60s"}
    made = ask("POST", "/policy-versions", 201, json=bundle)
    assert not made["status"]["confirmed"]
    assert made["status"]["confirm_by"] is not None
    assert any("nothing-out-when-risky" in change for change in made["status"]["changes"])
    assert ask("POST", "/policy-versions/confirm")["status"]["confirmed"]
    ask("POST", "/policy-versions/confirm", 400)
    back = ask("POST", "/policy-versions/rollback", 201, json={"number": 1})
    assert back["status"]["number"] == 3
    assert [v["status"]["in_force"] for v in ask("GET", "/policy-versions")["items"]] == [False, False, True]
    assert [p["status"]["rules"] for p in ask("GET", "/policies")["items"]][-1] == RULES
    ask("POST", "/policy-versions/rollback", 400, json={"number": 99})
    ask("GET", "/policy-versions/99", 404)
    ask("POST", "/policy-versions", 400, json={**bundle, "confirm_within": "soon"})
    ask("POST", "/policy-versions", 422, json={"texts": {"x": "kind: Polizy"}})
    ask("POST", "/policy-versions", 422, json={"texts": {}, "text": {}})


def test_feeds_take_what_is_pushed(ask):
    assert ask("GET", "/feeds")["items"] == []
    two = {"values": ["198.18.0.7", "bad.example.net"]}
    ask("POST", "/feeds/ours/indicators", 422, json=two)  # the gate: a reserved range
    pushed = {"values": ["45.66.77.88", "bad.example.net"]}
    assert status(ask("POST", "/feeds/ours/indicators", json=pushed))["changed"] == 2
    assert status(ask("GET", "/feeds")["items"][0])["indicators"] == 2
    assert status(ask("POST", "/feeds/ours/removals", json={"values": ["bad.example.net"]}))["changed"] == 1
    for values in ([], ["a\nb"], ["x" * 300], ["1.2.3.4 # no"], [7]):
        ask("POST", "/feeds/ours/indicators", 422, json={"values": values})
    ask("POST", "/feeds/o%20urs/indicators", 422, json=pushed)


def test_the_firewall_is_shown_verified_and_taken_out(ask):
    held = status(ask("GET", "/firewall", params={"nft": True}))
    assert held["installed"]
    assert "table inet netpersona" in held["nft"]
    assert status(ask("POST", "/firewall/verify"))["well"]
    gone = status(ask("POST", "/firewall/uninstall"))
    assert not gone["installed"]
    assert gone["vms"] == []
    ask("POST", "/policy-versions", 201, json={"texts": {"mail.yaml": NO_MAIL}})
    assert ask("POST", "/firewall/rollback", 201)["status"]["in_force"]


def test_every_operation_is_documented(http):
    described = http.get("/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], f"{method} {path}"
            assert operation["description"], f"{method} {path}"
            good = [answer for code, answer in operation["responses"].items() if code.startswith("2")]
            assert all(answer["content"]["application/json"]["schema"] for answer in good)
            assert {"400", "403", "404", "422", "503"} <= operation["responses"].keys()


def test_policies_defined_at_once_are_all_there(http, service):
    def defines(number):
        text = NO_MAIL.replace("no-mail", f"p-{number}")
        assert http.put(f"/policies/p-{number}", content=text).status_code == 201

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(defines, range(8)))
    assert {f"p-{number}" for number in range(8)} <= {policy.name for policy in service.standing().policies.policies}


def test_receipts_say_which_rule_met_which_packet(ask, service):
    assert ask("GET", "/receipts")["items"] == []
    service.told = [
        receipt(service.now(), VICTIM, ("10.77.0.22", 4), (CONTROL, 8443)),
        receipt(service.now(), None, ("10.9.9.9", 4), (CONTROL, 8443), policy="", rule="spoofed"),
    ]
    assert [each["status"]["rule"] for each in ask("GET", "/receipts")["items"]] == ["r", "spoofed"]
    assert [each["status"]["policy"] for each in ask("GET", "/receipts", params={"vm": VICTIM})["items"]] == ["p"]
    verdict = ask("GET", "/verdict", params={"vm": VICTIM, "peer": CONTROL, "port": 8443})
    assert verdict["status"]["receipts"]["rules"] == ["p/r@3"]
    ask("GET", "/receipts", 404, params={"vm": "web"})
